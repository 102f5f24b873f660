//! What values need to know of an edit that changes one of them, and what they answer.

use super::digest::KeyDigest;
use super::table::{Hash, MAX_LENGTH, Seed};
use super::value::form::Structure;

/// A key under change.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    /// The key.
    pub bytes: &'k [u8],
    /// Where tables file it.
    pub hash: Hash,
    /// What its content's digest is mixed with.
    pub digest: KeyDigest,
}

impl<'k> Key<'k> {
    /// Hashes `bytes`, which are the key.
    #[inline]
    pub fn new(seed: Seed, bytes: &'k [u8]) -> Self {
        Self { bytes, hash: seed.hash(bytes), digest: KeyDigest::of(bytes) }
    }
}

/// What records are made with.
pub(super) struct Tools<'t> {
    /// Seed of the tables that a large value consists of.
    pub seed: Seed,
    /// Coarse time of use of each record that is made.
    pub clock: u32,
    /// Where packed values are put together.
    pub scratch: &'t mut Vec<u8>,
}

/// How a change left a key that was there before.
#[derive(Default)]
pub(super) struct Changed {
    /// By how much the digest of its value grew; wraps.
    pub digest: u64,
    /// The structure that the key held before, if it has been replaced.
    pub replaced: Option<Box<Structure>>,
    /// The value has lost its last element, so the key has to go.
    pub is_empty: bool,
}

impl Changed {
    /// The value stays, and its digest grew by `digest`.
    pub fn by(digest: u64) -> Self {
        Self { digest, ..Self::default() }
    }
}

/// Why an edit contradicts the state.
pub(super) type Contradiction = &'static str;

/// A key or a part of a value has more than [`MAX_LENGTH`] bytes.
pub(super) const TOO_LONG: Contradiction = "it is longer than a key or value may be";
/// The edit changes something of a key that is not there.
pub(super) const MISSING: Contradiction = "there is no such key";

/// Whether bytes are short enough for a key, a string, or an element of another value.
pub(super) const fn fit(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_LENGTH
}
