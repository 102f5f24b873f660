//! A HyperLogLog as the bytes of a string, in Redis's format.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `HYLL` |
//! | 1 | form of the registers: 0 dense, 1 sparse |
//! | 3 | zero |
//! | 8 | number of elements as last estimated, little-endian; the highest bit says that it is out of date |
//! | … | the registers, in the form of `registers` or `sparse` |

use std::borrow::Cow;

use super::registers::{DENSE, Registers, dense_get, dense_set};
use super::sparse::{self, Raised};
use crate::commands::Refused;

const MAGIC: &[u8] = b"HYLL";
const FORM: usize = 4;
const CACHE: usize = 8;
/// Last byte of the cached number of elements, whose highest bit says that the number is out of date.
const STALE: usize = 15;
const HEADER: usize = 16;

const DENSE_FORM: u8 = 0;
const SPARSE_FORM: u8 = 1;

const NOT_ONE: Refused = Refused::Because("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPT: Refused = Refused::Because("INVALIDOBJ Corrupted HLL object detected");

/// A HyperLogLog, borrowed from a string until it is changed.
#[derive(Clone, Debug)]
pub(super) struct Sketch<'v> {
    bytes: Cow<'v, [u8]>,
}

impl<'v> Sketch<'v> {
    /// A HyperLogLog that has seen nothing.
    pub(super) fn new() -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[FORM] = SPARSE_FORM;
        // As many zeros as there are registers.
        bytes.extend_from_slice(&[0x7f, 0xff]);
        Self { bytes: bytes.into() }
    }

    /// Reads a string as a HyperLogLog.
    ///
    /// # Errors
    /// If it is none. What its registers are is checked by whoever looks at them.
    pub(super) fn read(bytes: &'v [u8]) -> Result<Self, Refused> {
        let fits = bytes.starts_with(MAGIC)
            && match bytes.get(FORM) {
                Some(&DENSE_FORM) => bytes.len() == HEADER + DENSE,
                Some(&SPARSE_FORM) => bytes.len() >= HEADER,
                _ => false,
            };
        if fits { Ok(Self { bytes: bytes.into() }) } else { Err(NOT_ONE) }
    }

    /// Whether the registers are in dense form.
    pub(super) fn is_dense(&self) -> bool {
        self.bytes[FORM] == DENSE_FORM
    }

    fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    /// Refuses sparse registers that are not exactly as many as there must be.
    pub(super) fn check(&self) -> Result<(), Refused> {
        if self.is_dense() || sparse::is_whole(self.body()) { Ok(()) } else { Err(CORRUPT) }
    }

    /// The runs of sparse registers.
    pub(super) fn runs(&self) -> impl Iterator<Item = sparse::Run> {
        sparse::runs(self.body())
    }

    /// Raises `registers` to those of this HyperLogLog that are higher.
    pub(super) fn merge_into(&self, registers: &mut Registers) -> Result<(), Refused> {
        self.check()?;
        if self.is_dense() {
            registers.merge_dense(self.body());
        } else {
            sparse::merge(registers, self.body());
        }
        Ok(())
    }

    /// The cached number of elements, if it is up to date.
    pub(super) fn kept(&self) -> Option<u64> {
        let cached = self.bytes[CACHE..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        cached.filter(|_| self.bytes[STALE] & 0x80 == 0)
    }

    /// Caches a number of elements, which is far below 2^63.
    pub(super) fn keep(&mut self, count: u64) {
        self.bytes.to_mut()[CACHE..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// Raises a register. Returns whether it was lower. Sparse registers become dense where they would take more than
    /// `most` bytes with the header. The registers must have been checked.
    pub(super) fn raise(&mut self, index: usize, value: u8, most: usize) -> bool {
        if !self.is_dense() {
            match sparse::raise(self.bytes.to_mut(), HEADER, index, value, most) {
                Raised::No => return false,
                Raised::Yes => return true,
                Raised::TooLarge => self.make_dense(),
            }
        }
        if dense_get(self.body(), index) >= value {
            return false;
        }
        dense_set(&mut self.bytes.to_mut()[HEADER..], index, value);
        true
    }

    /// Brings the registers into dense form. They must have been checked.
    pub(super) fn make_dense(&mut self) {
        if self.is_dense() {
            return;
        }
        let mut registers = Registers::new();
        sparse::merge(&mut registers, self.body());
        self.put_dense(&registers);
    }

    /// Replaces the registers: in sparse form if that takes at most `most` bytes with the header and `dense` does not
    /// ask for the other form.
    pub(super) fn put(&mut self, registers: &Registers, dense: bool, most: usize) {
        let bytes = self.bytes.to_mut();
        bytes.truncate(HEADER);
        bytes[FORM] = SPARSE_FORM;
        let fits = !dense && sparse::write(registers, bytes).is_some() && bytes.len() <= most;
        if !fits {
            self.put_dense(registers);
        }
    }

    fn put_dense(&mut self, registers: &Registers) {
        let bytes = self.bytes.to_mut();
        bytes.truncate(HEADER);
        bytes[FORM] = DENSE_FORM;
        registers.write_dense(bytes);
    }

    /// Notes that the cached number of elements is out of date.
    pub(super) fn make_stale(&mut self) {
        self.bytes.to_mut()[STALE] |= 0x80;
    }

    /// The bytes of the string.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
