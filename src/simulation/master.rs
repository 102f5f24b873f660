//! The master as a process of the simulated world: its directory, logs, shards, policy and protocol are the real ones;
//! only the threads and sockets are the simulator's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::load::Request;
use super::network::{Line, Network};
use super::oracle::Ledger;
use super::{Settings, cut};
use crate::commands::Context;
use crate::encoding::resp::{Protocol, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::{CoreId, Lsn, PartitionId, Placement, StreamId};
use crate::net::COMMANDS;
use crate::partition::capture::Slice;
use crate::partition::cut::Tail;
use crate::partition::order::{Order, Reporter, reports};
use crate::partition::{Committed, MemoryBound, Shard, keep_all, recover_all};
use crate::replication::clock::Clock;
use crate::replication::link::LinkError;
use crate::replication::master::policy::{Pace, Policy};
use crate::replication::master::self_checkpoints::SelfCheckpoints;
use crate::replication::master::sessions::SessionId;
use crate::replication::master::ship::{Shipment, Shipped, acknowledge};
use crate::replication::master::side::{MasterSide, PolicyLoop};
use crate::replication::master::{Options, accept, download, upload};
use crate::replication::protocol::{HEARTBEAT, Message, Reason, Received, Role, SILENCE};
use crate::runtime::bell::Bell;
use crate::runtime::inbox::Inbox;
use crate::storage::model::{NOW, Process};
use crate::storage::{Commit, DataDir, Log, LogOptions, PartitionMarks, Probed, StorageError, StreamMarks};
use crate::time::UnixMillis;

/// Queue of the partitions of which cores are to take snapshots.
type Captures = Rc<RefCell<VecDeque<PartitionId>>>;

fn next_of(captures: &Captures) -> Option<PartitionId> {
    captures.borrow_mut().pop_front()
}

/// A serving master.
pub(super) struct Master {
    pub(super) process: Process,
    pub(super) shared: Arc<MasterSide<Process>>,
    pub(super) cores: Vec<Rc<RefCell<Shard<Process>>>>,
    placement: Placement,
    /// Number of installed snapshots that proved bad when it started.
    pub(super) bad_snapshots: usize,
}

/// Starts a master on `process`, with the data directory `dir`: recovers, begins an epoch, and serves clients and
/// nodes.
pub(super) async fn start(
    process: &Process,
    dir: &Path,
    network: &Network,
    oracle: &Ledger,
    settings: &Settings,
) -> Result<Master, StorageError> {
    let dir = Arc::new(DataDir::open_in(process.clone(), dir, settings.partitions)?.0);
    let placement = Placement::new(settings.partitions, settings.cores).expect("fewer cores than partitions");
    let anywhere = |tails: &[Tail]| cut::anywhere(tails, process, oracle);
    let (all, findings, cut) = recover_all(&dir, placement, if settings.settles_late { &anywhere } else { &keep_all })?;
    cut.record(&dir)?;
    let epoch = dir.begin_epoch(settings.cores, settings.segment_bytes)?;
    let streams: Vec<_> = (0..settings.cores).map(|_| Arc::new(StreamMarks::new())).collect();
    let partitions: Arc<[_]> = (0..settings.partitions.count()).map(|_| PartitionMarks::new()).collect();
    let last_edits = all.iter().flat_map(|r| r.places.iter().map(|p| p.last_edit)).collect();
    let inboxes: Vec<Inbox<Order>> =
        (0..settings.cores).map(|_| Inbox::new(Arc::new(Bell::new().expect("there are descriptors")))).collect();
    let (reporter, reports) = reports();
    let options = Options {
        dir: dir.clone(),
        streams: streams.clone(),
        partitions: partitions.clone(),
        last_edits,
        measured: Vec::new(),
        pace: settings.pace,
        listen: Vec::new(),
        guard: Arc::default(),
        protected: false,
        timeout: SILENCE,
        cores: inboxes.clone(),
        reports,
        cores_capture: settings.max_log_bytes.is_some(),
        max_log_bytes: settings.max_log_bytes,
        child: None,
    };
    let bad_snapshots = findings.iter().map(|found| found.bad.len()).sum();
    let mut cores = Vec::new();
    let memory = Arc::new(MemoryBound::new(placement.cores(), None));
    for ((core, recovered), marks) in (0..).map(CoreId).zip(all).zip(&streams) {
        let options = log_options(&dir, StreamId::new(epoch, core), settings);
        let log = open_log(process, options, marks, oracle, settings.settles_late).await?;
        let (partitions, memory) = (partitions.clone(), memory.clone());
        let mut shard = Shard::new(core, placement, recovered.store, log, partitions, settings.durability, memory);
        shard.bind(recovered.transfers);
        cores.push(Rc::new(RefCell::new(shard)));
    }
    let mut policy = Policy::new(&dir.manifest(), &options.last_edits, options.pace);
    policy.set_cores_capture(settings.max_log_bytes.is_some());
    let ended_log_bytes = dir.ended_log_bytes()?;
    let (shared, _) = MasterSide::new(options, policy, Clock::Set(&NOW), ended_log_bytes);
    let shared = Arc::new(shared);
    upload::clear_stale(&shared);
    let master = Master { process: process.clone(), shared, cores, placement, bad_snapshots };
    let captures = settings.max_log_bytes.is_some().then(|| master.spawn_self_checkpoints(&reporter));
    master.spawn_policy(inboxes, reporter, captures);
    master.spawn_accept(network);
    Ok(master)
}

/// Opens a log; the oracle is told which edits it calls durable.
async fn open_log(
    process: &Process,
    options: LogOptions,
    marks: &Arc<StreamMarks>,
    oracle: &Ledger,
    settles_late: bool,
) -> Result<Log<Process>, StorageError> {
    let stream = options.stream;
    let log = Log::open_on(process.clone(), options, marks.clone()).await?;
    if settles_late {
        cut::settle_late(process, &log, stream, oracle);
    }
    log.on_progress({
        let (oracle, marks) = (oracle.clone(), marks.clone());
        Rc::new(move || oracle.borrow_mut().settle(stream.core, marks.durable()))
    });
    Ok(log)
}

fn log_options(dir: &DataDir<Process>, stream: StreamId, settings: &Settings) -> LogOptions {
    LogOptions {
        dir: dir.path().to_owned(),
        id: dir.id(),
        stream,
        segment_bytes: settings.segment_bytes,
        buffer_bytes: settings.buffer_bytes,
        buffers: 2,
        flush_interval: Duration::from_millis(5),
        sync: Probed { zero_fill: settings.zero_fill, ..Probed::default() },
        commit: Commit::Async,
    }
}

impl Master {
    /// The core that owns a key.
    pub(super) fn core_of(&self, key: &[u8]) -> CoreId {
        self.placement.core_of(self.placement.partitions().of(slot_of(key)))
    }

    /// Executes a request on the core of its key; `None` if the log is full, so that the request has to wait for the
    /// disk.
    pub(super) fn execute(&self, request: &Request) -> Option<(Committed, Vec<u8>)> {
        let core = self.core_of(request.name());
        let mut shard = self.cores[usize::from(core.0)].borrow_mut();
        if shard.is_full() {
            return None;
        }
        let args = request.args();
        let spec = COMMANDS.registry.resolve(args).expect("the load knows its commands");
        let context = Context {
            db: request.db,
            slot: slot_of(request.name()),
            now: UnixMillis::new(1_700_000_000_000),
            random: 1,
            touch: true,
            max_string: 512 << 20,
            max_reply: usize::MAX,
            partitions: self.placement.partitions(),
            owned: self.placement.partitions_of(core),
        };
        let mut out = Vec::new();
        let mut group = shard.begin();
        group.run(spec, &context, args, &mut Reply::new(&mut out, Protocol::Resp2));
        let committed = group.commit();
        assert_eq!(shard.contradiction(), None);
        Some((committed, out))
    }

    /// The last edit of a core that was appended to its log.
    pub(super) fn appended(&self, core: CoreId) -> Lsn {
        self.cores[usize::from(core.0)].borrow().log().appended()
    }

    /// The last edit of a core that is as safe as the settings' durability asks for, with all before it.
    pub(super) fn safe(&self, core: CoreId) -> Lsn {
        self.cores[usize::from(core.0)].borrow().safe()
    }

    /// Closes all logs, and records their ends. Returns whether everything is durable and recorded. If `hasty`, does
    /// not wait for edits that are not durable yet.
    pub(super) async fn close(&self, hasty: bool) -> bool {
        let mut closed = Vec::new();
        for (core, shard) in (0..).map(CoreId).zip(&self.cores) {
            let log = shard.borrow().log().clone();
            let mut closing = pin!(log.close());
            // A dead process closes nothing.
            let ended = poll_fn(|context| {
                if self.process.is_alive() { closing.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }
            });
            if ended.await.is_some_and(|ended| ended.is_ok()) {
                while !hasty && self.process.is_alive() && log.marks().settled_end().is_none() {
                    self.process.world().sleep(Duration::from_millis(5)).await;
                }
                closed.extend(log.marks().settled_end().map(|last| (core, last)));
            }
        }
        let recorded = self.shared.dir.close_streams(self.shared.epoch, &closed);
        recorded.is_ok() && closed.len() == self.cores.len()
    }

    /// The digests of a partition's slots as the master holds them.
    pub(super) fn digests(&self, partition: PartitionId) -> Vec<u64> {
        let core = self.placement.core_of(partition);
        self.cores[usize::from(core.0)].borrow().store().digests(partition)
    }

    /// Runs the policy thread, and the cores' part of executing its orders; partitions to be captured are put into
    /// `captures`.
    fn spawn_policy(&self, inboxes: Vec<Inbox<Order>>, reporter: Reporter, captures: Option<Captures>) {
        let (shared, cores) = (self.shared.clone(), self.cores.clone());
        let world = self.process.world().clone();
        self.process.spawn(async move {
            let mut rounds = PolicyLoop::default();
            loop {
                rounds.look(&shared);
                world.sleep(Duration::from_millis(world.draw(|random| random.u64(1..100)))).await;
                for (inbox, core) in inboxes.iter().zip(&cores) {
                    for order in inbox.take() {
                        match order {
                            Order::Barrier { partition, checkpoint } => {
                                let barriers = core.borrow_mut().barrier(partition, checkpoint);
                                for barrier in barriers {
                                    let (partition, lsn) = (barrier.partition, barrier.lsn);
                                    world.note(|| format!("barrier of partition {partition} at {lsn}"));
                                    reporter.barrier(barrier);
                                }
                            }
                            Order::Capture(partition) => {
                                captures.iter().for_each(|captures| captures.borrow_mut().push_back(partition));
                            }
                            // Refusing writes, telling clients of their saves and shutting down are not simulated.
                            _ => {}
                        }
                    }
                }
            }
        });
    }

    /// Runs the thread that writes the cores' own snapshots, and the cores' part of taking them. Returns the queue of
    /// the partitions to be captured.
    fn spawn_self_checkpoints(&self, reporter: &Reporter) -> Captures {
        let captures = Captures::default();
        let (shared, cores, placement) = (self.shared.clone(), self.cores.clone(), self.placement);
        let (asked, reporter) = (captures.clone(), reporter.clone());
        let world = self.process.world().clone();
        self.process.spawn(async move {
            let mut snapshots = SelfCheckpoints::default();
            loop {
                world.sleep(Duration::from_micros(world.draw(|random| random.u64(100..20_000)))).await;
                while let Some(partition) = next_of(&asked) {
                    let core = placement.core_of(partition);
                    let barriers = cores[usize::from(core.0)].borrow_mut().begin_capture(partition);
                    if barriers.is_empty() {
                        snapshots.on(&shared, Slice::refusal(partition, "busy"));
                    }
                    for barrier in barriers {
                        world.note(|| format!("partition {} is captured after {}", barrier.partition, barrier.lsn));
                        reporter.barrier(barrier);
                    }
                }
                for core in &cores {
                    // At this number of steps most slots are captured in one slice, so that edits mostly come between
                    // slots.
                    let mut slots = world.draw(|random| random.u32(1..3_000));
                    let slice = core.borrow_mut().capture(|| {
                        slots -= 1;
                        slots > 0
                    });
                    if let Some(slice) = slice {
                        snapshots.on(&shared, slice);
                    }
                }
                snapshots.look(&shared);
            }
        });
        captures
    }

    /// Runs the accept thread: listens, and serves each connection in a task of its own.
    fn spawn_accept(&self, network: &Network) {
        *network.closed.borrow_mut() = false;
        let (shared, process, network) = (self.shared.clone(), self.process.clone(), network.clone());
        self.process.spawn(async move {
            loop {
                process.world().sleep(Duration::from_millis(2)).await;
                while let Some(mut line) = network.accepted.borrow_mut().pop_front() {
                    line.owner = Some(process.clone());
                    let (shared, world) = (shared.clone(), process.world().clone());
                    process.spawn(async move {
                        if let Err(e) = serve(&shared, line).await {
                            world.note(|| format!("the master ends a connection: {e}"));
                        }
                    });
                }
            }
        });
    }
}

/// Serves one connection, from its hello to its end.
async fn serve(shared: &MasterSide<Process>, mut line: Line) -> Result<(), LinkError> {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (role, node, session) = {
        let Message::Hello(hello) = line.message().await? else { return Err(LinkError::OutOfTurn) };
        if accept::check(shared, &hello, peer).is_err() {
            return Err(LinkError::OutOfTurn);
        }
        (hello.role, hello.node, SessionId(hello.session))
    };
    if role == Role::Control {
        return control(shared, &mut line, node, peer).await;
    }
    let is_over = || !shared.state().sessions.is_present(session);
    if is_over() {
        refuse(&mut line, Reason::Stale, "this session is over");
        return Ok(());
    }
    match role {
        Role::Stream => ship(shared, &mut line, &is_over).await,
        Role::Upload => {
            let mut uploads = upload::Uploads::default();
            while !is_over() {
                if line.wait(Duration::from_millis(50)).await? {
                    let Received::Message(message) = line.take()? else { return Err(LinkError::OutOfTurn) };
                    if let Some(answer) = uploads.on(shared, message)? {
                        line.send(&answer);
                    }
                }
            }
            Ok(())
        }
        _ => send_snapshots(shared, &mut line, &is_over).await,
    }
}

fn refuse(line: &mut Line, reason: Reason, text: &str) {
    line.send(&Message::Refusal { reason, text: text.into() });
}

async fn control(shared: &MasterSide<Process>, line: &mut Line, node: u64, peer: IpAddr) -> Result<(), LinkError> {
    let Some(session) = accept::open_session(shared, node, &Arc::default(), peer) else {
        refuse(line, Reason::Busy, "another checkpoint node is connected");
        return Ok(());
    };
    line.send(&Message::Welcome(accept::welcome(shared, session)));
    let ended = loop {
        match line.message().await {
            Ok(Message::Ping) => line.send(&Message::Ping),
            Ok(_) => break Err(LinkError::OutOfTurn),
            Err(e) => break Err(e),
        }
    };
    accept::close_session(shared, session);
    ended
}

async fn ship(shared: &MasterSide<Process>, line: &mut Line, is_over: &impl Fn() -> bool) -> Result<(), LinkError> {
    let Message::Follow { epoch, core, from } = line.message().await? else { return Err(LinkError::OutOfTurn) };
    let stream = StreamId::new(epoch, core);
    let mut shipment = match Shipment::open(shared, stream, from) {
        Ok(shipment) => shipment,
        Err(e) => {
            refuse(line, Reason::Unknown, &e.to_string());
            return Ok(());
        }
    };
    let mut sent_at = shared.clock.now();
    let mut ended = false;
    while !is_over() {
        if line.wait(Duration::from_millis(10)).await? {
            let Received::Message(message) = line.take()? else { return Err(LinkError::OutOfTurn) };
            acknowledge(shared, stream, message)?;
            continue;
        }
        if ended {
            continue;
        }
        match shipment.next(Duration::ZERO) {
            Ok(Shipped::End(last)) => {
                line.send(&Message::End(last));
                ended = true;
            }
            Ok(Shipped::Run(run)) if !run.is_empty() || shared.clock.now() >= sent_at + HEARTBEAT => {
                line.send_log(run);
                sent_at = shared.clock.now();
            }
            Ok(Shipped::Run(_)) => {}
            Err(e) => {
                refuse(line, Reason::Unknown, &e.to_string());
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn send_snapshots(
    shared: &MasterSide<Process>,
    line: &mut Line,
    is_over: &impl Fn() -> bool,
) -> Result<(), LinkError> {
    let mut chunk = Vec::new();
    while !is_over() {
        let Message::Fetch(partition) = line.message().await? else { return Err(LinkError::OutOfTurn) };
        match download::Download::begin(shared, partition) {
            Err(refusal) => line.send(&refusal),
            Ok((mut lending, first)) => {
                line.send(&first);
                while let Some(message) = lending.next(&mut chunk) {
                    line.send(&message);
                }
            }
        }
    }
    Ok(())
}

/// Draws how often partitions are checkpointed.
pub(super) fn pace(random: &mut fastrand::Rng) -> Pace {
    Pace { every_edits: random.u64(20..400), every: Duration::from_millis(random.u64(200..4_000)) }
}
