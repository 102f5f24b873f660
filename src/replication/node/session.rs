//! One session with the master: hello, catch up epoch by epoch, then follow every stream until a connection ends. Whatever ends
//! ends all of it; the next session goes on from where the partitions are.

use std::sync::Arc;
use std::thread;

use super::follow::{FollowError, follow};
use super::mirror::Part;
use super::plan::{Leg, Terms};
use super::{Node, NodeError, bootstrap, upload};
use crate::ids::{DirectoryId, Epoch, PartitionId, Partitions, Position};
use crate::replication::link::{self, LinkError, Links, Receiver, Sender};
use crate::replication::protocol::proof::prove;
use crate::replication::protocol::{HEARTBEAT, Hello, Message, Role, SILENCE, VERSION};
use crate::storage::snapshot::Subject;
use crate::storage::{Files, OsFiles, StorageError};

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

impl From<NodeError> for SessionError {
    fn from(error: NodeError) -> Self {
        match error {
            // A disk may have room again.
            NodeError::Own(error) => Self::Own(error),
            error @ (NodeError::Foreign { .. } | NodeError::Refused(_)) => Self::Final(error),
        }
    }
}

/// What the threads of a session share.
pub(crate) struct Session<'a, F: Files = OsFiles> {
    pub node: &'a Node<F>,
    pub terms: Terms,
    pub links: Arc<Links>,
}

impl<F: Files> Session<'_, F> {
    /// A further connection of the session.
    pub fn connect(&self, role: Role) -> Result<(Sender, Receiver), LinkError> {
        let (mut sender, mut receiver) = self.node.connect()?;
        self.links.add(&receiver);
        self.node.introduce(role, self.terms.welcome.session, &mut sender, &mut receiver)?;
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

/// Shows that this node lives, and sees that the master does.
fn keep(session: &Session<'_>, mut sender: Sender, mut receiver: Receiver) -> Result<(), LinkError> {
    receiver.set_patience(SILENCE.min(session.node.options.timeout));
    while !session.is_over() {
        sender.send(&Message::Ping)?;
        let Message::Ping = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        // In small steps, so that the end of a session is not a second late.
        for _ in 0..10 {
            if session.is_over() {
                break;
            }
            thread::sleep(HEARTBEAT / 10);
        }
    }
    Ok(())
}

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
        // The streams' own reason says more than that the session was ended because of it.
        match followed {
            Err(SessionError::Follow(FollowError::Link(LinkError::Closed))) | Ok(()) => Ok(uploaded?),
            followed => followed,
        }
    })
}

/// Follows streams of one epoch at once, each with the partitions that lived in it. The first error ends the session.
fn follow_all(session: &Session<'_>, legs: &[Leg], mirror: &mut Part) -> Result<(), SessionError> {
    let held = |leg: &Leg| leg.placement.partitions_of(leg.core);
    let cuts: Vec<u16> = legs.iter().flat_map(|leg| [held(leg).start, held(leg).end]).collect();
    let mut parts = in_parts(mirror, &cuts);
    let ended: Vec<_> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for part in &mut parts {
            // Between two legs there may be partitions that need nothing of this epoch.
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
    // Most fail only because one did: prefer a reason over an end.
    let worst = ended.into_iter().filter_map(Result::err).min_by_key(|e| matches!(e, FollowError::Link(_)));
    worst.map_or(Ok(()), |e| Err(e.into()))
}

/// Takes the mirror apart; [`Part::join`] and an assignment put it back.
pub(crate) fn in_parts(mirror: &mut Part, cuts: &[u16]) -> Vec<Part> {
    let nothing = Part::empty(mirror.replica.partitions(), 0..0);
    std::mem::replace(mirror, nothing).cut(cuts)
}

/// What a thread of the session gave. Its panic is this one's, too: a node that lost a part of its state must end.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl<F: Files> Node<F> {
    fn connect(&self) -> Result<(Sender, Receiver), LinkError> {
        use std::net::ToSocketAddrs;
        let addresses: Vec<_> = self.options.master.to_socket_addrs()?.collect();
        link::connect(&addresses, SILENCE / 2, self.options.timeout)
    }

    /// Says who this is, and proves it.
    fn introduce(
        &self,
        role: Role,
        session: u64,
        sender: &mut Sender,
        receiver: &mut Receiver,
    ) -> Result<(), LinkError> {
        let hello = self.hello(role, session);
        sender.send(&Message::Hello(hello))?;
        let Message::Challenge(nonce) = receiver.message()? else { return Err(LinkError::OutOfTurn) };
        let proof = self.options.password.as_ref().map(|password| prove(password, &nonce, &hello));
        sender.send(&Message::Proof(proof.as_ref().map_or(&[][..], |proof| proof).into()))?;
        receiver.trust();
        Ok(())
    }

    pub(crate) fn hello(&self, role: Role, session: u64) -> Hello {
        Hello { protocol: VERSION, role, node: self.number, session }
    }
}
