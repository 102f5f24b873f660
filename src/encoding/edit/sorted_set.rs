//! Edits of sorted sets: their members with scores, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use flatbuffers::{Vector, WIPOffset};

use super::elements::{self, Elements};
use super::{Body, Builder, Change, EditError, UnixMillis, fb};

/// Members of a sorted set with their scores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scored<'a> {
    /// Per member: its score, 8 bytes, little-endian.
    scores: Cow<'a, [u8]>,
    members: Elements<'a>,
}

const SCORE: usize = 8;

/// Whether a number can be a score: -0 is none, so that equal scores have equal bits.
#[inline]
pub(crate) fn is_score(number: f64) -> bool {
    !number.is_nan() && (number != 0.0 || number.is_sign_positive())
}

impl Scored<'_> {
    /// Adds a member.
    ///
    /// # Panics
    /// If it has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, member: &[u8], score: f64) {
        self.scores.to_mut().extend_from_slice(&score.to_le_bytes());
        self.members.push(member);
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members and scores, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], f64)> {
        let scores = self.scores.as_chunks::<SCORE>().0.iter().map(|score| f64::from_le_bytes(*score));
        self.members.iter().zip(scores)
    }
}

/// Reusable buffer in which members with scores are assembled. Reused, it seldom allocates.
#[derive(Debug, Default)]
pub struct ScoredBuffer {
    scores: Vec<u8>,
    members: elements::ElementsBuffer,
}

impl ScoredBuffer {
    /// Removes all members.
    pub fn clear(&mut self) {
        self.scores.clear();
        self.members.clear();
    }

    /// Adds a member.
    ///
    /// # Panics
    /// If it has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, member: &[u8], score: f64) {
        self.scores.extend_from_slice(&score.to_le_bytes());
        self.members.push(member);
    }

    /// The members that have been added.
    pub fn members(&self) -> Scored<'_> {
        Scored { scores: Cow::Borrowed(&self.scores), members: self.members.elements() }
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        self.scores.capacity() + self.members.capacity()
    }
}

pub(super) fn decode_put(put: fb::PutSortedSet<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Ok(Change::PutSortedSet { members: scored(put.scores(), put.lengths(), put.bytes())?, expire_at })
}

pub(super) fn decode_set(set: fb::SetScores<'_>) -> Result<Change<'_>, EditError> {
    scored(set.scores(), set.lengths(), set.bytes()).map(Change::SetScores)
}

pub(super) fn decode_remove(remove: fb::RemoveScored<'_>) -> Result<Change<'_>, EditError> {
    elements::decode(remove.lengths(), remove.bytes()).map(Change::RemoveScored)
}

pub(super) fn decode_ranks(remove: fb::RemoveRanks<'_>) -> Change<'_> {
    Change::RemoveRanks { first: remove.first(), count: remove.count() }
}

/// Reads members with scores from a verified flatbuffer.
fn scored<'a>(
    scores: Vector<'a, f64>,
    lengths: Vector<'a, u32>,
    bytes: Vector<'a, u8>,
) -> Result<Scored<'a>, EditError> {
    if scores.len() != lengths.len() || !scores.iter().all(is_score) {
        return Err(EditError::Meaningless("members without scores"));
    }
    Ok(Scored { scores: Cow::Borrowed(scores.bytes()), members: elements::decode(lengths, bytes)? })
}

pub(super) fn build_put(b: &mut Builder, members: &Scored<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (scores, (lengths, bytes)) = build_scored(b, members);
    let put = fb::PutSortedSet::create(b, &fb::PutSortedSetArgs { scores, lengths, bytes, expire_at_ms });
    (fb::Change::PutSortedSet, put.as_union_value())
}

pub(super) fn build_set(b: &mut Builder, members: &Scored<'_>) -> Body {
    let (scores, (lengths, bytes)) = build_scored(b, members);
    let set = fb::SetScores::create(b, &fb::SetScoresArgs { scores, lengths, bytes });
    (fb::Change::SetScores, set.as_union_value())
}

pub(super) fn build_remove(b: &mut Builder, members: &Elements<'_>) -> Body {
    let (lengths, bytes) = elements::build(b, members);
    let remove = fb::RemoveScored::create(b, &fb::RemoveScoredArgs { lengths, bytes });
    (fb::Change::RemoveScored, remove.as_union_value())
}

pub(super) fn build_ranks(b: &mut Builder, first: u64, count: u64) -> Body {
    let remove = fb::RemoveRanks::create(b, &fb::RemoveRanksArgs { first, count });
    (fb::Change::RemoveRanks, remove.as_union_value())
}

type ScoreOffset = Option<WIPOffset<Vector<'static, f64>>>;

fn build_scored(b: &mut Builder, members: &Scored<'_>) -> (ScoreOffset, elements::Offsets) {
    let (scores, _) = members.scores.as_chunks::<SCORE>();
    b.start_vector::<f64>(scores.len());
    for score in scores.iter().rev() {
        b.push(f64::from_le_bytes(*score));
    }
    let scores = b.end_vector(scores.len());
    (Some(scores), elements::build(b, &members.members))
}
