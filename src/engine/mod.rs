//! One core at work on the data: whoever wants a command executed (a client of this core's network, another core) asks
//! its [`Engine`].
//!
//! A command's way ([`Engine::submit`], in `units`): one whose keys are all here is run at once, in a unit of its own
//! ([`crate::partition::Group`]), and its reply is written where the caller wants it. One that needs other cores is
//! sent to them (`post`) in a batch at the end of the turn; their answers come back the same way, are put together
//! where there are several (`gather`, `merge`), and are handed to the [`Front`]. An answer that tells of edits waits
//! until these are as safe as the server promises: that of another core's client here (`gates`), that of an own client
//! in the order of its replies, which is the network's.
//!
//! | file | what it is |
//! |---|---|
//! | `units` | commands: executed here, sent to others, or both |
//! | `post`, `mail` | batches of requests and answers between cores |
//! | `gather`, `merge` | replies that several cores give |
//! | `gates`, `waits` | answers and clients that wait for the disk or the mirror |
//! | `chores` | what is due by the clock, and orders from outside of the cores: expiry, barriers, snapshots |
//! | [`cores`] | what the engines of one server have in common |
//! | [`counts`] | what one has done and holds, for INFO |
//!
//! An engine works in *turns*, which its core's loop (`net::server`) takes: [`Engine::begin_turn`], whatever has come
//! in, and [`Engine::end_turn`]. Nothing in a turn waits. The log is the engine's: it is polled, signalled and closed
//! here.
//!
//! Deliberately absent: sockets, sessions, the order of a client's replies.

mod chores;
pub mod cores;
pub mod counts;
mod gates;
mod gather;
pub mod mail;
pub mod merge;
mod post;
mod units;
mod waits;

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use self::chores::Chores;
pub use self::cores::Cores;
pub use self::counts::{EngineCounts, ErrorCounts};
use self::gates::Held;
use self::gather::Gatherings;
pub use self::mail::{Call, Mail};
pub use self::merge::Merge;
use self::post::Post;
pub use self::units::Submitted;
use self::waits::Waits;
pub use self::waits::{Goal, WaitId, Wish};
use crate::commands::Spec;
use crate::config::Settings;
use crate::encoding::resp::{Args, Reply};
use crate::ids::{Caller, CoreId, Lsn, Placement};
use crate::partition::Shard;
use crate::partition::order::{Order, Reporter};
use crate::runtime::mesh::Endpoint;
use crate::storage::{DirectDisk, Disk, LocalBell};
use crate::store::Sought;
use crate::time::{self, UnixMillis};

/// Whom an engine answers: on a core of the server, the network.
pub trait Front<D: Disk = DirectDisk> {
    /// A reply that was under way, and the edit that its command has caused on a core, if any.
    fn answer(&mut self, to: Caller, wrote: Option<(CoreId, Lsn)>, reply: &[u8]);

    /// A part of a reply is here; the others are still to come. So many bytes are kept for it meanwhile.
    fn part(&mut self, to: Caller, wrote: Option<(CoreId, Lsn)>, bytes: usize);

    /// This core's part of a command of the session that concerns all cores, for the client with this number, whichever
    /// core it is on.
    fn perform(
        &mut self,
        engine: &mut Engine<D>,
        client: u64,
        spec: &'static Spec,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    );
}

/// One core at work on the data.
pub struct Engine<D: Disk = DirectDisk> {
    core: CoreId,
    placement: Placement,
    cores: Arc<Cores>,
    shard: Shard<D>,
    post: Post,
    held: Held,
    gatherings: Gatherings,
    waits: Waits,
    chores: Chores,
    /// The log has moved, or has room again.
    progress: Rc<LocalBell>,
    /// The checkpoint node's position when it was last looked at.
    mirrored: Lsn,
    settings: Arc<Settings>,
    settings_version: u64,
    /// Monotonic time at which this turn began.
    now: Instant,
    wall: UnixMillis,
    random: fastrand::Rng,
    sought: Vec<Sought>,
    counts: EngineCounts,
}

impl<D: Disk> Engine<D> {
    /// An engine for `shard`, which reports to whoever makes checkpoints. Must be made on the core's own thread.
    pub fn new(cores: Arc<Cores>, mut shard: Shard<D>, endpoint: Endpoint<Mail>, reporter: Reporter) -> Self {
        let progress = Rc::new(LocalBell::default());
        shard.log().on_progress({
            let progress = Rc::clone(&progress);
            Rc::new(move || progress.ring())
        });
        let placement = cores.placement;
        let count = usize::from(placement.cores());
        let now = Instant::now();
        let settings = cores.settings.get();
        shard.set_packing(settings.packing);
        Self {
            core: shard.core(),
            placement,
            post: Post::new(endpoint, count),
            held: Held::default(),
            gatherings: Gatherings::default(),
            waits: Waits::new(count),
            chores: Chores::new(reporter, now),
            progress,
            mirrored: Lsn(0),
            settings,
            settings_version: cores.settings.version(),
            now,
            wall: time::unix_millis(),
            random: fastrand::Rng::new(),
            sought: Vec::new(),
            counts: EngineCounts::default(),
            shard,
            cores,
        }
    }

    /// The core that this engine runs on.
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// What the engines of all cores share.
    pub const fn cores(&self) -> &Arc<Cores> {
        &self.cores
    }

    /// Monotonic time at which this turn began.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How far this core's edits are as safe as the server promises.
    #[inline]
    pub fn safe(&self) -> Lsn {
        self.shard.safe()
    }

    /// A new turn begins. Returns whether settings have changed.
    pub fn begin_turn(&mut self) -> bool {
        self.now = Instant::now();
        self.wall = time::unix_millis();
        if self.cores.take_commit(self.core) {
            self.shard.log().commit_now();
        }
        let version = self.cores.settings.version();
        let is_changed = version != self.settings_version;
        if is_changed {
            self.settings_version = version;
            self.settings = self.cores.settings.get();
            self.shard.set_durability(self.settings.durability);
            self.shard.set_packing(self.settings.packing);
        }
        is_changed
    }

    /// What is asked of this core from outside of the cores.
    pub fn orders(&mut self) -> Vec<Order> {
        self.cores.inboxes[usize::from(self.core.0)].take()
    }

    /// Takes in how far the log, the mirror and the streams of other cores have come. Returns whether replies of this
    /// core's own clients may have become safe.
    pub fn take_progress(&mut self, front: &mut impl Front<D>) -> bool {
        let mirrored = self.shard.log().marks().mirrored();
        let is_mirrored_further = std::mem::replace(&mut self.mirrored, mirrored) != mirrored;
        let has_moved = self.progress.take() | is_mirrored_further;
        if has_moved {
            if let Some(why) = self.shard.log().is_poisoned() {
                self.cores.note_failure(self.core, &why);
            }
            self.cores.tell_watchers(self.core);
        }
        // The signal is only there to have brought this turn about: the marks themselves are looked at.
        self.cores.take_moved(self.core);
        if !self.waits.is_empty() {
            for (caller, reply) in self.waits.look(&self.cores, self.core, self.now) {
                front.answer(caller, None, &reply);
            }
        }
        if !self.held.is_empty() {
            self.release_held(front);
        }
        has_moved
    }

    /// Ends a turn: sends what was collected for other cores.
    ///
    /// # Errors
    /// Why nothing of this turn may be shown to anybody, and the core must end: its data is wrong.
    pub fn end_turn(&mut self) -> Result<(), String> {
        if let Some(why) = self.shard.contradiction() {
            return Err(why.to_owned());
        }
        self.send();
        Ok(())
    }

    /// Whether a turn would find nothing to do here: no message, order, signal or changed setting, no progress, nothing
    /// to be sent.
    pub fn is_idle(&self) -> bool {
        !self.progress.is_rung()
            && self.post.is_idle()
            && self.cores.inboxes[usize::from(self.core.0)].is_empty()
            && !self.cores.has_signal(self.core)
            && self.settings_version == self.cores.settings.version()
            && self.mirrored == self.shard.log().marks().mirrored()
    }

    /// When something is due by the clock.
    pub fn next_due(&self) -> Instant {
        let others = [self.chores.capture_at, self.waits.next_deadline()];
        others.into_iter().flatten().fold(self.chores.expire_at, Instant::min)
    }

    /// Whether some of this core's edits will never be safe: its log has failed.
    pub fn has_failed(&self) -> bool {
        self.shard.log().is_poisoned().is_some()
    }

    /// Digest of the data that this core owns.
    pub fn digest(&self) -> u64 {
        self.shard.store().digest_of_all().0
    }

    /// Writes all data of this core as snapshots have it and loads it again.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn reload(&mut self) -> Result<(), String> {
        self.shard.reload()
    }

    /// Turns on or off the removal of expired keys that nobody looks at.
    pub const fn set_active_expiry(&mut self, on: bool) {
        self.chores.expires = on;
    }

    /// Begins to write what the log holds, without waiting for its flush interval.
    pub fn commit_now(&self) {
        self.shard.log().commit_now();
    }

    /// Whether all of these edits are so safe now.
    pub fn is_reached(&self, goal: Goal, edits: &[(CoreId, Lsn)]) -> bool {
        goal.is_reached(&self.cores, edits)
    }

    /// Lets a client wait, until its wish is fulfilled or its deadline is over; then the front gets the reply.
    pub fn wait(&mut self, caller: Caller, wish: Wish) -> WaitId {
        self.waits.add(&self.cores, self.core, caller, wish)
    }

    /// Answers all clients that wait with how far things have come.
    pub fn end_waits(&mut self, front: &mut impl Front<D>) {
        for (caller, reply) in self.waits.end_all(&self.cores, self.core) {
            front.answer(caller, None, &reply);
        }
    }

    /// Forgets a client that waits: its connection is gone.
    pub fn cancel_wait(&mut self, id: WaitId, client: u64) {
        self.waits.cancel(&self.cores, self.core, id, client);
    }

    /// Notes what the log's disk has done. Returns whether a commit has ended. Costs no system call.
    pub fn poll(&self) -> bool {
        self.shard.log().poll()
    }

    /// Closes the log: everything acknowledged is on disk then.
    ///
    /// # Errors
    /// Why it could not be closed in good order.
    pub async fn close(&self) -> Result<(), String> {
        self.shard.log().clone().close().await.map_err(|why| why.to_string())
    }
}

/// How the core's loop rests without missing what the log does.
impl Engine {
    /// Has `event` signalled when [`Self::poll`] would find something, as long as [`Self::set_alert`] says so.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.shard.log().signal(event)
    }

    /// Whether the event is signalled. Whoever turns it on looks once more ([`Self::has_completions`]) before it rests.
    pub fn set_alert(&self, on: bool) {
        self.shard.log().set_alert(on);
    }

    /// Whether [`Self::poll`] would find something.
    pub fn has_completions(&self) -> bool {
        !self.shard.log().is_idle()
    }

    /// Whether a commit is on its way to the disk.
    pub fn is_committing(&self) -> bool {
        self.shard.log().is_committing()
    }

    /// Ready as soon as the log has moved, or has begun a commit, for whose end [`Self::poll`] is to be called again
    /// and again.
    pub fn poll_log(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.progress.is_rung() || self.shard.log().poll_committing(context).is_ready() {
            return Poll::Ready(());
        }
        self.progress.listen(context);
        Poll::Pending
    }
}
