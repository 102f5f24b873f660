//! When a partition is to be checkpointed, and what of the log may go. A state machine: it is told what happened and what time it
//! is, and says what is to be done. No I/O, no clock.
//!
//! Per partition: older generation < newest generation ≤ mirrored; a barrier that is waited for is after the newest generation.
//! Per stream: at most one checkpoint is under way, so partitions take turns; what is dropped is below every cover ([`cover`]).
//!
//! A partition is *dirty* if it was edited after its newest snapshot, *stale* if it was edited after the older one. A dirty partition
//! is due when its stream has grown by `every_edits` since its newest snapshot, or when somebody asked; a stale one, when its newest
//! snapshot is older than `every`, so that an idle partition with an old generation does not hold the log forever.
//!
//! | what happens | told by | then |
//! |---|---|---|
//! | time passes | [`Policy::tick`] | barriers are asked for; those that lead nowhere are given up |
//! | a core executed a barrier | [`Policy::executed`] | its snapshot is waited for |
//! | the node offers a snapshot | [`Policy::offer`] | wanted, here already, or refused |
//! | a snapshot is installed, or will not come | [`Policy::installed`], [`Policy::failed`] | the next one's turn; tickets |
//! | the node compared digests | [`Policy::compared`] | a difference stops truncation |
//! | the node came or went | [`Policy::node_up`], [`Policy::node_down`] | barriers only while it is there |

mod cover;
mod tickets;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use cover::Dropped;
pub use tickets::{Outcome, Ticket};

use self::tickets::Tickets;
use crate::encoding::frame::StreamId;
use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Placement, Position};
use crate::storage::{Generations, Manifest};

/// How often the digests of an edited partition are compared, checkpoint or not.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// How long a checkpoint may show no progress while the node has its barrier.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// How long a partition is left alone after a checkpoint of it failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long a node may be away before those who wait for a checkpoint are told that none will come.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often partitions are checkpointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A dirty partition is due when its stream has grown by this many edits since its newest snapshot. At least 1.
    pub every_edits: u64,
    /// A stale partition is due when its newest snapshot is older than this.
    pub every: Duration,
}

/// What the cores' marks say. The durable marks must be read before the partitions'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Per core: the last durable edit.
    pub durable: Vec<Lsn>,
    /// Per core: the last edit that the node holds.
    pub mirrored: Vec<Lsn>,
    /// Per partition: its last edit in this epoch, 0 if there was none.
    pub last_edits: Vec<Lsn>,
}

/// A core is asked to put a barrier into its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierRequest {
    /// Of this partition.
    pub partition: PartitionId,
    /// With a snapshot, or only to compare digests.
    pub checkpoint: bool,
}

/// A core has put a barrier into its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierReport {
    /// Of this partition.
    pub partition: PartitionId,
    /// Where it stands.
    pub position: Position,
    /// With a snapshot, or only to compare digests.
    pub checkpoint: bool,
    /// The digests that it bears, of the partition's slots in order.
    pub digests: Vec<u64>,
}

/// What becomes of a snapshot that the node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is waited for, and must have these digests.
    Wanted(Vec<u64>),
    /// It is installed, or a newer one is.
    Here,
    /// It is of a former life of the master.
    Stale,
    /// Nobody waits for it, or the node's digests differed.
    Unwanted,
}

/// A checkpoint under way.
#[derive(Clone, Debug)]
struct Pending {
    partition: PartitionId,
    /// Last sign of life.
    moved: Duration,
    /// Where its barrier stands and which digests it bears, once the core has executed it.
    placed: Option<(Position, Vec<u64>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Partition {
    newest: Option<Position>,
    older: Option<Position>,
    /// When it is due by age, if it is stale.
    due_at: Duration,
    /// The last edit before this epoch.
    last_before: Position,
    /// Edits of its streams after the newest snapshot, before this epoch.
    backlog: u64,
    /// Share of `every_edits` after which the first checkpoint of this life is due.
    first_edits: u64,
    /// The last barrier in this epoch, and when it was asked for.
    barrier: Lsn,
    barrier_at: Duration,
    /// The node's digests differed here.
    diverged: Option<Position>,
    /// Somebody waits for a snapshot at or after this position.
    wanted: Option<Position>,
    not_before: Duration,
}

impl Partition {
    fn is_dirty(&self, last_edit: Position) -> bool {
        last_edit > self.newest.unwrap_or(Position::START)
    }

    fn is_stale(&self, last_edit: Position) -> bool {
        last_edit > self.older.unwrap_or(Position::START)
    }
}

/// The state machine; see the module.
pub struct Policy {
    epoch: Epoch,
    placement: Placement,
    pace: Pace,
    partitions: Vec<Partition>,
    /// Per core.
    pending: Vec<Option<Pending>>,
    connected: bool,
    /// Since when the node is away.
    away_since: Duration,
    observed: Observed,
    tickets: Tickets,
}

impl Policy {
    /// The policy of a master that has begun the newest epoch of `manifest`. `last_edits` are the positions, per partition, of the last
    /// edit that recovery applied; [`Position::START`] where it applied none.
    ///
    /// # Panics
    /// If the manifest has no epoch: a master begins one before it starts this.
    pub fn new(manifest: &Manifest, last_edits: &[Position], pace: Pace) -> Self {
        let epoch = manifest.newest_epoch().expect("a master begins an epoch first").epoch;
        let placement = manifest.placement(epoch).expect("a manifest's epochs fit its partitions");
        let partitions = (0..manifest.partitions.count()).map(|p| {
            let recovered = last_edits.get(usize::from(p)).copied().unwrap_or_default();
            first_state(manifest, placement, pace, PartitionId(p), recovered)
        });
        Self {
            epoch,
            placement,
            pace,
            partitions: partitions.collect(),
            pending: vec![None; usize::from(placement.cores())],
            connected: false,
            away_since: Duration::ZERO,
            observed: Observed::default(),
            tickets: Tickets::default(),
        }
    }

    /// Takes in what the marks say at `now`, and returns the barriers that are due.
    pub fn tick(&mut self, now: Duration, observed: Observed) -> Vec<BarrierRequest> {
        self.observed = observed;
        if !self.connected {
            if now.saturating_sub(self.away_since) >= PATIENCE {
                self.tickets.fail_all("the checkpoint node is away");
                self.partitions.iter_mut().for_each(|p| p.wanted = None);
            }
            return Vec::new();
        }
        let mut requests = Vec::new();
        for core in (0..self.placement.cores()).map(CoreId) {
            self.give_up_if_stuck(core, now);
            if self.pending[usize::from(core.0)].is_none()
                && let Some(partition) = self.next_due(core, now)
            {
                self.pending[usize::from(core.0)] = Some(Pending { partition, moved: now, placed: None });
                self.state_mut(partition).barrier_at = now;
                requests.push(BarrierRequest { partition, checkpoint: true });
            }
            self.comparisons(core, now, &mut requests);
        }
        requests
    }

    /// A core has executed a barrier.
    pub fn executed(&mut self, report: BarrierReport, now: Duration) {
        if report.position.epoch != self.epoch || usize::from(report.partition.0) >= self.partitions.len() {
            return;
        }
        let state = self.state_mut(report.partition);
        state.barrier = state.barrier.max(report.position.lsn);
        if let Some(pending) = self.pending_of(report.partition)
            && report.checkpoint
            && pending.placed.is_none()
        {
            pending.placed = Some((report.position, report.digests));
            pending.moved = now;
        }
    }

    /// The node offers a snapshot of `partition` at `position`.
    pub fn offer(&mut self, partition: PartitionId, position: Position, now: Duration) -> Verdict {
        let epoch = self.epoch;
        let Some(state) = self.partitions.get(usize::from(partition.0)) else { return Verdict::Unwanted };
        if state.newest.is_some_and(|newest| newest >= position) {
            return Verdict::Here;
        }
        if position.epoch != epoch {
            return Verdict::Stale;
        }
        if state.diverged.is_some() {
            return Verdict::Unwanted;
        }
        match self.pending_of(partition) {
            Some(Pending { placed: Some((at, digests)), moved, .. }) if *at == position => {
                *moved = now;
                Verdict::Wanted(digests.clone())
            }
            _ => Verdict::Unwanted,
        }
    }

    /// Bytes of the snapshot of `partition` have arrived.
    pub fn progress(&mut self, partition: PartitionId, now: Duration) {
        if let Some(pending) = self.pending_of(partition) {
            pending.moved = now;
        }
    }

    /// A snapshot is in the manifest.
    pub fn installed(&mut self, partition: PartitionId, position: Position, now: Duration) {
        let every = self.pace.every;
        let Some(state) = self.partitions.get_mut(usize::from(partition.0)) else { return };
        if state.newest.is_some_and(|newest| newest >= position) {
            return;
        }
        (state.older, state.newest) = (state.newest, Some(position));
        (state.due_at, state.backlog) = (now + every, 0);
        if state.wanted.is_some_and(|wanted| wanted <= position) {
            state.wanted = None;
        }
        if self.pending_of(partition).is_some_and(|p| p.placed.as_ref().is_some_and(|(at, _)| *at <= position)) {
            self.pending[usize::from(self.placement.core_of(partition).0)] = None;
        }
        self.tickets.installed(partition, position);
    }

    /// The snapshot that was waited for at `position` will not come, or could not be installed; `why` is for people.
    pub fn failed(&mut self, partition: PartitionId, position: Position, why: &str, now: Duration) {
        let awaited = |p: &mut Pending| p.placed.as_ref().is_some_and(|(at, _)| *at == position);
        if self.pending_of(partition).is_some_and(awaited) {
            self.give_up(partition, why, now);
        }
    }

    /// The node has compared digests at a barrier; `differs` is whether it found a difference. Returns whether that is news.
    pub fn compared(&mut self, partition: PartitionId, position: Position, differs: bool, now: Duration) -> bool {
        let Some(state) = self.partitions.get_mut(usize::from(partition.0)) else { return false };
        let was = state.diverged;
        if differs {
            state.diverged = Some(was.map_or(position, |p| p.max(position)));
            self.failed(partition, position, "the checkpoint node's data differs", now);
        } else if was.is_some_and(|at| at < position) {
            state.diverged = None;
        }
        was.is_some() != self.partitions[usize::from(partition.0)].diverged.is_some()
    }

    /// A node has opened a session.
    pub fn node_up(&mut self, now: Duration) {
        self.connected = true;
        self.pending.iter_mut().flatten().for_each(|p| p.moved = now);
    }

    /// The node's session has ended. Barriers in the log stay wanted: the node will come to them again.
    pub fn node_down(&mut self, now: Duration) {
        self.connected = false;
        self.away_since = now;
        // A request that no core has executed yet is repeated when there is a node again.
        self.pending.iter_mut().for_each(|p| *p = p.take().filter(|p| p.placed.is_some()));
    }

    /// Whether a node has a session.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Asks for a checkpoint of everything that is dirty now. `None` if there is no node to write it.
    ///
    /// `observed` must be fresh: what was written before this call is to be in the checkpoint.
    pub fn request(&mut self, observed: Observed) -> Option<Ticket> {
        if !self.connected {
            return None;
        }
        self.observed = observed;
        let (mut waiting, mut differs) = (Vec::new(), false);
        for partition in (0..self.placement.partitions().count()).map(PartitionId) {
            let last_edit = self.last_edit(partition);
            let state = self.state_mut(partition);
            if state.is_dirty(last_edit) {
                state.wanted = Some(last_edit);
                state.not_before = Duration::ZERO;
                differs |= state.diverged.is_some();
                waiting.push((partition, last_edit));
            }
        }
        let ticket = self.tickets.issue(waiting);
        if differs {
            self.tickets.fail_all("the checkpoint node's data differs");
        }
        Some(ticket)
    }

    /// What has become of a ticket; `None` while it is not decided.
    pub fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.tickets.outcome(ticket)
    }

    /// What of the log is not needed any more: for each kept stream of which more can go than `manifest` says, the first edit that is
    /// still needed.
    pub fn droppable(&self, manifest: &Manifest) -> Vec<(StreamId, Lsn)> {
        cover::droppable(self, manifest)
    }

    /// The first edit of a core's stream at which a checkpoint barrier may still be waited for.
    pub fn wanted_from(&self, core: CoreId) -> Lsn {
        let pending = self.pending.get(usize::from(core.0)).and_then(Option::as_ref);
        match pending.and_then(|p| p.placed.as_ref()) {
            Some((position, _)) => position.lsn,
            None => self.observed.durable.get(usize::from(core.0)).copied().unwrap_or_default().next(),
        }
    }

    /// Up to which position the log of `partition` has no gap before it, for a node that would go on from its own snapshot.
    pub fn floor(generations: Generations) -> Position {
        generations.older.map_or(Position::START, |o| o.position)
    }

    /// Partitions whose digests differ, with where that was seen last.
    pub fn diverged(&self) -> impl Iterator<Item = (PartitionId, Position)> {
        (0..).map(PartitionId).zip(&self.partitions).filter_map(|(id, p)| p.diverged.map(|at| (id, at)))
    }

    /// Number of partitions that were edited after their newest snapshot, and of checkpoints under way.
    pub fn backlog(&self) -> (usize, usize) {
        let dirty = (0..self.placement.partitions().count()).map(PartitionId);
        let dirty = dirty.filter(|p| self.partitions[usize::from(p.0)].is_dirty(self.last_edit(*p))).count();
        (dirty, self.pending.iter().flatten().count())
    }

    fn state_mut(&mut self, partition: PartitionId) -> &mut Partition {
        &mut self.partitions[usize::from(partition.0)]
    }

    /// The checkpoint under way in the partition's stream, if it is the partition's.
    fn pending_of(&mut self, partition: PartitionId) -> Option<&mut Pending> {
        let core = usize::from(self.placement.core_of(partition).0);
        self.pending.get_mut(core)?.as_mut().filter(|p| p.partition == partition)
    }

    /// The partition's last edit, in this life or before.
    fn last_edit(&self, partition: PartitionId) -> Position {
        match self.observed.last_edits.get(usize::from(partition.0)) {
            Some(lsn) if lsn.0 > 0 => Position::new(self.epoch, *lsn),
            _ => self.partitions[usize::from(partition.0)].last_before,
        }
    }

    /// The partition of `core` whose turn it is, if one is due: those that somebody waits for first, then the one furthest behind.
    fn next_due(&self, core: CoreId, now: Duration) -> Option<PartitionId> {
        let end = self.observed.durable.get(usize::from(core.0)).copied().unwrap_or_default();
        let due = self.placement.partitions_of(core).map(PartitionId).filter_map(|id| {
            let p = &self.partitions[usize::from(id.0)];
            let last_edit = self.last_edit(id);
            let (dirty, stale) = (p.is_dirty(last_edit), p.is_stale(last_edit));
            let (behind, every_edits) = match p.newest {
                Some(newest) if newest.epoch == self.epoch => {
                    (end.0.saturating_sub(newest.lsn.0), self.pace.every_edits)
                }
                _ => (p.backlog + end.0, p.first_edits),
            };
            let wanted = p.wanted.is_some() && dirty;
            let by_edits = dirty && behind >= every_edits;
            let by_age = stale && now >= p.due_at;
            let allowed = now >= p.not_before && p.diverged.is_none();
            (allowed && (wanted || by_edits || by_age)).then_some((wanted, behind, std::cmp::Reverse(id)))
        });
        due.max().map(|(_, _, id)| id.0)
    }

    /// Barriers without a snapshot, for partitions edited since their last barrier; a few at a time.
    fn comparisons(&mut self, core: CoreId, now: Duration, requests: &mut Vec<BarrierRequest>) {
        let owned = self.placement.partitions_of(core);
        let at_once = owned.len().div_ceil(256);
        let due: Vec<_> = owned
            .map(PartitionId)
            .filter(|id| {
                let p = &self.partitions[usize::from(id.0)];
                let edited = self.observed.last_edits.get(usize::from(id.0)).is_some_and(|last| *last > p.barrier);
                (edited || p.diverged.is_some()) && now.saturating_sub(p.barrier_at) >= COMPARE_EVERY
            })
            .take(at_once)
            .collect();
        for partition in due {
            self.state_mut(partition).barrier_at = now;
            requests.push(BarrierRequest { partition, checkpoint: false });
        }
    }

    fn give_up_if_stuck(&mut self, core: CoreId, now: Duration) {
        let Some(pending) = &mut self.pending[usize::from(core.0)] else { return };
        let mirrored = self.observed.mirrored.get(usize::from(core.0)).copied().unwrap_or_default();
        if pending.placed.as_ref().is_some_and(|(at, _)| at.lsn > mirrored) {
            // The node is not there yet. Its own pace is no reason to give up.
            pending.moved = now;
        }
        if now.saturating_sub(pending.moved) >= STUCK_AFTER {
            let partition = pending.partition;
            self.give_up(partition, "the checkpoint showed no progress", now);
        }
    }

    fn give_up(&mut self, partition: PartitionId, why: &str, now: Duration) {
        self.pending[usize::from(self.placement.core_of(partition).0)] = None;
        let state = self.state_mut(partition);
        state.not_before = now + RETRY_AFTER;
        state.wanted = None;
        self.tickets.failed(partition, why);
    }
}

/// The state of a partition at the start of a life.
fn first_state(
    manifest: &Manifest,
    placement: Placement,
    pace: Pace,
    id: PartitionId,
    recovered: Position,
) -> Partition {
    let Generations { newest, older } = manifest.generations(id);
    // Recovery does not see edits between the generations. Equal digests say that there were none that matter.
    let from_snapshots = match (newest, older) {
        (Some(newest), Some(older)) if newest.digest == older.digest => older.position,
        (Some(newest), _) => newest.position,
        (None, _) => Position::START,
    };
    let covered = newest.map_or(Position::START, |n| n.position);
    let present = manifest.newest_epoch().map(|e| e.epoch);
    let backlog = manifest.epochs.iter().filter(|e| Some(e.epoch) != present && e.epoch >= covered.epoch).map(|e| {
        let core = manifest.placement(e.epoch).map(|placement| placement.core_of(id));
        let last = core.and_then(|c| e.streams.get(usize::from(c.0))).and_then(|s| s.last).unwrap_or_default();
        let before = if e.epoch == covered.epoch { covered.lsn.0 } else { 0 };
        last.0.saturating_sub(before)
    });
    let owned = placement.partitions_of(placement.core_of(id));
    let (turn, turns) = (u64::from(id.0 - owned.start) + 1, owned.len() as u64);
    let share = turn as f64 / turns as f64;
    // The turns are spread over one whole round: the first is due soon, the last after all of `every` and `every_edits`.
    Partition {
        newest: newest.map(|n| n.position),
        older: older.map(|o| o.position),
        due_at: pace.every.mul_f64(share),
        last_before: recovered.max(from_snapshots),
        backlog: backlog.sum(),
        first_edits: (pace.every_edits / turns).saturating_mul(turn).max(1),
        barrier_at: COMPARE_EVERY.mul_f64(1.0 - share),
        ..Partition::default()
    }
}
