//! Writing a long string to a snapshot in slices, from its first byte to its last.
//!
//! An edit that changes the string has what is left of it written before: that takes about 0.1 ms for each MiB, as
//! changing it mostly does, too.

use crate::encoding::edit::Change;
use crate::encoding::entry::{self, Head};
use crate::store::pace::STEP;

/// Strings from this length on are written in slices, in bytes.
const LONG: usize = 4 * STEP;

/// A string on its way into a snapshot.
pub(in crate::store) struct Slices {
    /// Bytes that have been written.
    at: usize,
    /// Bytes that there were at the beginning.
    len: usize,
}

impl Slices {
    /// Begins the entry of a string, if it is long.
    pub fn begin(head: Head<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<Self> {
        if value.len() < LONG {
            return None;
        }
        entry::begin_string(out, head, value.len());
        Some(Self { at: 0, len: value.len() })
    }

    /// Whether all bytes are written, and no more.
    pub const fn is_whole(&self) -> bool {
        self.at == self.len
    }

    /// Writes as long as `go_on` says so, which is told the length of `out`. Returns whether nothing is left.
    pub fn go_on(&mut self, value: &[u8], out: &mut Vec<u8>, go_on: &mut dyn FnMut(usize) -> bool) -> bool {
        loop {
            let Some(left) = value.get(self.at..).filter(|left| !left.is_empty()) else { return true };
            let some = &left[..left.len().min(STEP)];
            out.extend_from_slice(some);
            self.at += some.len();
            if !go_on(out.len()) {
                return false;
            }
        }
    }

    /// Whether what is left has to be written before `change` is applied.
    pub const fn is_changed_by(change: &Change<'_>) -> bool {
        // When the key expires stands in the entry's head, which is written.
        !matches!(change, Change::SetExpiry(_))
    }
}
