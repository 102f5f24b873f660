//! Streams: events by their ids, and groups of consumers that read them.
//!
//! The value of type stream is called an *event stream*, and its entries *events*: the stream of a log is the ordered
//! edits of a core, and an entry is a key in a snapshot. Events are in blocks, packed; the last block, to which events
//! are added, is at hand, and those before it are in pages. An empty stream is a value too.
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a stream |
//! | `edits` | what edits do to streams |
//! | `block` | some events in one run of bytes |
//! | `pages` | a sorted sequence, of blocks or of what is pending |
//! | `group` | consumer groups |
//! | `image` | a stream from and to a snapshot entry in one go |
//! | `digest` | the digest of a stream |
//! | `slices` | writing a large stream to a snapshot in slices |

mod block;
mod digest;
mod edits;
mod group;
mod image;
mod pages;
pub(super) mod slices;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use self::block::Block;
use self::pages::Pages;
use crate::config::Packing;
use crate::encoding::event::EventId;
use crate::store::memory::allocated;

pub use block::EventRef;
pub(super) use edits::{change, create};
pub use group::{Consumer, Group, Pending};
pub(super) use image::{check, make, put};

/// Number of blocks freed in one go.
const BLOCKS_FREED: usize = 8;

/// A stream.
pub(in crate::store) struct EventStream {
    numbers: Numbers,
    len: usize,
    /// Size of the events in a snapshot, in bytes.
    written: usize,
    digest: u64,
    /// All blocks but the last. No block is empty.
    sealed: Pages<Block>,
    /// The last block, to which events are added; `None` if there are no events.
    tail: Option<Block>,
    /// Bytes of memory that the blocks' bytes take.
    block_memory: usize,
    /// The groups, by name.
    groups: Pages<Box<Group>>,
    /// Bytes of memory that the groups take, without their pages.
    group_memory: usize,
}

/// Numbers that a stream keeps though its events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Greatest id that was ever added or set.
    pub last: EventId,
    /// Greatest id that was deleted one by one.
    pub greatest_deleted: EventId,
    /// Number of events ever added.
    pub added: u64,
}

/// A stream, borrowed from its record.
#[derive(Clone, Copy)]
pub struct StreamRef<'a>(&'a EventStream);

/// A block of events, borrowed from its stream.
#[derive(Clone, Copy)]
pub struct BlockRef<'a>(&'a Block);

impl<'a> BlockRef<'a> {
    /// Number of events; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty block is removed")]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Id at or before that of the first event, and behind those of the block before.
    pub const fn base(self) -> EventId {
        self.0.base
    }

    /// The events in order.
    pub fn events(self) -> impl Iterator<Item = EventRef<'a>> + use<'a> {
        self.0.iter()
    }
}

impl EventStream {
    /// Bytes of memory that the stream takes.
    pub fn memory(&self) -> usize {
        allocated(size_of::<Self>())
            + self.sealed.memory()
            + self.block_memory
            + self.groups.memory()
            + self.group_memory
    }

    /// Number of parts of about the same size in which the stream is freed.
    pub fn parts(&self) -> usize {
        self.sealed.len() + self.groups.iter().map(|group| 1 + group.parts()).sum::<usize>()
    }

    /// Frees some parts of a stream that nobody reads any more. Returns the bytes of memory freed; `None` if nothing is
    /// left but the stream itself.
    pub fn free_some(&mut self) -> Option<usize> {
        let before = self.memory();
        if let Some(mut group) = self.groups.pop() {
            self.group_memory -= group.memory();
            if group.free_some() {
                self.group_memory += group.memory();
                self.groups.push(group);
            }
        } else if self.sealed.is_empty() {
            return None;
        } else {
            for block in std::iter::from_fn(|| self.sealed.pop()).take(BLOCKS_FREED) {
                self.block_memory -= block.memory();
            }
        }
        Some(before - self.memory())
    }

    fn group(&self, name: &[u8]) -> Option<&Group> {
        let place = self.groups.search(|group| (*group.name).cmp(name)).ok()?;
        self.groups.get(place).map(|group| &**group)
    }

    /// The blocks that may hold events with the id `from` or a greater one, in order.
    fn blocks_from(&self, from: EventId) -> impl Iterator<Item = &Block> {
        let place = self.sealed.search(|block| block.base.cmp(&from)).unwrap_or_else(Pages::<Block>::before);
        self.sealed.iter_from(place).chain(&self.tail)
    }

    /// The blocks that may hold events with the id `to` or a smaller one, backwards.
    fn blocks_to(&self, to: EventId) -> impl Iterator<Item = &Block> {
        let place = self.sealed.search(|block| block.base.cmp(&to)).unwrap_or_else(Pages::<Block>::before);
        self.tail.iter().chain(self.sealed.iter_back_from(place)).filter(move |block| block.base <= to)
    }
}

impl<'a> StreamRef<'a> {
    /// The stream in this structure.
    pub(super) const fn of(stream: &'a EventStream) -> Self {
        Self(stream)
    }

    /// Number of events.
    pub const fn len(self) -> usize {
        self.0.len
    }

    /// Whether there are no events.
    pub const fn is_empty(self) -> bool {
        self.0.len == 0
    }

    /// The numbers that stay though events go.
    pub const fn numbers(self) -> Numbers {
        self.0.numbers
    }

    /// Number of blocks of events.
    pub fn block_count(self) -> usize {
        self.0.sealed.len() + usize::from(self.0.tail.is_some())
    }

    /// Number of pages of blocks.
    pub fn page_count(self) -> usize {
        self.0.sealed.page_count()
    }

    /// The blocks of events, from the oldest on.
    pub fn blocks(self) -> impl Iterator<Item = BlockRef<'a>> + use<'a> {
        self.0.sealed.iter().chain(&self.0.tail).map(BlockRef)
    }

    /// Whether an event whose names and values have `content` bytes would begin a block.
    pub fn begins_block(self, content: usize, packing: &Packing) -> bool {
        self.0.tail.as_ref().is_none_or(|tail| edits::is_full(tail, content, packing))
    }

    /// The oldest event.
    pub fn first(self) -> Option<EventRef<'a>> {
        self.find(EventId::ZERO, EventId::MAX, false)
    }

    /// The newest event.
    pub fn last(self) -> Option<EventRef<'a>> {
        self.find(EventId::ZERO, EventId::MAX, true)
    }

    /// Event with this id.
    pub fn get(self, id: EventId) -> Option<EventRef<'a>> {
        self.find(id, id, false)
    }

    /// First event of a range, or last one if `back`.
    fn find(self, from: EventId, to: EventId, back: bool) -> Option<EventRef<'a>> {
        let found = ControlFlow::Break;
        match if back { self.visit_back(from, to, found) } else { self.visit(from, to, found) } {
            ControlFlow::Break(event) => Some(event),
            ControlFlow::Continue(()) => None,
        }
    }

    /// Calls `visit` with the events whose ids are at least `from` and at most `to`, in order, until it breaks.
    pub fn visit<B>(
        self,
        from: EventId,
        to: EventId,
        mut visit: impl FnMut(EventRef<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for block in self.0.blocks_from(from).take_while(|block| block.base <= to) {
            for event in block.iter().skip_while(|event| event.id < from) {
                if event.id > to {
                    return ControlFlow::Continue(());
                }
                visit(event)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Like [`Self::visit`], from the last event to the first.
    pub fn visit_back<B>(
        self,
        from: EventId,
        to: EventId,
        mut visit: impl FnMut(EventRef<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut events = Vec::new();
        for block in self.0.blocks_to(to) {
            events.clear();
            events.extend(block.iter().take_while(|event| event.id <= to));
            while let Some(event) = events.pop() {
                if event.id < from {
                    return ControlFlow::Continue(());
                }
                visit(event)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Number of consumer groups.
    pub fn group_count(self) -> usize {
        self.0.groups.len()
    }

    /// The consumer groups, by name.
    pub fn groups(self) -> impl Iterator<Item = &'a Group> + use<'a> {
        self.0.groups.iter().map(|group| &**group)
    }

    /// Consumer group of this name.
    pub fn group(self, name: &[u8]) -> Option<&'a Group> {
        self.0.group(name)
    }
}
