//! A machine's disk as a process uses it, through [`Files`]. Each operation takes no time; a process can die only
//! between operations.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::Disk;
use super::{Process, State, lies};
use crate::storage::files::{Access, Files, PlainFile};

/// An open file of a process.
#[derive(Debug)]
pub(crate) struct ModelFile {
    process: Process,
    path: PathBuf,
    file: usize,
    /// Number that identifies this open file.
    handle: u64,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl Process {
    /// Reads from the disk; an error if the process is dead.
    fn look<T>(&self, look: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        let state = self.world.lock();
        if !state.processes[self.id].alive {
            return Err(eio());
        }
        look(&state.machines[self.machine])
    }

    /// Changes the disk; an error if the process is dead, or dies just before.
    pub(super) fn change<T>(
        &self,
        what: impl Fn() -> String,
        change: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.world.lock();
        if !state.step(self.id, what) {
            return Err(eio());
        }
        change(&mut state.machines[self.machine])
    }

    pub(super) fn opened(&self, path: &Path, file: usize) -> ModelFile {
        let mut state = self.world.lock();
        state.counter += 1;
        ModelFile { process: self.clone(), path: path.to_owned(), file, handle: state.counter }
    }
}

impl Files for Process {
    type File = ModelFile;

    const READS_AHEAD: bool = false;

    fn open(&self, path: &Path, access: Access) -> io::Result<ModelFile> {
        let file = match access {
            Access::Read | Access::ReadDirect => self.look(|disk| disk.file(path))?,
            Access::Write | Access::CreateNew | Access::Truncate => match self.look(|disk| disk.file(path)) {
                Ok(_) if access == Access::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
                Ok(file) if access == Access::Truncate => self.change(
                    || format!("empty {}", path.display()),
                    |disk| {
                        disk.contents[file].set_size(0);
                        Ok(file)
                    },
                )?,
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.change(|| format!("make {}", path.display()), |disk| disk.create(path))?
                }
                Err(e) => return Err(e),
            },
        };
        Ok(self.opened(path, file))
    }

    fn exists(&self, path: &Path) -> bool {
        self.look(|disk| Ok(disk.names.contains_key(path))).unwrap_or(false)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look(|disk| disk.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if self.exists(dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(|| format!("make directory {}", dir.display()), |disk| disk.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|| format!("rename {} to {}", from.display(), to.display()), |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|| format!("remove {}", path.display()), |disk| disk.remove(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.change(
            || format!("remove all of {}", dir.display()),
            |disk| {
                disk.remove_dir_all(dir);
                Ok(())
            },
        )
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if lies::leaves_out_dir(dir) {
            return Ok(());
        }
        self.change(
            || format!("sync directory {}", dir.display()),
            |disk| {
                disk.sync_dir(dir);
                Ok(())
            },
        )
    }

    fn random_id(&self) -> io::Result<[u8; 16]> {
        Ok(self.world.draw(|random| std::array::from_fn(|_| random.u8(..))))
    }
}

impl PlainFile for ModelFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.process.look(|disk| {
            let content = &disk.contents[self.file].now;
            let from = content.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or(&[]);
            let read = from.len().min(into.len());
            into[..read].copy_from_slice(&from[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.process.world.lock();
        let what = || format!("write {} bytes at {offset} of {}", bytes.len(), self.path.display());
        if !state.step(self.process.id, what) {
            return Err(eio());
        }
        let State { machines, random, .. } = &mut *state;
        let disk = &mut machines[self.process.machine];
        let end = offset as usize + bytes.len();
        let more = end.saturating_sub(disk.contents[self.file].now.len());
        if !disk.has_room(more as u64) {
            return Err(enospc());
        }
        if disk.strikes(|disk| &mut disk.write_fails_in) {
            // A random part of the bytes was written.
            let some = random.usize(0..=bytes.len());
            disk.contents[self.file].write(offset as usize, &bytes[..some]);
            state.note(|| "and it fails".to_owned());
            return Err(eio());
        }
        disk.contents[self.file].write(offset as usize, bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.process.look(|disk| Ok(disk.contents[self.file].now.len() as u64))
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.process.change(
            || format!("{bytes} bytes for {}", self.path.display()),
            |disk| {
                disk.contents[self.file].set_size(bytes as usize);
                Ok(())
            },
        )
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.process.change(
            || format!("reserve {bytes} bytes for {}", self.path.display()),
            |disk| {
                let size = disk.contents[self.file].now.len();
                if !disk.has_room(bytes.saturating_sub(size as u64)) {
                    return Err(enospc());
                }
                disk.contents[self.file].set_size(size.max(bytes as usize));
                Ok(())
            },
        )
    }

    fn sync(&self) -> io::Result<()> {
        if lies::leaves_out_file(&self.path) {
            return Ok(());
        }
        self.process.change(
            || format!("sync {}", self.path.display()),
            |disk| {
                let fails = disk.strikes(|disk| &mut disk.sync_fails_in);
                let content = &mut disk.contents[self.file];
                if fails {
                    content.sync_failed();
                    return Err(eio());
                }
                let covered = content.dirty();
                content.synced(&covered);
                Ok(())
            },
        )
    }

    fn lock(&self, _patience: Duration) -> io::Result<bool> {
        self.process.change(
            || format!("lock {}", self.path.display()),
            |disk| {
                let content = &mut disk.contents[self.file];
                let free = content.exclusive.is_none() && content.shared.is_empty() && content.orphaned_until.is_none();
                if free {
                    content.exclusive = Some(self.holder());
                }
                Ok(free)
            },
        )
    }

    fn lock_shared(&self, _patience: Duration) -> io::Result<bool> {
        self.process.change(
            || format!("lock {} with others", self.path.display()),
            |disk| {
                // Waiting for the lock means waiting until no more writes can land.
                disk.land(Duration::ZERO, Some(self.file));
                let content = &mut disk.contents[self.file];
                let free = content.exclusive.is_none();
                if free {
                    content.shared.insert(self.holder());
                }
                Ok(free)
            },
        )
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        let Ok(mut state) = self.process.world.0.lock() else { return };
        let content = &mut state.machines[self.process.machine].contents[self.file];
        content.exclusive.take_if(|holder| *holder == self.holder());
        content.shared.remove(&self.holder());
    }
}

impl ModelFile {
    const fn holder(&self) -> (usize, u64) {
        (self.process.id, self.handle)
    }

    pub(super) const fn number(&self) -> usize {
        self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
