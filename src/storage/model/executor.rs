//! Runs the tasks of model processes in one thread, in time that jumps from one event to the next.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::{NOW, Process, World};

type Task = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// Tasks that were spawned since the executor last looked.
    static BEGUN: RefCell<Vec<(Process, Task)>> = const { RefCell::new(Vec::new()) };
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs the tasks of model processes. A task ends with its process.
pub(crate) struct Executor {
    world: World,
    tasks: Vec<(Process, Arc<Flag>, Task)>,
}

impl Process {
    /// Spawns a task on this thread, which runs as long as the process lives.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        BEGUN.with_borrow_mut(|begun| begun.push((self.clone(), Box::pin(task))));
    }
}

impl Executor {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), tasks: Vec::new() }
    }

    /// Runs until `main` is done or the time `until` is reached. Returns whether `main` is done.
    pub(crate) fn run(&mut self, main: impl Future<Output = ()>, until: Duration) -> bool {
        let mut main = Box::pin(main);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        loop {
            if flag.0.swap(false, Relaxed) {
                let waker = Waker::from(flag.clone());
                if main.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    return true;
                }
            }
            let ran = self.turn();
            if !ran && !flag.0.load(Relaxed) && !self.advance(until) {
                return false;
            }
        }
    }

    /// Polls each task that is ready once. Returns whether there was any.
    fn turn(&mut self) -> bool {
        let begun = BEGUN.take();
        let mut ran = !begun.is_empty();
        self.tasks.extend(begun.into_iter().map(|(p, task)| (p, Arc::new(Flag(AtomicBool::new(true))), task)));
        self.tasks.retain_mut(|(process, flag, task)| {
            if !process.is_alive() {
                return false;
            }
            if !flag.0.swap(false, Relaxed) {
                return true;
            }
            ran = true;
            let waker = Waker::from(flag.clone());
            task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        ran
    }

    /// Advances the time to the next event. Returns `false` if there is none before `until`.
    fn advance(&self, until: Duration) -> bool {
        let mut state = self.world.lock();
        let Some((next, _)) = state.timers.first_key_value().map(|(key, _)| *key).filter(|(due, _)| *due < until)
        else {
            return false;
        };
        state.now = state.now.max(next);
        let now = state.now;
        NOW.set(now);
        state.machines.iter_mut().for_each(|disk| disk.land(now, None));
        let later = state.timers.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
        true
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Breaks reference cycles: tasks may hold handles of the world, which holds wakers of tasks.
        self.world.lock().timers.clear();
        BEGUN.take();
    }
}
