//! Log that no snapshot needs any more goes, in this order: recorded as dropped, then removed.

use super::DataDir;
use crate::ids::{CoreId, Lsn, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, list};
use crate::storage::manifest::{EpochRecord, Manifest, StreamRecord};
use crate::storage::{StorageError, failpoint, path};

impl<F: Files> DataDir<F> {
    /// Edits before the given one of each given stream are not needed any more: records that, then removes the segments
    /// that lie wholly before. Returns the bytes that became free. The newest segment of a stream that is open always
    /// stays.
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

    /// Bytes of the segments of all ended epochs. Looks at every file: for a start, not for later.
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

    /// Removes the segments that lie wholly before the first needed edit of their stream.
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

    /// Removes segments from the oldest on, as long as `is_dropped` says so, told which edit the next segment begins
    /// with.
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

/// Whether a segment may go that is followed by one which begins with `next`. Of a stream that ended before its last
/// segment, because it was cut there, all segments go together.
fn is_dropped(record: StreamRecord, next: Option<Lsn>) -> bool {
    record.is_dropped() || next.is_some_and(|next| next <= record.first)
}
