//! How many entries a consumer group has read and has yet to read, as Redis counts them: a count that cannot be known
//! without looking at the entries is unknown.

use crate::encoding::event::EventId;
use crate::store::{Group, Numbers, StreamRef};

/// Numbers of a stream that the counts of its groups depend on.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    numbers: Numbers,
    len: u64,
    /// Id of the first entry; 0-0 if there are none.
    pub first: EventId,
}

impl Extent {
    /// Extent of a stream.
    pub fn of(stream: StreamRef<'_>) -> Self {
        let first = stream.first().map(|event| event.id).unwrap_or_default();
        Self { numbers: stream.numbers(), len: stream.len() as u64, first }
    }

    /// Whether a group that has read up to the id `last` can count on from there: nothing that it has yet to read has
    /// been deleted or trimmed.
    fn is_whole_behind(&self, last: EventId) -> bool {
        let greatest_deleted = self.numbers.greatest_deleted;
        let has_gaps = self.len > 0 && greatest_deleted != EventId::ZERO && last <= greatest_deleted;
        !has_gaps && last >= self.first
    }

    /// Number of entries that were ever added up to the id `id`, if it is known.
    pub fn read_up_to(&self, id: EventId) -> Option<u64> {
        let Numbers { last, greatest_deleted, added } = self.numbers;
        if added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= last {
            return Some(added);
        }
        if id != EventId::ZERO && id < greatest_deleted || id > last {
            return None;
        }
        if id == last {
            return Some(added);
        }
        let whole = greatest_deleted == EventId::ZERO || greatest_deleted < self.first;
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less if whole => Some(added.wrapping_sub(self.len)),
            std::cmp::Ordering::Equal if whole => Some(added.wrapping_sub(self.len).wrapping_add(1)),
            _ => None,
        }
    }

    /// Number of entries that a group has read once it has got the entry `id`, after it had read `read` entries up to
    /// the id `last`.
    pub fn read_after(&self, id: EventId, last: EventId, read: Option<u64>) -> Option<u64> {
        match read {
            Some(read) if self.is_whole_behind(last) => Some(read + 1),
            _ if self.numbers.added > 0 => self.read_up_to(id),
            _ => read,
        }
    }

    /// Number of entries that a group has yet to read, if it is known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let Numbers { greatest_deleted, added, .. } = self.numbers;
        if added == 0 || self.len == 0 {
            return Some(0);
        }
        if group.last_delivered < self.first && greatest_deleted < self.first {
            return Some(self.len.cast_signed());
        }
        let read = group.read.filter(|_| self.is_whole_behind(group.last_delivered));
        let read = read.or_else(|| self.read_up_to(group.last_delivered))?;
        Some(added.wrapping_sub(read).cast_signed())
    }
}
