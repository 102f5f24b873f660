//! Connections that are not authenticated yet: there are few at a time, and the oldest are closed for new ones, so that
//! somebody who only holds connections open cannot keep a node out that knows the password.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::replication::link::{Handle, Receiver};

/// Most connections that are not authenticated. A node's connection is one of these for a few milliseconds.
const MOST: usize = 12;

/// An accepted connection, as the list of unauthenticated ones knows it. The thread that serves the connection owns
/// this.
pub(super) struct Unauthenticated {
    connection: Handle,
    known: AtomicBool,
}

impl Unauthenticated {
    /// Marks the connection as authenticated.
    pub fn set_authenticated(&self) {
        self.known.store(true, Ordering::Release);
    }

    /// Whether the connection is authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }
}

/// The unauthenticated connections, oldest first.
#[derive(Default)]
pub(super) struct UnauthenticatedList(VecDeque<Weak<Unauthenticated>>);

impl UnauthenticatedList {
    /// Adds a new connection, and closes the oldest unauthenticated ones if there are too many.
    pub fn add(&mut self, receiver: &Receiver) -> Arc<Unauthenticated> {
        self.0.retain(|newcomer| newcomer.upgrade().is_some_and(|newcomer| !newcomer.is_authenticated()));
        while self.0.len() >= MOST
            && let Some(oldest) = self.0.pop_front()
        {
            // The thread that serves the connection notices, and ends.
            let _ = oldest.upgrade().map(|oldest| oldest.connection.shut());
        }
        let newcomer = Arc::new(Unauthenticated { connection: receiver.handle(), known: AtomicBool::new(false) });
        self.0.push_back(Arc::downgrade(&newcomer));
        newcomer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use crate::replication::link;

    #[test]
    fn the_oldest_go_and_those_who_are_known_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut newcomers = UnauthenticatedList::default();
        let mut connect = || {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            ours.set_nonblocking(true).unwrap();
            let theirs = link::open(listener.accept().unwrap().0, Duration::from_secs(60)).unwrap();
            let newcomer = newcomers.add(&theirs.1);
            (ours, theirs, newcomer)
        };
        let friend = connect();
        friend.2.set_authenticated();
        let mut all: Vec<_> = (0..2 * MOST).map(|_| connect()).collect();
        let is_open = |stream: &mut TcpStream| stream.read(&mut [0]).is_err();
        assert!(is_open(&mut { friend.0 }), "who is known is no newcomer");
        let open: Vec<_> = all.iter_mut().map(|(ours, ..)| is_open(ours)).collect();
        assert_eq!(open, [[false; MOST], [true; MOST]].concat());
    }
}
