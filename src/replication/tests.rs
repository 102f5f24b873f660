//! The master's side and a node against each other over loopback, with a real data directory and real logs: what is
//! mirrored, installed, dropped, resumed and begun anew. Only the cores are simplified: they log strings and barriers,
//! and have no clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement as Pinning};
use tempfile::TempDir;

use super::clock::Clock;
use super::master::policy::{Outcome, Pace};
use super::master::{Master, Options, Status};
use super::node::{self, NodeError, Stop};
use crate::auth::guard::Guard;
use crate::config::Password;
use crate::encoding::edit::{Change, Edit, EncodedEdits};
use crate::encoding::slot::slot_of;
use crate::ids::{CoreId, Db, Lsn, PartitionId, Partitions, Placement, StreamId};
use crate::partition::order::{Barrier, Order, Purpose, Reporter, reports};
use crate::partition::{keep_all, recover_all};
use crate::runtime::bell::Bell;
use crate::runtime::inbox::Inbox;
use crate::storage::snapshot::{self, Subject};
use crate::storage::{Commit, DataDir, Log, LogOptions, PartitionMarks, Probed, StreamMarks, path};
use crate::store::Store;

const PARTITIONS: u16 = 8;
const SEGMENT: u64 = 256 << 10;
/// Patience of either end with the other.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A task that a test gives to a core.
enum Task {
    Put(Vec<u8>, Vec<u8>),
    /// Puts a barrier into the log; its digests are wrong on purpose if the flag is set.
    Compare(PartitionId, bool),
    /// Closes the log and ends the core.
    Close,
}

/// A running register: a data directory, cores with their logs, and the master's side.
struct Register {
    dir: Arc<DataDir>,
    placement: Placement,
    marks: Vec<Arc<StreamMarks>>,
    tasks: Vec<Sender<Task>>,
    cores: Vec<JoinHandle<()>>,
    master: Arc<Master>,
}

impl Register {
    fn open(path: &TempDir, cores: u16) -> Self {
        Self::open_with(path, cores, None, "127.0.0.1:0")
    }

    fn open_with(path: &TempDir, cores: u16, password: Option<Password>, listen: &str) -> Self {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        let placement = Placement::new(partitions, cores).unwrap();
        let dir = Arc::new(DataDir::open(&path.path().join("data"), partitions).unwrap().0);
        let (recovered, _, cut) = recover_all(&dir, placement, &keep_all).unwrap();
        cut.record(&dir).unwrap();
        let epoch = dir.begin_epoch(cores, SEGMENT).unwrap();
        let marks: Vec<_> = (0..cores).map(|_| Arc::new(StreamMarks::new())).collect();
        let partition_marks: Arc<[_]> = (0..PARTITIONS).map(|_| PartitionMarks::new()).collect();
        let last_edits = recovered.iter().flat_map(|r| r.places.iter().map(|p| p.last_edit)).collect();
        let (reporter, reports) = reports();
        let inboxes: Vec<_> = (0..cores).map(|_| Inbox::new(Arc::new(Bell::new().unwrap()))).collect();
        let (mut tasks, mut threads) = (Vec::new(), Vec::new());
        for (((core, recovered), marks), inbox) in (0..).map(CoreId).zip(recovered).zip(&marks).zip(&inboxes) {
            let (task, given) = channel();
            tasks.push(task);
            let core = Core {
                options: log_options(&dir, StreamId::new(epoch, core)),
                store: recovered.store,
                marks: marks.clone(),
                partitions: partition_marks.clone(),
                reporter: reporter.clone(),
                tasks: given,
                inbox: inbox.clone(),
            };
            threads.push(core.start());
        }
        let options = Options {
            dir: dir.clone(),
            streams: marks.clone(),
            partitions: partition_marks,
            last_edits,
            measured: Vec::new(),
            pace: Pace { every_edits: 1_000_000, every: Duration::from_secs(3600) },
            listen: vec![listen.parse().unwrap()],
            guard: Arc::new(Guard::new(password)),
            protected: true,
            timeout: TIMEOUT,
            cores: inboxes,
            reports,
            cores_capture: false,
            max_log_bytes: None,
            child: None,
        };
        let master = Arc::new(Master::start(options).unwrap());
        Self { dir, placement, marks, tasks, cores: threads, master }
    }

    fn put(&self, key: &str, value: &[u8]) {
        let partition = self.placement.partitions().of(slot_of(key.as_bytes()));
        let core = usize::from(self.placement.core_of(partition).0);
        self.tasks[core].send(Task::Put(key.as_bytes().to_vec(), value.to_vec())).unwrap();
    }

    /// Sets `count` keys to values of `bytes` bytes, which differ from round to round, and waits until the edits are
    /// durable.
    fn fill(&self, count: usize, bytes: usize, round: u8) {
        let before: u64 = self.marks.iter().map(|m| m.durable().0).sum();
        (0..count).for_each(|n| self.put(&format!("key {n}"), &vec![round; bytes]));
        until("written", || self.marks.iter().map(|m| m.durable().0).sum::<u64>() >= before + count as u64);
    }

    fn status(&self) -> Status {
        self.master.status()
    }

    fn node(&self, dir: PathBuf) -> RunningNode {
        RunningNode::start(node_options(self, dir))
    }

    fn until_mirrored(&self) {
        until("mirrored", || self.status().node.is_some() && self.marks.iter().all(|m| m.mirrored() == m.durable()));
    }

    fn checkpoint(&self) {
        self.until_mirrored();
        let ticket = self.master.request_checkpoint(None).expect("a node is connected");
        assert_eq!(self.master.wait(ticket, Duration::from_secs(60)), Some(Outcome::Done));
    }

    /// Logs barriers of all partitions and waits until the node has compared the digests at them; those of the
    /// partition `wrong` are wrong.
    fn compare(&self, wrong: Option<PartitionId>) {
        let before = self.status().compared.0;
        for partition in (0..PARTITIONS).map(PartitionId) {
            let core = usize::from(self.placement.core_of(partition).0);
            self.tasks[core].send(Task::Compare(partition, wrong == Some(partition))).unwrap();
        }
        until("compared", || self.status().compared.0 >= before + u64::from(PARTITIONS));
    }

    fn close(self) {
        self.master.stop();
        self.tasks.iter().for_each(|tasks| tasks.send(Task::Close).unwrap());
        until("closed", || self.cores.iter().all(JoinHandle::is_finished));
        self.cores.into_iter().for_each(|c| c.join().unwrap());
    }
}

fn node_options(register: &Register, dir: PathBuf) -> node::Options {
    let master = register.master.addresses()[0].to_string();
    node::Options { master, dir, password: None, upload_bytes_per_second: None, timeout: TIMEOUT, parent: None }
}

fn log_options(dir: &DataDir, stream: StreamId) -> LogOptions {
    LogOptions {
        dir: dir.path().to_owned(),
        id: dir.id(),
        stream,
        segment_bytes: SEGMENT,
        buffer_bytes: 64 << 10,
        buffers: 4,
        flush_interval: Duration::from_millis(2),
        sync: Probed::default(),
        commit: Commit::Async,
    }
}

struct Core {
    options: LogOptions,
    store: Store,
    marks: Arc<StreamMarks>,
    partitions: Arc<[PartitionMarks]>,
    reporter: Reporter,
    tasks: Receiver<Task>,
    inbox: Inbox<Order>,
}

impl Core {
    fn start(self) -> JoinHandle<()> {
        thread::spawn(|| {
            let executor = LocalExecutorBuilder::new(Pinning::Unbound).io_memory(4 << 20).make().unwrap();
            executor.run(self.run());
        })
    }

    async fn run(mut self) {
        let log = Log::open(self.options.clone(), self.marks.clone()).await.unwrap();
        loop {
            log.poll();
            for order in self.inbox.take() {
                if let Order::Barrier { partition, checkpoint } = order {
                    self.barrier(&log, partition, checkpoint, false);
                }
            }
            match self.tasks.try_recv() {
                Ok(Task::Close) => break log.close().await.unwrap(),
                Ok(Task::Compare(partition, wrong)) => self.barrier(&log, partition, false, wrong),
                Ok(Task::Put(key, value)) => {
                    while log.is_full() {
                        log.poll();
                        glommio::timer::sleep(Duration::from_millis(1)).await;
                    }
                    self.put(&log, key, value);
                }
                Err(_) => glommio::timer::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn put(&mut self, log: &Log, key: Vec<u8>, value: Vec<u8>) {
        let slot = slot_of(&key);
        let partition = Partitions::new(PARTITIONS).unwrap().of(slot);
        let change = Change::PutString { value: value.into(), expire_at: None };
        let edit = Edit::Key { db: Db(0), slot, key: key.into(), change };
        self.store.apply(&edit).unwrap();
        let mut encoded = EncodedEdits::new();
        encoded.push(partition, &edit);
        let lsn = log.append(&encoded);
        self.partitions[usize::from(partition.0)].note(lsn, encoded.as_bytes().len() as u64);
    }

    /// Puts a barrier into the log, with wrong digests if `wrong` is set.
    fn barrier(&mut self, log: &Log, partition: PartitionId, checkpoint: bool, wrong: bool) {
        let mut digests = self.store.digests(partition);
        digests[0] ^= u64::from(wrong);
        let mut encoded = EncodedEdits::new();
        encoded.push(partition, &Edit::Barrier { partition, checkpoint, digests: (&digests).into() });
        let lsn = log.append(&encoded);
        self.reporter.barrier(Barrier {
            partition,
            lsn,
            purpose: Purpose::for_node(checkpoint),
            digests,
            transfers: Vec::new(),
        });
    }
}

struct RunningNode {
    stop: Stop,
    thread: JoinHandle<Result<(), NodeError>>,
}

impl RunningNode {
    fn start(options: node::Options) -> Self {
        let stop = Stop::default();
        let thread = thread::spawn({
            let stop = stop.clone();
            move || node::run(options, stop)
        });
        Self { stop, thread }
    }

    fn end(self) -> Result<(), NodeError> {
        self.stop.stop();
        self.thread.join().unwrap()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now() < Duration::from_secs(60), "not {what} in a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

fn node_dir(path: &TempDir) -> PathBuf {
    path.path().join("node")
}

#[test]
fn edits_are_mirrored_snapshots_installed_and_covered_log_dropped() {
    let path = tempfile::tempdir().unwrap();
    let register = Register::open(&path, 2);
    let node = register.node(node_dir(&path));
    for round in 0..3 {
        register.fill(2000, 300, round);
        register.until_mirrored();
        register.checkpoint();
    }
    let manifest = register.dir.manifest();
    for partition in (0..PARTITIONS).map(PartitionId) {
        let generations = manifest.generations(partition);
        let (newest, older) = (generations.newest.unwrap(), generations.older.unwrap());
        assert!(older.position < newest.position);
        let subject = Subject { id: register.dir.id(), partitions: manifest.partitions, partition };
        for installed in [newest, older] {
            let file = path::snapshot(register.dir.path(), partition, installed.position);
            assert_eq!(snapshot::verify(&file, subject).unwrap().installed, installed);
        }
    }
    until("dropped", || {
        let manifest = register.dir.manifest();
        let present = manifest.newest_epoch().unwrap();
        present.streams.iter().all(|s| s.first > Lsn(1)) && register.status().dropped_bytes > 0
    });
    let status = register.status();
    assert_eq!((status.installed, status.failed, status.diverged), (3 * u64::from(PARTITIONS), 0, 0));
    assert_eq!(status.last.map(|l| l.bytes > 0), Some(true));
    node.end().unwrap();
    register.close();
}

#[test]
fn a_node_that_dies_in_the_middle_of_an_upload_resumes_it() {
    let path = tempfile::tempdir().unwrap();
    let register = Register::open(&path, 1);
    let slow = node::Options { upload_bytes_per_second: Some(1 << 20), ..node_options(&register, node_dir(&path)) };
    let node = RunningNode::start(slow);
    // A value that takes seconds to upload at this rate.
    register.fill(1, 4 << 20, 1);
    register.until_mirrored();
    let ticket = register.master.request_checkpoint(None).unwrap();
    let incoming = register.dir.path().join(path::INCOMING);
    let arrived = || {
        let files = std::fs::read_dir(&incoming).into_iter().flatten().flatten();
        files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).max().unwrap_or(0)
    };
    until("half uploaded", || arrived() > 512 << 10);
    node.end().unwrap();
    until("noticed", || register.status().node.is_none());
    let before = arrived();
    assert!(before > 0, "what came stays");
    assert_eq!(register.master.wait(ticket, Duration::from_millis(10)), None, "it is still awaited");
    let node = register.node(node_dir(&path));
    assert_eq!(register.master.wait(ticket, Duration::from_secs(60)), Some(Outcome::Done));
    assert_eq!(register.status().resumed, 1);
    node.end().unwrap();
    register.close();
}

#[test]
fn a_node_goes_on_after_its_master_started_again_with_other_cores() {
    let path = tempfile::tempdir().unwrap();
    let mut node = None;
    let mut first_port = None;
    for (life, cores) in [2, 3, 1, 8].into_iter().enumerate() {
        let listen = first_port.map_or("127.0.0.1:0".to_owned(), |a: std::net::SocketAddr| a.to_string());
        let register = Register::open_with(&path, cores, None, &listen);
        first_port = Some(register.master.addresses()[0]);
        let running = node.take().unwrap_or_else(|| register.node(node_dir(&path)));
        register.fill(500, 100, life as u8);
        register.until_mirrored();
        register.compare(None);
        assert_eq!((register.status().diverged, register.status().compared.1), (0, 0));
        if life == 1 {
            register.checkpoint();
        }
        if life == 2 {
            // The next node starts from own snapshots of a former epoch, and follows the log over the end of that
            // epoch.
            running.end().unwrap();
        } else {
            node = Some(running);
        }
        register.close();
    }
    node.unwrap().end().unwrap();
}

#[test]
fn a_node_that_the_log_does_not_reach_downloads_snapshots() {
    let path = tempfile::tempdir().unwrap();
    let register = Register::open(&path, 2);
    let node = register.node(node_dir(&path));
    for round in 0..3 {
        register.fill(2000, 300, round);
        register.checkpoint();
    }
    until("dropped", || register.status().dropped_bytes > 0);
    node.end().unwrap();
    register.fill(100, 50, 9);
    let fresh = register.node(path.path().join("fresh"));
    register.until_mirrored();
    register.compare(None);
    assert_eq!((register.status().diverged, register.status().compared.1), (0, 0));
    register.checkpoint();
    fresh.end().unwrap();
    register.close();
}

#[test]
fn a_difference_is_loud_stops_truncation_and_is_mended_by_beginning_anew() {
    let path = tempfile::tempdir().unwrap();
    let register = Register::open(&path, 1);
    let node = register.node(node_dir(&path));
    register.fill(100, 100, 1);
    register.checkpoint();
    register.compare(Some(PartitionId(3)));
    assert_eq!(register.status().diverged, 1);
    assert!(register.status().compared.1 >= 1);
    let slots = register.placement.partitions().slots(PartitionId(3));
    assert!(!register.status().diverged_slots.is_empty() && register.status().diverged_slots.len() <= 64);
    assert!(register.status().diverged_slots.iter().all(|slot| slots.contains(&slot.0)));
    // The node has begun that partition anew, meets the wrong barrier again, and keeps its state this time; the next
    // right barrier settles the matter.
    until("back", || register.status().sessions >= 2 && register.status().node.is_some());
    register.until_mirrored();
    register.compare(None);
    assert_eq!((register.status().diverged, register.status().diverged_slots), (0, Vec::new()));
    register.fill(100, 100, 2);
    register.checkpoint();
    node.end().unwrap();
    register.close();
}

#[test]
fn strangers_and_second_nodes_are_refused() {
    let path = tempfile::tempdir().unwrap();
    let password = Some(Password::new("secret"));
    let register = Register::open_with(&path, 1, password.clone(), "127.0.0.1:0");
    for wrong in [None, Some(Password::new("Secret"))] {
        let stranger = node::Options { password: wrong, ..node_options(&register, path.path().join("stranger")) };
        assert!(matches!(node::run(stranger, Stop::default()), Err(NodeError::Refused(_))));
    }
    let options =
        |name: &str| node::Options { password: password.clone(), ..node_options(&register, path.path().join(name)) };
    let first = RunningNode::start(options("first"));
    until("connected", || register.status().node.is_some());
    let second = RunningNode::start(options("second"));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(register.status().sessions, 1, "the second waits");
    first.end().unwrap();
    until("taken over", || register.status().sessions == 2);
    second.end().unwrap();
    register.close();
}

#[test]
fn without_a_node_nothing_waits_and_nothing_is_promised() {
    let path = tempfile::tempdir().unwrap();
    let register = Register::open(&path, 1);
    register.fill(100, 100, 1);
    assert_eq!(register.master.request_checkpoint(None), None);
    assert!(!register.master.drain(Duration::from_millis(20)));
    assert_eq!(register.marks[0].mirrored(), Lsn(0));
    until("observed", || register.status().dirty == usize::from(PARTITIONS));
    assert_eq!((register.status().node, register.status().installed), (None, 0));
    register.close();
}

#[test]
fn a_node_that_was_away_for_several_lives_catches_up_through_all_of_them() {
    let path = tempfile::tempdir().unwrap();
    for (life, cores) in [1, 8, 2, 3].into_iter().enumerate() {
        let register = Register::open(&path, cores);
        if life == 0 {
            let node = register.node(node_dir(&path));
            register.fill(500, 100, 1);
            register.checkpoint();
            node.end().unwrap();
        }
        register.fill(400, 100, 10 + life as u8);
        if life == 3 {
            let node = register.node(node_dir(&path));
            register.until_mirrored();
            assert_eq!(register.status().sessions, 1, "in one go");
            register.compare(None);
            assert_eq!(register.status().compared.1, 0);
            node.end().unwrap();
        }
        register.close();
    }
}
