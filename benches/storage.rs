//! Files: the log appended to and made durable, replayed; snapshots written and loaded. On the disk that holds the
//! build.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod setup;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use glommio::{LocalExecutorBuilder, Placement as On};
use rollbook::encoding::edit::{Change, Edit, EncodedEdits};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{
    CoreId, Db, DirectoryId, Epoch, Lsn, PartitionId, Partitions, Placement, Position, Slot, StreamId,
};
use rollbook::partition::{keep_all, recover_all};
use rollbook::storage::snapshot::{SectionHeader, SnapshotReader, SnapshotWriter, Subject};
use rollbook::storage::{Commit, DataDir, Log, LogOptions, StreamMarks, probe};
use rollbook::store::Store;
use setup::{VALUE, key};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEGMENT: u64 = 64 << 20;
/// Pause between looks at the log: it lets the executor do its part.
const TURN: Duration = Duration::from_micros(1);
const KEYS: usize = 100_000;

/// A directory on the disk that holds the build, gone when dropped.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn partitions(count: u16) -> Partitions {
    Partitions::new(count).unwrap()
}

/// The edit that sets the key of `n`, and its partition.
fn put(n: usize, partitions: Partitions) -> (PartitionId, Edit<'static>) {
    let key = key(n);
    let slot = slot_of(key.as_bytes());
    let change = Change::PutString { value: vec![b'v'; VALUE].into(), expire_at: None };
    (partitions.of(slot), Edit::Key { db: Db(0), slot, key: key.into_bytes().into(), change })
}

/// A log on a core of its own, which measures what it is sent.
struct LiveLog {
    rounds: mpsc::SyncSender<u64>,
    took: mpsc::Receiver<Duration>,
    _dir: tempfile::TempDir,
}

impl LiveLog {
    /// In each round `edits` edits are appended at once, with `commit`; every edit of a measurement is durable at its
    /// end.
    fn start(edits: usize, commit: Commit) -> Self {
        let dir = directory();
        let (data, _) = DataDir::open(dir.path(), partitions(256)).unwrap();
        let options = options(&data, data.begin_epoch(1, SEGMENT).unwrap(), commit);
        let (rounds, asked) = mpsc::sync_channel(1);
        let (answer, took) = mpsc::sync_channel(1);
        let executor = LocalExecutorBuilder::new(On::Unbound).io_memory(4 << 20);
        executor
            .spawn(move || async move {
                let _data = data;
                let log = open(options).await;
                let mut group = EncodedEdits::new();
                (0..edits).map(|n| put(n, partitions(256))).for_each(|(partition, edit)| group.push(partition, &edit));
                // Nothing of the log runs while this waits, and nothing has to: all is durable.
                while let Ok(count) = asked.recv() {
                    let begun = Instant::now();
                    for _ in 0..count {
                        while log.is_full() {
                            turn(&log).await;
                        }
                        let last = log.append(&group);
                        while commit == Commit::Eager && log.durable() < last {
                            turn(&log).await;
                        }
                    }
                    log.commit_now();
                    while log.durable() < log.appended() {
                        turn(&log).await;
                    }
                    answer.send(begun.elapsed()).unwrap();
                }
                log.close().await.unwrap();
            })
            .unwrap();
        Self { rounds, took, _dir: dir }
    }

    fn measure(&self, rounds: u64) -> Duration {
        self.rounds.send(rounds).unwrap();
        self.took.recv().unwrap()
    }
}

async fn open(options: LogOptions) -> Log {
    Log::open(options, Arc::new(StreamMarks::new())).await.unwrap()
}

/// What a core does for its log while it waits.
async fn turn(log: &Log) {
    log.poll();
    glommio::timer::sleep(TURN).await;
}

fn options(data: &DataDir, epoch: Epoch, commit: Commit) -> LogOptions {
    LogOptions {
        dir: data.path().to_owned(),
        id: data.id(),
        stream: StreamId::new(epoch, CoreId(0)),
        segment_bytes: SEGMENT,
        buffer_bytes: 1 << 20,
        buffers: 4,
        flush_interval: Duration::from_millis(10),
        sync: probe::probe(data.path()).unwrap(),
        commit,
    }
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    group.sample_size(10);
    let many = LiveLog::start(32, Commit::Async);
    group.throughput(Throughput::Elements(32));
    group.bench_function("append 32 edits, durable at the end", |bencher| bencher.iter_custom(|n| many.measure(n)));
    let one = LiveLog::start(1, Commit::Eager);
    group.throughput(Throughput::Elements(1));
    group.bench_function("append an edit and wait until it is durable", |bencher| {
        bencher.iter_custom(|n| one.measure(n))
    });
}

/// Makes a data directory whose log sets all keys.
fn logged(dir: &Path) -> DataDir {
    let (data, _) = DataDir::open(dir, partitions(256)).unwrap();
    let options = options(&data, data.begin_epoch(1, SEGMENT).unwrap(), Commit::Async);
    let write = move || async move {
        let log = open(options).await;
        let mut group = EncodedEdits::new();
        for n in 0..KEYS {
            let (partition, edit) = put(n, partitions(256));
            group.clear();
            group.push(partition, &edit);
            while log.is_full() {
                turn(&log).await;
            }
            log.append(&group);
        }
        log.close().await.unwrap();
    };
    LocalExecutorBuilder::new(On::Unbound).io_memory(4 << 20).spawn(write).unwrap().join().unwrap();
    data
}

fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).throughput(Throughput::Elements(KEYS as u64));
    let dir = directory();
    let data = logged(dir.path());
    let placement = Placement::new(partitions(256), 1).unwrap();
    group.bench_function("replay of 100,000 edits", |bencher| {
        bencher.iter_with_large_drop(|| {
            let (recovered, ..) = recover_all(&data, placement, &keep_all).unwrap();
            assert_eq!(recovered[0].tally.edits, KEYS as u64);
            recovered
        });
    });
}

/// Writes the only partition of `store` as the checkpoint node does.
fn write_snapshot(path: &Path, store: &Store, subject: Subject) {
    let position = Position::new(Epoch(1), Lsn(1));
    let mut writer = SnapshotWriter::create(path, subject, position).unwrap();
    let mut entries = Vec::new();
    for slot in subject.partitions.slots(subject.partition).map(Slot) {
        entries.clear();
        let count = store.write_section(slot, &mut entries);
        if count > 0 {
            let digest = store.digest(slot).0;
            let bytes = entries.len() as u64;
            writer.section(SectionHeader { slot, position, entries: count, bytes, digest }, &entries).unwrap();
        }
    }
    writer.finish().unwrap();
}

fn load_snapshot(path: &Path, subject: Subject) -> Store {
    let mut store = Store::new(subject.partitions, 0..1);
    let mut reader = SnapshotReader::open(path, subject).unwrap();
    while let Some(section) = reader.next().unwrap() {
        store.load_section(section.header.slot, section.header.entries, section.entries).unwrap();
    }
    store
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10).throughput(Throughput::Elements(KEYS as u64));
    let dir = directory();
    let path = dir.path().join("measured.snap");
    let subject = Subject { id: DirectoryId([7; 16]), partitions: partitions(1), partition: PartitionId(0) };
    let mut store = Store::new(subject.partitions, 0..1);
    (0..KEYS).for_each(|n| store.apply(&put(n, subject.partitions).1).unwrap());
    group.bench_function("write and sync 100,000 keys", |bencher| {
        bencher.iter(|| write_snapshot(&path, &store, subject));
    });
    write_snapshot(&path, &store, subject);
    group.bench_function("load 100,000 keys", |bencher| {
        bencher.iter_batched(|| (), |()| load_snapshot(&path, subject), BatchSize::PerIteration);
    });
}

criterion_group! { name = benches; config = setup::criterion(); targets = log, replay, snapshots }
criterion_main!(benches);
