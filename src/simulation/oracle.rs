//! The reference for what must be there: the content as a map, every write with its position in its stream, and how far
//! each stream was called durable.
//!
//! After a crash a stream may have lost its last edits, but none that was called durable, none from the middle, and no
//! part of a group.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::events::Events;
use crate::ids::{CoreId, Db, Epoch, Lsn, Position, StreamId};
use crate::storage::Manifest;

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    SortedSet(BTreeMap<Vec<u8>, u32>),
    List(Vec<Vec<u8>>),
    Stream(Events),
}

/// A key's database and name.
pub(super) type Key = (Db, Vec<u8>);
/// All keys with their values.
pub(super) type Content = BTreeMap<Key, Value>;

/// The effect of a write: each changed key with its new value, `None` if it was deleted.
pub(super) type Effect = Vec<(Key, Option<Value>)>;

/// The oracle, shared by the tasks of a world.
pub(super) type Ledger = Rc<RefCell<Oracle>>;

/// A write, its effect, and the lsns of its edits.
struct Write {
    first: Lsn,
    last: Lsn,
    effect: Effect,
}

/// A stream of the present epoch.
#[derive(Default)]
struct Stream {
    writes: Vec<Write>,
    /// The last edit that clients were told is durable.
    durable: Lsn,
    /// The last edit that is durable: no cut takes it away.
    settled: Lsn,
    /// The last edit that was called mirrored and that the present node must hold: only edits after `before_node`
    /// count, because no former node can have had these.
    mirrored: Lsn,
    /// The last edit appended when the present node started.
    before_node: Lsn,
}

/// The reference; see the module.
#[derive(Default)]
pub(super) struct Oracle {
    /// Content at the start of the present epoch.
    base: Content,
    /// Content now.
    pub(super) content: Content,
    pub(super) epoch: Option<Epoch>,
    streams: Vec<Stream>,
    /// Whether the last master ended in good order, with everything durable.
    pub(super) closed: bool,
    /// Number of edits that were called durable, in all epochs.
    pub(super) acknowledged: u64,
}

impl Oracle {
    /// Notes that a write was executed on `core` with the edits from `first` to `last`. Each edit changes one key, in
    /// the order of the effect; one edit may change two keys.
    pub(super) fn wrote(&mut self, core: CoreId, first: Lsn, last: Lsn, effect: Effect) {
        apply(&mut self.content, &effect);
        self.streams[usize::from(core.0)].writes.push(Write { first, last, effect });
    }

    /// Notes that a client was told that everything up to `lsn` is durable.
    pub(super) fn durable(&mut self, core: CoreId, lsn: Lsn) {
        let stream = &mut self.streams[usize::from(core.0)];
        self.acknowledged += lsn.0.saturating_sub(stream.durable.0);
        stream.durable = stream.durable.max(lsn);
    }

    /// Notes that a log has called everything up to `lsn` durable, which clients may be told.
    pub(super) fn settle(&mut self, core: CoreId, lsn: Lsn) {
        self.durable(core, lsn);
        self.streams[usize::from(core.0)].settled = lsn;
    }

    /// The last durable edit of a stream of the present epoch; 0 for any other stream.
    pub(super) fn settled(&self, stream: StreamId) -> Lsn {
        self.stream(stream).map_or(Lsn(0), |present| present.settled)
    }

    /// The ends of those groups of edits, in a stream of the present epoch, that end after edit `after` and not after
    /// edit `to`.
    pub(super) fn groups(&self, stream: StreamId, after: Lsn, to: Lsn) -> Vec<Lsn> {
        let ends = self.stream(stream).into_iter().flat_map(|present| present.writes.iter().map(|write| write.last));
        ends.filter(|last| (after.next()..=to).contains(last)).collect()
    }

    fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(usize::from(stream.core.0)).filter(|_| self.epoch == Some(stream.epoch))
    }

    /// Notes that another node starts, while the streams end at `appended`. What was mirrored before may be lost with
    /// the former node.
    pub(super) fn another_node(&mut self, appended: impl Iterator<Item = Lsn>) {
        for (stream, appended) in self.streams.iter_mut().zip(appended) {
            (stream.mirrored, stream.before_node) = (Lsn(0), appended);
        }
    }

    /// Notes that a client was told that a node holds everything up to `lsn`.
    pub(super) fn mirrored(&mut self, core: CoreId, lsn: Lsn) {
        let stream = &mut self.streams[usize::from(core.0)];
        if lsn > stream.before_node {
            stream.mirrored = stream.mirrored.max(lsn);
        }
    }

    /// Whether the present node has acknowledged edits of every stream: then it holds everything of former epochs.
    pub(super) fn is_mirrored(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.mirrored > Lsn(0))
    }

    /// Notes that the master is lost with its disk. What is left of the present epoch are, for each key, its edits up
    /// to `reached`. Fails if a mirrored edit is lost.
    pub(super) fn handed_over(&mut self, reached: impl Fn(&[u8]) -> Position) -> Result<(), String> {
        let Some(epoch) = self.epoch.take() else { return Ok(()) };
        for stream in std::mem::take(&mut self.streams) {
            for Write { first, last, effect } in stream.writes {
                for (lsn, change) in (first.0..).map(|lsn| Lsn(lsn).min(last)).zip(effect) {
                    if Position::new(epoch, lsn) <= reached(&change.0.1) {
                        apply(&mut self.base, &[change]);
                    } else if lsn <= stream.mirrored {
                        let (key, mirrored) = (change.0.1.escape_ascii(), stream.mirrored);
                        return Err(format!(
                            "edits up to {mirrored} were mirrored, but edit {lsn} of {key} went with the master"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The last edit of a key in the present epoch; 0 if there is none.
    pub(super) fn last_edit(&self, core: CoreId, key: &Key) -> Lsn {
        let writes = &self.streams[usize::from(core.0)].writes;
        let of_key = writes.iter().rev().find(|w| w.effect.iter().any(|(k, _)| k == key));
        of_key.map_or(Lsn(0), |w| w.last)
    }

    /// Notes that a master has recovered. Fails if the ends that it recorded for the last epoch's streams are not
    /// allowed; the content is from now on what the writes up to these ends give.
    pub(super) fn recovered(&mut self, manifest: &Manifest) -> Result<(), String> {
        let before = std::mem::take(&mut self.streams);
        if let Some(epoch) = self.epoch {
            for (core, stream) in (0..).map(CoreId).zip(before) {
                let record = manifest.stream(StreamId::new(epoch, core));
                let Some(last) = record.and_then(|r| r.last) else {
                    return Err(format!("the stream of core {core} in epoch {epoch} has no end"));
                };
                self.cut(core, stream, last)?;
            }
        }
        self.closed = false;
        self.content = self.base.clone();
        let newest = manifest.newest_epoch().ok_or("no epoch has begun")?;
        self.epoch = Some(newest.epoch);
        self.streams = newest.streams.iter().map(|_| Stream::default()).collect();
        Ok(())
    }

    /// Checks that a stream of the last epoch may end at `last`, and applies its writes up to there.
    fn cut(&mut self, core: CoreId, stream: Stream, last: Lsn) -> Result<(), String> {
        if last < stream.durable {
            return Err(format!("core {core}: edits up to {} were durable, but it ends at {last}", stream.durable));
        }
        if self.closed && stream.writes.last().is_some_and(|w| w.last > last) {
            return Err(format!("core {core}: closed in good order, but ends at {last}"));
        }
        let mut reached = Lsn(0);
        for write in stream.writes {
            if write.last > last {
                // A group of edits must be there as a whole or not at all.
                if last >= write.first && reached < write.first {
                    return Err(format!(
                        "core {core}: it ends at {last}, within the group that ends at {}",
                        write.last
                    ));
                }
                break;
            }
            reached = write.last;
            apply(&mut self.base, &write.effect);
        }
        Ok(())
    }
}

fn apply(content: &mut Content, effect: &[(Key, Option<Value>)]) {
    for (key, value) in effect {
        match value {
            Some(value) => content.insert(key.clone(), value.clone()),
            None => content.remove(key),
        };
    }
}
