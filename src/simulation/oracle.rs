//! What must be there: a map as reference, every write with its place in its stream, and how far each stream was called
//! durable.
//!
//! After a crash a stream may have lost its end, but nothing that was called durable, nothing from the middle, and no
//! part of a group.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ids::{CoreId, Epoch, Lsn, Position, StreamId};
use crate::storage::Manifest;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    List(Vec<Vec<u8>>),
}

pub(super) type Key = Vec<u8>;
/// The reference: every key with what it holds.
pub(super) type Content = BTreeMap<Key, Value>;

/// What a write did: what it made of keys.
pub(super) type Effect = Vec<(Key, Option<Value>)>;

/// The oracle as the tasks of a world share it.
pub(super) type Ledger = Rc<RefCell<Oracle>>;

/// A write and where it stands.
struct Write {
    last: Lsn,
    effect: Effect,
}

/// A stream of the present life of the master.
#[derive(Default)]
struct Stream {
    writes: Vec<Write>,
    /// How far clients were told that it is durable.
    durable: Lsn,
    /// How far it is so: no cut takes this away.
    settled: Lsn,
    /// How far the stream was called mirrored, and that by the node that lives: no other can have had what came after
    /// `before_node`.
    mirrored: Lsn,
    before_node: Lsn,
}

/// The ledger; see the module.
#[derive(Default)]
pub(super) struct Oracle {
    /// At the start of the present life.
    base: Content,
    /// Now.
    pub(super) content: Content,
    pub(super) epoch: Option<Epoch>,
    streams: Vec<Stream>,
    /// The life before the present one ended in good order.
    pub(super) closed: bool,
    /// Writes that were called durable, in all lives.
    pub(super) acknowledged: u64,
}

impl Oracle {
    /// A write was executed on `core`; its last edit is `last`.
    pub(super) fn wrote(&mut self, core: CoreId, last: Lsn, effect: Effect) {
        apply(&mut self.content, &effect);
        self.streams[usize::from(core.0)].writes.push(Write { last, effect });
    }

    /// A client was told that everything up to `lsn` is safe.
    pub(super) fn durable(&mut self, core: CoreId, lsn: Lsn) {
        let stream = &mut self.streams[usize::from(core.0)];
        self.acknowledged += lsn.0.saturating_sub(stream.durable.0);
        stream.durable = stream.durable.max(lsn);
    }

    /// A log has called everything up to `lsn` durable, and clients may be told.
    pub(super) fn settle(&mut self, core: CoreId, lsn: Lsn) {
        self.durable(core, lsn);
        self.streams[usize::from(core.0)].settled = lsn;
    }

    /// How far a stream of the present life was durable.
    pub(super) fn settled(&self, stream: StreamId) -> Lsn {
        self.stream(stream).map_or(Lsn(0), |present| present.settled)
    }

    /// Where groups of edits end in a stream of the present life, after one edit and up to another.
    pub(super) fn groups(&self, stream: StreamId, after: Lsn, to: Lsn) -> Vec<Lsn> {
        let ends = self.stream(stream).into_iter().flat_map(|present| present.writes.iter().map(|write| write.last));
        ends.filter(|last| (after.next()..=to).contains(last)).collect()
    }

    fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(usize::from(stream.core.0)).filter(|_| self.epoch == Some(stream.epoch))
    }

    /// Another node begins; the streams have come as far as this. What was mirrored before may have died with the node
    /// before.
    pub(super) fn another_node(&mut self, appended: impl Iterator<Item = Lsn>) {
        for (stream, appended) in self.streams.iter_mut().zip(appended) {
            (stream.mirrored, stream.before_node) = (Lsn(0), appended);
        }
    }

    /// A client was told that a node has everything up to `lsn`, too.
    pub(super) fn mirrored(&mut self, core: CoreId, lsn: Lsn) {
        let stream = &mut self.streams[usize::from(core.0)];
        if lsn > stream.before_node {
            stream.mirrored = stream.mirrored.max(lsn);
        }
    }

    /// Whether the node that lives has acknowledged edits of every stream: then it holds all of the lives before.
    pub(super) fn is_mirrored(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|stream| stream.mirrored > Lsn(0))
    }

    /// The master is gone with all that it had. What is left of this life are, key by key, the edits up to `reached`.
    pub(super) fn handed_over(&mut self, reached: impl Fn(&[u8]) -> Position) -> Result<(), String> {
        let Some(epoch) = self.epoch.take() else { return Ok(()) };
        for stream in std::mem::take(&mut self.streams) {
            for Write { last, effect } in stream.writes {
                let first = last.0 + 1 - effect.len() as u64;
                for (lsn, change) in (first..).map(Lsn).zip(effect) {
                    if Position::new(epoch, lsn) <= reached(&change.0) {
                        apply(&mut self.base, &[change]);
                    } else if lsn <= stream.mirrored {
                        let (key, mirrored) = (change.0.escape_ascii(), stream.mirrored);
                        return Err(format!(
                            "edits up to {mirrored} were mirrored, but edit {lsn} of {key} went with the master"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The last edit that a key got in this life.
    pub(super) fn last_edit(&self, core: CoreId, key: &[u8]) -> Lsn {
        let writes = &self.streams[usize::from(core.0)].writes;
        let of_key = writes.iter().rev().find(|w| w.effect.iter().any(|(k, _)| k == key));
        of_key.map_or(Lsn(0), |w| w.last)
    }

    /// A master serves what it has recovered. What it says of the last life's streams must be enough; the content is
    /// what they say.
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
                // A group of several edits is there as a whole or not at all.
                let first = Lsn(write.last.0 + 1 - (write.effect.len() as u64).max(1));
                if last >= first && reached < first {
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
