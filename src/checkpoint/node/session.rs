//! One session with the master: hello, catch up epoch by epoch, then follow every stream until a connection ends. Whatever ends
//! ends all of it; the next session goes on from where the partitions are.

use std::sync::Arc;
use std::thread;

use super::follow::{FollowError, follow};
use super::plan::{Leg, Terms};
use super::replica::Replica;
use super::throttle::Throttle;
use super::{Node, NodeError, bootstrap, upload};
use crate::checkpoint::link::{self, LinkError, Links, Receiver, Sender};
use crate::checkpoint::protocol::{HEARTBEAT, Hello, Message, Role, SILENCE, VERSION};
use crate::encoding::frame::DirectoryId;
use crate::ids::{Epoch, PartitionId, Partitions, Position};
use crate::storage::StorageError;
use crate::storage::snapshot::Subject;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A stream.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The node's own directory.
    #[error(transparent)]
    Own(#[from] StorageError),
    /// The master's welcome contradicts itself.
    #[error("the master's welcome makes no sense: {0}")]
    Welcome(&'static str),
    /// It makes no sense to try again.
    #[error(transparent)]
    Final(NodeError),
}

/// What the threads of a session share.
pub(super) struct Session<'a> {
    pub node: &'a Node,
    terms: Terms,
    links: Arc<Links>,
}

impl Session<'_> {
    /// A further connection of the session.
    pub fn connect(&self, role: Role) -> Result<(Sender, Receiver), LinkError> {
        let (mut sender, mut receiver) = self.node.connect()?;
        self.links.add(&receiver)?;
        sender.send(&Message::Hello(self.node.hello(role, self.terms.welcome.session)))?;
        receiver.trust();
        // Whether the master lives is the control connection's business; when it ends, so do the others.
        receiver.set_patience(None)?;
        Ok((sender, receiver))
    }

    pub fn id(&self) -> DirectoryId {
        DirectoryId(self.terms.welcome.directory)
    }

    pub fn epoch(&self) -> Epoch {
        self.terms.welcome.epoch
    }

    pub fn partitions(&self) -> Partitions {
        self.terms.partitions
    }

    pub fn subject(&self, partition: PartitionId) -> Subject {
        Subject { id: self.id(), partitions: self.partitions(), partition }
    }

    /// Position of the newest snapshot that the master has of a partition.
    pub fn newest(&self, partition: PartitionId) -> Position {
        self.terms.welcome.kept.get(usize::from(partition.0)).map(|k| k.newest).unwrap_or_default()
    }

    pub fn goes_on(&self, partition: PartitionId, position: Position) -> bool {
        self.terms.goes_on(partition, position)
    }

    pub fn is_over(&self) -> bool {
        self.links.are_shut()
    }

    /// Ends all connections.
    fn end(&self) {
        self.links.shut();
        self.node.outbox.ring();
    }
}

/// Opens a session and runs it to its end.
pub(super) fn run(node: &Node, replicas: &mut Vec<Replica>, throttle: &mut Throttle) -> Result<(), SessionError> {
    let links = Arc::new(Links::default());
    node.stop.watch(&links);
    let (mut sender, mut receiver) = node.connect()?;
    links.add(&receiver).map_err(LinkError::from)?;
    sender.send(&Message::Hello(node.hello(Role::Control, 0)))?;
    receiver.trust();
    let welcome = match receiver.message()? {
        Message::Welcome(welcome) => welcome,
        _ => return Err(LinkError::OutOfTurn.into()),
    };
    let terms = Terms::new(welcome).map_err(SessionError::Welcome)?;
    node.own.belong_to(DirectoryId(terms.welcome.directory)).map_err(SessionError::Final)?;
    if replicas.first().is_some_and(|_| replicas.len() != usize::from(terms.partitions.count())) {
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
        let ended = catch_up(session, replicas, throttle);
        session.end();
        ended
    })
}

/// Shows that this node lives, and sees that the master does.
fn keep(session: &Session<'_>, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    receiver.set_patience(Some(SILENCE))?;
    while !session.is_over() {
        sender.send(&Message::Ping)?;
        let Message::Ping = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        // In small steps, so that the end of a session is not a second late.
        for _ in 0..20 {
            if session.is_over() {
                break;
            }
            thread::sleep(HEARTBEAT / 20);
        }
    }
    Ok(())
}

fn catch_up(session: &Session<'_>, replicas: &mut Vec<Replica>, throttle: &mut Throttle) -> Result<(), SessionError> {
    bootstrap::prepare(session, replicas)?;
    let positions: Vec<_> = replicas.iter().map(Replica::position).collect();
    let mut epochs = session.terms.legs(&positions);
    let present = epochs.pop().unwrap_or_default();
    for legs in epochs {
        follow_all(session, &legs, replicas)?;
    }
    thread::scope(|scope| {
        let uploading = scope.spawn(|| {
            let ended = upload::run(session, throttle);
            session.end();
            ended
        });
        let followed = follow_all(session, &present, replicas);
        session.end();
        let uploaded = uploading.join().unwrap_or(Ok(()));
        // The streams' own reason says more than that the session was ended because of it.
        match followed {
            Err(SessionError::Follow(FollowError::Link(LinkError::Closed))) | Ok(()) => Ok(uploaded?),
            followed => followed,
        }
    })
}

/// Follows streams of one epoch at once, each with the partitions that lived in it. The first error ends the session.
fn follow_all(session: &Session<'_>, legs: &[Leg], replicas: &mut [Replica]) -> Result<(), SessionError> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut rest = replicas;
        let mut at = 0;
        for leg in legs {
            let held = leg.placement.partitions_of(leg.core);
            // Legs are in the order of cores, and so of partitions.
            let (_, from) = std::mem::take(&mut rest).split_at_mut(usize::from(held.start) - at);
            let (part, after) = from.split_at_mut(held.len());
            (rest, at) = (after, usize::from(held.end));
            threads.push(scope.spawn(move || {
                let ended = follow(session, leg, part);
                if ended.is_err() {
                    session.end();
                }
                ended
            }));
        }
        let ended: Vec<_> = threads.into_iter().map(|t| t.join().unwrap_or(Ok(()))).collect();
        let errors = ended.into_iter().filter_map(Result::err);
        // Most fail only because one did: prefer a reason over an end.
        let worst = errors.min_by_key(|e| matches!(e, FollowError::Link(_)));
        worst.map_or(Ok(()), |e| Err(e.into()))
    })
}

impl Node {
    fn connect(&self) -> Result<(Sender, Receiver), LinkError> {
        use std::net::ToSocketAddrs;
        let addresses: Vec<_> = self.options.master.to_socket_addrs()?.collect();
        link::connect(&addresses, SILENCE / 2)
    }

    fn hello(&self, role: Role, session: u64) -> Hello<'_> {
        let password = self.options.password.as_ref().map(|p| p.reveal().as_bytes().into());
        Hello { protocol: VERSION, role, node: self.number, session, password }
    }
}
