//! Checks of directories: usable, capable of direct I/O, not in use, of this program's format version.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, statfs, statvfs};

use super::{Exit, Finding, Verdict};
use crate::config::check::BLOCK_BYTES;
use crate::config::load::Loaded;
use crate::config::{Config, Data};
use crate::storage::error::is_disk_full;
use crate::storage::files::{LOCK_PATIENCE, PlainFile};
use crate::storage::path::LOCK;
use crate::storage::{DataDir, StorageError};

/// File systems in memory, with their magic numbers from `statfs`.
const VOLATILE: [(u32, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// Checks that files can be created in `dir`, or that `dir` itself can be created.
pub(super) fn usable(loaded: &Loaded, key: &'static str, dir: &Path) -> Finding {
    let place = existing(dir);
    match probe_file(&place, OFlags::empty()) {
        Ok(_) if place == dir => Finding::fine("directory", format!("{} is writable", dir.display())),
        Ok(_) => Finding::fine("directory", format!("{} can be made", dir.display())),
        Err(e) if is_disk_full(&e) => Finding::note("directory", unwritable(&place, &e)),
        Err(e) if e.raw_os_error() == Some(libc::EIO) => {
            Finding { subject: "directory", verdict: Verdict::Blocker(Exit::Io), text: unwritable(&place, &e) }
        }
        Err(e) => Finding::misconfigured(loaded, key, unwritable(&place, &e)),
    }
}

/// Explains that `place` is not writable, why, and what to do.
fn unwritable(place: &Path, error: &io::Error) -> String {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "give this user the right to, or choose another directory",
        Some(libc::EROFS) => "its file system is read-only: mount it writable, or choose another directory",
        Some(libc::ENOSPC) => "make room; until then writes are refused",
        Some(libc::EDQUOT) => "make room, or raise the quota; until then writes are refused",
        Some(libc::EFBIG) => "raise the limit on the size of files (ulimit -f)",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit on open files (ulimit -n)",
        Some(libc::ENOMEM) => "the kernel has no memory left: free some",
        Some(libc::EIO) => "the disk fails: look into the kernel's log",
        _ => "choose another directory",
    };
    format!("{} can't be written ({error}): {remedy}", place.display())
}

/// Checks that the file system of `dir` supports direct I/O.
pub(super) fn direct_io(dir: &Path) -> Finding {
    let place = existing(dir);
    let block = usize::try_from(BLOCK_BYTES).unwrap_or(4096);
    let memory = vec![0_u8; 2 * block];
    let start = memory.as_ptr().align_offset(block);
    let written = probe_file(&place, OFlags::DIRECT)
        .and_then(|file| file.write_all_at(&memory[start..start + block], 0).and_then(|()| file.sync_data()));
    let kind = statfs(&place).ok().and_then(|stat| VOLATILE.iter().find(|(id, _)| stat.f_type as u32 == *id));
    match (written, kind) {
        (Err(e), _) if is_disk_full(&e) => Finding::note("direct I/O", unwritable(&place, &e)),
        (Err(e), _) if !matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            let exit = if e.raw_os_error() == Some(libc::EIO) { Exit::Io } else { Exit::Unavailable };
            Finding { subject: "direct I/O", verdict: Verdict::Blocker(exit), text: unwritable(&place, &e) }
        }
        (Err(e), _) => Finding::missing(
            "direct I/O",
            format!(
                "the file system of {} can't write past the page cache (O_DIRECT: {e}): put data.dir on ext4 or XFS",
                place.display()
            ),
        ),
        (Ok(()), Some((_, name))) => Finding::note(
            "direct I/O",
            format!("{} is on {name}: its data ends with the machine; put data.dir on a disk", place.display()),
        ),
        (Ok(()), None) => Finding::fine("direct I/O", format!("works in {}", place.display())),
    }
}

/// Checks that no other process uses the data directory.
pub(super) fn free(dir: &Path) -> Finding {
    match File::open(dir.join(LOCK)).map(|lock| PlainFile::lock_shared(&lock, LOCK_PATIENCE)) {
        Err(_) | Ok(Ok(true)) => Finding::fine("data directory", format!("{} is free", dir.display())),
        Ok(Ok(false)) => Finding::missing(
            "data directory",
            format!("{} is in use by another rollbook: stop it, or choose another data.dir", dir.display()),
        ),
        Ok(Err(e)) => Finding::missing(
            "data directory",
            format!("{} can't be locked ({e}): put data.dir on a local file system", dir.display()),
        ),
    }
}

/// Checks that the data directory has this program's format version and the configured number of partitions.
pub(super) fn contents(loaded: &Loaded) -> Finding {
    let Data { dir, partitions } = &loaded.config.data;
    match DataDir::peek(dir) {
        Ok(None) => Finding::fine("data directory", format!("{} is yet to be made", dir.display())),
        Ok(Some(manifest)) if manifest.partitions == *partitions => {
            Finding::fine("data directory", format!("{} is of this version", dir.display()))
        }
        Ok(Some(manifest)) => {
            let (made, asked) = (manifest.partitions.count(), partitions.count());
            let why = format!("{asked}, but {} was made with {made}: set it to {made}", dir.display());
            Finding::misconfigured(loaded, "data.partitions", why)
        }
        Err(why @ StorageError::Unusable { .. }) => Finding::misconfigured(loaded, "data.dir", why),
        Err(other) => Finding::failed("data directory", other),
    }
}

/// Checks that the disk has room for the initial log: two segments per core.
pub(super) fn space(config: &Config) -> Finding {
    let place = existing(&config.data.dir);
    let cores = super::kernel::ready(config).cpus.len() as u64;
    let wanted = 2 * cores * config.log.segment_bytes;
    match statvfs(&place).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize)) {
        Ok(room) if room < wanted => Finding::note(
            "disk space",
            format!(
                "{} has {} MiB free, but the first segments of the log take {}: make room, or lower log.segment_bytes",
                place.display(),
                room >> 20,
                wanted >> 20
            ),
        ),
        Ok(room) => Finding::fine("disk space", format!("{} MiB", room >> 20)),
        Err(e) => Finding::note("disk space", format!("{} doesn't say ({e})", place.display())),
    }
}

/// `dir`, or the nearest directory above it that exists.
fn existing(dir: &Path) -> PathBuf {
    let mut ancestors = dir.ancestors().filter(|above| !above.as_os_str().is_empty());
    ancestors.find(|above| above.symlink_metadata().is_ok()).unwrap_or(Path::new(".")).to_owned()
}

/// Creates a file in `dir` that is deleted when it is closed.
fn probe_file(dir: &Path, flags: OFlags) -> io::Result<File> {
    let path = dir.join(format!(".rollbook-probe-{}-{:016x}", std::process::id(), fastrand::u64(..)));
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).custom_flags(flags).open(&path);
    // With O_DIRECT, the file is created before the file system refuses; so it is removed in any case.
    let removed = std::fs::remove_file(&path);
    let file = file?;
    removed.map(|()| file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn probing_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = Sources::default().load().unwrap();
        let missing = dir.path().join("a/b");
        assert_eq!(existing(&missing), dir.path());
        assert_eq!(usable(&loaded, "data.dir", &missing).verdict, Verdict::Fine);
        assert_ne!(direct_io(&missing).text, "");
        assert_eq!(free(&missing).verdict, Verdict::Fine);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_says_why() {
        let said = |errno| unwritable(Path::new("/d"), &io::Error::from_raw_os_error(errno));
        for (errno, why) in [
            (libc::EACCES, "give this user the right"),
            (libc::EROFS, "read-only"),
            (libc::ENOSPC, "make room"),
            (libc::EDQUOT, "quota"),
            (libc::EFBIG, "ulimit -f"),
            (libc::EMFILE, "ulimit -n"),
            (libc::ENOMEM, "memory"),
            (libc::EIO, "the disk fails"),
        ] {
            assert!(said(errno).contains(why) && !said(errno).contains("O_DIRECT"), "{}", said(errno));
        }
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let arguments = vec![format!("data.dir={}", file.display())];
        let loaded = Sources { arguments, ..Sources::default() }.load().unwrap();
        let finding = usable(&loaded, "data.dir", &file);
        assert_eq!(finding.verdict, Verdict::Blocker(Exit::Config));
        assert!(finding.text.starts_with("--set data.dir: data.dir: "), "{}", finding.text);
    }

    #[test]
    fn a_directory_of_another_version_or_cut_otherwise_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let with = |partitions: u16| {
            let arguments = vec![format!("data.dir={}", dir.path().display()), format!("data.partitions={partitions}")];
            contents(&Sources { arguments, ..Sources::default() }.load().unwrap())
        };
        assert_eq!(with(4).verdict, Verdict::Fine);
        drop(DataDir::open(dir.path(), crate::ids::Partitions::new(4).unwrap()).unwrap());
        assert_eq!(with(4).verdict, Verdict::Fine);
        assert!(with(8).text.starts_with("--set data.partitions: data.partitions: 8, but "), "{}", with(8).text);

        let manifests = crate::storage::path::MANIFESTS.map(|name| dir.path().join(name));
        let mut bytes = std::fs::read(&manifests[0]).unwrap();
        bytes[8] += 1;
        std::fs::write(&manifests[0], &bytes).unwrap();
        assert_eq!(with(4).verdict, Verdict::Blocker(Exit::Config));
        assert!(with(4).text.contains("version 3") && with(4).text.contains("data.dir"), "{}", with(4).text);

        manifests.iter().for_each(|file| std::fs::write(file, "rubbish").unwrap());
        assert_eq!(with(4).verdict, Verdict::Blocker(Exit::Data));
    }

    #[test]
    fn a_locked_directory_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::create(dir.path().join(LOCK)).unwrap();
        assert_eq!(free(dir.path()).verdict, Verdict::Fine);
        lock.try_lock().unwrap();
        assert!(free(dir.path()).text.contains("in use"));
        drop(lock);
        assert_eq!(free(dir.path()).verdict, Verdict::Fine);
    }
}
