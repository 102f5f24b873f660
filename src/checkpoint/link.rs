//! Connections between master and node: blocking sockets that carry messages and runs of log bytes.
//!
//! A thread that waits in a [`Receiver`] or [`Sender`] is freed by [`Links::shut`], which ends all connections of a session at once.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::clock::Clock;
use super::protocol::codec::{Builder, MessageError};
use super::protocol::wire::{Inbox, Kind, WireError, header};
use super::protocol::{BODY_LIMIT, HELLO_LIMIT, Message, Reason, Received, SILENCE};

/// Longest run of log bytes that is sent at once.
const RUN: usize = 1 << 20;
/// How long a socket may take to accept bytes. The other end stops reading while it applies a long run, but not for so long.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);

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
    /// Bytes that are no message.
    #[error("connection: {0}")]
    Wire(#[from] WireError),
    /// A message that is none.
    #[error("connection: {0}")]
    Message(#[from] MessageError),
    /// A message that has no place here.
    #[error("connection: a message out of turn")]
    OutOfTurn,
    /// The other end said no.
    #[error("refused: {text}")]
    Refused {
        /// For the program.
        reason: Reason,
        /// For people.
        text: String,
    },
}

impl From<io::Error> for LinkError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            // How a socket reports that its timeout is over.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Io(e),
        }
    }
}

/// The writing half.
pub struct Sender {
    socket: TcpStream,
    builder: Builder,
}

/// The reading half.
pub struct Receiver {
    socket: TcpStream,
    inbox: Inbox,
    limit: usize,
    /// When the next message must be here, whatever trickles in until then.
    deadline: Option<(Clock, Duration)>,
}

/// Makes a connection's two halves. Small messages leave at once, dead peers are noticed.
///
/// # Errors
/// If the socket does not take its settings.
pub fn open(socket: TcpStream) -> io::Result<(Sender, Receiver)> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    let sender = Sender { socket: socket.try_clone()?, builder: Builder::default() };
    Ok((sender, Receiver { socket, inbox: Inbox::default(), limit: HELLO_LIMIT, deadline: None }))
}

impl Sender {
    /// Sends a message.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn send(&mut self, message: &Message<'_>) -> Result<(), LinkError> {
        let body = message.encode(&mut self.builder);
        write_both(&mut self.socket, &header(Kind::Message, body), body)
    }

    /// Sends log bytes, in several runs if need be; an empty run shows that this end lives.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn send_log(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let (first, rest) = bytes.split_at(bytes.len().min(RUN));
        write_both(&mut self.socket, &header(Kind::Log, first), first)?;
        rest.chunks(RUN).try_for_each(|run| write_both(&mut self.socket, &header(Kind::Log, run), run))
    }

    /// Says no. That the other end may be gone already does not matter.
    pub fn refuse(&mut self, reason: Reason, text: &str) {
        let _ = self.send(&Message::Refusal { reason, text: text.into() });
    }
}

/// Writes a header and its body, with one system call if the socket has room.
fn write_both(socket: &mut TcpStream, header: &[u8], body: &[u8]) -> Result<(), LinkError> {
    let mut sent = 0;
    while sent < header.len() {
        let count = match socket.write_vectored(&[IoSlice::new(&header[sent..]), IoSlice::new(body)]) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        sent += count;
    }
    Ok(socket.write_all(&body[sent - header.len()..])?)
}

impl Receiver {
    /// The other end has shown that it may speak: longer bodies are let in.
    pub const fn trust(&mut self) {
        self.limit = BODY_LIMIT;
    }

    /// What comes next must be here as a whole within this time, so that a stranger cannot hold the connection by the byte.
    pub fn set_deadline(&mut self, time: Duration) {
        self.deadline = Some((Clock::start(), time));
    }

    /// How long [`Self::next`] waits for a sign of life; `None` is forever (until [`Links::shut`]). Ends a deadline.
    ///
    /// # Errors
    /// If the socket does not take the setting.
    pub fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.deadline = None;
        self.socket.set_read_timeout(patience)
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// If the connection fails or is silent for too long, or if what came is a refusal or makes no sense.
    pub fn next(&mut self) -> Result<Received<'_>, LinkError> {
        while !self.inbox.is_ready(self.limit)? {
            if let Some((clock, time)) = self.deadline {
                let left = time.saturating_sub(clock.now());
                if left.is_zero() {
                    return Err(LinkError::Silent);
                }
                self.socket.set_read_timeout(Some(left))?;
            }
            match self.socket.read(self.inbox.space()) {
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

    /// Waits for the next message, where log bytes have no place.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn message(&mut self) -> Result<Message<'_>, LinkError> {
        match self.next()? {
            Received::Message(message) => Ok(message),
            Received::Log(_) => Err(LinkError::OutOfTurn),
        }
    }
}

/// The connections of one session, to be ended together.
#[derive(Default)]
pub struct Links(Mutex<(bool, Vec<TcpStream>)>);

impl Links {
    /// `receiver`'s connection belongs to the session from now on. If the session has ended, so does the connection.
    ///
    /// # Errors
    /// If the process has no file descriptors left.
    pub fn add(&self, receiver: &Receiver) -> io::Result<()> {
        let socket = receiver.socket.try_clone()?;
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.0 {
            let _ = socket.shutdown(Shutdown::Both);
        } else {
            links.1.push(socket);
        }
        Ok(())
    }

    /// Ends the session's connections, now and in future.
    pub fn shut(&self) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.0 = true;
        for socket in links.1.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether [`Self::shut`] was called.
    pub fn are_shut(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Connects to the first of the addresses that answers.
///
/// # Errors
/// If none does.
pub fn connect(addresses: &[SocketAddr], timeout: Duration) -> Result<(Sender, Receiver), LinkError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, timeout) {
            Ok(socket) => return Ok(open(socket)?),
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

    fn pair() -> (TcpStream, (Sender, Receiver)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, open(listener.accept().unwrap().0).unwrap())
    }

    #[test]
    fn a_message_that_comes_by_the_byte_does_not_outlast_its_deadline() {
        let (mut stranger, (_, mut receiver)) = pair();
        let dripping = thread::spawn(move || {
            let header = header(Kind::Message, &[0; 1000]);
            header.iter().chain(&[0; 1000]).all(|byte| {
                thread::sleep(Duration::from_millis(20));
                stranger.write_all(&[*byte]).is_ok()
            })
        });
        receiver.set_deadline(Duration::from_millis(200));
        assert!(matches!(receiver.next(), Err(LinkError::Silent)));
        drop(receiver);
        assert!(!dripping.join().unwrap(), "the connection is closed");
    }

    #[test]
    fn runs_and_messages_arrive_in_order_however_long() {
        let (one, (_, mut receiver)) = pair();
        let (mut sender, other_half) = open(one).unwrap();
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
        let (_other, (_, mut receiver)) = pair();
        let (_another, (_, mut late)) = pair();
        let links = std::sync::Arc::new(Links::default());
        links.add(&receiver).unwrap();
        receiver.set_patience(None).unwrap();
        let waiting = thread::spawn(move || receiver.next().map(|_| ()));
        links.shut();
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Closed)));
        links.add(&late).unwrap();
        assert!(matches!(late.next(), Err(LinkError::Closed)));
    }
}
