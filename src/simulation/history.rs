//! The course of a history: several lives of the master with load and faults, then peace without faults, in which
//! master and node must come to hold the same and checkpoint everything.

mod captures;
mod node_faults;
mod rot;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::load::{DATABASES, Request, tells, universe};
use super::master::{self, Master};
use super::network::Network;
use super::node::Node;
use super::oracle::{Key, Oracle};
use super::{Outcome, Settings};
use crate::config::Durability;
use crate::ids::{CoreId, Lsn, PartitionId, StreamId};
use crate::replication::master::policy;
use crate::storage::model::{Process, World};
use crate::storage::{Installed, Manifest, StorageError};

/// How long peace may take until everything is mirrored and checkpointed, in simulated time.
const PATIENCE: Duration = Duration::from_secs(300);

/// Number of attempts to start a master at which it may die; at later attempts it does not.
const TROUBLED_STARTS: u32 = 3;

/// A history under way: the world, its two processes, and what must be there.
pub(super) struct History {
    pub(super) world: World,
    pub(super) settings: Settings,
    network: Network,
    pub(super) oracle: Rc<RefCell<Oracle>>,
    /// The master's machine, 0 or 1; the node's machine is the same or the other.
    pub(super) machine: usize,
    /// The master's data directory on its machine.
    pub(super) dir: PathBuf,
    pub(super) master: Option<Master>,
    pub(super) node: Option<Node>,
    /// Gates of the replies that are not shown yet: each waits until its core's edits are safe up to this one.
    waiting: Vec<(CoreId, Lsn)>,
    requests: u64,
    /// The key that a value has come to last.
    moved: Option<Key>,
    pub(super) outcome: Outcome,
}

impl History {
    pub(super) fn new(world: &World, settings: Settings) -> Self {
        Self {
            world: world.clone(),
            settings,
            network: Network::new(world),
            oracle: Rc::default(),
            machine: 0,
            dir: PathBuf::from("/master"),
            master: None,
            node: None,
            waiting: Vec::new(),
            requests: 0,
            moved: None,
            outcome: Outcome::default(),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome { acknowledged: self.oracle.borrow().acknowledged, ..self.outcome }
    }

    pub(super) async fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.world.draw(|random| random.u8(1..5)) {
            if !self.start(TROUBLED_STARTS).await? {
                return Ok(());
            }
            self.live().await?;
            self.end().await?;
        }
        if !self.start(0).await? {
            return Ok(());
        }
        self.make_peace().await?;
        let closed = self.close(false).await;
        if !closed {
            return Err("in peace the logs do not close".to_owned());
        }
        // Once more, with a number of cores drawn anew: recovers from snapshots and what is left of the log.
        if self.start(0).await? { Ok(()) } else { Err("refused after peace".to_owned()) }
    }

    /// Starts a master, which may die during the first `troubled` attempts. `false` if it refuses to start because of
    /// rot.
    async fn start(&mut self, troubled: u32) -> Result<bool, String> {
        self.settings.cores = self.world.draw(|random| random.u16(1..4));
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.world.disk(self.machine, |disk, _| disk.capacity = None);
            let process = self.world.process(self.machine);
            let (steps, with_power) = self.world.draw(|random| (random.u64(0..80), random.bool()));
            let dies = attempts <= troubled && self.world.once_in(2);
            if dies {
                process.die_after(steps, with_power);
            }
            self.world.note(|| format!("process {} starts as the master", process.id()));
            let started = master::start(&process, &self.dir, &self.network, &self.oracle, &self.settings).await;
            if !process.is_alive() {
                self.outcome.crashes += 1;
                self.after_death(&process);
                continue;
            }
            process.live_on();
            match started {
                Ok(master) => {
                    self.master = Some(master);
                    self.outcome.starts += 1;
                    self.check_recovered()?;
                    return Ok(true);
                }
                // Where one file is damaged, the older snapshots belong together.
                Err(StorageError::Corrupt(why))
                    if self.outcome.rotten == 1 && why.to_string().contains("is in neither of the two") =>
                {
                    return Err(format!("one file was damaged, but: {why}"));
                }
                Err(StorageError::Corrupt(why)) if self.outcome.rotten > 0 => {
                    self.world.note(|| format!("refused: {why}"));
                    self.outcome.refused += 1;
                    return Ok(false);
                }
                // A fault of the disk may make a start fail; another attempt is made.
                Err(e) if self.settings.with_disk_faults && attempts < 20 && !matches!(e, StorageError::Corrupt(_)) => {
                    process.kill();
                    self.after_death(&process);
                }
                Err(e) => return Err(format!("the master does not start: {e}")),
            }
        }
    }

    /// Checks that the recovered content is that of the recorded ends of the streams, and that no durable edit is lost.
    fn check_recovered(&mut self) -> Result<(), String> {
        let Some(master) = &self.master else { return Ok(()) };
        if master.bad_snapshots > 0 && self.outcome.rotten == 0 {
            return Err("an installed snapshot proved bad".to_owned());
        }
        let manifest = master.shared.dir.manifest();
        self.check_node(&manifest)?;
        self.oracle.borrow_mut().recovered(&manifest)?;
        let oracle = self.oracle.borrow();
        for key in universe() {
            let (_, reply) = master.execute(&Request::read(&key)).ok_or("a read has to wait")?;
            if !tells(&reply, oracle.content.get(&key)) {
                let (db, name) = (key.0, key.1.escape_ascii());
                return Err(format!(
                    "{name} in database {db} should hold {:?}, but: {}",
                    oracle.content.get(&key),
                    reply.escape_ascii()
                ));
            }
        }
        let held = |db| master.cores.iter().map(move |core| core.borrow().store().len(db));
        let keys: usize = DATABASES.into_iter().flat_map(held).sum();
        if keys == oracle.content.len() {
            Ok(())
        } else {
            Err(format!("{keys} keys instead of {}", oracle.content.len()))
        }
    }

    /// Checks that the node holds nothing that was cut off: what it holds was durable before it was sent.
    fn check_node(&self, manifest: &Manifest) -> Result<(), String> {
        let Some(node) = self.node.as_ref().filter(|_| !self.settings.with_rot) else { return Ok(()) };
        for (partition, position) in node.positions() {
            let core = manifest.placement(position.epoch).map(|placement| placement.core_of(partition));
            let record = core.and_then(|core| manifest.stream(StreamId::new(position.epoch, core)));
            if let Some(last) = record.and_then(|record| record.last).filter(|last| *last < position.lsn) {
                return Err(format!(
                    "the node has partition {partition} at {position}, but that stream ends with {last}"
                ));
            }
        }
        Ok(())
    }

    /// One life of the master: load and faults, until the master dies or the drawn number of requests is done.
    async fn live(&mut self) -> Result<(), String> {
        if let Some(master) = &self.master
            && self.world.once_in(3)
        {
            master.process.become_fragile();
        }
        let requests = self.world.draw(|random| random.u32(20..500));
        let trouble = self.world.draw(|random| random.u32(20..400));
        for _ in 0..requests {
            if self.world.once_in(trouble) {
                self.trouble();
            }
            self.keep_node();
            self.save_without_node();
            self.request()?;
            let pause = self.world.draw(|random| match random.u8(..) {
                0..4 => random.u64(30_000..600_000),
                4..100 => random.u64(1..4_000),
                _ => 0,
            });
            if pause > 0 {
                self.world.sleep(Duration::from_micros(pause)).await;
            }
            let waiting = self.waiting.len();
            self.check_promises()?;
            // A machine is lost at the worst moment: just after a client was told something.
            if self.waiting.len() < waiting && self.is_machine_lost() {
                return self.lose_machine().await;
            }
            if !self.is_alive() {
                break;
            }
        }
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.process.is_alive())
    }

    /// Draws a fault, which happens at once or after a number of steps.
    fn trouble(&mut self) {
        let Some(master) = self.master.as_ref().map(|m| m.process.clone()) else { return };
        let (what, steps, with_power) = self.world.draw(|random| (random.u8(0..10), random.u64(0..150), random.bool()));
        match what {
            0..=2 => master.die_after(steps, with_power),
            3 => self.network.cut(false),
            4 => self.network.cut(true),
            5 => self.end_node(false),
            6 => self.end_node(true),
            7 => {
                if let Some(node) = &self.node {
                    // If both share a machine, a power failure ends the master, too.
                    node.process.die_after(steps, with_power);
                }
            }
            8 if self.settings.with_disk_faults => self.world.disk(self.machine, |disk, random| {
                let fault = if random.bool() { &mut disk.write_fails_in } else { &mut disk.sync_fails_in };
                *fault = Some(random.u64(0..40));
            }),
            9 if self.settings.with_disk_faults => self.world.disk(self.machine, |disk, random| {
                disk.capacity = if disk.capacity.is_none() { Some(random.u64(500_000..1_000_000)) } else { None };
            }),
            8 if self.settings.with_node_faults => self.delete_node_directory(),
            9 if self.settings.with_node_faults => self.fill_node_disk_or_make_room(),
            _ => {}
        }
    }

    fn end_node(&mut self, with_power: bool) {
        let Some(node) = self.node.take() else { return };
        self.outcome.crashes += 1;
        if with_power && !self.settings.together {
            self.world.power_off(node.process.machine());
        } else {
            node.process.kill();
        }
    }

    /// Notices that the node is dead, and starts another one sooner or later.
    fn keep_node(&mut self) {
        if self.node.as_ref().is_some_and(|node| !node.process.is_alive()) {
            self.outcome.crashes += 1;
            self.node = None;
        }
        if self.node.is_none() && self.world.once_in(15) {
            self.start_node();
        }
    }

    fn start_node(&mut self) {
        let machine = if self.settings.together { self.machine } else { 1 - self.machine };
        let process = self.world.process(machine);
        self.world.note(|| format!("process {} starts as the node", process.id()));
        self.node = Some(Node::start(process, &self.network));
        let streams = self.master.iter().flat_map(|master| &master.shared.streams);
        self.oracle.borrow_mut().another_node(streams.map(|marks| marks.appended()));
    }

    /// Executes a random request, and checks its reply, its edits and its gate.
    fn request(&mut self) -> Result<(), String> {
        let Some(master) = self.master.as_ref().filter(|master| master.process.is_alive()) else { return Ok(()) };
        self.requests += 1;
        let request = self.draw_request(master);
        let core = master.core_of(request.name());
        if request.new_name().is_some_and(|name| master.core_of(name) != core) {
            return Ok(());
        }
        let before = master.appended(core);
        let Some((executed, reply)) = master.execute(&request) else { return Ok(()) };
        let oracle = &mut *self.oracle.borrow_mut();
        let name = || {
            request.words.iter().map(|w| w[..w.len().min(24)].escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
        };
        self.world.note(|| format!("core {core}: {} → edit {}, shown at {}", name(), executed.wrote, executed.gate));
        if reply.starts_with(b"-MISCONF") {
            return if self.settings.with_disk_faults {
                Ok(())
            } else {
                Err(format!("refused: {}", reply.escape_ascii()))
            };
        }
        let (expected, effect) = request.expected(&oracle.content);
        if reply != expected {
            return Err(format!("{}: {} instead of {}", name(), reply.escape_ascii(), expected.escape_ascii()));
        }
        if (executed.wrote > Lsn(0)) == effect.is_empty() {
            return Err(format!("{}: edit {}, but its effect is {effect:?}", name(), executed.wrote));
        }
        if let Some(key) = request.moves_to().filter(|_| !effect.is_empty()) {
            self.moved = Some(key);
        }
        let tells_of = if effect.is_empty() { oracle.last_edit(core, &request.key()) } else { executed.wrote };
        if !effect.is_empty() {
            // A value that is handed over takes one edit or two, by its size.
            let edits = if request.hands_over() { executed.wrote.0 - before.0 } else { effect.len() as u64 };
            oracle.wrote(core, Lsn(executed.wrote.0 + 1 - edits), executed.wrote, effect);
        }
        if self.settings.durability != Durability::Async {
            if executed.gate < tells_of {
                return Err(format!("{}: shown before edit {tells_of} is safe", name()));
            }
            self.waiting.push((core, executed.gate));
        }
        Ok(())
    }

    /// Tells the oracle of the replies that are shown now. Checks the order of the marks, and that no checkpoint failed
    /// without a fault.
    fn check_promises(&mut self) -> Result<(), String> {
        let Some(master) = self.master.as_ref().filter(|master| master.process.is_alive()) else { return Ok(()) };
        let oracle = &mut *self.oracle.borrow_mut();
        self.waiting.retain(|(core, gate)| {
            let open = master.safe(*core) >= *gate;
            if open {
                oracle.durable(*core, *gate);
            }
            if open && self.settings.durability == Durability::Mirrored {
                oracle.mirrored(*core, *gate);
            }
            !open
        });
        for marks in &master.shared.streams {
            let (mirrored, durable, synced, written) =
                (marks.mirrored(), marks.durable(), marks.synced(), marks.written());
            if mirrored > durable || durable > synced || synced > written {
                return Err("mirrored ≤ durable ≤ synced ≤ written does not hold".to_owned());
            }
        }
        let manifest = master.shared.dir.manifest();
        for transfer in master.cores.iter().flat_map(|core| core.borrow().transfers().collect::<Vec<_>>()) {
            let [from, to] = [transfer.from, transfer.to].map(|partition| manifest.generations(partition));
            for (from, to) in [(from.newest, to.newest), (from.older, to.older)] {
                let has = |snapshot: Option<Installed>| snapshot.is_some_and(|s| s.position >= transfer.position);
                // After a snapshot proved bad, its partition has no older one until two more are installed. It cannot
                // fall back meanwhile, whatever the others have.
                let has_lost_one = to.is_none() && self.outcome.rotten > 0;
                if has(from) && !has(to) && !has_lost_one {
                    return Err(format!("{transfer:?} is in neither of two snapshots that may be used together"));
                }
            }
        }
        let status = master.shared.status();
        let may_fail = self.settings.with_disk_faults || self.settings.with_node_faults || self.settings.with_rot;
        if !may_fail && (status.compared.1 > 0 || status.failed > 0) {
            return Err(format!("{} digests differ, {} checkpoints failed", status.compared.1, status.failed));
        }
        Ok(())
    }

    /// Ends the master's life: in good order, by a crash or by a power failure.
    async fn end(&mut self) -> Result<(), String> {
        self.check_promises()?;
        let how = self.world.draw(|random| random.u8(0..4));
        let hasty = self.world.once_in(4);
        if self.is_alive() && how == 0 && self.close(hasty).await {
            self.lose_end();
            return self.rot();
        }
        if let Some(master) = self.master.take() {
            self.note_installed(&master);
            if master.process.is_alive() {
                if how < 3 { master.process.kill() } else { self.world.power_off(self.machine) }
            }
            self.outcome.crashes += 1;
            self.after_death(&master.process.clone());
        }
        self.rot()
    }

    /// Closes the master in good order; if `hasty`, without waiting for edits to become durable. Returns whether all is
    /// durable.
    async fn close(&mut self, hasty: bool) -> bool {
        let Some(master) = self.master.take() else { return false };
        let closed = master.close(hasty).await && master.process.is_alive();
        self.note_installed(&master);
        self.oracle.borrow_mut().closed = closed;
        if master.process.is_alive() {
            master.process.kill();
        }
        self.after_death(&master.process);
        closed
    }

    pub(super) fn note_installed(&mut self, master: &Master) {
        let status = master.shared.status();
        self.outcome.installed += status.installed;
        self.outcome.own += status.self_installed;
    }

    pub(super) fn after_death(&mut self, process: &Process) {
        self.world.note(|| format!("process {} is gone", process.id()));
        *self.network.closed.borrow_mut() = true;
        self.network.accepted.borrow_mut().clear();
        self.waiting.clear();
        self.network.cut(true);
    }

    /// Ends all faults, and waits until the node has caught up, everything is checkpointed, and both hold the same.
    async fn make_peace(&mut self) -> Result<(), String> {
        self.world.note(|| "peace".to_owned());
        for machine in 0..2 {
            self.world
                .disk(machine, |disk, _| (disk.capacity, disk.write_fails_in, disk.sync_fails_in) = (None, None, None));
        }
        self.end_node(false);
        self.start_node();
        for _ in 0..30 {
            self.request()?;
            self.world.sleep(Duration::from_millis(3)).await;
        }
        if self.settings.with_node_faults {
            self.bear_with_node().await?;
        }
        let deadline = self.world.now() + PATIENCE;
        let mut ticket = None;
        loop {
            self.world.sleep(Duration::from_millis(50)).await;
            self.check_promises()?;
            let (Some(master), Some(node)) = (&self.master, &self.node) else {
                return Err("nobody is left".to_owned());
            };
            if let Some(why) = &*node.failed.borrow() {
                return Err(format!("the node cannot go on: {why}"));
            }
            let shared = &master.shared;
            let level = shared.streams.iter().all(|s| s.appended() == s.durable() && s.mirrored() == s.durable());
            if level && ticket.is_none() {
                let observed = shared.observe();
                ticket = shared.state().policy.request(observed);
            }
            let outcome = ticket.and_then(|ticket| shared.state().policy.outcome(ticket));
            match outcome {
                Some(policy::Outcome::Done) if level => return self.check_agreement(),
                // A checkpoint may still fail because of a former fault; it is asked for again.
                Some(policy::Outcome::Failed(_)) => ticket = None,
                _ if self.world.now() > deadline => {
                    let status = shared.status();
                    return Err(format!("no peace: level {level}, {outcome:?}, {status:?}"));
                }
                _ => {}
            }
        }
    }

    /// Checks that master and node hold the same digests.
    fn check_agreement(&self) -> Result<(), String> {
        let (Some(master), Some(node)) = (&self.master, &self.node) else { return Ok(()) };
        for partition in (0..self.settings.partitions.count()).map(PartitionId) {
            if node.digests(partition).as_ref() != Some(&master.digests(partition)) {
                return Err(format!("master and node hold different things in partition {partition}"));
            }
        }
        Ok(())
    }
}
