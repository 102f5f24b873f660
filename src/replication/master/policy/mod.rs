//! Decides when a partition is checkpointed, by the node or by its core, and how much of the log may be dropped. A
//! state machine: it is told what happened and what time it is, and returns what is to be done. No I/O, no clock.
//!
//! Always, per partition: older generation < newest generation ≤ durable; a barrier that is awaited is after the newest
//! generation. Per stream: at most one checkpoint is under way, so that partitions take turns (a few, if a request
//! waits); what is dropped is below every cover ([`cover`]).
//!
//! A partition is *dirty* if it was edited after its newest snapshot, *stale* if it was edited after the older one. A
//! dirty partition is due when its stream has grown by `every_edits` since its newest snapshot, or when a request waits
//! for it, or other partitions' snapshots do, or it is bound to many others ([`unbind`]); a stale partition is due when
//! its newest snapshot is older than `every`, so that an idle partition with an old generation does not hold the log
//! forever.
//!
//! | what happens | told by | then |
//! |---|---|---|
//! | time passes | [`Policy::tick`] | asks for the barriers that are due; gives up checkpoints without progress |
//! | a core executed a barrier | [`Policy::executed`] | awaits the node's snapshot at this barrier |
//! | the node offers a snapshot | [`Policy::offer`] | wants it, has it already, or refuses it |
//! | a snapshot is complete, but cannot be installed yet | [`Policy::completed`] | waits, at most as long as nothing arrives |
//! | others wait for a partition's snapshot | [`Policy::want_for_others`] | it is due |
//! | a snapshot is installed, or will not come | [`Policy::installed`], [`Policy::failed`] | decides tickets; the next partition's turn comes |
//! | the node compared digests | [`Policy::compared`] | a difference stops the dropping of log |
//! | a snapshot is needed, and no node delivers it | [`Policy::captures`] | orders cores to take snapshots themselves, `self_checkpoints` |
//! | the node delivers or does not | [`Policy::delivered`], [`Policy::failed`] | counts on the node or does not, `delivery` |
//! | a node connected or disconnected | [`Policy::node_up`], [`Policy::node_down`] | asks for barriers only while a node is connected |
//! | a core's log has failed or is closed | [`Observed::ended`] | gives up all checkpoints of that core |

mod cover;
mod delivery;
mod due;
mod events;
mod partition;
mod round;
mod self_checkpoints;
mod tickets;
mod unbind;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use events::{BarrierReport, BarrierRequest, Observed, Pace, Verdict};
pub use tickets::{Outcome, Ticket};

use self::delivery::Delivery;
use self::partition::Partition;
use self::round::Rounds;
use self::tickets::Tickets;
use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Placement, Position, StreamId};
use crate::partition::order::Purpose;
use crate::storage::{Manifest, Transfer};

/// Time after its last barrier at which an edited partition is due for the next one, with a checkpoint or without. The
/// partitions that are due take turns within half a minute (`due`), so that every edited partition has a barrier at
/// least once a minute.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// How long a checkpoint may show no progress before it is given up; while the node has not reached the barrier yet,
/// the time does not run.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// Pause before a partition is tried again after its checkpoint failed, or compared again after its digests differed;
/// also the pause between two tries of a node that does not deliver.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Most checkpoints under way at a time in one stream, if requests wait for them: one is written while the next is
/// being uploaded.
const WANTED_AT_ONCE: usize = 3;
/// How long a node may be away before requests for a checkpoint fail (unless cores can take it), and how long a
/// connected node may deliver nothing while log must be dropped before it counts as failing.
const PATIENCE: Duration = Duration::from_secs(15);

/// A checkpoint under way, by the node or by a core.
#[derive(Clone, Debug)]
struct Pending {
    partition: PartitionId,
    /// When the checkpoint was asked for, or a node last connected, if that was later.
    since: Duration,
    /// When the checkpoint last showed progress.
    moved: Duration,
    /// Position and digests of its barrier: known once the core has executed the barrier or, without digests, once the
    /// core's own snapshot is complete.
    placed: Option<(Position, Vec<u64>)>,
    /// The last transfers from the partition to others, as far as these may lack them.
    transfers: Vec<Transfer>,
    /// Whether the snapshot is complete, and waits for those of other partitions.
    whole: bool,
    /// Whether the core takes the snapshot itself.
    by_core: bool,
}

impl Pending {
    /// A checkpoint that is asked for now.
    const fn new(partition: PartitionId, now: Duration, by_core: bool) -> Self {
        Self { partition, since: now, moved: now, placed: None, transfers: Vec::new(), whole: false, by_core }
    }

    /// Whether its barrier is at `position`.
    fn is_at(&self, position: Position) -> bool {
        self.placed.as_ref().is_some_and(|(at, _)| *at == position)
    }
}

/// The state machine of the checkpoints; see the module.
pub struct Policy {
    epoch: Epoch,
    placement: Placement,
    pace: Pace,
    partitions: Vec<Partition>,
    /// Checkpoints under way.
    pending: Vec<Pending>,
    connected: bool,
    /// Whether log must be dropped soon.
    pressed: bool,
    /// Whether cores can take snapshots themselves.
    cores_capture: bool,
    /// When the last node disconnected; 0 if there was none yet.
    away_since: Duration,
    delivery: Delivery,
    rounds: Rounds,
    observed: Observed,
    tickets: Tickets,
}

impl Policy {
    /// Makes the policy of a master that has begun the newest epoch of `manifest`. `last_edits` are, per partition, the
    /// position of the last edit that recovery applied; [`Position::START`] if it applied none.
    ///
    /// # Panics
    /// If the manifest has no epoch: a master begins one before it starts this.
    pub fn new(manifest: &Manifest, last_edits: &[Position], pace: Pace) -> Self {
        let epoch = manifest.newest_epoch().expect("a master begins an epoch first").epoch;
        let placement = manifest.placement(epoch).expect("a manifest's epochs fit its partitions");
        let partitions = (0..manifest.partitions.count()).map(|p| {
            let recovered = last_edits.get(usize::from(p)).copied().unwrap_or_default();
            Partition::at_start(manifest, placement, pace, PartitionId(p), recovered)
        });
        Self {
            epoch,
            placement,
            pace,
            partitions: partitions.collect(),
            pending: Vec::new(),
            connected: false,
            pressed: false,
            cores_capture: false,
            away_since: Duration::ZERO,
            delivery: Delivery::default(),
            rounds: Rounds::default(),
            observed: Observed::default(),
            tickets: Tickets::default(),
        }
    }

    /// Takes in the marks, `observed` at `now`. Returns the barriers that are due.
    pub fn tick(&mut self, now: Duration, observed: Observed) -> Vec<BarrierRequest> {
        self.observed = observed;
        self.give_up_ended();
        if !self.rounds.is_under_way() {
            self.rounds.begin_unrequested(dirty(&self.partitions, self.epoch, &self.observed));
        }
        if !self.connected {
            if !self.cores_capture && now.saturating_sub(self.away_since) >= PATIENCE {
                self.tickets.fail_all("the checkpoint node is away");
                self.partitions.iter_mut().for_each(|p| p.wanted = None);
            }
            return Vec::new();
        }
        let mut requests = Vec::new();
        self.give_up_stuck(now);
        self.await_delivery(now);
        for core in self.running_cores() {
            while let Some((partition, is_wanted)) = self.next_due(core, now)
                && self.may_ask_node(core, if is_wanted { self.wanted_at_once(core) } else { 1 }, now)
            {
                self.pending.push(Pending::new(partition, now, false));
                self.state_mut(partition).barrier_at = now;
                requests.push(BarrierRequest { partition, checkpoint: true });
            }
            self.comparisons(core, now, &mut requests);
        }
        requests
    }

    /// Takes in that a core has put a barrier into its stream.
    pub fn executed(&mut self, report: BarrierReport, now: Duration) {
        if report.position.epoch != self.epoch || usize::from(report.partition.0) >= self.partitions.len() {
            return;
        }
        let state = self.state_mut(report.partition);
        state.barrier = state.barrier.max(report.position.lsn);
        let by_core = match report.purpose {
            Purpose::Comparison => return,
            Purpose::NodeSnapshot => false,
            Purpose::OwnSnapshot => true,
        };
        if state.diverged.is_some() || state.newest.is_some_and(|newest| newest >= report.position) {
            return;
        }
        // The core puts barriers of partitions into the log, too, that are bound to the one that was asked for. A later
        // barrier's snapshot replaces an earlier one's; but a core that is taking a snapshot goes on with that.
        match self.pending_of(report.partition) {
            Some(under_way) if under_way.by_core && !by_core && !under_way.whole => return,
            Some(under_way) => under_way.by_core = by_core,
            None => self.pending.push(Pending::new(report.partition, now, by_core)),
        }
        if let Some(pending) = self.pending_of(report.partition) {
            pending.placed = Some((report.position, report.digests));
            (pending.transfers, pending.whole, pending.moved) = (report.transfers, false, now);
        }
    }

    /// Decides about a snapshot of `partition` at `position` that the node offers.
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
            Some(Pending { placed: Some((at, _)), whole: true, .. }) if *at == position => Verdict::Here,
            Some(Pending { placed: Some((at, digests)), transfers, moved, by_core: false, .. }) if *at == position => {
                *moved = now;
                Verdict::Wanted { digests: digests.clone(), transfers: transfers.clone() }
            }
            _ => Verdict::Unwanted,
        }
    }

    /// Notes progress of the checkpoint of `partition`: bytes of its snapshot have arrived.
    pub fn progress(&mut self, partition: PartitionId, now: Duration) {
        if let Some(pending) = self.pending_of(partition) {
            pending.moved = now;
        }
        // Those that wait may wait for this one.
        self.pending.iter_mut().filter(|pending| pending.whole).for_each(|waiting| waiting.moved = now);
    }

    /// Takes in that the snapshot of `partition` at `position` is complete and verified; it may have to wait for those
    /// of other partitions.
    pub fn completed(&mut self, partition: PartitionId, position: Position, now: Duration) {
        if let Some(pending) = self.pending_of(partition).filter(|p| p.is_at(position)) {
            (pending.whole, pending.moved) = (true, now);
        }
    }

    /// Whether the snapshot of `partition` at `position` is awaited, by the node or by the core.
    pub fn awaits(&self, partition: PartitionId, position: Position) -> bool {
        self.pending.iter().any(|pending| pending.partition == partition && pending.is_at(position))
    }

    /// Takes in that complete snapshots of other partitions wait for one of this partition.
    pub fn want_for_others(&mut self, partition: PartitionId) {
        if self.pending_of(partition).is_none() {
            self.state_mut(partition).wanted_by_others = true;
        }
    }

    /// Takes in that the snapshot of `partition` at `position` is in the manifest.
    pub fn installed(&mut self, partition: PartitionId, position: Position, now: Duration) {
        let every = self.pace.every;
        let Some(state) = self.partitions.get_mut(usize::from(partition.0)) else { return };
        if state.newest.is_some_and(|newest| newest >= position) {
            return;
        }
        (state.older, state.newest) = (state.newest, Some(position));
        (state.due_at, state.unbinds_from) = (now + every, now + unbind::PAUSE);
        (state.backlog, state.failed) = (0, false);
        state.wanted_by_others = false;
        if state.wanted.is_some_and(|wanted| wanted <= position) {
            state.wanted = None;
        }
        if self.pending_of(partition).is_some_and(|p| p.placed.as_ref().is_some_and(|(at, _)| *at <= position)) {
            self.pending.retain(|p| p.partition != partition);
        }
        self.rounds.installed(partition, position);
        self.tickets.installed(partition, position);
    }

    /// Takes in that the node's snapshot at `position` will not come, or could not be installed; ignored unless that
    /// snapshot is awaited. `why` is for people.
    pub fn failed(&mut self, partition: PartitionId, position: Position, why: &str, now: Duration) {
        if self.is_awaited(partition, position) {
            self.not_delivered(partition, why, now);
        }
    }

    /// Takes in that the node has compared digests at the barrier at `position`, and whether they differ. Returns
    /// whether this has changed what is known of the partition.
    pub fn compared(&mut self, partition: PartitionId, position: Position, differs: bool, now: Duration) -> bool {
        let Some(state) = self.partitions.get_mut(usize::from(partition.0)) else { return false };
        let was = state.diverged;
        if differs {
            state.diverged = Some(was.map_or(position, |p| p.max(position)));
            if self.is_awaited(partition, position) {
                self.give_up(partition, "the checkpoint node's data differs", now);
            }
        } else if was.is_some_and(|at| at < position) {
            state.diverged = None;
        }
        was.is_some() != self.partitions[usize::from(partition.0)].diverged.is_some()
    }

    /// Takes in that a node has opened a session.
    pub fn node_up(&mut self, now: Duration) {
        self.connected = true;
        self.pending.iter_mut().for_each(|p| (p.since, p.moved) = (now, now));
        self.expect_delivery(now);
    }

    /// Takes in that the node's session has ended. Checkpoints whose barriers are in the log stay under way: the node
    /// will come to these barriers when it is back.
    pub fn node_down(&mut self, now: Duration) {
        self.connected = false;
        self.away_since = now;
        // A barrier that no core has executed yet is asked for again when a node is connected.
        self.pending.retain(|p| p.placed.is_some() || p.by_core);
    }

    /// Whether a node has a session.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Asks for a checkpoint of everything that is dirty now. `None` if no node is connected, and cores cannot take
    /// snapshots.
    ///
    /// `observed` must be read for this call: everything written before the call must be in the checkpoint.
    pub fn request(&mut self, observed: Observed) -> Option<Ticket> {
        if !self.connected && !self.cores_capture {
            return None;
        }
        self.observed = observed;
        let (mut waiting, mut differs) = (Vec::new(), false);
        for partition in (0..self.placement.partitions().count()).map(PartitionId) {
            let last_edit = self.last_edit(partition);
            let state = self.state_mut(partition);
            if state.is_dirty(last_edit) {
                state.wanted = Some(last_edit);
                (state.not_before, state.capture_not_before) = (Duration::ZERO, Duration::ZERO);
                differs |= state.diverged.is_some();
                waiting.push((partition, last_edit));
            }
        }
        self.rounds.begin(waiting.iter().copied());
        let ticket = self.tickets.issue(waiting);
        if differs {
            self.tickets.fail_all("the checkpoint node's data differs");
        }
        self.give_up_ended();
        Some(ticket)
    }

    /// The outcome of a request; `None` while it is not decided.
    pub fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.tickets.outcome(ticket)
    }

    /// The first edit that is still needed, for each stream in which that is a later one than the manifest's `first`:
    /// log before it can be dropped.
    pub fn droppable(&self, manifest: &Manifest) -> Vec<(StreamId, Lsn)> {
        cover::droppable(self, manifest)
    }

    /// The first edit of a core's stream at which a checkpoint barrier may still be awaited.
    pub fn wanted_from(&self, core: CoreId) -> Lsn {
        let placed = self
            .pending_in(core)
            .filter(|p| !p.by_core && !p.whole)
            .filter_map(|p| p.placed.as_ref())
            .map(|(position, _)| position.lsn)
            .min();
        placed.unwrap_or_else(|| self.observed.durable.get(usize::from(core.0)).copied().unwrap_or_default().next())
    }

    /// The partitions whose digests differ, each with the last barrier at which they differed.
    pub fn diverged(&self) -> impl Iterator<Item = (PartitionId, Position)> {
        (0..).map(PartitionId).zip(&self.partitions).filter_map(|(id, p)| p.diverged.map(|at| (id, at)))
    }

    /// Number of edits that a start would have to read from the log, by core, if the streams were as `observed` says.
    pub fn replay_edits(&self, observed: &Observed) -> Vec<u64> {
        let mut edits = vec![0; usize::from(self.placement.cores())];
        for (partition, _) in dirty(&self.partitions, self.epoch, observed) {
            let core = self.placement.core_of(partition);
            let most = &mut edits[usize::from(core.0)];
            *most = (*most).max(self.behind(core, partition, observed));
        }
        edits
    }

    /// The marks as last observed.
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Number of partitions that were edited after their newest snapshot, and of checkpoints under way.
    pub fn backlog(&self) -> (usize, usize) {
        (dirty(&self.partitions, self.epoch, &self.observed).count(), self.pending.len())
    }

    /// When the oldest checkpoint under way was asked for, or when a node last connected, if that was later.
    pub fn under_way_since(&self) -> Option<Duration> {
        self.pending.iter().map(|pending| pending.since).min()
    }

    /// Number of partitions whose last checkpoint failed.
    pub fn failing(&self) -> usize {
        self.partitions.iter().filter(|p| p.failed).count()
    }

    /// How often everything that had changed has been brought into snapshots since this start.
    pub fn saves(&self) -> u64 {
        self.rounds.completed()
    }

    fn state_mut(&mut self, partition: PartitionId) -> &mut Partition {
        &mut self.partitions[usize::from(partition.0)]
    }

    /// The checkpoint of a partition that is under way, if there is one.
    fn pending_of(&mut self, partition: PartitionId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|p| p.partition == partition)
    }

    /// The checkpoints under way in a core's stream.
    fn pending_in(&self, core: CoreId) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(move |p| self.placement.core_of(p.partition) == core)
    }

    /// The cores whose logs have neither failed nor been closed.
    fn running_cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        let ended = self.observed.ended.clone();
        (0..self.placement.cores()).map(CoreId).filter(move |core| ended.get(usize::from(core.0)) != Some(&true))
    }

    /// By how many edits the partition's stream has grown since its newest snapshot, former epochs included.
    fn behind(&self, core: CoreId, partition: PartitionId, observed: &Observed) -> u64 {
        let end = observed.durable.get(usize::from(core.0)).copied().unwrap_or_default();
        let state = &self.partitions[usize::from(partition.0)];
        match state.newest {
            Some(newest) if newest.epoch == self.epoch => end.0.saturating_sub(newest.lsn.0),
            _ => state.backlog + end.0,
        }
    }

    /// The partition's last edit, in the present epoch or before.
    fn last_edit(&self, partition: PartitionId) -> Position {
        last_edit(&self.partitions[usize::from(partition.0)], partition, self.epoch, &self.observed)
    }

    /// Whether the node's snapshot of `partition` at `position` is awaited.
    fn is_awaited(&mut self, partition: PartitionId, position: Position) -> bool {
        self.pending_of(partition).is_some_and(|p| !p.by_core && p.is_at(position))
    }

    /// Gives up the checkpoint of a partition: fails the tickets that wait for it, and pauses before the next attempt.
    fn give_up(&mut self, partition: PartitionId, why: &str, now: Duration) {
        self.pending.retain(|p| p.partition != partition);
        let state = self.state_mut(partition);
        (state.not_before, state.capture_not_before) = (now + RETRY_AFTER, now + RETRY_AFTER);
        (state.wanted, state.failed) = (None, true);
        self.tickets.failed(partition, why);
    }

    /// Gives up the checkpoints of cores whose logs have failed or are closed: edits in them may never become durable.
    fn give_up_ended(&mut self) {
        let ended = |core: &CoreId| self.observed.ended.get(usize::from(core.0)) == Some(&true);
        for core in (0..self.placement.cores()).map(CoreId).filter(ended).collect::<Vec<_>>() {
            let why = format!("the log of core {core} has failed or is closed");
            for partition in self.placement.partitions_of(core).map(PartitionId) {
                let was_pending = self.pending_of(partition).is_some();
                self.pending.retain(|p| p.partition != partition);
                let state = self.state_mut(partition);
                state.failed |= state.wanted.take().is_some() || was_pending;
                self.tickets.failed(partition, &why);
            }
        }
    }
}

/// The dirty partitions, each with its last edit.
fn dirty(partitions: &[Partition], epoch: Epoch, observed: &Observed) -> impl Iterator<Item = (PartitionId, Position)> {
    let all = (0..).map(PartitionId).zip(partitions);
    let last_edits = all.map(move |(id, state)| (id, state, last_edit(state, id, epoch, observed)));
    last_edits.filter(|(_, state, last)| state.is_dirty(*last)).map(|(id, _, last)| (id, last))
}

/// The last edit of a partition, in the present epoch or before.
fn last_edit(state: &Partition, partition: PartitionId, epoch: Epoch, observed: &Observed) -> Position {
    match observed.last_edits.get(usize::from(partition.0)) {
        Some(lsn) if lsn.0 > 0 => Position::new(epoch, *lsn),
        _ => state.last_before,
    }
}
