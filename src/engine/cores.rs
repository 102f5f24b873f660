//! What the engines of one server have in common.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::config::{Config, LiveSettings, Settings};
use crate::ids::{CoreId, Epoch, Placement};
use crate::partition::MemoryBound;
use crate::partition::order::Order;
use crate::runtime::inbox::Inbox;
use crate::storage::StreamMarks;

/// Clients that are remembered after they were broken with, for each core.
const GONE: usize = 64;

/// What the engines of one server have in common.
pub struct Cores {
    /// Which core owns which partitions.
    pub placement: Placement,
    /// Epoch of this life of the master.
    pub epoch: Epoch,
    /// By core: how far its stream has come.
    pub streams: Vec<Arc<StreamMarks>>,
    /// By core: what it is asked from outside of the cores.
    pub inboxes: Vec<Inbox<Order>>,
    /// Settings that can change while the server runs.
    pub settings: LiveSettings,
    /// The bound of what the data of all cores may take.
    pub memory: Arc<MemoryBound>,
    /// Bytes of requests that were sent from one core to another and are not executed yet, by both.
    forwarded: Vec<AtomicUsize>,
    /// By core: what others tell it without a message.
    signals: Vec<Signals>,
}

#[derive(Debug, Default)]
struct Signals {
    /// Somebody waits for this core's edits to be on disk: they are to be committed now.
    commit: AtomicBool,
    /// By core: clients there wait for this core's edits.
    watchers: Vec<AtomicBool>,
    /// A stream has moved for which clients of this core wait.
    moved: AtomicBool,
    /// Why nothing becomes durable any more on this core.
    failure: OnceLock<String>,
    /// The last of its clients that were broken with while other cores still worked for them.
    gone: Mutex<VecDeque<u64>>,
}

impl Cores {
    /// Creates what the engines of a server share that has just recovered; `streams` and `inboxes` are by core.
    pub fn new(
        config: &Config,
        placement: Placement,
        epoch: Epoch,
        streams: Vec<Arc<StreamMarks>>,
        inboxes: Vec<Inbox<Order>>,
    ) -> Self {
        let count = inboxes.len();
        let signals =
            || Signals { watchers: (0..count).map(|_| AtomicBool::default()).collect(), ..Signals::default() };
        Self {
            placement,
            epoch,
            streams,
            settings: LiveSettings::of(config),
            memory: Arc::new(MemoryBound::new(placement.cores(), config.memory.max_bytes)),
            forwarded: (0..count.pow(2)).map(|_| AtomicUsize::default()).collect(),
            signals: (0..count).map(|_| signals()).collect(),
            inboxes,
        }
    }

    /// Changes settings; all cores go by them from their next turn on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Arc<Settings> {
        let settings = self.settings.change(change);
        self.memory.set(settings.max_memory);
        self.inboxes.iter().for_each(Inbox::nudge);
        settings
    }

    /// Why nothing becomes durable any more on `core`, if that is so.
    pub fn failure(&self, core: CoreId) -> Option<&str> {
        self.signals[usize::from(core.0)].failure.get().map(String::as_str)
    }

    /// Nothing becomes durable any more on `core`.
    pub(super) fn note_failure(&self, core: CoreId, why: &str) {
        let _ = self.signals[usize::from(core.0)].failure.set(why.to_owned());
    }

    /// Bytes of requests that core `from` has sent to core `to`, and that are not executed yet.
    pub(super) fn forwarded(&self, from: CoreId, to: CoreId) -> &AtomicUsize {
        &self.forwarded[usize::from(from.0) * self.inboxes.len() + usize::from(to.0)]
    }

    /// Clients of `home` wait for edits of `core`: it commits what it has, and tells `home` when its stream moves.
    /// Marks that are read after this have not moved unnoticed.
    pub(super) fn watch(&self, core: CoreId, home: CoreId) {
        let signals = &self.signals[usize::from(core.0)];
        signals.watchers[usize::from(home.0)].store(true, Ordering::Relaxed);
        signals.commit.store(true, Ordering::Release);
        // Pairs with the fence in `tell_watchers`: either this core sees the new mark, or that core sees this watcher.
        fence(Ordering::SeqCst);
        if core != home {
            self.inboxes[usize::from(core.0)].nudge();
        }
    }

    /// No client of `home` waits for edits of `core` any more.
    pub(super) fn unwatch(&self, core: CoreId, home: CoreId) {
        self.signals[usize::from(core.0)].watchers[usize::from(home.0)].store(false, Ordering::Relaxed);
    }

    /// The stream of `core` has moved: cores whose clients wait for it are told.
    pub(super) fn tell_watchers(&self, core: CoreId) {
        fence(Ordering::SeqCst);
        for (home, watches) in self.signals[usize::from(core.0)].watchers.iter().enumerate() {
            if watches.load(Ordering::Relaxed) {
                self.signals[home].moved.store(true, Ordering::Release);
                self.inboxes[home].nudge();
            }
        }
    }

    /// Whether [`Self::take_moved`] or [`Self::take_commit`] would say yes to `core`.
    pub(super) fn has_signal(&self, core: CoreId) -> bool {
        let signals = &self.signals[usize::from(core.0)];
        signals.moved.load(Ordering::Acquire) || signals.commit.load(Ordering::Acquire)
    }

    /// Whether a stream has moved that clients of `core` wait for.
    pub(super) fn take_moved(&self, core: CoreId) -> bool {
        take(&self.signals[usize::from(core.0)].moved)
    }

    /// Whether `core` is to commit what it has.
    pub(super) fn take_commit(&self, core: CoreId) -> bool {
        take(&self.signals[usize::from(core.0)].commit)
    }

    /// A client of `core` is gone whose requests may still be executed elsewhere.
    pub fn note_gone(&self, core: CoreId, client: u64) {
        let mut gone = self.signals[usize::from(core.0)].gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone.len() == GONE {
            gone.pop_front();
        }
        gone.push_back(client);
    }

    /// Clients of `core` that are gone and whose requests are not worth the work.
    pub(super) fn gone(&self, core: CoreId) -> Vec<u64> {
        let gone = self.signals[usize::from(core.0)].gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().copied().collect()
    }
}

/// Clears a flag; returns whether it was set. A look costs no write.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel)
}
