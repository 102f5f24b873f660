//! The simulator (tests only): a whole master and a whole checkpoint node over model disks, a model network and
//! simulated time. A seed determines a history of requests, crashes, power failures, cut connections, full and failing
//! disks, a node that cannot write, and lost machines. Afterwards everything acknowledged must be there, and both must
//! hold the same data.
//!
//! There are two kinds of histories. With *crash faults* a master must start again, with everything that was called
//! durable. With *rot* (damaged files) it may refuse to start, but what it serves must be right.
//!
//! | module | what it is |
//! |---|---|
//! | [`network`] | the model network: connections with delays, which break off |
//! | [`load`] | random requests, and what each must answer and do |
//! | [`events`] | the same of streams |
//! | [`replies`] | replies as bytes |
//! | [`oracle`] | the reference: what must be there |
//! | [`master`], [`node`] | the two processes, made of the same parts as the real ones |
//! | [`history`] | the course of a history: starts, load, faults, checks |
//! | [`cut`] | edits that become durable late, and streams that are cut off at a start |
//! | [`loss`] | the loss of the master's machine with its disk |
//! | [`tests`] | runs of thousands of seeds, long runs, replays; planted bugs and the seeds that find them |

mod cut;
mod events;
mod history;
mod load;
mod loss;
mod master;
mod network;
mod node;
mod oracle;
mod replies;
mod tests;

use std::time::Duration;

use self::history::History;
use crate::config::Durability;
use crate::ids::Partitions;
use crate::replication::master::policy::Pace;
use crate::storage::model::{Executor, World};

/// Longest duration of a history in simulated time.
const LONGEST: Duration = Duration::from_secs(1_200);

/// The settings of one history, drawn from its seed.
#[derive(Clone, Debug)]
struct Settings {
    partitions: Partitions,
    /// Number of cores of the next master.
    cores: u16,
    durability: Durability,
    segment_bytes: u64,
    buffer_bytes: usize,
    zero_fill: bool,
    pace: Pace,
    /// Bound of the log in bytes. With a bound, cores take snapshots themselves while no node delivers any; from three
    /// quarters of it on, log must be dropped soon. `None`: cores never take snapshots.
    max_log_bytes: Option<u64>,
    /// Whether master and node share a machine.
    together: bool,
    /// Whether the master's disk fails or is full now and then.
    with_disk_faults: bool,
    /// Whether the node's disk is full now and then, or its directory vanishes.
    with_node_faults: bool,
    /// Whether files are damaged between two lives of the master.
    with_rot: bool,
    /// Whether the master's machine may be lost with its disk, so that only the node is left.
    may_lose_machine: bool,
    /// Whether synced edits become durable late, and a start may cut off edits that were not durable.
    settles_late: bool,
}

impl Settings {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let with_rot = random.u8(0..4) == 0;
        let drawn = Self {
            partitions: Partitions::new(1 << random.u8(2..4)).expect("a power of two"),
            cores: random.u16(1..4),
            durability: [Durability::Async, Durability::Sync, Durability::Mirrored][random.usize(0..3)],
            segment_bytes: random.u64(4..30) * 4096,
            buffer_bytes: random.usize(2..5) * 4096,
            zero_fill: random.bool(),
            pace: master::pace(random),
            max_log_bytes: None,
            together: random.bool(),
            with_disk_faults: !with_rot && random.u8(0..3) == 0,
            with_node_faults: false,
            with_rot,
            may_lose_machine: false,
            settles_late: false,
        };
        // The rest is derived from what was drawn, not drawn, so that each seed still makes the history that it made
        // before these settings existed.
        let is_bounded = !with_rot && drawn.segment_bytes.is_multiple_of(8192);
        let with_node_faults = is_bounded && !drawn.together && drawn.segment_bytes.is_multiple_of(16_384);
        // If the machine may be lost, the node must be able to write: the next master starts from its directory.
        let may_lose_machine = drawn.durability == Durability::Mirrored
            && !(drawn.together || drawn.with_disk_faults || drawn.with_rot || with_node_faults);
        let max_log_bytes = is_bounded.then(|| drawn.segment_bytes * u64::from(drawn.cores) * 8);
        let settles_late = drawn.buffer_bytes == 3 * 4096;
        Self { max_log_bytes, with_node_faults, may_lose_machine, settles_late, ..drawn }
    }
}

/// Counts of what happened in a history.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// Number of times that a master began to serve.
    starts: u64,
    /// Number of deaths of processes, by crashes, power failures or lost machines.
    crashes: u64,
    /// Number of edits, barriers included, that were called durable.
    acknowledged: u64,
    /// Number of installed snapshots.
    installed: u64,
    /// Number of installed snapshots that the master's cores took themselves.
    own: u64,
    /// Number of starts that were refused because of rot.
    refused: u64,
    /// Number of times that a file was damaged.
    rotten: u64,
    /// Number of masters' machines that were lost with their disks.
    machines_lost: u64,
}

/// A promise was broken: why, and the trace of the history.
struct Failure {
    why: String,
    trace: Vec<String>,
}

/// Runs the history of a seed. Returns what happened and, if `with_trace`, its trace.
fn run(seed: u64, with_trace: bool) -> Result<(Outcome, Vec<String>), Failure> {
    // The code under test draws from the thread's own generator, which must depend on the seed, too.
    fastrand::seed(seed);
    let world = World::new(seed, 2);
    if with_trace {
        world.keep_trace();
    }
    let settings = world.draw(Settings::draw);
    world.note(|| format!("{settings:?}"));
    let mut history = History::new(&world, settings);
    let mut executor = Executor::new(&world);
    let mut ended = Err("it does not end".to_owned());
    executor.run(
        async {
            ended = history.run().await;
        },
        LONGEST,
    );
    let outcome = history.outcome();
    drop(history);
    drop(executor);
    let trace = world.take_trace();
    match ended {
        Ok(()) => Ok((outcome, trace)),
        Err(why) => Err(Failure { why, trace }),
    }
}
