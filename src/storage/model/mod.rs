//! For tests: machines whose disks, clocks and processes are numbers in memory. One seed makes one history.
//!
//! What a disk may do: take its time, finish in any order, be full, fail; after a power failure hold, lack or have half
//! of any sector that was written since the last sync of its file, and know or not know any name that was made since
//! the last sync of its directory. A process may die with writes under way, which land later, and before that nobody
//! else gets the file's lock.
//!
//! | module | what it is |
//! |---|---|
//! | `disk` | a machine's files: as they read now, and as a power failure may leave them |
//! | `executor` | tasks of processes, and time that jumps from one event to the next |
//! | `files` | what a process sees of it through [`Files`](super::Files) |
//! | `commits` | what the live log sees of it through [`Disk`](super::Disk) |
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
    /// The time in the world of this thread, for those who cannot be handed the world.
    pub(crate) static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Everything that there is: machines, processes, the time, and chance.
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
    /// What happened, if somebody wants to know.
    trace: Option<Vec<String>>,
}

/// A process as the world sees it.
#[derive(Debug)]
struct Life {
    machine: usize,
    alive: bool,
    /// Changes to the disk until it dies.
    steps_left: Option<u64>,
    /// With it goes the power.
    with_power: bool,
    /// It likes to die where things come and go.
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

    /// A new process on `machine`.
    pub(crate) fn process(&self, machine: usize) -> Process {
        let mut state = self.lock();
        state.processes.push(Life { machine, alive: true, steps_left: None, with_power: false, fragile: false });
        Process { world: self.clone(), id: state.processes.len() - 1, machine }
    }

    pub(crate) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Draws something.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.lock().random)
    }

    /// Whether it happens, once in `times` times.
    pub(crate) fn once_in(&self, times: u32) -> bool {
        self.draw(|random| random.u32(0..times) == 0)
    }

    /// Looks at or changes a machine's disk from outside.
    pub(crate) fn disk<T>(&self, machine: usize, look: impl FnOnce(&mut Disk, &mut fastrand::Rng) -> T) -> T {
        let state = &mut *self.lock();
        look(&mut state.machines[machine], &mut state.random)
    }

    /// The machine loses its power: all its processes die, and its disk is as a power failure leaves it.
    pub(crate) fn power_off(&self, machine: usize) {
        let state = &mut *self.lock();
        state.power_off(machine);
    }

    /// The machine is gone with its disk; another one, with an empty disk, takes its place.
    pub(crate) fn lose(&self, machine: usize) {
        let state = &mut *self.lock();
        state.note(|| format!("machine {machine} is lost"));
        state.processes.iter_mut().filter(|p| p.machine == machine).for_each(|life| life.alive = false);
        state.machines[machine].lose();
    }

    /// From now on keeps what happens.
    pub(crate) fn keep_trace(&self) {
        self.lock().trace = Some(Vec::new());
    }

    /// What happened since it was kept.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.lock().trace.take().unwrap_or_default()
    }

    /// Says that something happened. `what` is only asked if somebody wants to know.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.lock().note(what);
    }

    /// Wakes a task at a time.
    pub(crate) fn wake_at(&self, due: Duration, waker: &Waker) {
        self.lock().wake_at(due, waker.clone());
    }

    /// Waits.
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

    /// Counts a change to the disk; false if the process is dead, or dies before it.
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

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        self.world.lock().kill(self.id);
    }

    /// It dies before its `steps`-th change to the disk from now on, or with it the whole machine.
    pub(crate) fn die_after(&self, steps: u64, with_power: bool) {
        let life = &mut self.world.lock().processes[self.id];
        (life.steps_left, life.with_power) = (Some(steps), with_power);
    }

    /// It does not die before its time after all.
    pub(crate) fn live_on(&self) {
        self.world.lock().processes[self.id].steps_left = None;
    }

    /// From now on it likes to die around changes of the manifest and removals of files.
    pub(crate) fn become_fragile(&self) {
        self.world.lock().processes[self.id].fragile = true;
    }

    /// Puts a file there that is safe.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.world.disk(self.machine, |disk, _| disk.put(path, bytes));
    }
}
