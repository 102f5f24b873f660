//! Begins and ends epochs (lives of the master) on disk.

use super::DataDir;
use super::reserve::spare_bytes;
use crate::encoding::frame::BLOCK;
use crate::ids::{CoreId, Epoch, Lsn, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::error::Context;
use crate::storage::files::{Access, AlignedBuf, Files, PlainFile, list, make_dir, sync_dir};
use crate::storage::log::extent::Unproven;
use crate::storage::log::segment::{SegmentHeader, first_bytes};
use crate::storage::{Corruption, StorageError, failpoint, path};

impl<F: Files> DataDir<F> {
    /// Records that the logs of these streams were closed in good order, with everything up to these last edits
    /// durable. The next start then notices if any of it is missing.
    ///
    /// # Errors
    /// If the disk fails, or one of the streams is not open.
    pub fn close_streams(&self, epoch: Epoch, lasts: &[(CoreId, Lsn)]) -> Result<(), StorageError> {
        if is_planted(Bug::EndNotRecorded) {
            return Ok(());
        }
        failpoint::reach("epoch.logs-closed");
        self.record_ends(epoch, lasts)
    }

    fn record_ends(&self, epoch: Epoch, lasts: &[(CoreId, Lsn)]) -> Result<(), StorageError> {
        self.change(|manifest| {
            let ended = manifest.end_streams(epoch, lasts);
            ended.map_err(|why| StorageError::Unusable { path: path::epoch(&self.path, epoch), why: why.into() })
        })
    }

    /// Ends the streams of the open epoch that nobody has closed, with the last edits `lasts` that recovery has decided
    /// on. First writes again whatever nothing proves to be on disk and syncs the files, then records all ends at once,
    /// so that nothing is served that a second crash could take away or decide otherwise. No byte in the files changes;
    /// what follows an end is ignored from now on.
    ///
    /// # Errors
    /// If the disk fails, or one of the streams is not open.
    pub fn end_epoch<'a>(
        &self,
        epoch: Epoch,
        lasts: &[(CoreId, Lsn)],
        unproven: impl IntoIterator<Item = &'a Unproven>,
    ) -> Result<(), StorageError> {
        let unproven = unproven.into_iter();
        for unproven in unproven.filter(|_| !is_planted(Bug::CacheTrusted) && !is_planted(Bug::TailTrusted)) {
            self.write_again(unproven)?;
        }
        for (core, _) in lasts {
            let dir = path::stream(&self.path, StreamId::new(epoch, *core));
            for name in list(&self.files, &dir)? {
                let file = dir.join(&name);
                if name == path::NEXT {
                    // Space for a segment that was never needed; it holds no edits.
                    self.files.remove(&file).context(&file, "cannot remove")?;
                } else if !is_planted(Bug::TailTrusted) {
                    self.files.open(&file, Access::Read).and_then(|f| f.sync()).context(&file, "cannot sync")?;
                }
            }
            sync_dir(&self.files, &dir)?;
        }
        failpoint::reach("epoch.synced");
        self.record_ends(epoch, lasts)
    }

    fn write_again(&self, Unproven { file: path, offset, bytes }: &Unproven) -> Result<(), StorageError> {
        let file = self.files.open(path, Access::Write).context(path, "cannot open")?;
        let mut piece = AlignedBuf::new(AGAIN);
        let mut done = 0;
        while done < *bytes {
            let len = usize::try_from(bytes - done).unwrap_or(AGAIN).min(AGAIN);
            let read = file.read_at(offset + done, &mut piece.bytes_mut()[..len]).context(path, "cannot read")?;
            if read == 0 {
                break;
            }
            file.write_at(offset + done, &piece.bytes()[..read]).context(path, "cannot write")?;
            done += read as u64;
        }
        file.sync().context(path, "cannot sync")
    }

    /// Begins an epoch (a life of the master) with `cores` streams: creates their directories and first segments, then
    /// records the epoch, so that a recorded stream without a segment has lost it. The epoch before must have ended.
    /// First segments have the size that [`first_bytes`] gives or, on a full disk, the small size that the reserve
    /// allows.
    ///
    /// # Errors
    /// If the disk fails, or is full and the reserve is used up.
    ///
    /// # Panics
    /// If the epoch before has not ended, or there are no cores or more of them than partitions.
    pub fn begin_epoch(&self, cores: u16, segment_bytes: u64) -> Result<Epoch, StorageError> {
        let bytes = first_bytes(segment_bytes);
        let begun = self.try_to_begin(cores, bytes);
        match begun {
            Err(error) if error.is_disk_full() => {
                tracing::error!(%error, "the disk is full: writes will be refused until there is space");
                // No edit was written to this attempt, and no manifest names it.
                let attempt = self.manifest().newest_epoch().map_or(Epoch(1), |newest| Epoch(newest.epoch.0 + 1));
                let attempt = path::epoch(&self.path, attempt);
                if self.files.exists(&attempt) {
                    self.files.remove_dir_all(&attempt).context(&attempt, "cannot remove")?;
                }
                self.take_reserve(cores, bytes)?;
                self.try_to_begin(cores, spare_bytes(bytes))
            }
            begun => {
                let epoch = begun?;
                self.fill_reserve(cores, bytes);
                Ok(epoch)
            }
        }
    }

    fn try_to_begin(&self, cores: u16, first_bytes: u64) -> Result<Epoch, StorageError> {
        self.change(|manifest| {
            let epoch = manifest.begin_epoch(cores);
            let dir = path::epoch(&self.path, epoch);
            if self.files.exists(&dir) {
                // An earlier attempt was interrupted before it was recorded.
                self.set_aside_unrecorded(epoch)?;
            }
            make_dir(&self.files, &dir)?;
            for core in 0..cores {
                self.make_first_segment(StreamId::new(epoch, CoreId(core)), first_bytes)?;
            }
            failpoint::reach("epoch.segments-made");
            Ok(epoch)
        })
    }

    fn make_first_segment(&self, stream: StreamId, bytes: u64) -> Result<(), StorageError> {
        let dir = path::stream(&self.path, stream);
        make_dir(&self.files, &dir)?;
        let path = path::segment(&self.path, stream, Lsn(1));
        let file = self.files.open(&path, Access::CreateNew).context(&path, "cannot create")?;
        file.reserve(bytes).context(&path, "cannot reserve space")?;
        let header = SegmentHeader { stream, first: Lsn(1), previous: Lsn(0), bytes };
        let mut block = [0; BLOCK];
        header.write(self.id, &mut block);
        file.write_at(0, &block).context(&path, "cannot write")?;
        file.sync().context(&path, "cannot sync")?;
        sync_dir(&self.files, &dir)
    }

    /// Moves the logs of an epoch that the manifest does not name out of the way, if no edit was ever written to them.
    pub(super) fn set_aside_unrecorded(&self, epoch: Epoch) -> Result<std::path::PathBuf, StorageError> {
        let dir = path::epoch(&self.path, epoch);
        for core in list(&self.files, &dir)? {
            for name in list(&self.files, &dir.join(&core))? {
                let file = dir.join(&core).join(&name);
                if path::parse_segment(&name).is_some() && has_frames(&self.files, &file)? {
                    let why = "there are edits here, of an epoch that the manifest does not know: is the manifest an old copy?";
                    return Err(Corruption::new(&file, BLOCK as u64, why).into());
                }
            }
        }
        self.set_aside(&dir)
    }
}

/// Bytes that are written again in one step.
const AGAIN: usize = 1 << 20;

/// Whether the block of a segment's first frame holds anything but zeros.
fn has_frames<F: Files>(files: &F, path: &std::path::Path) -> Result<bool, StorageError> {
    let mut block = [0; BLOCK];
    let file = files.open(path, Access::Read).context(path, "cannot open")?;
    let read = file.read_at(BLOCK as u64, &mut block).context(path, "cannot read")?;
    Ok(block[..read].iter().any(|b| *b != 0))
}
