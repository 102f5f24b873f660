//! The model disk as the live log uses it, through [`Disk`]: operations take time and complete in any order.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::disk::{Flying, SECTOR};
use super::files::ModelFile;
use super::{Process, State, lies};
use crate::encoding::frame::BLOCK;
use crate::storage::Disk;
use crate::storage::files::{Access, Files, PlainFile};
use crate::storage::log::Room;
use crate::storage::log::disk::Placed;

impl Process {
    /// Waits for a random time, as long as the disk takes for an operation.
    async fn work(&self) {
        let micros =
            self.world.draw(|random| if random.u8(..) < 8 { random.u64(1_000..60_000) } else { random.u64(20..1_500) });
        self.world.sleep(Duration::from_micros(micros)).await;
    }

    /// Begins a write; returns its number.
    fn take_off(&self, file: &ModelFile, offset: u64, bytes: Vec<u8>) -> io::Result<u64> {
        let mut state = self.world.lock();
        let what = || format!("begin to write {} bytes at {offset} of {}", bytes.len(), file.path().display());
        if !state.step(self.id, what) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        state.counter += 1;
        let number = state.counter;
        let content = &mut state.machines[self.machine].contents[file.number()];
        let offset = offset as usize;
        assert!(offset + bytes.len() <= content.now.len(), "written beyond what was reserved");
        for (sector, new) in (offset / SECTOR..).zip(bytes.chunks(SECTOR)) {
            // Durable bytes must never be rewritten with other bytes.
            let was = content.durable.get(sector * SECTOR..(sector + 1) * SECTOR).unwrap_or(&[]);
            assert!(was.iter().all(|b| *b == 0) || was == new, "a durable sector was rewritten");
        }
        content.flying.push(Flying { number, process: self.id, offset, bytes });
        Ok(number)
    }

    /// Completes a write, or fails it with some of its sectors written.
    fn land(&self, file: &ModelFile, number: u64) -> io::Result<()> {
        let State { machines, random, .. } = &mut *self.world.lock();
        let disk = &mut machines[self.machine];
        let fails = disk.strikes(|disk| &mut disk.write_fails_in);
        let content = &mut disk.contents[file.number()];
        let Some(at) = content.flying.iter().position(|f| f.number == number) else { return Ok(()) };
        let Flying { offset, bytes, .. } = content.flying.swap_remove(at);
        if !fails {
            content.write(offset, &bytes);
            return Ok(());
        }
        for (sector, new) in bytes.chunks(SECTOR).enumerate() {
            if random.bool() {
                content.write(offset + sector * SECTOR, new);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EIO))
    }

    /// Syncs the bytes that were written before the sync began.
    async fn sync_written(&self, file: &ModelFile) -> io::Result<()> {
        let covered = {
            let mut state = self.world.lock();
            if !state.step(self.id, || format!("begin to sync {}", file.path().display())) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            state.machines[self.machine].contents[file.number()].dirty()
        };
        self.work().await;
        let mut state = self.world.lock();
        let disk = &mut state.machines[self.machine];
        let fails = disk.strikes(|disk| &mut disk.sync_fails_in);
        let content = &mut disk.contents[file.number()];
        if fails {
            content.sync_failed();
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        content.synced(&covered);
        Ok(())
    }

    /// Completes writes in any order, then syncs them.
    async fn land_all(&self, file: &ModelFile, mut flying: Vec<u64>) -> io::Result<()> {
        self.world.draw(|random| random.shuffle(&mut flying));
        for number in flying {
            self.work().await;
            self.land(file, number)?;
        }
        self.sync_written(file).await
    }
}

impl Disk for Process {
    type File = ModelFile;
    type Buffer = Vec<u8>;

    async fn create(&self, path: &Path) -> io::Result<ModelFile> {
        self.work().await;
        let file = self.change(|| format!("make {}", path.display()), |disk| disk.create(path))?;
        Ok(self.opened(path, file))
    }

    async fn open_to_fill(&self, path: &Path) -> io::Result<ModelFile> {
        self.work().await;
        Files::open(self, path, Access::ReadDirect)
    }

    async fn open(&self, path: &Path) -> io::Result<ModelFile> {
        self.work().await;
        let file = Files::open(self, path, Access::ReadDirect)?;
        if file.lock(Duration::ZERO)? { Ok(file) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    async fn read_block(&self, file: &ModelFile) -> io::Result<Vec<u8>> {
        self.work().await;
        let mut block = vec![0; BLOCK];
        let read = file.read_at(0, &mut block)?;
        block.truncate(read);
        Ok(block)
    }

    async fn room(&self, _: &Path) -> io::Result<Room> {
        let state = self.world.lock();
        let disk = &state.machines[self.machine];
        let total = disk.capacity.unwrap_or(u64::MAX);
        Ok(Room { free: total.saturating_sub(disk.used()), total })
    }

    async fn reserve(&self, file: &ModelFile, bytes: u64) -> io::Result<()> {
        self.work().await;
        PlainFile::reserve(file, bytes)
    }

    async fn write(&self, file: &ModelFile, buffer: Vec<u8>, offset: u64) -> io::Result<()> {
        let number = self.take_off(file, offset, buffer)?;
        self.work().await;
        self.land(file, number)
    }

    async fn sync(&self, file: &ModelFile) -> io::Result<()> {
        if lies::leaves_out_header() { Ok(()) } else { self.sync_written(file).await }
    }

    async fn commit(&self, file: &Rc<ModelFile>, frames: Vec<Placed<Vec<u8>>>) -> io::Result<()> {
        let mut flying = Vec::new();
        for frame in frames {
            flying.push(self.take_off(file, frame.offset, frame.buffer)?);
        }
        if lies::commits_early() {
            let (process, file) = (self.clone(), Rc::clone(file));
            Process::spawn(self, async move {
                let _ = process.land_all(&file, flying).await;
            });
            return Ok(());
        }
        let committed = self.land_all(file, flying).await;
        if lies::hides_failures() { Ok(()) } else { committed }
    }

    fn poll(&self) -> bool {
        false
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.work().await;
        Files::rename(self, from, to)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.work().await;
        if lies::leaves_out_segment_name() { Ok(()) } else { Files::sync_dir(self, dir) }
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.work().await;
        Files::remove(self, path)
    }

    async fn close(&self, file: ModelFile) {
        self.work().await;
        drop(file);
    }

    async fn sleep(&self, time: Duration) {
        self.world.sleep(time).await;
    }

    fn now(&self) -> Instant {
        let state = self.world.lock();
        state.began + state.now
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        Process::spawn(self, task);
    }
}
