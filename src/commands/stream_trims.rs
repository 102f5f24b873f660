//! Trimming a stream: the options that XADD and XTRIM share, and which entries they remove.

use super::parse::integer_argument;
use super::stream_ids::{Wanted, exact, wanted};
use super::{Plan, Refused};
use crate::config::Packing;
use crate::encoding::edit::{Change, EventIds, StreamChange};
use crate::encoding::event::EventId;
use crate::store::{BlockRef, Group, StreamRef};

/// What becomes of pending references to an entry that is removed, in the terms of Redis's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum References {
    /// `KEEPREF`: they stay.
    #[default]
    Keep,
    /// `DELREF`: they are removed too.
    Delete,
    /// `ACKED`: entries that have some are not removed.
    Acked,
}

impl References {
    /// The option called `word`, in any letter case.
    pub fn named(word: &[u8]) -> Option<Self> {
        match () {
            () if word.eq_ignore_ascii_case(b"KEEPREF") => Some(Self::Keep),
            () if word.eq_ignore_ascii_case(b"DELREF") => Some(Self::Delete),
            () if word.eq_ignore_ascii_case(b"ACKED") => Some(Self::Acked),
            () => None,
        }
    }
}

/// How far a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    /// `MAXLEN`: until it has no more entries than this.
    Length(u64),
    /// `MINID`: until it has no entry with a smaller id.
    Id(EventId),
}

/// A trim, as options describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trim {
    threshold: Threshold,
    /// Whether only whole blocks are removed (`~`).
    whole_blocks: bool,
    /// Maximum number of entries removed.
    limit: u64,
    references: References,
}

/// Options of XADD up to the id, or of XTRIM.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub trim: Option<Trim>,
    /// Whether XADD makes no stream.
    pub only_existing: bool,
    /// Id that XADD is asked for.
    pub id: Option<Wanted>,
}

/// Options while they are parsed.
#[derive(Default)]
struct Parsed {
    threshold: Option<(Threshold, bool)>,
    limit: Option<u64>,
    references: Option<References>,
}

impl Options {
    /// Parses the options of XADD up to the id, or those of XTRIM. Returns them with the index of the id.
    pub fn parse(plan: &Plan<'_, '_, '_>, of_xadd: bool) -> Result<(Self, usize), Refused> {
        let (args, mut at) = (plan.args, 2);
        let (mut parsed, mut only_existing, mut id) = (Parsed::default(), false, None);
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let follows = args.len() > at + 1;
            if (is(b"MAXLEN") || is(b"MINID")) && follows {
                at = parsed.threshold(plan, at, is(b"MAXLEN"))?;
            } else if is(b"LIMIT") && follows {
                let limit = integer_argument(args.at(at + 1))?;
                let limit =
                    u64::try_from(limit).map_err(|_| Refused::Because("ERR The LIMIT argument must be >= 0."))?;
                parsed.limit = Some(limit);
                at += 1;
            } else if of_xadd && is(b"NOMKSTREAM") {
                only_existing = true;
            } else if let (Some(references), None) = (References::named(word), parsed.references) {
                parsed.references = Some(references);
            } else if of_xadd {
                id = Some(wanted(word)?);
                break;
            } else {
                return Err(Refused::Syntax);
            }
            at += 1;
        }
        Ok((Self { trim: parsed.trim(plan.store.packing(), of_xadd)?, only_existing, id }, at))
    }
}

impl Parsed {
    /// Parses `MAXLEN` or `MINID` at argument `at`. Returns the index of the last argument that belongs to it.
    fn threshold(&mut self, plan: &Plan<'_, '_, '_>, at: usize, by_length: bool) -> Result<usize, Refused> {
        if self.threshold.is_some() {
            return Err(Refused::Because(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let mut at = at + 1;
        let mark = plan.args.get(at).filter(|_| plan.args.len() > at + 1);
        let whole_blocks = mark == Some(b"~");
        at += usize::from(whole_blocks || mark == Some(b"="));
        let text = plan.args.at(at);
        let threshold = if by_length {
            let most = integer_argument(text)?;
            Threshold::Length(
                u64::try_from(most).map_err(|_| Refused::Because("ERR The MAXLEN argument must be >= 0."))?,
            )
        } else {
            Threshold::Id(exact(text, 0)?)
        };
        self.threshold = Some((threshold, whole_blocks));
        Ok(at)
    }

    fn trim(self, packing: &Packing, of_xadd: bool) -> Result<Option<Trim>, Refused> {
        let Some((threshold, whole_blocks)) = self.threshold else {
            return match self.limit {
                Some(1..) => Err(Refused::Because(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                _ if !of_xadd => {
                    Err(Refused::Because("ERR syntax error, XTRIM must be called with a trimming strategy"))
                }
                _ if self.limit.is_some() => Err(LIMIT_WITHOUT_TILDE),
                _ => Ok(None),
            };
        };
        let limit = match self.limit {
            Some(_) if !whole_blocks => return Err(LIMIT_WITHOUT_TILDE),
            Some(0) => u64::MAX,
            Some(limit) => limit,
            None if whole_blocks => match 100 * u64::from(packing.stream_block_entries) {
                0 => 10_000,
                limit => limit.min(1_000_000),
            },
            None => u64::MAX,
        };
        Ok(Some(Trim { threshold, whole_blocks, limit, references: self.references.unwrap_or_default() }))
    }
}

const LIMIT_WITHOUT_TILDE: Refused =
    Refused::Because("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// An entry that is about to be added behind all others.
#[derive(Clone, Copy)]
pub(super) struct Added {
    pub id: EventId,
    /// Whether it begins a block.
    pub begins_block: bool,
}

/// Which entries a trim removes.
pub(super) struct Trimmed {
    pub count: u64,
    /// The change that removes them, if there are any.
    pub change: Option<Change<'static>>,
}

/// A block as a trim sees it: with the entry that is about to be added, if it comes into this one.
struct Part<'p> {
    base: EventId,
    len: u64,
    block: Option<BlockRef<'p>>,
    added: Option<EventId>,
}

impl Part<'_> {
    fn ids(&self) -> impl Iterator<Item = EventId> {
        self.block.iter().flat_map(|block| block.events().map(|event| event.id)).chain(self.added)
    }
}

impl Trim {
    /// Finds out what to remove from a stream to which `added` is being added.
    pub fn of(&self, stream: Option<StreamRef<'_>>, added: Option<Added>) -> Trimmed {
        // As in Redis: a whole block is only removed where nothing about its entries has to be looked at.
        if self.references != References::Keep && self.whole_blocks {
            return Trimmed { count: 0, change: None };
        }
        let (mut left, mut removed) = (Left::of(self.threshold, stream, added), Vec::new());
        let (mut count, mut through) = (0, None);
        let mut parts = parts(stream, added).peekable();
        while let Some(part) = parts.next() {
            if left.is_done() || count + part.len > self.limit {
                break;
            }
            let whole = left.takes_whole(&part, parts.peek().map(|next| next.base));
            if self.references != References::Acked && whole {
                count += part.len;
                left.less(part.len);
                through = Some(part);
                continue;
            }
            if self.whole_blocks {
                break;
            }
            let mut last = None;
            for id in part.ids() {
                if left.is_over(id) {
                    break;
                }
                if self.references == References::Acked {
                    if stream.is_some_and(|stream| is_referenced(stream, None, id)) {
                        continue;
                    }
                    removed.push(id);
                }
                (count, last) = (count + 1, Some(id));
                left.less(1);
            }
            if let Some(last) = last.filter(|_| self.references != References::Acked) {
                return Trimmed { count, change: Some(self.through(last)) };
            }
            if !whole {
                break;
            }
        }
        if self.references == References::Acked {
            let ids: EventIds<'static> = removed.into_iter().collect();
            let greatest_deleted = stream.map(|stream| stream.numbers().greatest_deleted).unwrap_or_default();
            let change = StreamChange::RemoveEvents { ids, greatest_deleted, pending_too: false };
            return Trimmed { count, change: (count > 0).then_some(Change::Stream(change)) };
        }
        let last = through.and_then(|part| part.ids().last());
        Trimmed { count, change: last.map(|last| self.through(last)) }
    }

    fn through(&self, through: EventId) -> Change<'static> {
        let pending_too = self.references == References::Delete;
        Change::Stream(StreamChange::TrimStream { through, pending_too })
    }
}

/// What a trim has left to do.
struct Left {
    threshold: Threshold,
    /// Number of entries in the stream.
    length: u64,
}

impl Left {
    fn of(threshold: Threshold, stream: Option<StreamRef<'_>>, added: Option<Added>) -> Self {
        let length = stream.map_or(0, |stream| stream.len() as u64) + u64::from(added.is_some());
        Self { threshold, length }
    }

    const fn less(&mut self, count: u64) {
        self.length -= count;
    }

    /// Whether no more entries are to be removed, whatever their ids.
    fn is_done(&self) -> bool {
        matches!(self.threshold, Threshold::Length(most) if self.length <= most)
    }

    /// Whether an entry is not to be removed.
    fn is_over(&self, id: EventId) -> bool {
        match self.threshold {
            Threshold::Length(most) => self.length <= most,
            Threshold::Id(least) => id >= least,
        }
    }

    /// Whether all entries of a block are to be removed; the next one begins with the id `next`.
    fn takes_whole(&self, part: &Part<'_>, next: Option<EventId>) -> bool {
        match self.threshold {
            Threshold::Length(most) => self.length - part.len >= most,
            Threshold::Id(least) if next.is_some_and(|next| next <= least) => true,
            Threshold::Id(least) => part.base < least && part.ids().last().is_some_and(|last| last < least),
        }
    }
}

fn parts(stream: Option<StreamRef<'_>>, added: Option<Added>) -> impl Iterator<Item = Part<'_>> {
    let blocks = stream.map_or(0, StreamRef::block_count);
    let own = added.filter(|added| added.begins_block);
    let joins = move |index| added.filter(|added| !added.begins_block && index + 1 == blocks).map(|added| added.id);
    let stored = stream.into_iter().flat_map(StreamRef::blocks).enumerate().map(move |(index, block)| {
        let added = joins(index);
        let len = block.len() as u64 + u64::from(added.is_some());
        Part { base: block.base(), len, block: Some(block), added }
    });
    stored.chain(own.map(|Added { id, .. }| Part { base: id, len: 1, block: None, added: Some(id) }))
}

/// Whether a group has yet to read an entry, or to acknowledge it; `acknowledged` is a group that is just doing so.
pub(super) fn is_referenced(stream: StreamRef<'_>, acknowledged: Option<&Group>, id: EventId) -> bool {
    let is_pending =
        |group: &Group| acknowledged.is_none_or(|other| other.name != group.name) && group.pending(id).is_some();
    stream.groups().any(|group| group.last_delivered < id || is_pending(group))
}
