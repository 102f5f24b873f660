//! For tests: a disk and a clock that are numbers in memory, and an executor whose time jumps from one event to the next.
//!
//! What the disk may do: take its time, finish in any order, and after a crash hold any of the sectors that were written since the
//! last sync, and names as they were at the last sync of their directory or as they are. What a test can make it do: fail a write or
//! a sync, or be full.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::join::join_all;
use super::writer::Placed;

const SECTOR: usize = 512;

/// A file's content: as it reads now, as it is safe, and where the two may differ.
#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written and not synced; whether the write has returned.
    dirty: Vec<(usize, bool)>,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// The write with this number (from 0) fails.
    pub(super) write: Option<u64>,
    /// The sync with this number fails.
    pub(super) sync: Option<u64>,
    /// Bytes that all files together can have.
    pub(super) capacity: Option<u64>,
}

pub(super) struct World {
    now: Duration,
    began: Instant,
    pub(super) random: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    timers: Vec<(Duration, Waker)>,
    spawned: Vec<Task>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The disk, the clock and the executor.
#[derive(Clone)]
pub(super) struct Model(pub(super) Rc<RefCell<World>>);

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(World {
            now: Duration::ZERO,
            began: Instant::now(),
            random: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            writes: 0,
            syncs: 0,
            contents: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            timers: Vec::new(),
            spawned: Vec::new(),
        })))
    }

    /// Puts a file there that is safe.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.0.borrow_mut();
        let file = world.contents.len();
        world.contents.push(Content { durable: bytes.clone(), now: bytes, dirty: Vec::new() });
        world.names.insert(path.to_owned(), file);
        world.durable_names.insert(path.to_owned(), file);
    }

    /// Runs `main` and whatever is spawned until `main` is done or the time is over; what is then unfinished is dropped.
    pub(super) fn run(&self, main: impl Future<Output = ()> + 'static, until: Duration) {
        let mut tasks: Vec<(Arc<Flag>, Task)> = Vec::new();
        let flag = || Arc::new(Flag(AtomicBool::new(true)));
        let main_flag = flag();
        tasks.push((main_flag.clone(), Box::pin(main)));
        loop {
            let spawned = std::mem::take(&mut self.0.borrow_mut().spawned);
            tasks.extend(spawned.into_iter().map(|task| (flag(), task)));
            let mut ran = false;
            let mut main_done = false;
            tasks.retain_mut(|(flag, task)| {
                if !flag.0.swap(false, Relaxed) {
                    return true;
                }
                ran = true;
                let waker = Waker::from(flag.clone());
                let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                main_done |= done && Arc::ptr_eq(flag, &main_flag);
                !done
            });
            if main_done {
                return;
            }
            if ran || !self.0.borrow().spawned.is_empty() {
                continue;
            }
            if !self.advance(until) {
                return;
            }
        }
    }

    /// To the next event; false if there is none before `until`.
    fn advance(&self, until: Duration) -> bool {
        let mut world = self.0.borrow_mut();
        let Some(next) = world.timers.iter().map(|(due, _)| *due).min().filter(|due| *due < until) else {
            return false;
        };
        world.now = world.now.max(next);
        let now = world.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut world.timers).into_iter().partition(|(d, _)| *d <= now);
        world.timers = later;
        drop(world);
        due.into_iter().for_each(|(_, waker)| waker.wake());
        true
    }

    /// The files as a crash at this moment may leave them.
    pub(super) fn crash(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = &mut *self.0.borrow_mut();
        let names = if world.random.bool() { &world.names } else { &world.durable_names };
        let mut files = BTreeMap::new();
        for (name, file) in names {
            let content = &world.contents[*file];
            let mut bytes = content.durable.clone();
            if world.random.bool() {
                bytes.resize(content.now.len().max(bytes.len()), 0);
            }
            // All, none, or any of the sectors.
            let mode = world.random.u8(0..4);
            for (sector, _) in &content.dirty {
                let kept = mode == 0 || (mode > 1 && world.random.bool());
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                if kept && range.end <= bytes.len() {
                    bytes[range.clone()].copy_from_slice(&content.now[range]);
                }
            }
            files.insert(name.clone(), bytes);
        }
        files
    }

    /// Waits as long as the disk takes for something.
    async fn work(&self) {
        let micros = {
            let random = &mut self.0.borrow_mut().random;
            if random.u8(..) < 8 { random.u64(1_000..60_000) } else { random.u64(20..1_500) }
        };
        self.sleep_for(Duration::from_micros(micros)).await;
    }

    pub(super) async fn sleep_for(&self, time: Duration) {
        let due = self.0.borrow().now + time;
        std::future::poll_fn(|context| {
            let world = &mut *self.0.borrow_mut();
            if world.now >= due {
                return Poll::Ready(());
            }
            world.timers.push((due, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn reserved(world: &World) -> u64 {
        world.names.values().map(|file| world.contents[*file].now.len() as u64).sum()
    }
}

impl World {
    fn content(&mut self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Disk for Model {
    type File = usize;
    type Buffer = Vec<u8>;

    async fn create(&self, path: &Path) -> io::Result<usize> {
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        world.contents.push(Content::default());
        let file = world.contents.len() - 1;
        world.names.insert(path.to_owned(), file);
        Ok(file)
    }

    async fn open_to_fill(&self, path: &Path) -> io::Result<usize> {
        self.work().await;
        self.0.borrow_mut().content(path)
    }

    async fn open(&self, path: &Path) -> io::Result<usize> {
        self.work().await;
        self.0.borrow_mut().content(path)
    }

    async fn read_block(&self, file: &usize) -> io::Result<Vec<u8>> {
        self.work().await;
        let world = self.0.borrow();
        let content = &world.contents[*file].now;
        Ok(content[..content.len().min(crate::encoding::frame::BLOCK)].to_vec())
    }

    async fn reserve(&self, file: &usize, bytes: u64) -> io::Result<()> {
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        let more = bytes.saturating_sub(world.contents[*file].now.len() as u64);
        if world.faults.capacity.is_some_and(|capacity| Self::reserved(world) + more > capacity) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let content = &mut world.contents[*file].now;
        content.resize(content.len().max(bytes as usize), 0);
        Ok(())
    }

    async fn write(&self, file: &usize, buffer: Vec<u8>, offset: u64) -> io::Result<()> {
        let sectors = offset as usize / SECTOR..(offset as usize + buffer.len()) / SECTOR;
        let fails = {
            let world = &mut *self.0.borrow_mut();
            world.writes += 1;
            let fails = world.faults.write == Some(world.writes - 1);
            let content = &mut world.contents[*file];
            assert!(offset as usize + buffer.len() <= content.now.len(), "written beyond what was reserved");
            for sector in sectors.clone() {
                // What is durable is never rewritten with anything else.
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                let was = content.durable.get(range.clone()).unwrap_or(&[]);
                let new = &buffer[range.start - offset as usize..range.end - offset as usize];
                assert!(was.iter().all(|b| *b == 0) || was == new, "a durable sector was rewritten");
                if !fails || world.random.bool() {
                    content.now[range].copy_from_slice(new);
                    content.dirty.push((sector, false));
                }
            }
            fails
        };
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        for (sector, returned) in &mut world.contents[*file].dirty {
            *returned |= sectors.contains(sector);
        }
        if fails { Err(eio()) } else { Ok(()) }
    }

    async fn sync(&self, file: &usize) -> io::Result<()> {
        let (fails, covered, len) = {
            let world = &mut *self.0.borrow_mut();
            world.syncs += 1;
            let content = &world.contents[*file];
            let covered: Vec<usize> = content.dirty.iter().filter(|(_, returned)| *returned).map(|(s, _)| *s).collect();
            (world.faults.sync == Some(world.syncs - 1), covered, content.now.len())
        };
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        let content = &mut world.contents[*file];
        if fails {
            // Linux marks what it could not write as clean: the next sync would find nothing to complain about.
            content.dirty.clear();
            return Err(eio());
        }
        content.durable.resize(len.max(content.durable.len()), 0);
        for sector in &covered {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let now = content.now[range.clone()].to_vec();
            content.durable[range].copy_from_slice(&now);
        }
        content.dirty.retain(|(sector, returned)| !(*returned && covered.contains(sector)));
        Ok(())
    }

    async fn commit(&self, file: &Rc<usize>, frames: Vec<Placed<Vec<u8>>>) -> io::Result<()> {
        join_all(frames.into_iter().map(|frame| self.write(file, frame.buffer, frame.offset))).await?;
        self.sync(file).await
    }

    fn poll(&self) -> bool {
        false
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        let file = world.content(from)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), file);
        Ok(())
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let names: Vec<_> = {
            let world = self.0.borrow();
            world.names.iter().filter(|(name, _)| name.starts_with(dir)).map(|(n, f)| (n.clone(), *f)).collect()
        };
        self.work().await;
        let world = &mut *self.0.borrow_mut();
        world.durable_names.retain(|name, _| !name.starts_with(dir));
        world.durable_names.extend(names);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.work().await;
        self.0.borrow_mut().names.remove(path);
        Ok(())
    }

    async fn close(&self, _file: usize) {
        self.work().await;
    }

    async fn sleep(&self, time: Duration) {
        self.sleep_for(time).await;
    }

    fn now(&self) -> Instant {
        let world = self.0.borrow();
        world.began + world.now
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().spawned.push(Box::pin(task));
    }
}
