//! A session with the master: the state that its threads share, and how each of its connections is opened.

use std::sync::Arc;
use std::thread;

use super::Node;
use super::mirror::Part;
use super::plan::Terms;
use crate::ids::{DirectoryId, Epoch, PartitionId, Partitions, Position};
use crate::replication::link::{self, LinkError, Links, Receiver, Sender};
use crate::replication::protocol::proof::prove;
use crate::replication::protocol::{Hello, Message, Role, SILENCE, VERSION};
use crate::storage::snapshot::Subject;
use crate::storage::{Files, OsFiles};

/// The state that the threads of a session share.
pub(crate) struct Session<'a, F: Files = OsFiles> {
    pub node: &'a Node<F>,
    pub terms: Terms,
    pub links: Arc<Links>,
}

impl<F: Files> Session<'_, F> {
    /// Opens a further connection of the session.
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

    /// Position of the newest snapshot of a partition that the master has installed.
    pub fn newest(&self, partition: PartitionId) -> Position {
        self.terms.welcome.kept.get(usize::from(partition.0)).map(|k| k.newest).unwrap_or_default()
    }

    pub fn goes_on(&self, partition: PartitionId, position: Position) -> bool {
        self.terms.goes_on(partition, position)
    }

    pub fn is_over(&self) -> bool {
        self.links.are_shut()
    }

    /// Ends the session: shuts all connections down and wakes the uploading threads.
    pub fn end(&self) {
        self.links.shut();
        self.node.outbox.ring();
    }
}

/// Takes the mirror away and splits it; [`Part::join`] and an assignment put it back.
pub(crate) fn in_parts(mirror: &mut Part, cuts: &[u16]) -> Vec<Part> {
    let nothing = Part::empty(mirror.replica.partitions(), 0..0);
    std::mem::replace(mirror, nothing).cut(cuts)
}

/// Joins a thread of the session and returns its result. Passes a panic on: a node that lost a part of its state must
/// end.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl<F: Files> Node<F> {
    pub(super) fn connect(&self) -> Result<(Sender, Receiver), LinkError> {
        use std::net::ToSocketAddrs;
        let addresses: Vec<_> = self.options.master.to_socket_addrs()?.collect();
        link::connect(&addresses, SILENCE / 2, self.options.timeout)
    }

    /// Sends the hello and the proof of the password.
    pub(super) fn introduce(
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
