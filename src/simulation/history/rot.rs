//! Files that are damaged or vanish between two lives of the master. Promise: a start notices, and refuses rather than
//! go on with less.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::History;
use crate::ids::{CoreId, StreamId};
use crate::storage::model::{Process, Rot};
use crate::storage::{DataDir, Files, StorageError, StreamReader, path};

impl History {
    /// After an end in good order, deletes or empties the newest segment of a stream: the next start must notice.
    pub(super) fn lose_end(&mut self) {
        if !self.settings.with_rot || self.world.once_in(2) {
            return;
        }
        let Some(epoch) = self.oracle.borrow().epoch else { return };
        let log = path::epoch(&self.dir, epoch);
        if let Some((lost, how)) = self.world.disk(self.machine, |disk, random| disk.lose_end(random, &log)) {
            self.outcome.rotten += 1;
            self.world.note(|| format!("after a good end, {} is {how}", lost.display()));
        }
    }

    /// Ends the node, and damages one or two files.
    pub(super) fn rot(&mut self) -> Result<(), String> {
        if !self.settings.with_rot || self.world.once_in(2) {
            return Ok(());
        }
        self.end_node(false);
        // Without a good manifest nothing can be spared; but then the start is refused, whatever else is damaged.
        let mut spared = Spared::of(&self.world.process(self.machine), &self.dir).unwrap_or_default();
        for _ in 0..self.world.draw(|random| random.u8(1..3)) {
            let rot = self.world.draw(|random| [Rot::Flip, Rot::Flip, Rot::Misdirected, Rot::Cut][random.usize(0..4)]);
            let machine = self.world.draw(|random| random.usize(0..2));
            let damaged =
                self.world.disk(machine, |disk, random| disk.rot(random, rot, |path| spared.damageable(path)));
            if let Some((path, at)) = damaged {
                self.outcome.rotten += 1;
                self.world.note(|| format!("machine {machine}: {rot:?} in {} at {at}", path.display()));
                spared.note(&path);
            }
        }
        Ok(())
    }
}

/// The bytes that are spared from damage, because no start could tell their damage from the trace of a crash. In a
/// stream whose end is not recorded yet, nothing but the last commit itself proves that it was written in full:
/// damaged, it looks like a torn write if one of its sectors ends with zeros. The same is true of earlier commits once
/// the frame that proves them is damaged.
#[derive(Default)]
struct Spared {
    /// Directories of the streams whose ends are not recorded yet.
    streams: Vec<PathBuf>,
    /// The segments of these streams, each with the offset before which every edit is proven by a later frame.
    proven: BTreeMap<PathBuf, usize>,
}

impl Spared {
    fn of(process: &Process, dir: &Path) -> Result<Self, StorageError> {
        let (mut streams, mut proven) = (Vec::new(), BTreeMap::new());
        let Some((dir, _)) = DataDir::open_read_only_in(process.clone(), dir)? else {
            return Ok(Self { streams, proven });
        };
        for record in &dir.manifest().epochs {
            for core in (0..).map(CoreId).take(record.streams.len()) {
                let stream = StreamId::new(record.epoch, core);
                let Some(spec) = dir.stream(stream).filter(|spec| spec.last.is_none()) else { continue };
                let at = path::stream(dir.path(), stream);
                // A stream that cannot be opened is damaged already or was never begun: all of it is spared.
                if let Ok(mut reader) = StreamReader::open_in(process, &spec, spec.first) {
                    while let Ok(Some(_)) = reader.next_with_marks() {}
                    if let Some(end) = reader.end() {
                        for name in process.list(&at).unwrap_or_default() {
                            proven.insert(at.join(name), usize::MAX);
                        }
                        proven.extend(end.unproven.iter().map(|u| (u.file.clone(), u.offset as usize)));
                    }
                }
                streams.push(at);
            }
        }
        Ok(Self { streams, proven })
    }

    /// How many of a file's bytes, from the first on, may be damaged: a start must notice that.
    fn damageable(&self, path: &Path) -> usize {
        if self.streams.iter().any(|stream| path.starts_with(stream)) {
            return self.proven.get(path).copied().unwrap_or(0);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_data = name.ends_with(".seg") || name.ends_with(".snap") || name.starts_with("manifest.");
        if is_data { usize::MAX } else { 0 }
    }

    /// Notes that a file was damaged: from now on, the rest of its stream is spared.
    fn note(&mut self, path: &Path) {
        self.proven.retain(|proven, _| proven.parent() != path.parent());
    }
}
