//! One client's connection: what it has sent, what it is told, and what it has chosen.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use socket2::TcpKeepalive;

use super::replies::ReplyQueue;
use crate::commands::Spec;
use crate::commands::registry::{Flags, Route};
use crate::encoding::resp::{Limits, Partial, Protocol};
use crate::engine::{Call, WaitId};
use crate::ids::{Caller, CoreId, Db, Lsn, RequestId, Slot};
use crate::runtime::ring::Token;

/// A connection. Its core alone touches it.
pub struct Connection {
    socket: OwnedFd,
    /// The client's number; never used twice in a life of the master.
    pub client: u64,
    /// Remote address, if the kernel tells it.
    pub peer: Option<SocketAddr>,
    /// Local address that the client has connected to.
    pub local: Option<SocketAddr>,
    /// Database, protocol and other choices of the client.
    pub session: Session,
    /// Bytes received and not yet executed.
    pub input: Vec<u8>,
    /// How far the request at the end of `input` has come.
    pub partial: Partial,
    /// Replies that leave with the next send.
    pub output: Vec<u8>,
    /// Replies that are not ready to leave.
    pub replies: ReplyQueue,
    /// The last edit that this client caused on each core; empty until it causes one.
    pub written: Vec<Lsn>,
    /// Why its requests are not executed at the moment.
    pub hold: Hold,
    /// All cores have published their counts for its request, which is `INFO`.
    pub counts_asked_for: bool,
    /// Whether and when the connection is to be closed.
    pub closing: Closing,
    /// The client will send no more: since when it has got nothing either, neither a reply nor a request executed.
    pub alone_since: Option<Instant>,
    /// A multishot receive is armed in the ring.
    pub receiving: bool,
    /// The armed receive has been asked to end.
    pub pausing: bool,
    /// A send is under way, of this many bytes.
    pub sending: Option<usize>,
    /// It stands in the list of connections that have something to send.
    pub dirty: bool,
    /// It stands in the list of connections that have got replies which were under way.
    pub answered: bool,
    /// It stands in the list of connections whose replies wait for edits to become safe.
    pub gated: bool,
}

/// Why a connection's requests are not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its requests are executed as they come.
    No,
    /// The log, or the queue to another core, has no room. It stands in the list of stalled connections.
    Stalled,
    /// The next one is only to be executed when all before it are answered (`WAIT`, `WAITAOF`, `INFO`).
    Settling,
    /// The client waits for this reply (`WAIT`, `WAITAOF`, `SAVE`), which the engine's wait gives, if there is one.
    Blocked(RequestId, Option<WaitId>),
    /// Its attempt to authenticate waits until then, because others from its address have failed.
    Waiting(Instant),
    /// The client has ended the server (`SHUTDOWN`).
    Ending,
}

/// Whether a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    /// It stays open.
    No,
    /// The client will send no more; what it has sent is executed and answered first.
    AfterInput,
    /// It is closed when all its replies have left.
    AfterReplies,
    /// It is closed at once; replies that have not left are dropped.
    Now,
}

/// Bytes of replies that leave without waiting for the answers of other cores.
const GATHERED: usize = 16 * 1024;

/// What a client has chosen, and what `CLIENT` shows of it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The database of its commands.
    pub db: Db,
    /// The version of RESP that it speaks.
    pub protocol: Protocol,
    /// Which commands the client may use.
    pub standing: Standing,
    /// It has a place beyond the usual ones, for administrators.
    pub reserved: bool,
    /// Wrong passwords that it has given.
    pub failures: u32,
    /// Time since when the client is unauthenticated, if it is.
    pub unauthenticated_since: Instant,
    /// Since when it leaves more replies unread than it may for long.
    pub slow_since: Option<Instant>,
    /// Name of the connection, given by `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// Name of the client's library, given by `CLIENT SETINFO`.
    pub library_name: Vec<u8>,
    /// Version of the client's library, given by `CLIENT SETINFO`.
    pub library_version: Vec<u8>,
    /// Which replies the client wants (`CLIENT REPLY`).
    pub replies: ReplyMode,
    /// `CLIENT NO-EVICT`: it is not disconnected for what all clients hold together.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`: its reads do not count as use of a key.
    pub no_touch: bool,
    /// Time at which the client connected.
    pub connected: Instant,
    /// Time at which the client last sent a request.
    pub last_request: Instant,
    /// Name of the client's last command.
    pub last_command: &'static str,
}

/// Which commands a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Only commands that authenticate: the client has not given the password.
    Unauthenticated,
    /// Commands that touch no data: the client has a place that is kept for administrators.
    Administrator,
    /// Every command: the client has authenticated, or need not.
    Client,
}

impl Standing {
    /// Why a client of this standing may not use a command, if so.
    #[cold]
    pub fn refusal(self, spec: &Spec) -> Option<&'static str> {
        match self {
            Self::Unauthenticated if spec.flags.contains(Flags::NO_AUTH) => None,
            Self::Unauthenticated => Some("NOAUTH Authentication required."),
            Self::Administrator if spec.route == Route::Session => None,
            Self::Administrator => Some(
                "ERR max number of clients reached: this connection has a place kept for administrators, \
                 and may not touch data",
            ),
            Self::Client => None,
        }
    }
}

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// Every reply is sent.
    On,
    /// No reply is sent.
    Off,
    /// The next reply is not sent; those after it are.
    SkipNext,
}

impl Session {
    /// Creates the session of a client that has just connected.
    pub fn new(now: Instant) -> Self {
        Self {
            db: Db(0),
            protocol: Protocol::Resp2,
            standing: Standing::Unauthenticated,
            reserved: false,
            failures: 0,
            unauthenticated_since: now,
            slow_since: None,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            replies: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            connected: now,
            last_request: now,
            last_command: "NULL",
        }
    }
}

impl Session {
    /// The client has proved who it is, or need not.
    pub const fn admit(&mut self) {
        self.standing = if self.reserved { Standing::Administrator } else { Standing::Client };
    }

    /// A reply was due. If the client did not want this one, it wants the next.
    #[inline]
    pub fn unmute_next(&mut self) {
        if self.replies == ReplyMode::SkipNext {
            self.replies = ReplyMode::On;
        }
    }

    /// Whether it has not proved who it is.
    pub fn is_unauthenticated(&self) -> bool {
        self.standing == Standing::Unauthenticated
    }
}

impl Connection {
    /// Creates a connection over an accepted socket.
    pub fn new(socket: OwnedFd, client: u64, session: Session) -> Self {
        let (peer, local) = {
            let socket = socket2::SockRef::from(&socket);
            let address = |a: std::io::Result<socket2::SockAddr>| a.ok().and_then(|a| a.as_socket());
            (address(socket.peer_addr()), address(socket.local_addr()))
        };
        Self {
            socket,
            client,
            peer,
            local,
            session,
            input: Vec::new(),
            partial: Partial::default(),
            output: Vec::new(),
            replies: ReplyQueue::default(),
            written: Vec::new(),
            hold: Hold::No,
            counts_asked_for: false,
            closing: Closing::No,
            alone_since: None,
            receiving: false,
            pausing: false,
            sending: None,
            dirty: false,
            answered: false,
            gated: false,
        }
    }

    /// Has the kernel find out when the client's machine is gone: after `seconds` of silence it asks three times within
    /// as long again. Replies that find nobody to take them may be under way for as long.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn keep_alive(&self, seconds: u64) -> std::io::Result<()> {
        const PROBES: u32 = 3;
        let silence = Duration::from_secs(seconds);
        let between = Duration::from_secs((seconds / u64::from(PROBES)).max(1));
        let socket = socket2::SockRef::from(&self.socket);
        let probes = TcpKeepalive::new().with_time(silence).with_interval(between).with_retries(PROBES);
        socket.set_tcp_keepalive(&probes)?;
        // Without it the kernel would send unacknowledged replies again for a quarter of an hour; it asks nothing
        // meanwhile.
        socket.set_tcp_user_timeout(Some(silence + PROBES * between))
    }

    /// The connection's socket, for operations of the ring.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Limits on its requests, `usual` being those after authentication.
    pub fn limits(&self, usual: Limits) -> Limits {
        if self.session.is_unauthenticated() { Limits::UNAUTHENTICATED } else { usual }
    }

    /// A command of this client, as an engine executes it.
    #[inline]
    pub const fn call(&self, spec: &'static Spec, slot: Slot) -> Call {
        let Session { db, protocol, no_touch, .. } = self.session;
        Call { spec, db, slot, protocol, touch: !no_touch }
    }

    /// Who is to get the reply of the request that is executed now.
    #[inline]
    pub fn caller(&self, token: Token) -> Caller {
        Caller { connection: token, client: self.client, request: self.replies.next_request() }
    }

    /// Keeps a place for the reply of the request that is executed now, which somebody else will give.
    pub fn expect_reply(&mut self) -> RequestId {
        let is_muted = self.session.replies != ReplyMode::On;
        self.session.unmute_next();
        self.replies.expect(is_muted)
    }

    /// As [`Self::expect_reply`], for a command of which one of `cores` cores, `core`, has done its part already: that
    /// has caused the edit `wrote`, or none (0), and `kept` bytes are kept for the reply.
    pub fn expect(&mut self, core: CoreId, wrote: Lsn, kept: usize, cores: u16) {
        let request = self.expect_reply();
        if wrote.0 > 0 {
            self.note_write(core, wrote, cores);
        }
        if kept > 0 {
            self.replies.keep(request, kept);
        }
    }

    /// Whether its requests are executed.
    pub fn is_executing(&self) -> bool {
        self.hold == Hold::No && self.closing < Closing::AfterReplies
    }

    /// It has got a reply, or a request of it was executed.
    pub fn note_progress(&mut self, now: Instant) {
        self.alone_since = self.alone_since.map(|_| now);
    }

    /// Bytes of replies held for it.
    pub fn output_bytes(&self) -> usize {
        self.output.len() + self.replies.bytes() + self.sending.unwrap_or(0)
    }

    /// Bytes of memory that it takes: buffers with their spare room.
    pub fn memory(&self) -> usize {
        let buffers = self.input.capacity() + self.output.capacity() + self.sending.unwrap_or(0);
        size_of::<Self>() + buffers + self.partial.memory() + self.replies.bytes()
    }

    /// Whether answers of other cores to its pipeline are on their way, with which the replies before them may as well
    /// leave: a second send would cost more than all else that is done for a short pipeline.
    pub fn expects_more(&self) -> bool {
        self.hold == Hold::No && self.replies.has_pending() && self.output.len() < GATHERED
    }

    /// Whether nothing of it is in the kernel's hands, so that it can be dropped.
    pub const fn is_quiet(&self) -> bool {
        !self.receiving && self.sending.is_none()
    }

    /// Remembers an edit that the client caused on one of `cores` cores.
    pub fn note_write(&mut self, core: CoreId, lsn: Lsn, cores: u16) {
        if self.written.is_empty() {
            self.written.resize(usize::from(cores), Lsn(0));
        }
        let last = &mut self.written[usize::from(core.0)];
        *last = lsn.max(*last);
    }

    /// When it is closed, the client is told by a reset. One that is sending and finds no room would otherwise not hear
    /// of the end for a minute.
    pub fn close_with_reset(&self) {
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Closes it at the given point, or earlier if that was asked for before.
    pub fn close(&mut self, when: Closing) {
        self.closing = self.closing.max(when);
        if self.closing == Closing::Now {
            // What it held is free at once; the rest goes with the connection.
            (self.input, self.output) = (Vec::new(), Vec::new());
            // Operations that are under way end, and with the last of them the connection is dropped.
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_asks_three_times_whether_a_silent_client_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = OwnedFd::from(listener.accept().unwrap().0);
        let connection = Connection::new(accepted, 1, Session::new(Instant::now()));
        let socket = socket2::SockRef::from(&connection.socket);
        assert!(!socket.keepalive().unwrap());
        for (seconds, between, all) in [(300, 100, 600), (100, 33, 199), (1, 1, 4), (32_767, 10_922, 65_533)] {
            connection.keep_alive(seconds).unwrap();
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(seconds));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(between));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(all)));
        }
    }
}
