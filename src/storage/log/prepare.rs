//! Prepares segments: the space for the next one is made while the current one is written, so that a commit seldom
//! waits for it. Preparation begins when a quarter of the current segment is used, so that a master that writes little
//! takes little disk space.
//!
//! A full disk is noticed here, before anything is promised: the log continues in the segment that it has, reports how
//! much room is left, and tries again every second.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::bell::LocalBell;
use super::disk::Disk;
use super::driver::Driver;
use super::segment::MIN_BYTES;
use super::writer::Buffer;
use crate::encoding::frame::BLOCK;
use crate::storage::error::Context;
use crate::storage::{StorageError, failpoint, path};

/// Bytes that are filled with zeros in one write; small, so that a commit does not wait long behind it.
const CHUNK: u64 = 256 << 10;
/// Pause between such writes while the next segment is not needed yet.
const PAUSE: Duration = Duration::from_millis(2);
/// Segments leave free one part in this many of the file system, but at most [`MOST_HEADROOM`] bytes; or what the
/// current snapshots need ([`super::marks::StreamMarks::headroom`]), if that is more.
const HEADROOM_SHARE: u64 = 64;
const MOST_HEADROOM: u64 = 256 << 20;
/// Time after which a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The space being prepared for the next segment.
pub(super) struct Next<D: Disk> {
    /// Whether a task prepares the space, or has prepared it.
    begun: Cell<bool>,
    ready: RefCell<Option<(D::File, u64)>>,
    /// Whether a commit waits for the segment.
    hurry: Cell<bool>,
    out_of_space: RefCell<Option<Rc<str>>>,
    /// Rung when `ready` or `out_of_space` has changed.
    pub(super) bell: LocalBell,
}

impl<D: Disk> Default for Next<D> {
    fn default() -> Self {
        Self {
            begun: Cell::default(),
            ready: RefCell::default(),
            hurry: Cell::default(),
            out_of_space: RefCell::default(),
            bell: LocalBell::default(),
        }
    }
}

impl<D: Disk> Next<D> {
    /// Why there is no space for another segment; `None` if there is.
    pub(super) fn out_of_space(&self) -> Option<Rc<str>> {
        self.out_of_space.borrow().clone()
    }

    #[inline]
    pub(super) fn is_out_of_space(&self) -> bool {
        self.out_of_space.borrow().is_some()
    }
}

impl<D: Disk> Driver<D> {
    /// Begins to prepare the next segment, if a quarter of the current one is used.
    pub(super) fn prepare_in_time(self: &Rc<Self>) {
        let (room, bytes) = {
            let writer = self.writer.borrow();
            (writer.room(), writer.segment().bytes)
        };
        if room <= bytes / 4 * 3 {
            self.begin_next();
        }
    }

    fn begin_next(self: &Rc<Self>) {
        if !self.next.begun.replace(true) {
            self.disk.spawn(self.clone().prepare_next());
        }
    }

    /// Notes at the start that there was no space for a first segment of the right size: writes that need space are
    /// refused until there is space for the next segment.
    pub(super) fn begin_out_of_space(self: &Rc<Self>) {
        self.set_out_of_space(Some("the disk was full at the start".into()));
        self.begin_next();
    }

    /// Prepares the space for the next segment; while the disk is full, tries again every [`RETRY`].
    async fn prepare_next(self: Rc<Self>) {
        while !self.has_ended() {
            match self.prepare().await {
                Ok(ready) => {
                    self.next.ready.replace(Some(ready));
                    self.set_out_of_space(None);
                    self.next.bell.ring();
                    if self.has_ended() {
                        self.discard_next().await;
                    }
                    return;
                }
                Err(why) if why.is_out_of_space() => self.wait_for_space(&why).await,
                Err(why) => {
                    self.poison(&why);
                    self.next.bell.ring();
                    return;
                }
            }
        }
    }

    async fn prepare(&self) -> Result<(D::File, u64), StorageError> {
        let dir = path::stream(&self.options.dir, self.options.stream);
        let path = dir.join(path::NEXT);
        let bytes = self.options.segment_bytes.next_multiple_of(BLOCK as u64).max(MIN_BYTES);
        self.leave_headroom(&dir, bytes).await.context(&path, "cannot reserve space")?;
        let file = self.disk.create(&path).await.context(&path, "cannot create")?;
        let filled = self.reserve_and_fill(&file, bytes).await;
        self.disk.close(file).await;
        if filled.is_err() {
            // The file holds no edits. If it cannot be removed, the next attempt empties it.
            let _ = self.disk.remove(&path).await;
        }
        filled.context(&path, "cannot reserve space")?;
        let file = self.disk.open(&path).await.context(&path, "cannot open and lock")?;
        self.marks.add_file_bytes(bytes as i64);
        Ok((file, bytes))
    }

    /// Refuses to take the last free bytes of the file system for segments: a snapshot must find space, so that log can
    /// be dropped for it.
    async fn leave_headroom(&self, dir: &Path, bytes: u64) -> io::Result<()> {
        // If the free space is unknown, the reservation will show whether there is enough.
        let Ok(room) = self.disk.room(dir).await else { return Ok(()) };
        let headroom = self.marks.headroom().max((room.total / HEADROOM_SHARE).min(MOST_HEADROOM));
        if room.free >= bytes.saturating_add(headroom) {
            return Ok(());
        }
        let text = format!("{} bytes are free, and {headroom} of them are kept for checkpoints", room.free);
        Err(io::Error::new(io::ErrorKind::StorageFull, text))
    }

    async fn reserve_and_fill(&self, file: &D::File, bytes: u64) -> io::Result<()> {
        self.disk.reserve(file, bytes).await?;
        if self.options.sync.zero_fill {
            fill(&self.disk, file, 0, bytes, async |filled| self.pace(filled, bytes).await).await?;
        }
        self.disk.sync(file).await
    }

    /// Paces the filling with zeros: pauses while it is more than twice as far as the use of the current segment.
    /// Returns `false` to stop filling, because the segment is needed now or the log has ended.
    async fn pace(&self, filled: u64, bytes: u64) -> bool {
        let (room, size) = {
            let writer = self.writer.borrow();
            (writer.room(), writer.segment().bytes)
        };
        let is_ahead = u128::from(filled) * u128::from(size) >= 2 * u128::from(size - room) * u128::from(bytes);
        if is_ahead && !self.next.hurry.get() {
            self.disk.sleep(PAUSE).await;
        }
        !self.next.hurry.get() && !self.has_ended()
    }

    /// Switches to the next segment, extended to at least `needed` bytes. All frames taken before must be synced.
    pub(super) async fn roll(self: &Rc<Self>, needed: u64) -> Result<(), StorageError> {
        let dir = path::stream(&self.options.dir, self.options.stream);
        let prepared = dir.join(path::NEXT);
        let Some((file, mut bytes)) = self.take_next().await? else { return Ok(()) };
        while bytes < needed {
            let room = self.leave_headroom(&dir, needed - bytes).await;
            let reserved = if room.is_ok() { self.disk.reserve(&file, needed).await } else { room };
            match reserved.context(&prepared, "cannot reserve space") {
                Ok(()) => {
                    self.marks.add_file_bytes(needed as i64 - bytes as i64);
                    bytes = needed;
                }
                Err(why) if why.is_out_of_space() && !self.closing.get() => self.wait_for_space(&why).await,
                Err(why) => return Err(why),
            }
        }
        self.set_out_of_space(None);
        let header = self.writer.borrow().following(bytes);
        let segment = path::segment(&self.options.dir, self.options.stream, header.first);
        let dir = path::stream(&self.options.dir, self.options.stream);
        let mut block = D::Buffer::new(BLOCK);
        header.write(self.options.id, block.bytes().first_chunk_mut().expect("it has the length of a block"));
        self.disk.write(&file, block, 0).await.context(&prepared, "cannot write")?;
        self.disk.sync(&file).await.context(&prepared, "cannot sync")?;
        failpoint::reach("log.segment-written");
        self.disk.rename(&prepared, &segment).await.context(&segment, "cannot rename")?;
        failpoint::reach("log.segment-named");
        self.disk.sync_dir(&dir).await.context(&dir, "cannot sync")?;
        failpoint::reach("log.segment-begun");
        self.writer.borrow_mut().roll(header);
        self.use_file(Some(file)).await;
        self.stats.borrow_mut().segments += 1;
        self.next.begun.set(false);
        Ok(())
    }

    /// Makes `file` the file that is written, and closes the one before.
    pub(super) async fn use_file(&self, file: Option<D::File>) {
        let before = self.file.replace(file.map(Rc::new)).and_then(|file| Rc::try_unwrap(file).ok());
        if let Some(file) = before {
            self.disk.close(file).await;
        }
    }

    /// Waits for the space that is being prepared; `None` if the log was poisoned meanwhile.
    async fn take_next(self: &Rc<Self>) -> Result<Option<(D::File, u64)>, StorageError> {
        self.begin_next();
        self.next.hurry.set(true);
        loop {
            let ready = self.next.ready.take();
            if ready.is_some() || self.poison.get().is_some() {
                self.next.hurry.set(false);
                return Ok(ready);
            }
            if let (Some(why), true) = (self.next.out_of_space(), self.closing.get()) {
                let why = io::Error::new(io::ErrorKind::StorageFull, why.to_string());
                return Err(why)
                    .context(&path::stream(&self.options.dir, self.options.stream), "cannot make a segment");
            }
            self.next.bell.wait().await;
        }
    }

    async fn wait_for_space(&self, why: &StorageError) {
        self.set_out_of_space(Some(why.to_string().into()));
        self.next.bell.ring();
        self.disk.sleep(RETRY).await;
    }

    fn set_out_of_space(&self, why: Option<Rc<str>>) {
        let stream = self.options.stream;
        match (self.next.out_of_space.replace(why.clone()), why) {
            (None, Some(why)) => tracing::error!(%stream, "no space for another segment of the log: {why}"),
            (Some(_), None) => tracing::info!(%stream, "there is space for the log again"),
            _ => return,
        }
        self.marks.set_out_of_space(self.next.is_out_of_space());
        self.progress();
    }

    /// Removes the prepared space, if any; it holds no edits.
    pub(super) async fn discard_next(&self) {
        let ready = self.next.ready.take();
        if let Some((file, bytes)) = ready {
            self.disk.close(file).await;
            self.marks.add_file_bytes(-(bytes as i64));
            // If the file cannot be removed, the next start does that.
            let _ = self.disk.remove(&path::stream(&self.options.dir, self.options.stream).join(path::NEXT)).await;
        }
    }
}

/// Fills a stream's first segment, of `bytes` bytes, with zeros after its header.
pub(super) async fn fill_first<D: Disk>(disk: &D, path: &Path, bytes: u64) -> io::Result<()> {
    let file = disk.open_to_fill(path).await?;
    let filled = fill(disk, &file, BLOCK as u64, bytes, async |_| true).await;
    let synced = disk.sync(&file).await;
    disk.close(file).await;
    filled.and(synced)
}

/// Fills `file` with zeros from offset `from` to `to`. Calls `pace` before each write with the offset reached; stops if
/// it returns `false`.
async fn fill<D: Disk>(
    disk: &D,
    file: &D::File,
    from: u64,
    to: u64,
    mut pace: impl AsyncFnMut(u64) -> bool,
) -> io::Result<()> {
    let mut at = from;
    while at < to && pace(at).await {
        let bytes = CHUNK.min(to - at);
        let mut zeros = D::Buffer::new(bytes as usize);
        zeros.bytes().fill(0);
        disk.write(file, zeros, at).await?;
        at += bytes;
    }
    Ok(())
}
