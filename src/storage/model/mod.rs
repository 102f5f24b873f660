//! For tests: model machines whose disks, clocks and processes are values in memory. The same seed gives the same
//! history.
//!
//! A model disk may take its time, complete operations in any order, be full, and fail. After a power failure it may
//! hold, lack or have half of any sector that was written since the last sync of its file, and know or not know any
//! name that was created since the last sync of its directory. A process may die with writes under way; they land
//! later, and until then nobody else gets the file's lock.
//!
//! | module | what it is |
//! |---|---|
//! | `disk` | a machine's files: their current content, and what a power failure may leave of it |
//! | `executor` | runs tasks of processes, in time that jumps from one event to the next |
//! | `files` | the disk as a process uses it, through [`Files`](super::Files) |
//! | `commits` | the disk as the live log uses it, through [`Disk`](super::Disk) |
//! | `lies` | syncs that a planted bug leaves out |

mod commits;
mod disk;
mod executor;
mod files;
mod lies;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

pub(crate) use self::disk::{Disk, Rot};
pub(crate) use self::executor::Executor;

thread_local! {
    /// The current time in the world of this thread, for code that has no access to the world.
    pub(crate) static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A model world: machines, processes, time, and randomness.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: Duration,
    pub(crate) random: fastrand::Rng,
    began: Instant,
    machines: Vec<Disk>,
    processes: Vec<Life>,
    timers: BTreeMap<(Duration, u64), Waker>,
    counter: u64,
    /// Log of what happened, if a trace is kept.
    trace: Option<Vec<String>>,
}

/// The world's record of a process.
#[derive(Debug)]
struct Life {
    machine: usize,
    alive: bool,
    /// Number of changes to the disk before the process dies; `None` if it is not to die.
    steps_left: Option<u64>,
    /// Whether the machine loses power when the process dies.
    with_power: bool,
    /// Whether the process is likely to die around changes of the manifest and removals of files.
    fragile: bool,
}

/// A process on a machine. Its clones are the same process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    world: World,
    id: usize,
    machine: usize,
}

impl World {
    pub(crate) fn new(seed: u64, machines: usize) -> Self {
        NOW.set(Duration::ZERO);
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            random: fastrand::Rng::with_seed(seed),
            began: Instant::now(),
            machines: (0..machines).map(|_| Disk::default()).collect(),
            processes: Vec::new(),
            timers: BTreeMap::new(),
            counter: 0,
            trace: None,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a test does not go on after a panic")
    }

    /// Creates a process on `machine`.
    pub(crate) fn process(&self, machine: usize) -> Process {
        let mut state = self.lock();
        state.processes.push(Life { machine, alive: true, steps_left: None, with_power: false, fragile: false });
        Process { world: self.clone(), id: state.processes.len() - 1, machine }
    }

    pub(crate) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Draws from the world's random numbers.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.lock().random)
    }

    /// Draws whether an event happens whose chance is one in `times`.
    pub(crate) fn once_in(&self, times: u32) -> bool {
        self.draw(|random| random.u32(0..times) == 0)
    }

    /// Reads or changes a machine's disk from outside.
    pub(crate) fn disk<T>(&self, machine: usize, look: impl FnOnce(&mut Disk, &mut fastrand::Rng) -> T) -> T {
        let state = &mut *self.lock();
        look(&mut state.machines[machine], &mut state.random)
    }

    /// Cuts the machine's power: all its processes die, and its disk keeps what a power failure leaves.
    pub(crate) fn power_off(&self, machine: usize) {
        let state = &mut *self.lock();
        state.power_off(machine);
    }

    /// Loses the machine with its disk: all its processes die, and an empty disk takes its place.
    pub(crate) fn lose(&self, machine: usize) {
        let state = &mut *self.lock();
        state.note(|| format!("machine {machine} is lost"));
        state.processes.iter_mut().filter(|p| p.machine == machine).for_each(|life| life.alive = false);
        state.machines[machine].lose();
    }

    /// Begins to keep a trace of what happens.
    pub(crate) fn keep_trace(&self) {
        self.lock().trace = Some(Vec::new());
    }

    /// Ends the trace and returns it.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.lock().trace.take().unwrap_or_default()
    }

    /// Adds an event to the trace. `what` is only called if a trace is kept.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.lock().note(what);
    }

    /// Has `waker` woken at the time `due`.
    pub(crate) fn wake_at(&self, due: Duration, waker: &Waker) {
        self.lock().wake_at(due, waker.clone());
    }

    /// Waits for `time` of the world's clock.
    pub(crate) async fn sleep(&self, time: Duration) {
        let due = self.now() + time;
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            if state.now >= due {
                return std::task::Poll::Ready(());
            }
            state.wake_at(due, context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

impl State {
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} ms  {}", now.as_secs_f64() * 1e3, what()));
        }
    }

    fn wake_at(&mut self, due: Duration, waker: Waker) {
        self.counter += 1;
        self.timers.insert((due, self.counter), waker);
    }

    fn power_off(&mut self, machine: usize) {
        self.note(|| format!("machine {machine} loses its power"));
        for life in self.processes.iter_mut().filter(|p| p.machine == machine) {
            life.alive = false;
        }
        self.machines[machine].power_off(&mut self.random);
    }

    fn kill(&mut self, process: usize) {
        self.note(|| format!("process {process} is killed"));
        self.processes[process].alive = false;
        let machine = self.processes[process].machine;
        let latest = self.now + Duration::from_millis(self.random.u64(1..3_000));
        self.machines[machine].orphan(process, latest);
    }

    /// Counts a change to the disk that `process` is about to make. Returns `false` if the process is dead, or dies
    /// before it.
    fn step(&mut self, process: usize, what: impl Fn() -> String) -> bool {
        let life = &mut self.processes[process];
        if !life.alive {
            return false;
        }
        if life.fragile && life.steps_left.is_none() {
            let text = what();
            if (text.contains("manifest") || text.starts_with("remove")) && self.random.u8(0..25) == 0 {
                (life.steps_left, life.with_power) = (Some(self.random.u64(0..10)), self.random.bool());
            }
        }
        if let Some(left) = &mut life.steps_left {
            if *left == 0 {
                life.steps_left = None;
                let (machine, with_power) = (life.machine, life.with_power);
                self.note(|| format!("process {process} dies before: {}", what()));
                if with_power {
                    self.power_off(machine)
                } else {
                    self.kill(process)
                }
                return false;
            }
            *left -= 1;
        }
        self.note(|| format!("process {process}: {}", what()));
        true
    }
}

impl Process {
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    pub(crate) fn machine(&self) -> usize {
        self.machine
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.world.lock().processes[self.id].alive
    }

    /// Kills the process, as `kill -9` does.
    pub(crate) fn kill(&self) {
        self.world.lock().kill(self.id);
    }

    /// Makes the process die after `steps` more changes to the disk, before the next one; with `with_power`, the
    /// machine loses its power then.
    pub(crate) fn die_after(&self, steps: u64, with_power: bool) {
        let life = &mut self.world.lock().processes[self.id];
        (life.steps_left, life.with_power) = (Some(steps), with_power);
    }

    /// Cancels [`Self::die_after`].
    pub(crate) fn live_on(&self) {
        self.world.lock().processes[self.id].steps_left = None;
    }

    /// Makes the process likely to die around changes of the manifest and removals of files.
    pub(crate) fn become_fragile(&self) {
        self.world.lock().processes[self.id].fragile = true;
    }

    /// Creates a file whose content and name are durable.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.world.disk(self.machine, |disk, _| disk.put(path, bytes));
    }
}
