//! Connections that have not shown yet that they may speak: few at a time, and the newest rather than the oldest, so that whoever only
//! holds connections keeps nobody out who knows the password.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Strangers at a time. A node that is let in is one for a few milliseconds.
const MOST: usize = 12;

/// Set by a connection that is a stranger no more.
pub(super) type Known = Arc<AtomicBool>;

/// The strangers, oldest first.
#[derive(Default)]
pub(super) struct Strangers(VecDeque<(TcpStream, Known)>);

impl Strangers {
    /// Another one has connected. Ends the oldest if there are too many; returns what it has to set.
    ///
    /// # Errors
    /// If the process has no file descriptors left.
    pub fn add(&mut self, socket: &TcpStream) -> std::io::Result<Known> {
        let known = Known::default();
        self.0.retain(|(_, known)| !known.load(Ordering::Acquire) && Arc::strong_count(known) > 1);
        while self.0.len() >= MOST
            && let Some((oldest, _)) = self.0.pop_front()
        {
            // Its thread notices, and ends.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        self.0.push_back((socket.try_clone()?, known.clone()));
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn the_oldest_go_and_those_who_are_known_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut strangers = Strangers::default();
        let mut connect = || {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            ours.set_nonblocking(true).unwrap();
            let theirs = listener.accept().unwrap().0;
            let known = strangers.add(&theirs).unwrap();
            (ours, theirs, known)
        };
        let friend = connect();
        friend.2.store(true, Ordering::Release);
        let mut all: Vec<_> = (0..2 * MOST).map(|_| connect()).collect();
        let is_open = |stream: &mut TcpStream| stream.read(&mut [0]).is_err();
        assert!(is_open(&mut { friend.0 }), "who is known is no stranger");
        let open: Vec<_> = all.iter_mut().map(|(ours, ..)| is_open(ours)).collect();
        assert_eq!(open, [[false; MOST], [true; MOST]].concat());
    }
}
