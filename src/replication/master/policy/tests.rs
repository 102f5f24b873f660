//! The policy against a model of the register that forgets nothing: no edit is dropped that a retained older generation
//! lacks, no barrier is asked for out of turn, and with a node that works everything is checkpointed in the end.

mod delivery;
mod saves;

use std::collections::BTreeMap;

use super::*;
use crate::ids::{DirectoryId, Partitions};
use crate::storage::{EpochRecord, Installed, StreamRecord};

const PARTITIONS: u16 = 4;
const CORES: u16 = 2;

/// An event that the policy may meet.
#[derive(Clone, Copy, Debug)]
enum Event {
    Edit(u16),
    Second,
    Minute,
    Execute,
    Install,
    Fail,
    Differ,
    NodeUp,
    NodeDown,
    Save,
    /// The log becomes too long, or short enough again.
    Press,
    /// A core's own snapshot is installed.
    OwnInstall,
    /// A core's own snapshot fails.
    OwnFail,
    Restart,
}

/// All events. Partitions 0 and 1 share a core; partition 3 shares its core with partition 2, which is never edited.
const EVENTS: [Event; 16] = [
    Event::Edit(0),
    Event::Edit(1),
    Event::Edit(3),
    Event::Second,
    Event::Minute,
    Event::Execute,
    Event::Install,
    Event::Fail,
    Event::Differ,
    Event::NodeUp,
    Event::NodeDown,
    Event::Save,
    Event::Press,
    Event::OwnInstall,
    Event::OwnFail,
    Event::Restart,
];

struct World {
    policy: Policy,
    manifest: Manifest,
    now: Duration,
    /// Positions of all edits ever, by partition; barriers do not count.
    edits: Vec<Vec<Position>>,
    /// The last lsn of each stream of the present epoch.
    ends: Vec<Lsn>,
    requests: Vec<BarrierRequest>,
    placed: BTreeMap<PartitionId, Position>,
    /// Snapshots that cores are taking, with the positions of their barriers.
    own: BTreeMap<PartitionId, Position>,
    pressed: bool,
    tickets: Vec<Ticket>,
    digest: u64,
    /// By core: whether its log has failed.
    ended: Vec<bool>,
}

fn pace() -> Pace {
    Pace { every_edits: 4, every: Duration::from_secs(300) }
}

impl World {
    fn new() -> Self {
        let mut manifest = Manifest::new(DirectoryId::default(), Partitions::new(PARTITIONS).unwrap());
        begin_epoch(&mut manifest);
        let edits = vec![Vec::new(); usize::from(PARTITIONS)];
        let policy = Policy::new(&manifest, &[], pace());
        let ends = vec![Lsn(0); usize::from(CORES)];
        Self {
            policy,
            manifest,
            now: Duration::ZERO,
            edits,
            ends,
            requests: Vec::new(),
            placed: BTreeMap::new(),
            own: BTreeMap::new(),
            pressed: false,
            tickets: Vec::new(),
            digest: 0,
            ended: vec![false; usize::from(CORES)],
        }
    }

    fn observed(&self) -> Observed {
        let epoch = self.policy.epoch;
        let last = |p: &Vec<Position>| p.last().filter(|l| l.epoch == epoch).map_or(Lsn(0), |l| l.lsn);
        let last_edits = self.edits.iter().map(last).collect();
        let (durable, mirrored, ended) = (self.ends.clone(), self.ends.clone(), self.ended.clone());
        Observed { durable, mirrored, last_edits, ended, ..Observed::default() }
    }

    fn append(&mut self, partition: PartitionId) -> Position {
        let core = usize::from(self.policy.placement.core_of(partition).0);
        self.ends[core] = self.ends[core].next();
        Position::new(self.policy.epoch, self.ends[core])
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Edit(p) => {
                let position = self.append(PartitionId(p));
                self.edits[usize::from(p)].push(position);
            }
            Event::Second => self.tick(Duration::from_secs(1)),
            Event::Minute => self.tick(Duration::from_secs(60)),
            Event::Execute => {
                for request in std::mem::take(&mut self.requests) {
                    let BarrierRequest { partition, checkpoint } = request;
                    let position = self.append(partition);
                    if checkpoint {
                        self.placed.insert(partition, position);
                    }
                    let digests = vec![position.lsn.0];
                    self.policy.executed(
                        BarrierReport {
                            partition,
                            position,
                            purpose: Purpose::for_node(checkpoint),
                            transfers: Vec::new(),
                            digests,
                        },
                        self.now,
                    );
                    if !checkpoint && self.policy.is_connected() {
                        self.policy.compared(partition, position, false, self.now);
                    }
                }
            }
            Event::Install => self.install(),
            Event::Fail => {
                if let Some((partition, position)) = self.placed.pop_first() {
                    self.policy.failed(partition, position, "no", self.now);
                }
            }
            Event::Differ => {
                if let Some((partition, position)) = self.placed.pop_first() {
                    self.policy.compared(partition, position, true, self.now);
                }
            }
            Event::NodeUp => self.policy.node_up(self.now),
            Event::NodeDown => {
                self.policy.node_down(self.now);
                self.requests.clear();
            }
            Event::Save => self.tickets.extend(self.policy.request(self.observed())),
            Event::Press => {
                self.pressed ^= true;
                self.policy.set_pressed(self.pressed);
            }
            Event::OwnInstall => self.own_install(),
            Event::OwnFail => {
                if let Some((partition, _)) = self.own.pop_first() {
                    self.policy.capture_failed(partition, "no", self.now);
                }
            }
            Event::Restart => self.restart(),
        }
        self.check();
        for (stream, first) in self.policy.droppable(&self.manifest) {
            let epoch = self.manifest.epochs.iter_mut().find(|e| e.epoch == stream.epoch).unwrap();
            epoch.streams[usize::from(stream.core.0)].first = first;
        }
    }

    fn tick(&mut self, time: Duration) {
        self.now += time;
        let requests = self.policy.tick(self.now, self.observed());
        assert!(requests.is_empty() || self.policy.is_connected());
        for core in (0..CORES).map(CoreId) {
            let of_core = |p: PartitionId| self.policy.placement.core_of(p) == core;
            let under_way: Vec<_> = self.policy.pending_in(core).filter(|p| !p.by_core).map(|p| p.partition).collect();
            let once = |p: &PartitionId| under_way.iter().filter(|q| *q == p).count() == 1;
            assert!(under_way.len() <= WANTED_AT_ONCE && under_way.iter().all(once), "partitions take turns");
            let asked = requests.iter().filter(|r| r.checkpoint && of_core(r.partition)).map(|r| r.partition);
            assert!(asked.into_iter().all(|p| under_way.contains(&p)));
        }
        self.requests.extend(requests);
        let captures = self.policy.captures(self.now);
        assert!(captures.is_empty() || !self.policy.counts_on_node(), "a node is there to do it");
        for partition in captures {
            let core = self.policy.placement.core_of(partition);
            assert_eq!(self.policy.pending_in(core).filter(|p| p.by_core).count(), 1, "a core takes one at a time");
            let barrier = self.append(partition);
            self.own.insert(partition, barrier);
        }
    }

    fn own_install(&mut self) {
        let Some((partition, position)) = self.own.pop_first() else { return };
        self.policy.captured(partition, position, self.now);
        self.record(partition, position);
        self.policy.installed(partition, position, self.now);
    }

    /// Records an installed snapshot in the manifest, as the data directory does.
    fn record(&mut self, partition: PartitionId, position: Position) {
        self.digest += 1;
        let installed = Installed { position, bytes: 1, crc: 0, digest: self.digest };
        self.manifest.install(partition, installed);
    }

    fn install(&mut self) {
        let Some((partition, position)) = self.placed.pop_first() else { return };
        // The node reaches the barrier, compares digests, writes the snapshot and offers it.
        self.policy.compared(partition, position, false, self.now);
        match self.policy.offer(partition, position, self.now) {
            Verdict::Wanted { digests, .. } => assert_eq!(digests, [position.lsn.0]),
            Verdict::Unwanted => return,
            // The core has taken a newer snapshot while the node was away.
            Verdict::Here if self.manifest.generations(partition).newest.is_some_and(|n| n.position > position) => {
                return;
            }
            other => panic!("{other:?} for a fresh snapshot"),
        }
        self.record(partition, position);
        self.policy.installed(partition, position, self.now);
        self.policy.delivered();
        assert_eq!(self.policy.offer(partition, position, self.now), Verdict::Here);
    }

    /// The master stops and starts again; a snapshot of the former epoch comes too late.
    fn restart(&mut self) {
        let late = self.placed.pop_first();
        self.requests.clear();
        self.placed.clear();
        self.own.clear();
        self.tickets.clear();
        for (stream, end) in self.manifest.epochs.last_mut().unwrap().streams.iter_mut().zip(&self.ends) {
            stream.last = Some(*end);
        }
        begin_epoch(&mut self.manifest);
        self.ends = vec![Lsn(0); usize::from(CORES)];
        let seen = |(p, edits): (usize, &Vec<Position>)| {
            let newest = self.manifest.snapshots[p].newest.map_or(Position::START, |n| n.position);
            edits.last().copied().filter(|last| *last > newest).unwrap_or_default()
        };
        let last_edits: Vec<_> = self.edits.iter().enumerate().map(seen).collect();
        let can = self.policy.cores_capture;
        self.policy = Policy::new(&self.manifest, &last_edits, pace());
        self.policy.set_cores_capture(can);
        self.policy.set_pressed(self.pressed);
        self.now = Duration::ZERO;
        if let Some((partition, position)) = late {
            let verdict = self.policy.offer(partition, position, self.now);
            assert!(matches!(verdict, Verdict::Stale | Verdict::Here), "{verdict:?}");
        }
    }

    /// Checks that the log after each partition's older generation is whole, and with it the log after the newest.
    fn check(&self) {
        for (stream, first) in self.policy.droppable(&self.manifest) {
            let placement = self.manifest.placement(stream.epoch).unwrap();
            for p in placement.partitions_of(stream.core).map(usize::from) {
                let older = self.manifest.snapshots[p].older.map_or(Position::START, |o| o.position);
                let needed = self.edits[p].iter().filter(|e| **e > older && e.epoch == stream.epoch);
                assert!(needed.clone().all(|e| e.lsn >= first), "{stream} is dropped below {first}, partition {p}");
            }
            assert!(stream.epoch < self.policy.epoch || first <= self.ends[usize::from(stream.core.0)].next());
        }
    }

    /// Lets a node that works run for a long time: everything must be checkpointed twice and the log of all former
    /// epochs be dropped.
    fn settle(&mut self) {
        self.policy.node_up(self.now);
        for _ in 0..200 {
            for event in [Event::Minute, Event::Execute, Event::OwnInstall, Event::Install, Event::Install] {
                self.step(event);
            }
        }
        for (p, edits) in self.edits.iter().enumerate() {
            let older = self.manifest.snapshots[p].older.map_or(Position::START, |o| o.position);
            assert!(edits.last().is_none_or(|last| *last <= older), "partition {p} is left behind");
        }
        let kept: Vec<_> = self.manifest.kept_streams().filter(|(id, _)| id.epoch < self.policy.epoch).collect();
        assert!(kept.is_empty(), "kept for nobody: {kept:?}");
        assert!(self.tickets.iter().all(|t| self.policy.outcome(*t).is_some()), "somebody waits forever");
    }
}

fn begin_epoch(manifest: &mut Manifest) {
    let epoch = Epoch(manifest.newest_epoch().map_or(0, |e| e.epoch.0) + 1);
    let streams = vec![StreamRecord { first: Lsn(1), last: None }; usize::from(CORES)];
    manifest.epochs.push(EpochRecord { epoch, streams });
}

#[test]
fn nothing_needed_is_dropped_in_any_short_history() {
    // After each of some beginnings that lead to the interesting states: all histories of four events.
    use Event::{Edit, Execute, Install, Minute, NodeUp, Restart, Save};
    let beginnings: [&[Event]; 4] = [
        &[NodeUp, Edit(0), Save, Minute, Execute],
        &[NodeUp, Edit(0), Edit(1), Save, Minute, Execute, Install, Minute],
        &[NodeUp, Edit(0), Save, Minute, Execute, Install, Edit(0), Save, Minute, Execute, Install, Edit(3)],
        &[NodeUp, Edit(1), Save, Minute, Execute, Install, Edit(0), Restart, NodeUp, Edit(1), Save, Minute],
    ];
    let all = EVENTS.len();
    for beginning in beginnings {
        for history in 0..all.pow(4) {
            let mut world = World::new();
            let digits = [1, all, all.pow(2), all.pow(3)].map(|d| EVENTS[history / d % all]);
            beginning.iter().copied().chain(digits).for_each(|event| world.step(event));
        }
    }
}

#[test]
fn nothing_needed_is_dropped_in_long_histories_and_in_the_end_everything_is_checkpointed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..300 {
        let mut world = World::new();
        world.policy.set_cores_capture(round % 2 == 0);
        for _ in 0..random.usize(..200) {
            world.step(EVENTS[random.usize(..EVENTS.len())]);
        }
        world.settle();
    }
}

#[test]
fn partitions_take_turns_and_are_due_by_the_growth_of_their_stream() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    let mut order = Vec::new();
    for n in 0..16 {
        world.step(Event::Edit(n % 2));
        world.tick(Duration::from_millis(100));
        order.extend(world.requests.iter().filter(|r| r.checkpoint).map(|r| (n, r.partition.0)));
        world.step(Event::Execute);
        world.step(Event::Install);
    }
    // Barriers count as growth, too, so there are three or four edits of clients between two checkpoints of one
    // partition.
    let of = |p| order.iter().filter(move |(_, q)| *q == p).map(|(n, _)| *n).collect::<Vec<u16>>();
    assert!(of(0).len() >= 4 && of(1).len() >= 4, "{order:?}");
    assert!(of(0).windows(2).all(|w| w[1] - w[0] >= 2), "{order:?}");
}

#[test]
fn partitions_that_nobody_waits_for_are_checkpointed_one_at_a_time() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    (0..20).for_each(|n| world.step(Event::Edit(n % 2)));
    world.tick(Duration::from_millis(100));
    assert_eq!(world.policy.pending_in(CoreId(0)).count(), 1);
    world.step(Event::Save);
    world.tick(Duration::from_millis(100));
    assert_eq!(world.policy.pending_in(CoreId(0)).count(), 2);
}

#[test]
fn without_a_node_a_log_that_is_too_long_is_shortened_by_own_checkpoints_alone() {
    let mut world = World::new();
    (0..40).for_each(|n| world.step(Event::Edit([0, 1, 3][n % 3])));
    world.step(Event::Minute);
    assert!(world.own.is_empty(), "nobody is pressed");
    world.step(Event::Press);
    let mut rounds = 0;
    while world.manifest.kept_streams().any(|(stream, record)| record.first <= world.ends[usize::from(stream.core.0)]) {
        [Event::Second, Event::OwnInstall, Event::OwnInstall].into_iter().for_each(|e| world.step(e));
        rounds += 1;
        assert!(rounds < 20, "{:?}", world.manifest.epochs);
    }
    // Two generations of each of the two partitions, which share a core.
    assert!(rounds >= 4);
    world.step(Event::Second);
    assert!(world.own.is_empty(), "there is nothing left to do");
}

#[test]
fn a_node_that_comes_takes_over_and_what_a_core_has_begun_is_installed() {
    let mut world = World::new();
    [Event::Edit(0), Event::Edit(1), Event::Press, Event::Second].into_iter().for_each(|e| world.step(e));
    assert_eq!(world.own.len(), 1);
    let taken = *world.own.first_key_value().unwrap().0;
    [Event::NodeUp, Event::Minute].into_iter().for_each(|e| world.step(e));
    assert!(world.requests.iter().all(|r| r.partition != taken || !r.checkpoint), "not twice at a time");
    world.step(Event::OwnInstall);
    assert!(world.manifest.generations(taken).newest.is_some());
    world.requests.clear();
    world.step(Event::Edit(taken.0));
    world.step(Event::Minute);
    assert!(world.own.is_empty() && !world.requests.is_empty());
}

#[test]
fn with_a_node_a_log_that_is_too_long_makes_every_changed_partition_due() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    world.step(Event::Edit(0));
    world.tick(Duration::from_millis(1));
    assert!(world.requests.is_empty());
    world.step(Event::Press);
    world.tick(Duration::from_millis(1));
    assert_eq!(world.requests, [BarrierRequest { partition: PartitionId(0), checkpoint: true }]);
}

#[test]
fn an_idle_register_is_left_alone() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    for _ in 0..100 {
        world.step(Event::Minute);
        assert!(world.requests.is_empty());
    }
    let ticket = world.policy.request(world.observed()).unwrap();
    assert_eq!(world.policy.outcome(ticket), Some(Outcome::Done), "there is nothing to save");
}

#[test]
fn a_checkpoint_that_is_asked_for_is_done_or_fails_but_is_never_forgotten() {
    let mut world = World::new();
    assert_eq!(world.policy.request(world.observed()), None, "nobody is there to write it");
    world.policy.node_up(world.now);
    [Event::Edit(0), Event::Edit(1), Event::Edit(3), Event::Save].into_iter().for_each(|e| world.step(e));
    for _ in 0..3 {
        assert_eq!(world.policy.outcome(world.tickets[0]), None);
        [Event::Second, Event::Execute, Event::Install].into_iter().for_each(|e| world.step(e));
    }
    assert_eq!(world.policy.outcome(world.tickets[0]), Some(Outcome::Done));
    [Event::Edit(0), Event::Save, Event::NodeDown, Event::Second].into_iter().for_each(|e| world.step(e));
    assert_eq!(world.policy.outcome(world.tickets[1]), None, "the node may come back");
    world.step(Event::Minute);
    assert!(matches!(world.policy.outcome(world.tickets[1]), Some(Outcome::Failed(_))));
}

#[test]
fn a_checkpoint_that_is_asked_for_is_taken_by_the_cores_if_there_is_no_node() {
    let mut world = World::new();
    world.policy.set_cores_capture(true);
    [Event::Edit(0), Event::Edit(1), Event::Edit(3), Event::Save].into_iter().for_each(|e| world.step(e));
    for _ in 0..3 {
        assert_eq!(world.policy.outcome(world.tickets[0]), None);
        [Event::Second, Event::OwnInstall].into_iter().for_each(|e| world.step(e));
    }
    assert_eq!(world.policy.outcome(world.tickets[0]), Some(Outcome::Done));
    world.step(Event::Minute);
    assert!(world.own.is_empty(), "nobody waits for more");
}

#[test]
fn a_difference_stops_truncation_until_a_later_barrier_agrees() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    for _ in 0..2 {
        [Event::Edit(0), Event::Save, Event::Second, Event::Execute].into_iter().for_each(|e| world.step(e));
        world.install();
    }
    let first = |world: &World| world.policy.droppable(&world.manifest).first().map(|(_, first)| *first);
    let at = Position::new(world.policy.epoch, Lsn(9));
    world.policy.tick(world.now, world.observed());
    let before = first(&world);
    assert!(before.is_some());
    assert!(world.policy.compared(PartitionId(0), at, true, world.now), "that is news");
    assert!(!world.policy.compared(PartitionId(0), at, false, world.now), "no later barrier");
    assert_eq!(first(&world), None);
    assert_eq!(world.policy.diverged().collect::<Vec<_>>(), [(PartitionId(0), at)]);
    let later = Position::new(world.policy.epoch, Lsn(10));
    assert!(world.policy.compared(PartitionId(0), later, false, world.now));
    assert_eq!(first(&world), before);
}

#[test]
fn a_checkpoint_without_progress_is_given_up_and_tried_again() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    [Event::Edit(0), Event::Save, Event::Second, Event::Execute].into_iter().for_each(|e| world.step(e));
    let lost = world.placed.pop_first().unwrap();
    (0..4).for_each(|_| world.step(Event::Minute));
    assert!(matches!(world.policy.outcome(world.tickets[0]), Some(Outcome::Failed(_))));
    assert_eq!(world.policy.offer(lost.0, lost.1, world.now), Verdict::Unwanted);
    world.step(Event::Save);
    world.step(Event::Second);
    assert!(world.requests.iter().any(|r| r.checkpoint && r.partition == lost.0));
}
