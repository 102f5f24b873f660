//! Writes a long string to a snapshot in slices, from its first byte to its last.
//!
//! The string is in blocks of [`BLOCK`] bytes. Before an edit writes into a block whose turn has not come, the block's
//! old bytes are kept until then.

use std::collections::BTreeMap;

use crate::encoding::edit::Change;
use crate::encoding::entry::{self, Head};
use crate::store::pace::{Pace, STEP};

/// Minimum length, in bytes, of a string that is written in slices.
const LONG: usize = 4 * STEP;
/// Length of a block in bytes; the last one is shorter.
const BLOCK: usize = 4 << 10;

/// State of a string's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of bytes written: whole blocks until all are.
    at: usize,
    /// Length of the string when the capture began.
    len: usize,
    /// By its number, the old bytes of each block that has changed and is still to be written.
    kept: BTreeMap<usize, Box<[u8]>>,
}

impl Slices {
    /// Begins the entry of a long string; `None` for shorter ones.
    pub fn begin(head: Head<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<Self> {
        if value.len() < LONG {
            return None;
        }
        entry::begin_string(out, head, value.len());
        Some(Self { at: 0, len: value.len(), kept: BTreeMap::new() })
    }

    /// Whether exactly the bytes from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.at == self.len
    }

    /// Number of bytes that are kept.
    pub fn kept(&self) -> usize {
        self.kept.len() * BLOCK
    }

    /// Writes until nothing is left or `go_on`, called with the length of `out`, returns false. Returns whether nothing
    /// is left.
    pub fn go_on(&mut self, value: &[u8], out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        let mut pace = Pace::new();
        while let (false, Some(now)) = (self.is_whole(), self.block(self.at / BLOCK, value)) {
            let kept = self.kept.remove(&(self.at / BLOCK));
            let block = kept.as_deref().unwrap_or(now);
            out.extend_from_slice(block);
            self.at += block.len();
            if pace.count(block.len(), || go_on(out.len())).is_break() {
                return self.is_whole();
            }
        }
        true
    }

    /// Call before `change` is applied to the key, which holds `value`: keeps the blocks that it writes into. Returns
    /// whether all that is left must be written first.
    pub fn save_before(&mut self, value: &[u8], change: &Change<'_>) -> bool {
        let Change::WriteString { offset, bytes } = change else {
            // The expiry is part of the entry's head, which has been written.
            return !matches!(change, Change::SetExpiry(_));
        };
        let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
        let end = offset.saturating_add(bytes.len()).min(self.len);
        for number in (offset.max(self.at) / BLOCK..).take_while(|number| number * BLOCK < end) {
            if !self.kept.contains_key(&number)
                && let Some(block) = self.block(number, value)
            {
                self.kept.insert(number, block.into());
            }
        }
        false
    }

    /// The bytes of a block, of those from the beginning.
    fn block<'v>(&self, number: usize, value: &'v [u8]) -> Option<&'v [u8]> {
        let start = number * BLOCK;
        value.get(start..(start + BLOCK).min(self.len))
    }
}
