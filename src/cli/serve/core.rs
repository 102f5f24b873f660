//! One core of the master: a thread pinned to a CPU that first recovers its partitions and then serves them.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement as CpuPlacement};

use crate::config::Durability;
use crate::engine::{Engine, Mail};
use crate::ids::{CoreId, Placement, StreamId};
use crate::net::{Server, Service};
use crate::partition::order::Reporter;
use crate::partition::replica::Place;
use crate::partition::{Cut, Findings, Recovered, Shard, Tally, recovery};
use crate::runtime::bell::Bell;
use crate::runtime::mesh::Endpoint;
use crate::storage::{Commit, DataDir, Log, LogOptions, PartitionMarks, Probed, StorageError, StreamMarks, Transfer};
use crate::store::Store;

/// Bytes of registered I/O memory. Only the log's buffers use it, and glommio allocates more by itself when it runs
/// out.
const IO_MEMORY: usize = 1 << 20;
/// Entries in each of glommio's rings: a log has only a handful of operations in progress.
const RING_DEPTH: usize = 64;

/// Everything a core needs to start and recover.
pub struct Seat {
    /// Number of the core.
    pub core: CoreId,
    /// CPU to which its thread is pinned.
    pub cpu: usize,
    /// The data directory.
    pub dir: Arc<DataDir>,
    /// Assignment of partitions to cores.
    pub placement: Placement,
    /// Its queues to the other cores.
    pub endpoint: Endpoint<Mail>,
    /// What wakes it.
    pub bell: Arc<Bell>,
    /// Where it reports what it has found in the files, and then what it has recovered.
    pub recovered: Sender<(CoreId, Result<Progress, StorageError>)>,
    /// Where it is told how its recovery ends.
    pub verdict: Receiver<Verdict>,
    /// Where it is told to serve.
    pub launched: Receiver<Launch>,
}

/// How far a core has come on its way to serve.
pub enum Progress {
    /// It has read everything, and waits for the cut. `None`: a value has moved between its partitions and another
    /// core's.
    Replayed(Option<Findings>),
    /// Its partitions are as they were.
    Recovered(Recovery),
}

/// How the recovery of a core ends.
pub enum Verdict {
    /// The streams count so far.
    Cut(Arc<Cut>),
    /// All cores' partitions are recovered together; those of this core come here.
    Together(Receiver<Recovered>),
}

/// What a core has recovered; the data stays with it.
pub struct Recovery {
    /// Recovered position of each of the core's partitions.
    pub places: Vec<Place>,
    /// What it has read.
    pub tally: Tally,
    /// Time spent loading snapshots, and time spent replaying the log.
    pub took: [Duration; 2],
}

/// Everything a core needs to serve.
pub struct Launch {
    /// State that all cores share.
    pub service: Arc<Service>,
    /// Sends reports to the master's side of replication.
    pub reporter: Reporter,
    /// How writes are made durable, as probed.
    pub probed: Probed,
    /// Marks of the core's stream.
    pub marks: Arc<StreamMarks>,
    /// The marks of all partitions.
    pub partitions: Arc<[PartitionMarks]>,
    /// Listening sockets of the core.
    pub listeners: Vec<OwnedFd>,
    /// Channel on which the core reports that it serves, or why it cannot.
    pub ready: Sender<Result<(), String>>,
}

impl Seat {
    /// Recovers and then serves until the server ends.
    pub fn run(self) -> Result<(), String> {
        let name = format!("core-{}", self.core);
        let executor = LocalExecutorBuilder::new(CpuPlacement::Fixed(self.cpu))
            .name(&name)
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .make()
            .map_err(|e| format!("cannot start the executor: {e}"))?;
        executor.run(self.live())
    }

    async fn live(self) -> Result<(), String> {
        let (Recovered { store, places, transfers, tally }, took) = match self.recover() {
            Ok(Some(recovered)) => recovered,
            Ok(None) => return Ok(()),
            Err(error) => {
                let _ = self.recovered.send((self.core, Err(error)));
                return Ok(());
            }
        };
        let _ = self.recovered.send((self.core, Ok(Progress::Recovered(Recovery { places, tally, took }))));
        let Ok(launch) = self.launched.recv() else { return Ok(()) };
        let ready = launch.ready.clone();
        match self.prepare(launch, store, transfers).await {
            Ok(server) => {
                let _ = ready.send(Ok(()));
                server.run().await.map_err(|e| e.to_string())
            }
            Err(why) => {
                let _ = ready.send(Err(why));
                Ok(())
            }
        }
    }

    /// Recovers, and measures how long its steps take. `None` if another core cannot.
    fn recover(&self) -> Result<Option<(Recovered, [Duration; 2])>, StorageError> {
        let began = Instant::now();
        let loaded = recovery::plan(&self.dir, self.placement, self.core).load_snapshots()?;
        let snapshots = began.elapsed();
        let replayed = loaded.replay()?;
        let log = began.elapsed() - snapshots;
        let findings = replayed.as_ref().map(|replayed| replayed.findings().clone());
        // If nobody listens any more, another core has failed: this one then gets no answer either.
        let _ = self.recovered.send((self.core, Ok(Progress::Replayed(findings))));
        let recovered = match (self.verdict.recv(), replayed) {
            (Ok(Verdict::Cut(cut)), Some(replayed)) => replayed.finish(&cut)?,
            (Ok(Verdict::Together(recovered)), replayed) => {
                drop(replayed);
                let Ok(recovered) = recovered.recv() else { return Ok(None) };
                recovered
            }
            _ => return Ok(None),
        };
        Ok(Some((recovered, [snapshots, log])))
    }

    /// Opens the log and prepares the listeners.
    async fn prepare(self, launch: Launch, store: Store, transfers: Vec<Transfer>) -> Result<Server, String> {
        let Launch { service, reporter, .. } = launch;
        let config = &service.config;
        let durability = config.log.durability;
        let options = LogOptions {
            dir: self.dir.path().to_owned(),
            id: self.dir.id(),
            stream: StreamId::new(service.cores.epoch, self.core),
            segment_bytes: config.log.segment_bytes,
            buffer_bytes: config.log.buffer_bytes,
            buffers: config.log.buffers,
            flush_interval: Duration::from_millis(config.log.flush_interval_ms),
            sync: launch.probed,
            commit: if durability == Durability::Async { Commit::Async } else { Commit::Eager },
        };
        let log = Log::open(options, launch.marks).await.map_err(|e| e.to_string())?;
        let memory = Arc::clone(&service.cores.memory);
        let mut shard = Shard::new(self.core, self.placement, store, log, launch.partitions, durability, memory);
        shard.bind(transfers);
        let engine = Engine::new(Arc::clone(&service.cores), shard, self.endpoint, reporter);
        Server::new(engine, service, self.bell, launch.listeners)
            .map_err(|e| format!("cannot set up the network ring: {e}"))
    }
}
