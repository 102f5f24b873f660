//! Files that are damaged, or gone, while nobody runs. Promise: a start notices, and refuses rather than go on with
//! less.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::History;
use crate::ids::{CoreId, StreamId};
use crate::storage::model::{Process, Rot};
use crate::storage::{DataDir, Files, StorageError, StreamReader, path};

impl History {
    /// After an end in good order, the newest segment of a stream goes or is emptied: the next start must miss it.
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

    /// Files are damaged while nobody runs.
    pub(super) fn rot(&mut self) -> Result<(), String> {
        if !self.settings.with_rot || self.world.once_in(2) {
            return Ok(());
        }
        self.end_node(false);
        // Where nobody can look, for there is no good manifest, the start is refused whatever else is damaged.
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

/// What is left undamaged, because its damage could not be told from the trace of a crash. Of a stream whose end nobody
/// has decided yet, the last commit may be proven by nothing but itself: if a sector of it ends with zeros, it is as if
/// it had never been written in full. So is everything, if what proves it is damaged first.
#[derive(Default)]
struct Spared {
    /// Directories of such streams.
    streams: Vec<PathBuf>,
    /// Their segments, with the offset before which each edit is proven by another frame.
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
                // Damaged already, or never begun: nothing in it is looked at any more.
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

    /// How many of a file's bytes, from the first on, may be damaged: that must be noticed.
    fn damageable(&self, path: &Path) -> usize {
        if self.streams.iter().any(|stream| path.starts_with(stream)) {
            return self.proven.get(path).copied().unwrap_or(0);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_data = name.ends_with(".seg") || name.ends_with(".snap") || name.starts_with("manifest.");
        if is_data { usize::MAX } else { 0 }
    }

    /// A file was damaged: the rest of its stream is no longer.
    fn note(&mut self, path: &Path) {
        self.proven.retain(|proven, _| proven.parent() != path.parent());
    }
}
