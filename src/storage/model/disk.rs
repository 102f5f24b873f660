//! The files of a model machine: their current content, their durable content, and what a power failure leaves of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::encoding::frame::BLOCK;

/// Size in bytes of a sector, the unit that a power failure keeps, loses or tears.
pub(super) const SECTOR: usize = 512;
/// Size in bytes of a word: a sector can tear only between words.
const WORD: usize = 8;

/// The content of a file: as it reads now, and as it is durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors that were written and not synced.
    dirty: BTreeSet<usize>,
    /// Writes that are under way.
    pub(super) flying: Vec<Flying>,
    /// Holder (process and open file) of the exclusive lock; `shared` has the holders of the shared lock.
    pub(super) exclusive: Option<(usize, u64)>,
    pub(super) shared: BTreeSet<(usize, u64)>,
    /// Until this time writes of dead processes may land, and nobody else gets the lock.
    pub(super) orphaned_until: Option<Duration>,
}

/// A write that is under way.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    pub(super) number: u64,
    pub(super) process: usize,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
struct NameChange {
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Node)>,
}

impl NameChange {
    fn touches(&self, dir: &Path) -> bool {
        let in_dir = |path: &Path| path.parent() == Some(dir);
        self.removed.as_deref().is_some_and(in_dir) || self.added.as_ref().is_some_and(|(path, _)| in_dir(path))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((path, node)) = &self.added {
            names.insert(path.clone(), *node);
        }
    }
}

/// A way in which data at rest is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rot {
    /// A bit is flipped.
    Flip,
    /// The content of another sector overwrites a sector.
    Misdirected,
    /// The end of a file is lost.
    Cut,
}

/// A disk with its page cache.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(super) contents: Vec<Content>,
    pub(super) names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: Vec<NameChange>,
    /// Capacity in bytes for all files together; `None` for no limit.
    pub(crate) capacity: Option<u64>,
    /// The write that fails: after so many more writes.
    pub(crate) write_fails_in: Option<u64>,
    /// The sync that fails: after so many more syncs.
    pub(crate) sync_fails_in: Option<u64>,
    /// Number of faults that have struck.
    pub(crate) struck: u64,
}

impl Default for Disk {
    fn default() -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        Self {
            contents: Vec::new(),
            names: root.clone(),
            durable_names: root,
            pending: Vec::new(),
            capacity: None,
            write_fails_in: None,
            sync_fails_in: None,
            struck: 0,
        }
    }
}

impl Disk {
    /// Creates a file whose content and name are durable.
    pub(super) fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        for dir in path.ancestors().skip(1) {
            self.names.insert(dir.to_owned(), Node::Dir);
            self.durable_names.insert(dir.to_owned(), Node::Dir);
        }
        self.contents.push(Content { durable: bytes.clone(), now: bytes, ..Content::default() });
        let node = Node::File(self.contents.len() - 1);
        self.names.insert(path.to_owned(), node);
        self.durable_names.insert(path.to_owned(), node);
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Creates an empty file, replacing whatever the name referred to.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.parent_of(path)?;
        self.contents.push(Content::default());
        let file = self.contents.len() - 1;
        self.change(None, Some((path.to_owned(), Node::File(file))));
        Ok(file)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.parent_of(path)?;
        self.change(None, Some((path.to_owned(), Node::Dir)));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.parent_of(to)?;
        if node == Node::Dir {
            let inside: Vec<_> = self.names.keys().filter(|p| p.starts_with(from) && *p != from).cloned().collect();
            self.change(Some(from.to_owned()), Some((to.to_owned(), node)));
            for path in inside {
                let node = self.names[&path];
                let moved = to.join(path.strip_prefix(from).expect("it is inside"));
                self.change(Some(path), Some((moved, node)));
            }
        } else {
            self.change(Some(from.to_owned()), Some((to.to_owned(), node)));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Some(path.to_owned()), None);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, dir: &Path) {
        let inside: Vec<_> = self.names.keys().filter(|p| p.starts_with(dir)).cloned().collect();
        inside.into_iter().rev().for_each(|path| self.change(Some(path), None));
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if self.names.get(dir) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    /// Syncs a directory, so that the names in it are durable.
    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let (synced, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|c| c.touches(dir));
        self.pending = open;
        for change in synced {
            change.apply(&mut self.durable_names);
            // Pending changes that gave a removed name are obsolete.
            let settled = change.removed;
            self.pending.retain(|c| c.added.as_ref().is_none_or(|(path, _)| Some(path) != settled.as_ref()));
        }
    }

    fn parent_of(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().and_then(|parent| self.names.get(parent));
        if parent == Some(&Node::Dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn change(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Node)>) {
        let change = NameChange { removed, added };
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// Whether `more` bytes still fit on the disk.
    pub(super) fn has_room(&self, more: u64) -> bool {
        self.capacity.is_none_or(|capacity| self.used() + more <= capacity)
    }

    /// Bytes of all files together.
    pub(crate) fn used(&self) -> u64 {
        let bytes = |node: &Node| if let Node::File(f) = node { self.contents[*f].now.len() as u64 } else { 0 };
        self.names.values().map(bytes).sum()
    }

    /// Counts down to the fault that `counter` selects. Returns whether it strikes now.
    pub(super) fn strikes(&mut self, counter: fn(&mut Self) -> &mut Option<u64>) -> bool {
        let strikes = match counter(self) {
            None => return false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        };
        if strikes {
            *counter(self) = None;
            self.struck += 1;
        }
        strikes
    }

    /// Handles the death of `process`: its locks are released, but its writes may land until `until`, and before that
    /// nobody else gets the locks of their files.
    pub(super) fn orphan(&mut self, process: usize, until: Duration) {
        for content in &mut self.contents {
            content.exclusive.take_if(|(holder, _)| *holder == process);
            content.shared.retain(|(holder, _)| *holder != process);
            if content.flying.iter().any(|f| f.process == process) {
                content.orphaned_until = content.orphaned_until.max(Some(until));
            }
        }
    }

    /// Completes the writes of dead processes that are due by `now`, and all those to the file `waited_for`, for whose
    /// lock somebody waits.
    pub(super) fn land(&mut self, now: Duration, waited_for: Option<usize>) {
        for (number, content) in self.contents.iter_mut().enumerate() {
            let due = content.orphaned_until.is_some_and(|until| until <= now);
            if due || (waited_for == Some(number) && content.orphaned_until.is_some()) {
                content.orphaned_until = None;
                for flying in std::mem::take(&mut content.flying) {
                    content.write(flying.offset, &flying.bytes);
                }
            }
        }
    }

    /// Replaces this disk by an empty one. Files that dead processes had open refer to nothing.
    pub(super) fn lose(&mut self) {
        let mut contents = std::mem::take(&mut self.contents);
        contents.iter_mut().for_each(|content| *content = Content::default());
        *self = Self { contents, ..Self::default() };
    }

    /// Simulates a power failure: everything that was not synced is kept, lost or torn at random.
    pub(super) fn power_off(&mut self, random: &mut fastrand::Rng) {
        // Names are kept up to a random point in each directory's order of changes.
        let mut cuts: BTreeMap<PathBuf, bool> = BTreeMap::new();
        let mut names = std::mem::take(&mut self.durable_names);
        for change in std::mem::take(&mut self.pending) {
            let paths = [change.removed.as_deref(), change.added.as_ref().map(|(path, _)| path.as_path())];
            let dirs: Vec<PathBuf> = paths.into_iter().flatten().filter_map(|p| Some(p.parent()?.to_owned())).collect();
            let lost = random.u8(0..4) == 0 || dirs.iter().any(|dir| cuts.contains_key(dir));
            if lost {
                cuts.extend(dirs.into_iter().map(|dir| (dir, true)));
            } else {
                change.apply(&mut names);
            }
        }
        let with_parents: Vec<PathBuf> = names.keys().cloned().collect();
        for path in with_parents {
            // Paths are sorted, so a directory is checked before what is in it.
            if path.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && !names.contains_key(parent)) {
                names.remove(&path);
            }
        }
        self.durable_names = names.clone();
        self.names = names;
        for content in &mut self.contents {
            content.power_off(random);
        }
    }

    /// Removes the newest segment of a random stream below `log`, or zeros it except for its header. Returns its path,
    /// and which of the two was done.
    pub(crate) fn lose_end(&mut self, random: &mut fastrand::Rng, log: &Path) -> Option<(PathBuf, &'static str)> {
        let mut newest: BTreeMap<&Path, (&Path, usize)> = BTreeMap::new();
        for (path, node) in &self.names {
            // Names are sorted, so the last of a directory is the newest.
            if let (true, Some(dir), Node::File(file)) = (path.starts_with(log), path.parent(), node) {
                newest.insert(dir, (path, *file));
            }
        }
        let (path, file) = *random.choice(newest.values())?;
        let path = path.to_owned();
        if random.bool() {
            self.names.remove(&path);
            self.durable_names.remove(&path);
            return Some((path, "gone"));
        }
        let content = &mut self.contents[file];
        content.now.iter_mut().skip(BLOCK).for_each(|byte| *byte = 0);
        content.durable.clone_from(&content.now);
        Some((path, "empty"))
    }

    /// Damages a random file at rest, within as many of its first bytes as `damageable` returns. Returns the file and
    /// the offset of the damage.
    pub(crate) fn rot(
        &mut self,
        random: &mut fastrand::Rng,
        rot: Rot,
        damageable: impl Fn(&Path) -> usize,
    ) -> Option<(PathBuf, usize)> {
        let files: Vec<(PathBuf, usize, usize)> = self
            .names
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(file) => {
                    let bytes = damageable(path).min(self.contents[*file].now.len());
                    (bytes > 0).then(|| (path.clone(), *file, bytes))
                }
                _ => None,
            })
            .collect();
        if files.is_empty() {
            return None;
        }
        let (path, file, bytes) = files[random.usize(0..files.len())].clone();
        let other = self.contents[files[random.usize(0..files.len())].1].now.clone();
        let content = &mut self.contents[file];
        let at = content.rot(random, rot, bytes, &other)?;
        Some((path, at))
    }
}

impl Content {
    /// Writes into the page cache; not durable yet.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
        }
    }

    /// Changes the size; new bytes are zeros, and durable with the next sync.
    pub(super) fn set_size(&mut self, size: usize) {
        self.now.resize(size, 0);
        self.dirty.retain(|sector| sector * SECTOR < size);
    }

    /// The sectors that a sync which begins now covers.
    pub(super) fn dirty(&self) -> BTreeSet<usize> {
        self.dirty.clone()
    }

    /// Completes a sync: the sectors in `covered` become durable with their current content, and so does the size.
    pub(super) fn synced(&mut self, covered: &BTreeSet<usize>) {
        self.durable.resize(self.now.len(), 0);
        for sector in covered {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
            if !range.is_empty() {
                self.durable[range.clone()].copy_from_slice(&self.now[range]);
            }
            self.dirty.remove(sector);
        }
    }

    /// Models a failed sync: Linux marks what it could not write as clean, so that the next sync reports no error.
    pub(super) fn sync_failed(&mut self) {
        self.dirty.clear();
    }

    fn power_off(&mut self, random: &mut fastrand::Rng) {
        for flying in std::mem::take(&mut self.flying) {
            self.write(flying.offset, &flying.bytes);
        }
        let mut bytes = std::mem::take(&mut self.durable);
        // The size is often durable before the content.
        if random.bool() || self.dirty.is_empty() && random.bool() {
            bytes.resize(self.now.len(), 0);
        }
        // Keeps all, none, or a random choice of the sectors.
        let mode = random.u8(0..4);
        for sector in std::mem::take(&mut self.dirty) {
            let kept = mode == 0 || (mode > 1 && random.bool());
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len()).min(bytes.len());
            if !kept || range.is_empty() {
                continue;
            }
            let torn = mode == 3 && random.u8(0..8) == 0;
            let end = if torn { range.start + WORD * random.usize(0..SECTOR / WORD) } else { range.end };
            let range = range.start..end.min(range.end);
            bytes[range.clone()].copy_from_slice(&self.now[range]);
        }
        self.now = bytes.clone();
        self.durable = bytes;
        (self.exclusive, self.orphaned_until) = (None, None);
        self.shared.clear();
    }

    fn rot(&mut self, random: &mut fastrand::Rng, rot: Rot, bytes: usize, other: &[u8]) -> Option<usize> {
        let at = match rot {
            Rot::Flip => {
                let at = random.usize(0..bytes);
                let bit = 1 << random.u8(0..8);
                let sector = at / SECTOR * SECTOR..((at / SECTOR + 1) * SECTOR).min(self.now.len());
                // The flip must not leave the sector all zeros, as if it had never been written.
                self.now[at] ^= bit;
                if self.now[sector].iter().all(|b| *b == 0) {
                    self.now[at] ^= 0x81;
                }
                at
            }
            Rot::Misdirected => {
                let victim = random.usize(0..bytes.div_ceil(SECTOR)) * SECTOR;
                let from = random.usize(0..other.len().div_ceil(SECTOR)) * SECTOR;
                let len = SECTOR.min(self.now.len() - victim).min(other.len() - from);
                if other[from..from + len].iter().all(|b| *b == 0) {
                    return None;
                }
                self.now[victim..victim + len].copy_from_slice(&other[from..from + len]);
                victim
            }
            Rot::Cut => {
                let at = random.usize(0..bytes);
                self.now.truncate(at);
                at
            }
        };
        self.durable = self.now.clone();
        Some(at)
    }
}
