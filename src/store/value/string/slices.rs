//! Writes a long string to a snapshot in slices, from its first byte to its last.
//!
//! Before an edit changes the string, all that is left of it is written: about 0.1 ms per MiB, about what the edit
//! itself mostly costs.

use crate::encoding::edit::Change;
use crate::encoding::entry::{self, Head};
use crate::store::pace::STEP;

/// Minimum length, in bytes, of a string that is written in slices.
const LONG: usize = 4 * STEP;

/// State of a string's capture for a snapshot.
pub(in crate::store) struct Slices {
    /// Number of bytes written.
    at: usize,
    /// Length of the string when the capture began.
    len: usize,
}

impl Slices {
    /// Begins the entry of a long string; `None` for shorter ones.
    pub fn begin(head: Head<'_>, value: &[u8], out: &mut Vec<u8>) -> Option<Self> {
        if value.len() < LONG {
            return None;
        }
        entry::begin_string(out, head, value.len());
        Some(Self { at: 0, len: value.len() })
    }

    /// Whether exactly the bytes from the beginning have been written.
    pub const fn is_whole(&self) -> bool {
        self.at == self.len
    }

    /// Writes until nothing is left or `go_on`, called with the length of `out`, returns false. Returns whether nothing
    /// is left.
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

    /// Whether all that is left must be written before `change` is applied.
    pub const fn is_changed_by(change: &Change<'_>) -> bool {
        // The expiry is part of the entry's head, which has been written.
        !matches!(change, Change::SetExpiry(_))
    }
}
