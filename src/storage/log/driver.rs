//! The state of a stream's live log on its core; [`super::Log`] is a handle to it. `task` writes the log, `prepare`
//! makes its segments.
//!
//! No cell is borrowed across an await.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bell::LocalBell;
use super::disk::Disk;
use super::latency::Latency;
use super::marks::StreamMarks;
use super::prepare::{Next, fill_first};
use super::segment::{SegmentHeader, first_bytes};
use super::writer::{Wake, Writer};
use super::{Commit, LogOptions, LogStats, SettlingRule, Space};
use crate::encoding::edit::EncodedEdits;
use crate::encoding::frame::BLOCK;
use crate::ids::Lsn;
use crate::storage::error::Context;
use crate::storage::{StorageError, path};

/// How often a log that is being closed polls the disk.
const CLOSING_POLL: Duration = Duration::from_micros(200);

/// The live log of one stream.
pub(super) struct Driver<D: Disk> {
    pub(super) disk: D,
    pub(super) options: LogOptions,
    pub(super) marks: Arc<StreamMarks>,
    pub(super) writer: RefCell<Writer<D::Buffer>>,
    /// The space being prepared for the next segment.
    pub(super) next: Next<D>,
    /// The file of the segment in use; `None` once the log has ended.
    pub(super) file: RefCell<Option<Rc<D::File>>>,
    pub(super) bell: LocalBell,
    pub(super) eager: Cell<bool>,
    /// Whether the edits that wait are to be committed at once.
    pub(super) urgent: Cell<bool>,
    pub(super) closing: Cell<bool>,
    pub(super) ended: Cell<bool>,
    pub(super) poison: OnceCell<Rc<str>>,
    on_progress: RefCell<Option<Rc<dyn Fn()>>>,
    /// The rule that says what is durable; see [`super::Log::settle_by`].
    rule: RefCell<Option<SettlingRule>>,
    /// Time from which the flush interval counts: when the log was last idle or last began a commit.
    pub(super) since: Cell<Instant>,
    pub(super) stats: RefCell<LogStats>,
    pub(super) latency: RefCell<Latency>,
}

impl<D: Disk> Driver<D> {
    /// Opens the log on the stream's first segment, which must be fresh, and spawns the task that writes it.
    pub(super) async fn open(disk: D, options: LogOptions, marks: Arc<StreamMarks>) -> Result<Rc<Self>, StorageError> {
        let segment = path::segment(&options.dir, options.stream, Lsn(1));
        let file = disk.open(&segment).await.context(&segment, "cannot open and lock")?;
        let block = disk.read_block(&file).await.context(&segment, "cannot read")?;
        let unusable = |why: String| StorageError::Unusable { path: segment.clone(), why };
        let block: &[u8; BLOCK] = block[..].try_into().map_err(|_| unusable("too short".into()))?;
        let header = SegmentHeader::parse(options.id, block).map_err(|e| unusable(e.to_string()))?;
        if (header.stream, header.first) != (options.stream, Lsn(1)) {
            return Err(unusable("not the first segment of its stream".into()));
        }
        if options.sync.zero_fill {
            fill_first(&disk, &segment, header.bytes).await.context(&segment, "cannot fill with zeros")?;
        }
        marks.add_file_bytes(header.bytes as i64);
        let now = disk.now();
        let driver = Rc::new(Self {
            writer: RefCell::new(Writer::new(options.id, header, options.buffer_bytes, options.buffers)),
            next: Next::default(),
            file: RefCell::new(Some(Rc::new(file))),
            bell: LocalBell::default(),
            eager: Cell::new(options.commit == Commit::Eager),
            urgent: Cell::default(),
            closing: Cell::default(),
            ended: Cell::default(),
            poison: OnceCell::new(),
            on_progress: RefCell::default(),
            rule: RefCell::default(),
            since: Cell::new(now),
            stats: RefCell::new(LogStats { segments: 1, ..LogStats::default() }),
            latency: RefCell::new(Latency::new(now)),
            disk,
            options,
            marks,
        });
        driver.disk.spawn(driver.clone().run());
        if driver.is_spare(header.bytes) {
            driver.begin_out_of_space();
        }
        Ok(driver)
    }

    pub(super) const fn stream(&self) -> crate::ids::StreamId {
        self.options.stream
    }

    #[inline]
    pub(super) fn append(&self, edits: &EncodedEdits) -> Lsn {
        let (lsn, wake) = self.writer.borrow_mut().append(edits.as_bytes(), edits.count());
        self.marks.set_appended(lsn);
        if wake != Wake::No {
            self.bell.ring();
        }
        lsn
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let writer = self.writer.borrow();
        writer.unflushed() >= writer.bound()
    }

    #[inline]
    pub(super) fn space(&self) -> Space {
        if !self.next.is_out_of_space() {
            return Space::Enough;
        }
        let writer = self.writer.borrow();
        let room = writer.room().saturating_sub(writer.unflushed());
        let size = writer.segment().bytes;
        let reserve = if self.is_spare(size) { size } else { (2 * writer.bound()).min(size / 4) };
        match room {
            room if room >= reserve => Space::Enough,
            room if room >= reserve / 4 => Space::Reserve,
            _ => Space::Exhausted,
        }
    }

    /// Whether a segment of this size was made from the reserve because the disk was full at the start. All of such a
    /// segment is kept for edits that free memory or space.
    fn is_spare(&self, bytes: u64) -> bool {
        bytes < first_bytes(self.options.segment_bytes)
    }

    pub(super) fn poisoned(&self) -> Option<Rc<str>> {
        self.poison.get().cloned()
    }

    pub(super) fn commit_now(&self) {
        self.urgent.set(true);
        self.bell.ring();
    }

    pub(super) fn set_eager(&self, eager: bool) {
        self.eager.set(eager);
        self.bell.ring();
    }

    pub(super) fn set_on_progress(&self, call: Rc<dyn Fn()>) {
        self.on_progress.replace(Some(call));
    }

    pub(super) fn set_rule(&self, rule: SettlingRule) {
        self.rule.replace(Some(rule));
    }

    /// Moves the durable mark up to the last synced edit that no crash can cut off any more. Returns whether it has
    /// moved.
    pub(super) fn settle(&self) -> bool {
        let (synced, before) = {
            let writer = self.writer.borrow();
            (writer.synced(), writer.durable())
        };
        let rule = self.rule.borrow().clone();
        let durable = rule.map_or(synced, |rule| rule(synced)).min(synced);
        if durable <= before {
            return false;
        }
        self.writer.borrow_mut().set_durable(durable);
        self.marks.set_durable(durable);
        true
    }

    pub(super) fn settle_now(&self) {
        if self.settle() {
            // The log may be idle; its task then writes a mark that records the new durable lsn.
            self.bell.ring();
            self.progress();
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        let times = self.latency.borrow().percentiles();
        LogStats {
            commit_p50_us: times.p50,
            commit_p99_us: times.p99,
            commit_max_us: times.max,
            ..*self.stats.borrow()
        }
    }

    /// Whether no more segments will be needed. A log that is closing may still need one for edits that wait.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get() || self.poison.get().is_some()
    }

    pub(super) async fn close(&self) -> Result<(), Rc<str>> {
        self.closing.set(true);
        self.bell.ring();
        self.next.bell.ring();
        while !self.ended.get() {
            self.disk.poll();
            self.disk.sleep(CLOSING_POLL).await;
        }
        self.poisoned().map_or(Ok(()), Err)
    }

    /// Calls the callback of [`super::Log::on_progress`].
    pub(super) fn progress(&self) {
        let call = self.on_progress.borrow().clone();
        if let Some(call) = call {
            call();
        }
    }

    /// Poisons the log: from now on nothing becomes durable, for the reason `why`.
    pub(super) fn poison(&self, why: &StorageError) {
        if self.poison.set(why.to_string().into()).is_ok() {
            tracing::error!(stream = %self.options.stream, "the log is poisoned, writes are refused: {why}");
            self.bell.ring();
        }
    }
}
