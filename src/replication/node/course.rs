//! The course of a session: hello, catching up epoch by epoch, then following every stream until a connection ends. If
//! one connection or thread ends, the whole session ends; the next session goes on from the partitions' positions.

use std::sync::Arc;
use std::thread;

use super::error::SessionError;
use super::follow::{FollowError, follow};
use super::mirror::Part;
use super::plan::{Leg, Terms};
use super::session::{Session, in_parts, joined};
use super::{Node, bootstrap, upload};
use crate::ids::DirectoryId;
use crate::replication::link::{LinkError, Links, Receiver, Sender};
use crate::replication::protocol::{HEARTBEAT, Message, Role, SILENCE};

/// Opens a session and runs it to its end.
pub(crate) fn run(node: &Node, mirror: &mut Option<Part>) -> Result<(), SessionError> {
    let links = Arc::new(Links::default());
    node.stop.watch(&links);
    let (mut sender, mut receiver) = node.connect()?;
    links.add(&receiver);
    node.introduce(Role::Control, 0, &mut sender, &mut receiver)?;
    let welcome = match receiver.message()? {
        Message::Welcome(welcome) => welcome,
        _ => return Err(LinkError::OutOfTurn.into()),
    };
    let terms = Terms::new(welcome).map_err(SessionError::Welcome)?;
    node.own.belong_to(DirectoryId(terms.welcome.directory))?;
    let everything = 0..terms.partitions.count();
    let mut whole = mirror.take().unwrap_or_else(|| Part::empty(terms.partitions, everything.clone()));
    if whole.replica.owned() != everything {
        return Err(SessionError::Welcome("another number of partitions than before"));
    }
    let session = Session { node, terms, links };
    tracing::info!(epoch = %session.epoch(), "connected to the master");
    thread::scope(|scope| {
        let session = &session;
        scope.spawn(move || {
            let ended = keep(session, sender, receiver);
            session.end();
            if let Err(e) = ended {
                tracing::debug!("control connection: {e}");
            }
        });
        let ended = catch_up(session, &mut whole);
        session.end();
        *mirror = Some(whole);
        ended
    })
}

/// Sends heartbeats to the master and receives its answers, until the session ends or the master is silent.
fn keep(session: &Session<'_>, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    receiver.set_patience(SILENCE.min(session.node.options.timeout));
    while !session.is_over() {
        sender.send(&Message::Ping)?;
        let Message::Ping = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        // Sleeps in small steps, so that the end of the session is noticed soon.
        for _ in 0..10 {
            if session.is_over() {
                break;
            }
            thread::sleep(HEARTBEAT / 10);
        }
    }
    Ok(())
}

/// Brings the mirror up to date, epoch by epoch, and then follows the present epoch's streams and uploads snapshots.
fn catch_up(session: &Session<'_>, mirror: &mut Part) -> Result<(), SessionError> {
    bootstrap::prepare(session, mirror)?;
    let positions: Vec<_> = mirror.partitions().map(|p| mirror.position(p)).collect();
    let mut epochs = session.terms.legs(&positions);
    let present = epochs.pop().unwrap_or_default();
    for legs in epochs {
        follow_all(session, &legs, mirror)?;
    }
    thread::scope(|scope| {
        let upload = || {
            let ended = upload::run(session);
            session.end();
            ended
        };
        let uploading: Vec<_> = (0..upload::THREADS).map(|_| scope.spawn(upload)).collect();
        let followed = follow_all(session, &present, mirror);
        session.end();
        let uploaded: Result<(), LinkError> = uploading.into_iter().try_for_each(joined);
        // The reason of a stream says more than that of an upload, which may have ended only because the session did.
        match followed {
            Err(SessionError::Follow(FollowError::Link(LinkError::Closed))) | Ok(()) => Ok(uploaded?),
            followed => followed,
        }
    })
}

/// Follows streams of one epoch at once, each with the partitions that its core owned. The first error ends the
/// session.
fn follow_all(session: &Session<'_>, legs: &[Leg], mirror: &mut Part) -> Result<(), SessionError> {
    let held = |leg: &Leg| leg.placement.partitions_of(leg.core);
    let cuts: Vec<u16> = legs.iter().flat_map(|leg| [held(leg).start, held(leg).end]).collect();
    let mut parts = in_parts(mirror, &cuts);
    let ended: Vec<_> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for part in &mut parts {
            // Parts between two legs hold partitions that need nothing of this epoch.
            let Some(leg) = legs.iter().find(|leg| held(leg) == part.replica.owned()) else { continue };
            threads.push(scope.spawn(move || {
                let ended = follow(session, leg, part);
                if ended.is_err() {
                    session.end();
                }
                ended
            }));
        }
        threads.into_iter().map(joined).collect()
    });
    if let Some(whole) = Part::join(parts) {
        *mirror = whole;
    }
    // Most streams fail only because another one did and the session ended, so another error is preferred to that of a
    // connection.
    let worst = ended.into_iter().filter_map(Result::err).min_by_key(|e| matches!(e, FollowError::Link(_)));
    worst.map_or(Ok(()), |e| Err(e.into()))
}
