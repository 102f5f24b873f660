//! For tests: master and checkpoint node, whole, in a world of numbers. A seed makes a history of requests, crashes,
//! power failures, cut connections, full and failing disks, a node that cannot write, lost machines; afterwards
//! everything acknowledged must be there, and both must hold the same.
//!
//! Two kinds of history. With *crash faults* a master must start again, with everything that was called durable. With
//! *rot* it may refuse to start, but what it serves must be right.
//!
//! | module | what it is |
//! |---|---|
//! | [`network`] | connections that take their time and end |
//! | [`load`] | requests, and what they must do |
//! | [`oracle`] | what must be there |
//! | [`master`], [`node`] | the two processes, made of the same parts as the real ones |
//! | [`history`] | what happens when |
//! | [`cut`] | streams that depend on each other, and are cut off |
//! | [`loss`] | the end of the master's whole machine |
//! | [`tests`] | seeds by the thousand, long runs, replays; planted bugs and the seeds that find them |

mod cut;
mod history;
mod load;
mod loss;
mod master;
mod network;
mod node;
mod oracle;
mod tests;

use std::time::Duration;

use self::history::History;
use crate::config::Durability;
use crate::ids::Partitions;
use crate::replication::master::policy::Pace;
use crate::storage::model::{Executor, World};

/// The longest that a history may take, in its own time.
const LONGEST: Duration = Duration::from_secs(1_200);

/// What is chosen for a whole history.
#[derive(Clone, Debug)]
struct Settings {
    partitions: Partitions,
    /// Of the next life.
    cores: u16,
    durability: Durability,
    segment_bytes: u64,
    buffer_bytes: usize,
    zero_fill: bool,
    pace: Pace,
    /// Bytes of log from three quarters of which on the cores take snapshots themselves while there is no node.
    max_log_bytes: Option<u64>,
    /// Master and node share a machine.
    together: bool,
    /// The disk fails or is full now and then.
    with_disk_faults: bool,
    /// The node's disk is full now and then, or its directory vanishes.
    with_node_faults: bool,
    /// Files are damaged while nobody runs.
    with_rot: bool,
    /// The master's machine may be lost, disk and all, so that its node is all that is left.
    may_lose_machine: bool,
    /// What is synced becomes durable later, and a start may cut off what was not durable.
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
        // Not drawn, so that the histories without it stay what they were.
        let is_bounded = !with_rot && drawn.segment_bytes.is_multiple_of(8192);
        let with_node_faults = is_bounded && !drawn.together && drawn.segment_bytes.is_multiple_of(16_384);
        // A node that cannot write is not one to go on from.
        let may_lose_machine = drawn.durability == Durability::Mirrored
            && !(drawn.together || drawn.with_disk_faults || drawn.with_rot || with_node_faults);
        let max_log_bytes = is_bounded.then(|| drawn.segment_bytes * u64::from(drawn.cores) * 8);
        let settles_late = drawn.buffer_bytes == 3 * 4096;
        Self { max_log_bytes, with_node_faults, may_lose_machine, settles_late, ..drawn }
    }
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// Times that a master began to serve.
    starts: u64,
    /// Deaths of processes and power failures.
    crashes: u64,
    /// Writes that were called durable.
    acknowledged: u64,
    /// Snapshots that were installed.
    installed: u64,
    /// Of them, those that the master's cores took themselves.
    own: u64,
    /// Starts that were refused because of rot.
    refused: u64,
    /// Files that were damaged.
    rotten: u64,
    /// Machines of masters that were lost with their disks.
    machines_lost: u64,
}

/// What went wrong, and what led to it.
struct Failure {
    why: String,
    trace: Vec<String>,
}

/// Runs the history of a seed.
fn run(seed: u64, with_trace: bool) -> Result<(Outcome, Vec<String>), Failure> {
    // What is drawn from the thread's own generator is part of the history.
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
