//! The checkpoint node: follows the master's streams, holds the same data, writes snapshots and uploads them.
//!
//! Always, per partition: own snapshot ≤ position in memory ≤ the master's durable edits; an uploaded snapshot was
//! captured at a barrier whose digests agreed.
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`] | what the node lacks, and from where it gets that |
//! | [`session`], [`course`], `error` | a session with the master: what its threads share, what happens in it, why it ended |
//! | [`bootstrap`] | gives each partition a state to go on from |
//! | [`follow`], [`assembler`] | follow one stream: frames are put together, applied and acknowledged |
//! | [`mirror`] | the partitions in memory, split by the cores of an epoch |
//! | [`capture`], [`outbox`], [`upload`], [`throttle`] | capture state, queue snapshots, upload them, limit the rate |
//! | [`directory`] | the node's own directory |
//! | [`handover`] | at its end, the node turns its directory into one that a master can start from |
//! | [`parent`] | ends a child node with its master |
//!
//! Deliberately absent: clients, the wall clock, anything that the master waits for except acknowledgements.

pub(crate) mod assembler;
pub(crate) mod bootstrap;
pub(crate) mod capture;
pub(crate) mod course;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod handover;
pub(crate) mod mirror;
pub(crate) mod outbox;
mod parent;
pub(crate) mod plan;
pub(crate) mod session;
pub(crate) mod throttle;
pub(crate) mod upload;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use self::directory::NodeDir;
use self::error::SessionError;
use self::follow::FollowError;
use self::mirror::Part;
use self::outbox::Outbox;
pub use self::parent::Parent;
use self::throttle::Throttle;
use super::clock::Clock;
use super::link::{LinkError, Links};
use super::protocol::Reason;
use crate::config::Password;
use crate::ids::DirectoryId;
use crate::partition::replica::ReplayError;
use crate::storage::{Files, OsFiles, StorageError};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A session that lasted this long counts as healthy: the next one is opened after the shortest pause.
const WELL: Duration = Duration::from_secs(10);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` of the master's checkpoint port.
    pub master: String,
    /// The node's own directory.
    pub dir: PathBuf,
    /// The master's password, if it has one.
    pub password: Option<Password>,
    /// Most bytes uploaded per second; `None` means no bound.
    pub upload_bytes_per_second: Option<u64>,
    /// How long the master may take to answer, or to send a heartbeat, before its connection is given up.
    pub timeout: Duration,
    /// The master whose child this node is, if it is one.
    pub parent: Option<Parent>,
}

/// Why a node cannot go on: trying again would not help.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node's own directory cannot be used.
    #[error(transparent)]
    Own(#[from] StorageError),
    /// The node's own directory mirrors another data directory than the master's.
    #[error("{}: mirrors data directory {had}, but the master's is {found}: use another checkpoint.dir", path.display())]
    Foreign {
        /// The node's own directory.
        path: PathBuf,
        /// Id of the data directory that it mirrors.
        had: String,
        /// Id of the master's data directory.
        found: DirectoryId,
    },
    /// The master refused the node for its protocol version or its password.
    #[error("the master refused this node: {0}")]
    Refused(String),
}

/// A handle that ends a node in this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    stopped: AtomicBool,
    links: Mutex<Weak<Links>>,
}

impl std::fmt::Debug for StopState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopState").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl Stop {
    /// Ends the node's session at once, and [`run`] soon after.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        if let Some(links) = self.0.links.lock().unwrap_or_else(PoisonError::into_inner).upgrade() {
            links.shut();
        }
    }

    fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Sets the connections that [`Self::stop`] ends: those of the present session.
    fn watch(&self, links: &Arc<Links>) {
        *self.0.links.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(links);
        // If `stop` was called before that, nobody else ends these connections.
        if self.is_stopped() {
            links.shut();
        }
    }
}

/// The state of a node that outlives its sessions.
pub(crate) struct Node<F: Files = OsFiles> {
    pub options: Options,
    pub own: NodeDir<F>,
    pub outbox: Outbox,
    pub throttle: Mutex<Throttle>,
    pub clock: Clock,
    pub stop: Stop,
    /// Random number that tells this node process from every other.
    pub number: u64,
}

/// Runs a node until `stop`, or until its parent is gone. A node without a parent may then hold the only copy of
/// acknowledged edits, so however it ends, it makes its directory one that a master can start from. Blocks.
///
/// # Errors
/// If trying again would not help, or the directory could not be made so.
pub fn run(options: Options, stop: Stop) -> Result<(), NodeError> {
    let own = NodeDir::open(OsFiles, &options.dir)?;
    let throttle = Mutex::new(Throttle::new(options.upload_bytes_per_second));
    let number = fastrand::u64(..);
    let node = Node { options, own, outbox: Outbox::default(), throttle, clock: Clock::start(), stop, number };
    let mut mirror: Option<Part> = None;
    let ended = follow_masters(&node, &mut mirror);
    if node.options.parent.is_none()
        && let Some(mut mirror) = mirror
    {
        leave_behind(&node, &mut mirror)?;
    }
    ended
}

/// Opens one session after the other until the node is to end.
fn follow_masters(node: &Node, mirror: &mut Option<Part>) -> Result<(), NodeError> {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    while !node.is_done() {
        let started = node.clock.now();
        let ended = course::run(node, mirror);
        if node.is_done() {
            break;
        }
        match ended {
            Err(SessionError::Final(e)) => return Err(e),
            Err(SessionError::Link(LinkError::Refused { reason: Reason::Password | Reason::Protocol, text })) => {
                return Err(NodeError::Refused(text));
            }
            Err(e) => {
                if let SessionError::Follow(
                    FollowError::Differs { .. } | FollowError::Contradiction { why: ReplayError::Lost(_), .. },
                ) = &e
                {
                    // The master is healthy, so the pause does not grow: where many partitions differ, each begins anew
                    // after the shortest pause. This ends, because a partition does not begin anew again before it has
                    // agreed.
                    pause = FIRST_PAUSE;
                }
                say(&mut said, &e);
            }
            Ok(()) => {}
        }
        if node.clock.now().saturating_sub(started) >= WELL {
            pause = FIRST_PAUSE;
            said.clear();
        }
        node.sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

/// Makes the node's directory a data directory, if the node holds everything, and logs the result.
fn leave_behind(node: &Node, mirror: &mut Part) -> Result<(), NodeError> {
    let dir = node.options.dir.display();
    match handover::hand_over(&node.own, mirror)? {
        Some(reached) => {
            tracing::info!(%reached, "all that this node acknowledged is in {dir}; a master can start there with data.dir");
        }
        None => tracing::warn!("this node had not caught up with its master: no master can start in {dir}"),
    }
    Ok(())
}

/// Logs why a session ended, unless the last one ended for the same reason.
fn say(said: &mut String, error: &SessionError) {
    let text = error.to_string();
    if *said != text {
        tracing::warn!("not connected to the master: {text}; trying again");
        *said = text;
    }
}

impl<F: Files> Node<F> {
    fn is_done(&self) -> bool {
        self.stop.is_stopped() || self.options.parent.is_some_and(|parent| !parent.is_here())
    }

    /// How long to wait before `bytes` more bytes may be uploaded.
    fn delay(&self, bytes: usize) -> Duration {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).delay(bytes, self.clock.now())
    }

    fn sleep(&self, time: Duration) {
        let until = self.clock.now() + time;
        while !self.is_done() && self.clock.now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
