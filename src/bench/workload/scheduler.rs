//! Workload `scheduler`: the life cycle of tasks.
//!
//! Each connection is a scheduler with tasks of its own. A task is a hash `task:<id>`. While it runs, its worker holds
//! a lease: a string `lease:<id>` that expires after thirty seconds unless a heartbeat renews it. Waiting tasks are in
//! a hash `queue:<connection>`. Tasks are claimed and finished in the order in which they were enqueued; at most
//! [`RUNNING`] run at a time. There are no sorted sets to find expired leases: a check for stuck tasks reads the leases
//! of sixteen running tasks, and those without a lease are stuck.
//!
//! | operation | % | commands |
//! |---|---|---|
//! | enqueue | 4 | `HSET` of a task, `HSET` in the queue |
//! | claim | 4 | `HDEL` from the queue, `HSET` of state and host, `SET` of the lease with `PX` |
//! | heartbeat | 25 | `PEXPIRE` of the lease |
//! | progress | 60 | `HSET` of progress, message and time |
//! | finish | 4 | `HSET` of the state, `DEL` of the lease, `PEXPIRE` of the task, which is deleted a minute later |
//! | stuck | 3 | `MGET` of sixteen leases |

use super::super::distribution::Distribution;
use super::super::request::{self, Template};
use super::{About, Issued, Sheet, Stream, Tools, draw};

/// The workload's name.
pub const NAME: &str = "scheduler";
/// Maximum number of a connection's tasks that run at the same time.
pub const RUNNING: u64 = 1000;
/// Number of leases that a check for stuck tasks reads.
const LOOKED_AT: u64 = 16;
/// Cumulated weights of the operations, in percent.
const UPTO: [u32; 6] = [4, 8, 33, 93, 97, 100];
const ENQUEUE: u8 = 0;
const CLAIM: u8 = 1;
const HEARTBEAT: u8 = 2;
const PROGRESS: u8 = 3;
const FINISH: u8 = 4;

/// Description of the workload.
pub const ABOUT: About = About {
    name: NAME,
    text: "The life of tasks: enqueue, claim with a lease that expires, heartbeat, many progress updates, finish, scan for the stuck. Loads \
           nothing; --values is the size of a task's description, --keys and --distribution play no part.",
    operations: &["enqueue", "claim", "heartbeat", "progress", "finish", "stuck"],
    distribution: Distribution::Uniform,
    verifiable: false,
};

/// Templates of the workload's requests.
#[derive(Debug)]
pub struct Scheduler {
    enqueue: Template<1>,
    push: Template<2>,
    pop: Template<2>,
    claim: Template<2>,
    lease: Template<2>,
    heartbeat: Template<1>,
    progress: Template<1>,
    finish: Template<1>,
    release: Template<1>,
    forget: Template<1>,
    look: Template<0>,
    looked_at: Template<1>,
}

/// Tasks of a connection, numbered from 0: finished < claimed < enqueued.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tasks {
    enqueued: u64,
    claimed: u64,
    finished: u64,
}

impl Scheduler {
    /// Makes the workload.
    #[expect(clippy::new_without_default, reason = "it is made like the others")]
    pub fn new() -> Self {
        Self {
            enqueue: Template::new(&["HSET", "task:#", "state", "queued", "attempts", "0", "description"], 1),
            push: Template::new(&["HSET", "queue:#", "#", ""], 0),
            pop: Template::new(&["HDEL", "queue:#", "#"], 0),
            claim: Template::new(&["HSET", "task:#", "state", "running", "attempts", "1", "host", "host-#"], 0),
            lease: Template::new(&["SET", "lease:#", "host-#", "PX", "30000"], 0),
            heartbeat: Template::new(&["PEXPIRE", "lease:#", "30000"], 0),
            progress: Template::new(&["HSET", "task:#"], 6),
            finish: Template::new(&["HSET", "task:#", "state", "finished"], 0),
            release: Template::new(&["DEL", "lease:#"], 0),
            forget: Template::new(&["PEXPIRE", "task:#", "60000"], 0),
            look: Template::new(&["MGET"], LOOKED_AT as usize),
            looked_at: Template::rest(&["lease:#"]),
        }
    }

    /// Writes the next request.
    pub(super) fn next(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let Tasks { enqueued, claimed, finished } = stream.tasks;
        let (queued, running) = (enqueued - claimed, claimed - finished);
        match draw(&mut stream.random, &UPTO) {
            ENQUEUE => self.enqueue_one(tools, stream, sheet),
            // An operation that is not possible yet is replaced by its prerequisite: a task must be claimed before it
            // runs, and enqueued before it is claimed.
            _ if queued == 0 && running == 0 => self.enqueue_one(tools, stream, sheet),
            CLAIM if running == RUNNING => self.finish_one(tools, stream, sheet),
            CLAIM if queued > 0 => self.claim_one(tools, stream, sheet),
            CLAIM => self.enqueue_one(tools, stream, sheet),
            _ if running == 0 => self.claim_one(tools, stream, sheet),
            FINISH => self.finish_one(tools, stream, sheet),
            operation => {
                let chosen = finished + stream.random.u64(0..running);
                self.attend(tools, stream, sheet, operation, chosen)
            }
        }
    }

    fn enqueue_one(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let task = id(tools, stream, stream.tasks.enqueued);
        stream.tasks.enqueued += 1;
        self.enqueue.write(sheet.out, [task]);
        tools.values.write(sheet.out, &mut stream.random);
        self.push.write(sheet.out, [stream.connection, task]);
        Issued::of(ENQUEUE, 2)
    }

    fn claim_one(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let task = id(tools, stream, stream.tasks.claimed);
        stream.tasks.claimed += 1;
        let host = stream.random.u64(0..1000);
        self.pop.write(sheet.out, [stream.connection, task]);
        self.claim.write(sheet.out, [task, host]);
        self.lease.write(sheet.out, [task, host]);
        Issued::of(CLAIM, 3)
    }

    fn finish_one(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let task = id(tools, stream, stream.tasks.finished);
        stream.tasks.finished += 1;
        self.finish.write(sheet.out, [task]);
        self.release.write(sheet.out, [task]);
        self.forget.write(sheet.out, [task]);
        Issued::of(FINISH, 3)
    }

    /// Writes a request about a running task.
    fn attend(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>, operation: u8, chosen: u64) -> Issued {
        let task = id(tools, stream, chosen);
        match operation {
            HEARTBEAT => self.heartbeat.write(sheet.out, [task]),
            PROGRESS => {
                let done = stream.random.u64(0..100);
                self.progress.write(sheet.out, [task]);
                request::argument(sheet.out, b"progress");
                request::number(sheet.out, done);
                request::argument(sheet.out, b"message");
                request::argument(sheet.out, b"mapping input splits");
                request::argument(sheet.out, b"updated");
                request::number(sheet.out, 1_700_000_000_000 + stream.random.u64(0..1 << 32));
            }
            _ => {
                self.look.write(sheet.out, []);
                let Tasks { claimed, finished, .. } = stream.tasks;
                let running = claimed - finished;
                for next in 0..LOOKED_AT {
                    let task = id(tools, stream, finished + (chosen - finished + next) % running);
                    self.looked_at.write(sheet.out, [task]);
                }
            }
        }
        Issued::one(operation)
    }
}

/// Number of a connection's task among the tasks of all connections.
fn id(tools: &Tools, stream: &Stream, number: u64) -> u64 {
    stream.connection + number * tools.connections
}
