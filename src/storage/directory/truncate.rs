//! Truncates the log: records that edits are no longer needed, then removes their segments.

use super::DataDir;
use crate::ids::{CoreId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, list};
use crate::storage::manifest::{EpochRecord, Manifest, StreamRecord};
use crate::storage::{StorageError, failpoint, path};

impl<F: Files> DataDir<F> {
    /// Drops the edits before the given one of each given stream: records that they are no longer needed, then removes
    /// the segments that hold no other edits. Returns the bytes that became free. Keeps the newest segment of an open
    /// stream in any case.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn drop_log(&self, firsts: &[(StreamId, Lsn)]) -> Result<u64, StorageError> {
        let before = self.manifest();
        if is_planted(Bug::DroppedBeforeRecorded) {
            let mut after = Manifest::clone(&before);
            firsts.iter().for_each(|(stream, first)| _ = after.drop_log(*stream, *first));
            self.remove_dropped_segments(&after)?;
        }
        self.change(|manifest| {
            for (stream, first) in firsts {
                manifest.drop_log(*stream, *first);
            }
            manifest.forget_dropped_epochs();
            Ok(())
        })?;
        failpoint::reach("truncate.recorded");
        let after = self.manifest();
        let mut freed = 0;
        for forgotten in before.epochs.iter().filter(|e| after.epochs.iter().all(|kept| kept.epoch != e.epoch)) {
            freed += self.remove_epoch(forgotten)?;
        }
        Ok(freed + self.remove_dropped_segments(&after)?)
    }

    /// Bytes of the segments of all ended epochs. Looks at every file, so it is meant for a start only.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn ended_log_bytes(&self) -> Result<u64, StorageError> {
        let manifest = self.manifest();
        let mut bytes = 0;
        for epoch in manifest.epochs.iter().filter(|e| e.streams.iter().all(|s| s.last.is_some())) {
            for core in (0..epoch.streams.len() as u16).map(CoreId) {
                let dir = path::stream(&self.path, StreamId::new(epoch.epoch, core));
                let names = list(&self.files, &dir)?;
                for segment in names.iter().filter(|name| path::parse_segment(name).is_some()) {
                    let file = dir.join(segment);
                    bytes += self
                        .files
                        .open(&file, Access::Read)
                        .and_then(|f| f.size())
                        .context(&file, "cannot read the size")?;
                }
            }
        }
        Ok(bytes)
    }

    fn remove_epoch(&self, forgotten: &EpochRecord) -> Result<u64, StorageError> {
        let mut freed = 0;
        for core in 0..forgotten.streams.len() {
            let stream = StreamId::new(forgotten.epoch, CoreId(core as u16));
            freed += self.remove_segments(stream, |_| true)?;
        }
        let dir = path::epoch(&self.path, forgotten.epoch);
        if self.files.exists(&dir) {
            self.files.remove_dir_all(&dir).context(&dir, "cannot remove")?;
        }
        Ok(freed)
    }

    /// Removes the segments whose edits are all before the first needed edit of their stream.
    pub(super) fn remove_dropped_segments(&self, manifest: &Manifest) -> Result<u64, StorageError> {
        let mut freed = 0;
        for epoch in &manifest.epochs {
            for (core, record) in (0u16..).zip(&epoch.streams) {
                let stream = StreamId::new(epoch.epoch, CoreId(core));
                freed += self.remove_segments(stream, |end| is_dropped(*record, end))?;
            }
        }
        Ok(freed)
    }

    /// Removes a stream's segments from the oldest on, as long as `is_dropped` agrees, which is given the first lsn of
    /// the next segment.
    fn remove_segments(&self, stream: StreamId, is_dropped: impl Fn(Option<Lsn>) -> bool) -> Result<u64, StorageError> {
        let dir = path::stream(&self.path, stream);
        let firsts: Vec<Lsn> = list(&self.files, &dir)?.iter().filter_map(|name| path::parse_segment(name)).collect();
        let mut freed = 0;
        for (i, first) in firsts.iter().enumerate() {
            if !is_dropped(firsts.get(i + 1).copied()) {
                break;
            }
            let segment = path::segment(&self.path, stream, *first);
            let bytes = self.files.open(&segment, Access::Read).and_then(|f| f.size()).unwrap_or(0);
            self.files.remove(&segment).context(&segment, "cannot remove")?;
            freed += bytes;
        }
        Ok(freed)
    }
}

/// Whether a segment may be removed, given the first lsn of the segment after it. If the whole stream is dropped, all
/// its segments are, including those behind a cut.
fn is_dropped(record: StreamRecord, next: Option<Lsn>) -> bool {
    record.is_dropped() || next.is_some_and(|next| next <= record.first)
}
