//! Accepts connections of nodes: checks the protocol version and the password, admits one session at a time, and serves
//! each connection by its role.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::counters::NodeInfo;
use super::sessions::SessionId;
use super::side::MasterSide;
use super::unauthenticated::{Unauthenticated, UnauthenticatedList};
use super::{download, feed, upload};
use crate::auth::guard::Attempt;
use crate::ids::{CoreId, PartitionId};
use crate::replication::link::{self, LinkError, Links, Receiver, Sender};
use crate::replication::protocol::proof::{NONCE, is_proved};
use crate::replication::protocol::{Hello, Kept, Message, Reason, Role, SILENCE, StreamInfo, VERSION, Welcome};
use crate::storage::Files;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::GetRandomFlags;

/// How long a new connection may take for its hello, and again for its proof.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How many connections there may be at once beyond one for each stream.
const SPARE: usize = 16;
/// How often the accept thread checks whether the master is stopping.
const LOOK: Duration = Duration::from_millis(100);

/// The body of the accept thread.
pub(crate) fn run(shared: &Arc<MasterSide>, listeners: Vec<TcpListener>) {
    // A node that catches up follows all streams of an epoch at once, and a former epoch may have had more cores than
    // the present one.
    let most = shared.dir.manifest().epochs.iter().map(|e| e.streams.len()).max().unwrap_or(0) + SPARE;
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    let (mut newcomers, mut turned_away) = (UnauthenticatedList::default(), Rarely::default());
    while !shared.is_stopping() {
        let mut fds: Vec<_> = listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(LOOK).ok();
        if poll(&mut fds, timeout.as_ref()).is_err() {
            thread::sleep(LOOK);
        }
        connections.retain(|c| !c.is_finished());
        for listener in &listeners {
            match listener.accept() {
                Ok((socket, peer)) if connections.len() < most => {
                    let shared = shared.clone();
                    let opened = socket.set_nonblocking(false).and_then(|()| link::open(socket, HELLO_TIMEOUT));
                    let Ok((sender, receiver)) = opened else { continue };
                    let newcomer = newcomers.add(&receiver);
                    let serve = move || serve(&shared, sender, receiver, peer.ip(), &newcomer);
                    match thread::Builder::new().name("ckpt-node".to_owned()).spawn(serve) {
                        Ok(thread) => connections.push(thread),
                        Err(e) => tracing::warn!("cannot serve a checkpoint node: {e}"),
                    }
                }
                Ok((_, peer)) => turned_away.say(shared.clock.now(), |times| {
                    tracing::warn!(%peer, times, "too many connections to the checkpoint port");
                }),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => {
                    // Most likely there are no descriptors left. Time may help; ending the thread would not.
                    tracing::warn!("cannot accept a checkpoint node: {e}");
                    thread::sleep(LOOK);
                }
            }
        }
    }
    connections.into_iter().for_each(|c| drop(c.join()));
}

/// Serves one connection, from its hello to its end, and logs why it ended.
fn serve(shared: &Arc<MasterSide>, sender: Sender, receiver: Receiver, peer: IpAddr, newcomer: &Unauthenticated) {
    match admit(shared, sender, receiver, peer, newcomer) {
        Ok(()) | Err(LinkError::Closed) => {}
        // Errors of unauthenticated connections are logged at debug level only: anybody could fill a disk with them.
        Err(e) if shared.is_stopping() || !newcomer.is_authenticated() => tracing::debug!(%peer, "{e}"),
        Err(e) => tracing::info!(%peer, "checkpoint node: {e}"),
    }
}

/// Receives the hello, authenticates the node, and serves the connection by its role.
fn admit(
    shared: &Arc<MasterSide>,
    mut sender: Sender,
    mut receiver: Receiver,
    peer: IpAddr,
    newcomer: &Unauthenticated,
) -> Result<(), LinkError> {
    let Message::Hello(hello) = receiver.message()? else { return Err(LinkError::OutOfTurn) };
    let checked = match check(shared, &hello, peer) {
        Ok(()) => challenge(shared, &hello, &mut sender, &mut receiver, peer)?,
        refused => refused,
    };
    if let Err((reason, text)) = checked {
        tracing::warn!(%peer, "checkpoint node refused: {text}");
        sender.refuse(reason, text);
        return Ok(());
    }
    let (role, node, session) = (hello.role, hello.node, SessionId(hello.session));
    newcomer.set_authenticated();
    receiver.trust();
    sender.set_patience(shared.timeout);
    receiver.set_patience(shared.timeout);
    if role == Role::Control {
        return control(shared, sender, receiver, node, peer);
    }
    let links = {
        let state = shared.state();
        state.sessions.is_present(session).then(|| state.links.clone())
    };
    let Some(links) = links else {
        sender.refuse(Reason::Stale, "this session is over");
        return Ok(());
    };
    links.add(&receiver);
    let ended = match role {
        Role::Control => Ok(()),
        Role::Stream => feed::serve(shared, sender, receiver, &links),
        Role::Upload => {
            yield_to_others();
            upload::serve(shared, sender, receiver)
        }
        Role::Download => {
            yield_to_others();
            download::serve(shared, sender, receiver)
        }
    };
    // A connection that fails after its session has ended is not worth a message.
    if links.are_shut() { Ok(()) } else { ended }
}

/// Lowers this thread's priority: snapshots can wait, clients cannot.
pub(super) fn yield_to_others() {
    // On Linux, the nice value belongs to the thread. If it cannot be changed, nothing is lost.
    let _ = rustix::process::nice(10);
}

/// Why a node is refused: for the program, and for people.
type Refusal = (Reason, &'static str);

/// Checks the hello's protocol version, and whether the peer may connect at all.
pub(crate) fn check<F: Files>(shared: &MasterSide<F>, hello: &Hello, peer: IpAddr) -> Result<(), Refusal> {
    if hello.protocol != VERSION {
        return Err((Reason::Protocol, "another version of the mirror protocol: run the same version on both ends"));
    }
    if shared.protected && !peer.to_canonical().is_loopback() && shared.guard.password().is_none() {
        return Err((Reason::Password, "without server.password only nodes on the master's machine are served"));
    }
    Ok(())
}

/// Has the node prove that it knows the server's password, or the child's secret.
fn challenge(
    shared: &MasterSide,
    hello: &Hello,
    sender: &mut Sender,
    receiver: &mut Receiver,
    peer: IpAddr,
) -> Result<Result<(), Refusal>, LinkError> {
    let mut nonce = [0; NONCE];
    rustix::rand::getrandom(&mut nonce, GetRandomFlags::empty()).map_err(io::Error::from)?;
    sender.send(&Message::Challenge(nonce.as_slice().into()))?;
    let Message::Proof(proof) = receiver.message()? else { return Err(LinkError::OutOfTurn) };
    let Some(password) = shared.guard.password() else { return Ok(Ok(())) };
    let is_right = || {
        let mut known = shared.secret.iter().chain([&password]);
        known.any(|password| is_proved(password, &nonce, hello, &proof))
    };
    let deadline = Instant::now() + HELLO_TIMEOUT;
    loop {
        match shared.guard.attempt(Some(peer), Instant::now(), is_right) {
            Attempt::Right => return Ok(Ok(())),
            Attempt::Wrong => {
                let text = "wrong password: server.password must be the same on both ends";
                return Ok(Err((Reason::Password, text)));
            }
            Attempt::Wait(until) if until < deadline => {
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            Attempt::Wait(_) => return Err(LinkError::Silent),
        }
    }
}

/// Limits a repeated log message to once a minute.
#[derive(Default)]
struct Rarely {
    next: Duration,
    times: u64,
}

impl Rarely {
    /// Counts an occurrence. Calls `say` at most once a minute, with the number of occurrences since the last call.
    fn say(&mut self, now: Duration, say: impl FnOnce(u64)) {
        self.times += 1;
        if now >= self.next {
            self.next = now + Duration::from_secs(60);
            say(std::mem::take(&mut self.times));
        }
    }
}

/// Opens a session and keeps it up while the node sends heartbeats.
fn control(
    shared: &Arc<MasterSide>,
    mut sender: Sender,
    mut receiver: Receiver,
    node: u64,
    peer: IpAddr,
) -> Result<(), LinkError> {
    let links = Arc::new(Links::default());
    links.add(&receiver);
    let Some(session) = open_session(shared, node, &links, peer) else {
        sender.refuse(Reason::Busy, "another checkpoint node is connected");
        return Ok(());
    };
    tracing::info!(%peer, "checkpoint node connected");
    let ended = keep(shared, session, &mut sender, &mut receiver);
    links.shut();
    if close_session(shared, session) && !shared.is_stopping() {
        tracing::warn!(%peer, "checkpoint node lost; edits stay in the log until it is back");
    }
    ended
}

/// Opens a session for `node`, and ends a former session of the same node; `None` while another node has a session.
pub(crate) fn open_session<F: Files>(
    shared: &MasterSide<F>,
    node: u64,
    links: &Arc<Links>,
    peer: IpAddr,
) -> Option<SessionId> {
    let mut state = shared.state();
    let (session, _) = state.sessions.open(node, fastrand::u64(..)).ok()?;
    // Connections of a former session of the same node must not be served any more.
    std::mem::replace(&mut state.links, links.clone()).shut();
    state.policy.node_up(shared.clock.now());
    state.counters.node_up(NodeInfo { address: peer, since: crate::time::unix_millis() });
    drop(state);
    shared.wake();
    Some(session)
}

/// Ends a session. Returns whether it was the present one.
pub(crate) fn close_session<F: Files>(shared: &MasterSide<F>, session: SessionId) -> bool {
    let mut state = shared.state();
    let was_present = state.sessions.close(session);
    if was_present {
        state.policy.node_down(shared.clock.now());
        state.counters.node_down();
    }
    was_present
}

/// Sends the welcome and answers heartbeats, until the node is silent, the connection ends or the master stops.
fn keep(
    shared: &MasterSide,
    session: SessionId,
    sender: &mut Sender,
    receiver: &mut Receiver,
) -> Result<(), LinkError> {
    sender.send(&Message::Welcome(welcome(shared, session)))?;
    receiver.set_patience(SILENCE.min(shared.timeout));
    while !shared.is_stopping() {
        match receiver.message()? {
            Message::Ping => sender.send(&Message::Ping)?,
            _ => return Err(LinkError::OutOfTurn),
        }
    }
    Ok(())
}

/// Builds the welcome: what a node needs to know to catch up.
pub(crate) fn welcome<F: Files>(shared: &MasterSide<F>, session: SessionId) -> Welcome {
    // The manifest is read before the marks: the log can only have become shorter since then, which the node learns
    // when it asks for log that is gone.
    let manifest = shared.dir.manifest();
    let state = shared.state();
    let epochs = manifest.epochs.iter().map(|record| {
        let streams = (0..).map(CoreId).zip(&record.streams).map(|(core, stream)| {
            let present = record.epoch == shared.epoch;
            let durable = shared.streams.get(usize::from(core.0)).map(|marks| marks.durable()).unwrap_or_default();
            let last = stream.last.unwrap_or(durable);
            let wanted_from = if present { state.policy.wanted_from(core) } else { last.next() };
            StreamInfo { first: stream.first, last, wanted_from }
        });
        (record.epoch, streams.collect())
    });
    let kept = (0..).map(PartitionId).zip(&manifest.snapshots).map(|(partition, generations)| Kept {
        floor: manifest.floor(partition),
        newest: generations.newest.map(|n| n.position).unwrap_or_default(),
    });
    Welcome {
        session: session.0,
        directory: shared.dir.id().0,
        epoch: shared.epoch,
        epochs: epochs.collect(),
        kept: kept.collect(),
    }
}
