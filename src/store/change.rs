//! Input and output of an edit that changes one value.

use super::digest::KeyDigest;
use super::table::{Hash, MAX_LENGTH, Seed};
use super::value::form::Structure;
use crate::config::Packing;

/// The key that an edit changes.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    /// Name of the key.
    pub bytes: &'k [u8],
    /// Hash of the name, which determines its place in the tables.
    pub hash: Hash,
    /// Digest of the name, which ties the value's digest to the key.
    pub digest: KeyDigest,
}

impl<'k> Key<'k> {
    /// Computes hash and digest of the key named `bytes`.
    #[inline]
    pub fn new(seed: Seed, bytes: &'k [u8]) -> Self {
        Self { bytes, hash: seed.hash(bytes), digest: KeyDigest::of(bytes) }
    }
}

/// Resources for making records.
pub(super) struct Tools<'t> {
    /// Seed for the hash tables inside a large value.
    pub seed: Seed,
    /// Coarse time of last use given to each new record.
    pub clock: u32,
    /// How large packed values may grow.
    pub packing: Packing,
    /// Buffer in which packed values are assembled.
    pub scratch: &'t mut Vec<u8>,
}

/// Effect of a change on a key that already existed.
#[derive(Default)]
pub(super) struct Changed {
    /// Growth of the value's digest (wrapping).
    pub digest: u64,
    /// The structure that the key held before, if the change replaced it.
    pub replaced: Option<Box<Structure>>,
    /// Whether the value has lost its last element, so that the key must be deleted.
    pub is_empty: bool,
}

impl Changed {
    /// Result of a change that keeps the value and increases its digest by `digest`.
    pub fn by(digest: u64) -> Self {
        Self { digest, ..Self::default() }
    }

    /// Result of a change that removes elements and increases the digest by `digest`; `any_left` says whether the value
    /// has any left.
    pub fn left((any_left, digest): (bool, u64)) -> Self {
        Self { digest, replaced: None, is_empty: !any_left }
    }
}

/// Reason why an edit contradicts the state.
pub(super) type Contradiction = &'static str;

/// A key or a part of a value is longer than [`MAX_LENGTH`] bytes.
pub(super) const TOO_LONG: Contradiction = "it is longer than a key or value may be";
/// The edit changes a key that does not exist.
pub(super) const MISSING: Contradiction = "there is no such key";

/// Whether `bytes` is short enough for a key, a string, or an element of another value.
pub(super) const fn fit(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_LENGTH
}
