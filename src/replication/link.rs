//! Connections between master and node: blocking sockets that carry messages and runs of log bytes.
//!
//! Always: every wait has a deadline. A message must be received, or taken by the other end, as a whole within the
//! connection's patience; the time counts from the call that receives or sends the message, however many of its bytes
//! trickle in meanwhile. [`open`] sets the patience, and no wait is possible without one. An end that has nothing to
//! say for longer sends heartbeats (`protocol`).
//!
//! A connection is owned by its two halves alone: it is closed when both are dropped, and when its [`Sender`] is
//! dropped the other end reads the end of the stream. [`Links`] and [`Handle`]s hold weak references to the socket,
//! with which others can shut the connection down.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::clock::Clock;
use super::protocol::codec::{Builder, MessageError};
use super::protocol::wire::{Inbox, Kind, WireError, header};
use super::protocol::{BODY_LIMIT, HELLO_LIMIT, Message, Reason, Received, SILENCE};

/// Most log bytes in one run; longer ones are sent as several runs.
const RUN: usize = 1 << 20;
/// Granularity of socket timeouts in milliseconds. The kernel's timers are hardly finer, and rounding up to whole steps
/// saves most of the system calls that set a timeout.
const TIMEOUT_STEP: u64 = 10;

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other end closed it.
    #[error("the other end closed the connection")]
    Closed,
    /// The other end showed no sign of life for too long.
    #[error("the other end is silent")]
    Silent,
    /// The socket failed.
    #[error("connection: {0}")]
    Io(io::Error),
    /// The received bytes are neither a message nor a run of log bytes.
    #[error("connection: {0}")]
    Wire(#[from] WireError),
    /// The received message cannot be decoded.
    #[error("connection: {0}")]
    Message(#[from] MessageError),
    /// The received message is not allowed at this point of the protocol.
    #[error("connection: a message out of turn")]
    OutOfTurn,
    /// The other end sent a refusal.
    #[error("refused: {text}")]
    Refused {
        /// Why, for the program.
        reason: Reason,
        /// Why, for people.
        text: String,
    },
}

impl From<io::Error> for LinkError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            // A socket reports its timeout with one of these two.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Io(e),
        }
    }
}

/// The writing half of a connection.
pub struct Sender {
    socket: Arc<TcpStream>,
    builder: Builder,
    timeout: Timeout,
}

/// The reading half of a connection.
pub struct Receiver {
    socket: Arc<TcpStream>,
    inbox: Inbox,
    limit: usize,
    timeout: Timeout,
}

/// Makes the two halves of a connection. Small messages are sent without delay, and TCP keepalive detects a dead peer.
/// Each message must be received, or taken by the other end, as a whole within `patience`.
///
/// # Errors
/// If the socket does not take its settings.
pub fn open(socket: TcpStream, patience: Duration) -> io::Result<(Sender, Receiver)> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    let (socket, timeout) = (Arc::new(socket), Timeout { patience, set: None });
    let sender = Sender { socket: Arc::clone(&socket), builder: Builder::default(), timeout };
    Ok((sender, Receiver { socket, inbox: Inbox::default(), limit: HELLO_LIMIT, timeout }))
}

/// How long one message may take (`patience`), and the timeout that was last set on the socket (`set`).
#[derive(Clone, Copy)]
struct Timeout {
    patience: Duration,
    set: Option<Duration>,
}

impl Timeout {
    /// The time left for the message that was begun when the clock `begun` was started; `None` if the socket has this
    /// timeout already.
    ///
    /// # Errors
    /// If no time is left.
    fn left(&mut self, begun: Clock) -> Result<Option<Duration>, LinkError> {
        let left = self.patience.saturating_sub(begun.now());
        if left.is_zero() {
            return Err(LinkError::Silent);
        }
        let steps = u64::try_from(left.as_millis()).unwrap_or(u64::MAX) / TIMEOUT_STEP + 1;
        let left = Some(Duration::from_millis(steps.saturating_mul(TIMEOUT_STEP)));
        let news = self.set != left;
        self.set = left;
        Ok(left.filter(|_| news))
    }
}

impl Sender {
    /// Sets how long the other end may take to accept a message.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.timeout.patience = patience;
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection fails, or the other end does not take the message in time.
    pub fn send(&mut self, message: &Message<'_>) -> Result<(), LinkError> {
        let body = message.encode(&mut self.builder);
        write_both(&self.socket, &mut self.timeout, &header(Kind::Message, body), body)
    }

    /// Sends log bytes, in several runs if need be; an empty run is a heartbeat.
    ///
    /// # Errors
    /// If the connection fails, or the other end does not take a run in time.
    pub fn send_log(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let (first, rest) = bytes.split_at(bytes.len().min(RUN));
        std::iter::once(first)
            .chain(rest.chunks(RUN))
            .try_for_each(|run| write_both(&self.socket, &mut self.timeout, &header(Kind::Log, run), run))
    }

    /// Sends a refusal. A failure is ignored: the other end may be gone already.
    pub fn refuse(&mut self, reason: Reason, text: &str) {
        let _ = self.send(&Message::Refusal { reason, text: text.into() });
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Ends the stream for the other end, which may still be reading although nothing more comes. It may be gone
        // already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Writes a header and its body, with one system call if the socket has room.
fn write_both(mut socket: &TcpStream, timeout: &mut Timeout, header: &[u8], body: &[u8]) -> Result<(), LinkError> {
    let begun = Clock::start();
    let mut parts = [IoSlice::new(header), IoSlice::new(body)];
    let mut rest = &mut parts[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        if let Some(left) = timeout.left(begun)? {
            socket.set_write_timeout(Some(left))?;
        }
        match socket.write_vectored(rest) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

impl Receiver {
    /// Accepts bodies up to [`BODY_LIMIT`] from now on: the other end is authenticated.
    pub const fn trust(&mut self) {
        self.limit = BODY_LIMIT;
    }

    /// Sets how long a message may take to arrive as a whole.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.timeout.patience = patience;
    }

    /// A handle with which others can shut the connection down.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.socket))
    }

    /// Waits for the next message or run of log bytes.
    ///
    /// # Errors
    /// If the connection fails, nothing whole arrives in time, or a refusal or malformed bytes arrive.
    pub fn next(&mut self) -> Result<Received<'_>, LinkError> {
        let begun = Clock::start();
        while !self.inbox.is_ready(self.limit)? {
            if let Some(left) = self.timeout.left(begun)? {
                self.socket.set_read_timeout(Some(left))?;
            }
            match (&*self.socket).read(self.inbox.space()) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(count) => self.inbox.filled(count),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        match self.inbox.next(self.limit)?.ok_or(LinkError::OutOfTurn)? {
            (Kind::Log, run) => Ok(Received::Log(run)),
            (Kind::Message, body) => match Message::decode(body)? {
                Message::Refusal { reason, text } => Err(LinkError::Refused { reason, text: text.into_owned() }),
                message => Ok(Received::Message(message)),
            },
        }
    }

    /// Waits for the next message, at a point of the protocol where log bytes are not allowed.
    ///
    /// # Errors
    /// As [`Self::next`]; also if log bytes arrive.
    pub fn message(&mut self) -> Result<Message<'_>, LinkError> {
        match self.next()? {
            Received::Message(message) => Ok(message),
            Received::Log(_) => Err(LinkError::OutOfTurn),
        }
    }
}

/// Weak reference to a connection, with which it can be shut down by those who do not own it.
#[derive(Debug)]
pub struct Handle(Weak<TcpStream>);

impl Handle {
    /// Shuts the connection down; whoever waits on it returns with [`LinkError::Closed`] or an I/O error.
    pub fn shut(&self) {
        if let Some(socket) = self.0.upgrade() {
            // A failure is ignored: the connection may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// The connections of one session, which are shut down together: whether that has happened, and the open ones.
#[derive(Default)]
pub struct Links(Mutex<(bool, Vec<Handle>)>);

impl Links {
    /// Adds `receiver`'s connection to the session. If the session was shut already, shuts the connection down at once.
    pub fn add(&self, receiver: &Receiver) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.0 {
            receiver.handle().shut();
        } else {
            links.1.retain(|handle| handle.0.strong_count() > 0);
            links.1.push(receiver.handle());
        }
    }

    /// Shuts the session's connections down, and those that are added later.
    pub fn shut(&self) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.0 = true;
        links.1.drain(..).for_each(|handle| handle.shut());
    }

    /// Whether [`Self::shut`] was called.
    pub fn are_shut(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Connects to the first address that answers within `timeout`; the rest is done by [`open`].
///
/// # Errors
/// If no address answers, or the socket does not take its settings.
pub fn connect(
    addresses: &[SocketAddr],
    timeout: Duration,
    patience: Duration,
) -> Result<(Sender, Receiver), LinkError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, timeout) {
            Ok(socket) => return Ok(open(socket, patience)?),
            Err(e) => last = e,
        }
    }
    Err(last.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A patience longer than any test here takes.
    const LONG: Duration = Duration::from_secs(60);

    fn pair(patience: Duration) -> (TcpStream, (Sender, Receiver)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, open(listener.accept().unwrap().0, patience).unwrap())
    }

    #[test]
    fn a_message_that_comes_by_the_byte_does_not_outlast_its_deadline() {
        let (mut stranger, (_, mut receiver)) = pair(Duration::from_millis(200));
        let dripping = thread::spawn(move || {
            let header = header(Kind::Message, &[0; 1000]);
            header.iter().chain(&[0; 1000]).all(|byte| {
                thread::sleep(Duration::from_millis(20));
                stranger.write_all(&[*byte]).is_ok()
            })
        });
        assert!(matches!(receiver.next(), Err(LinkError::Silent)));
        drop(receiver);
        assert!(!dripping.join().unwrap(), "the connection is closed");
    }

    #[test]
    fn a_message_that_is_taken_by_the_byte_does_not_outlast_its_deadline() {
        let (mut slow, (mut sender, _receiver)) = pair(Duration::from_millis(300));
        let sipping = thread::spawn(move || {
            let mut some = [0; 50_000];
            while !matches!(slow.read(&mut some), Ok(0) | Err(_)) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        // More than any buffer between the two holds.
        let ended = sender.send_log(&vec![1; 64 << 20]);
        assert!(matches!(ended, Err(LinkError::Silent)), "{ended:?}");
        drop((sender, _receiver));
        sipping.join().unwrap();
    }

    #[test]
    fn a_connection_whose_halves_are_gone_is_closed_whoever_knows_of_it() {
        let (other, (sender, receiver)) = pair(LONG);
        let (_, mut other) = open(other, LONG).unwrap();
        let links = Links::default();
        links.add(&receiver);
        let handle = receiver.handle();
        drop(sender);
        assert!(matches!(other.next(), Err(LinkError::Closed)), "no more will come");
        drop(receiver);
        assert_eq!(handle.0.strong_count(), 0);
        links.shut();
    }

    #[test]
    fn runs_and_messages_arrive_in_order_however_long() {
        let (one, (_, mut receiver)) = pair(LONG);
        let (mut sender, other_half) = open(one, LONG).unwrap();
        receiver.trust();
        let log: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
        let sent = log.clone();
        let sending = thread::spawn(move || {
            sender.send(&Message::Ping).unwrap();
            sender.send_log(&sent).unwrap();
            sender.refuse(Reason::Busy, "enough");
        });
        assert!(matches!(receiver.next(), Ok(Received::Message(Message::Ping))));
        let mut got = Vec::new();
        let refused = loop {
            match receiver.next() {
                Ok(Received::Log(run)) => got.extend_from_slice(run),
                other => break other.map(|_| ()),
            }
        };
        assert!(got == log && matches!(refused, Err(LinkError::Refused { reason: Reason::Busy, .. })));
        sending.join().unwrap();
        drop(other_half);
        assert!(matches!(receiver.next(), Err(LinkError::Closed)));
    }

    #[test]
    fn a_session_that_was_ended_frees_its_waiters_and_takes_no_new_connection() {
        let (_other, (_, mut receiver)) = pair(LONG);
        let (_another, (_, mut late)) = pair(LONG);
        let links = Arc::new(Links::default());
        links.add(&receiver);
        let waiting = thread::spawn(move || receiver.next().map(|_| ()));
        links.shut();
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Closed)));
        links.add(&late);
        assert!(matches!(late.next(), Err(LinkError::Closed)));
    }
}
