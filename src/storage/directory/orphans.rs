//! Handles files in a data directory that nothing refers to: traces of a crash, and files that are not ours.

use std::path::{Path, PathBuf};

use super::{DataDir, Found};
use crate::ids::{Epoch, PartitionId};
use crate::storage::error::Context;
use crate::storage::files::{Files, list, make_dir, sync_dir};
use crate::storage::{StorageError, path};

impl<F: Files> DataDir<F> {
    /// Finishes what a crash interrupted, and sets aside files that nothing refers to.
    pub(super) fn tidy(&self, found: &mut Found) -> Result<(), StorageError> {
        self.note_unknown(found)?;
        self.tidy_log(found)?;
        self.tidy_snapshots(found)
    }

    fn note_unknown(&self, found: &mut Found) -> Result<(), StorageError> {
        let ours = [
            path::LOCK,
            path::LOG,
            path::SNAPSHOTS,
            path::INCOMING,
            path::NODE,
            path::ASIDE,
            path::RESERVE,
            path::MIRROR_OF,
            "lost+found",
        ];
        let ours = ours.iter().chain(&path::MANIFESTS);
        let unknown = list(&self.files, &self.path)?.into_iter().filter(|name| !ours.clone().any(|our| our == name));
        found.unknown.extend(unknown.map(|name| self.path.join(name)));
        Ok(())
    }

    /// Handles logs of epochs that the manifest does not name. Older epochs were dropped, but a crash came before their
    /// files were removed: removes them. A newer one was being created: sets it aside.
    fn tidy_log(&self, found: &mut Found) -> Result<(), StorageError> {
        let manifest = self.manifest();
        let log = self.path.join(path::LOG);
        for name in list(&self.files, &log)? {
            let Some(epoch) = path::parse_epoch(&name) else {
                found.unknown.push(log.join(name));
                continue;
            };
            if manifest.epochs.iter().any(|e| e.epoch == epoch) {
                continue;
            }
            if manifest.epochs.first().is_some_and(|oldest| epoch < oldest.epoch && epoch > Epoch(0)) {
                let dir = log.join(&name);
                if !self.read_only {
                    self.files.remove_dir_all(&dir).context(&dir, "cannot remove")?;
                }
            } else {
                found.set_aside.push(self.set_aside_unrecorded(epoch)?);
            }
        }
        if !self.read_only {
            self.remove_dropped_segments(&manifest)?;
        }
        Ok(())
    }

    /// Sets aside snapshots that the manifest does not name: a crash came between moving a file and recording it, or
    /// between the record and the removal of an old generation.
    fn tidy_snapshots(&self, found: &mut Found) -> Result<(), StorageError> {
        let manifest = self.manifest();
        let snapshots = self.path.join(path::SNAPSHOTS);
        for partition in list(&self.files, &snapshots)? {
            let dir = snapshots.join(&partition);
            let number = path::parse_partition(&partition).filter(|p| p.0 < manifest.partitions.count());
            let Some(PartitionId(number)) = number else {
                found.unknown.push(dir);
                continue;
            };
            let generations = manifest.generations(PartitionId(number));
            let kept = [generations.newest, generations.older].map(|g| g.map(|s| path::snapshot_name(s.position)));
            for name in list(&self.files, &dir)? {
                if !kept.iter().flatten().any(|kept| *kept == name) {
                    found.set_aside.push(self.set_aside(&dir.join(name))?);
                }
            }
        }
        Ok(())
    }

    /// Moves a file or directory to `aside/`, under a name that is free. Returns its new path.
    pub(super) fn set_aside(&self, what: &Path) -> Result<PathBuf, StorageError> {
        if self.read_only {
            return Ok(what.to_owned());
        }
        let aside = self.path.join(path::ASIDE);
        if let Err(full) = make_dir(&self.files, &aside) {
            if !full.is_disk_full() || !self.take_reserve(0, 0)? {
                return Err(full);
            }
            make_dir(&self.files, &aside)?;
        }
        let inside = what.strip_prefix(&self.path).unwrap_or(what);
        let name = inside.to_string_lossy().replace('/', "-");
        let free = (0u32..).map(|n| aside.join(if n == 0 { name.clone() } else { format!("{name}.{n}") }));
        let target = free.into_iter().find(|target| !self.files.exists(target)).unwrap_or_else(|| aside.join(&name));
        self.files.rename(what, &target).context(what, "cannot set aside")?;
        what.parent().map_or(Ok(()), |dir| sync_dir(&self.files, dir))?;
        sync_dir(&self.files, &aside)?;
        Ok(target)
    }
}
