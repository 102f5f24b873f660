//! Decides the cut: the last edit that is kept of each stream of an epoch that ended in a crash. One decision over all
//! streams.
//!
//! Always, for each stream: durable ≤ cut ≤ end. Edits up to *durable* are kept: a frame or a snapshot says that no
//! crash can take them away. Edits from there to the *end* are on disk, but a part of a transaction is useless if
//! another stream has lost another part of it; the edits that follow it in its stream are then cut off too.
//!
//! Every core holds back the edits after *durable* in the streams that it reads ([`super::recovery`]) until the cut is
//! decided here, and then applies those up to the cut. If a crash comes before the cut is recorded, the next start
//! decides anew: nobody has been served. Once it is recorded, every stream has an end, and no reader goes past the cut.
//! Only then does a new epoch begin.

use crate::ids::{CoreId, Lsn, PartitionId, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::{Corruption, DataDir, Files, Installed, StorageError, StreamEnd, Unproven, path};

/// A stream whose end the manifest does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The stream.
    pub stream: StreamId,
    /// The last edit that is durable, so that the cut cannot take it away.
    pub durable: Lsn,
    /// The last edit that is on disk.
    pub end: Lsn,
}

/// A rule that decides the cut: given the tails, returns for each, in the same order, the last edit that is kept.
pub type Rule<'a> = &'a dyn Fn(&[Tail]) -> Vec<Lsn>;

/// The rule for streams that do not depend on each other: keeps each to its end.
pub fn keep_all(tails: &[Tail]) -> Vec<Lsn> {
    tails.iter().map(|tail| tail.end).collect()
}

/// What one core has found in the files that all cores have to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The streams that the core has read, and where each ends.
    pub ends: Vec<(StreamId, StreamEnd)>,
    /// Snapshots that recovery went without, because they proved bad or need others that did. The manifest still names
    /// them: nothing is changed unless all cores recover.
    pub bad: Vec<(PartitionId, Installed)>,
}

/// The cut: for each stream of the newest epoch without a recorded end, the last edit that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The streams without a recorded end, each with the last edit that is kept.
    streams: Vec<(Tail, Lsn)>,
    unproven: Vec<Unproven>,
    bad: Vec<(PartitionId, Installed)>,
}

impl Cut {
    /// Decides the cut by `rule`, from what all cores have found.
    ///
    /// # Errors
    /// If no core has read a stream without a recorded end, or two cores found different ends; or if the rule cuts off
    /// an edit that is durable, or keeps one that does not exist: then the streams contradict each other.
    ///
    /// # Panics
    /// If the rule does not return one edit for each tail.
    pub fn decide<F: Files>(dir: &DataDir<F>, findings: &[Findings], rule: Rule<'_>) -> Result<Self, StorageError> {
        let bad = findings.iter().flat_map(|found| found.bad.iter().copied()).collect();
        let manifest = dir.manifest();
        let Some(open) = manifest.open_epoch() else {
            return Ok(Self { streams: Vec::new(), unproven: Vec::new(), bad });
        };
        let mut unproven = Vec::new();
        let mut tails = Vec::new();
        for (core, _) in (0..).map(CoreId).zip(&open.streams).filter(|(_, record)| record.last.is_none()) {
            let stream = StreamId::new(open.epoch, core);
            let ends = findings.iter().flat_map(|found| &found.ends).filter(|(read, _)| *read == stream);
            let ends: Vec<&StreamEnd> = ends.map(|(_, end)| end).collect();
            tails.push(tail(stream, &ends).map_err(|why| contradiction(dir, stream, why))?);
            unproven.extend(ends.first().and_then(|end| end.unproven.clone()));
        }
        let lasts = rule(&tails);
        assert_eq!(lasts.len(), tails.len(), "a rule decides for every tail");
        for (tail, last) in tails.iter().zip(&lasts) {
            if *last < tail.durable || *last > tail.end {
                let (durable, end) = (tail.durable, tail.end);
                let why = format!(
                    "it would be cut off after edit {last}, but it is durable up to {durable} and ends with {end}"
                );
                return Err(contradiction(dir, tail.stream, why));
            }
        }
        Ok(Self { streams: tails.into_iter().zip(lasts).collect(), unproven, bad })
    }

    /// The last edit that is kept of `stream`; `None` if its end was recorded before.
    pub fn last(&self, stream: StreamId) -> Option<Lsn> {
        self.streams.iter().find(|(tail, _)| tail.stream == stream).map(|(_, last)| *last)
    }

    /// The streams that lose edits, each with the last edit that is kept and the last that was on disk.
    pub fn cut_off(&self) -> impl Iterator<Item = (StreamId, Lsn, Lsn)> {
        let cut_off = self.streams.iter().filter(|(tail, last)| *last < tail.end);
        cut_off.map(|(tail, last)| (tail.stream, *last, tail.end))
    }

    /// Records the cut in the manifest, and discards snapshots that proved bad, so that a new epoch may begin.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn record<F: Files>(&self, dir: &DataDir<F>) -> Result<(), StorageError> {
        dir.discard_snapshots(&self.bad)?;
        let Some((Tail { stream, .. }, _)) = self.streams.first() else { return Ok(()) };
        let last = |tail: &Tail, last| if is_planted(Bug::CutNotRecorded) { tail.end } else { last };
        let lasts: Vec<_> = self.streams.iter().map(|(tail, cut)| (tail.stream.core, last(tail, *cut))).collect();
        dir.end_epoch(stream.epoch, &lasts, &self.unproven)
    }
}

/// Combines what several cores have found of one stream. A core that began reading later in the stream may know a
/// smaller durable lsn, so the largest counts.
fn tail(stream: StreamId, ends: &[&StreamEnd]) -> Result<Tail, String> {
    let first = ends.first().ok_or("it was not read")?;
    if let Some(other) = ends.iter().find(|other| other.last != first.last) {
        return Err(format!(
            "it was read twice, and ended with edit {} first and then with {}",
            first.last, other.last
        ));
    }
    let durable = ends.iter().map(|end| end.durable).max().unwrap_or_default();
    Ok(Tail { stream, durable, end: first.last })
}

fn contradiction<F: Files>(dir: &DataDir<F>, stream: StreamId, why: String) -> StorageError {
    Corruption::new(&path::stream(dir.path(), stream), 0, format!("stream {stream}: {why}")).into()
}
