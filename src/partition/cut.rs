//! Where the streams of an epoch that did not end in good order are cut off: one decision over all of them.
//!
//! Always, for each stream: durable ≤ cut ≤ end. Edits up to *durable* stay: a frame or a snapshot says that no crash
//! takes them away. Those from there to the *end* are on disk, but a part of a transaction is of no use if another
//! stream has lost a part of the same one; whatever follows it in its stream then goes with it.
//!
//! Every core holds back the edits after *durable* of the streams that it reads ([`super::recovery`]) until the cut is
//! decided here, and then goes on to the cut. A crash before the cut is recorded lets the next start decide anew, for
//! nobody was served; after that it finds every stream ended, and no reader ever goes past the cut. A new epoch begins
//! only then.

use crate::ids::{CoreId, Lsn, PartitionId, StreamId};
use crate::planted::{Bug, is_planted};
use crate::storage::{Corruption, DataDir, Files, Installed, StorageError, StreamEnd, Unproven, path};

/// A stream that has no recorded end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which.
    pub stream: StreamId,
    /// Edits up to here stay.
    pub durable: Lsn,
    /// The last edit that is on disk.
    pub end: Lsn,
}

/// A rule for cutting streams off: for each tail, in the same order, the last edit that is kept.
pub type Rule<'a> = &'a dyn Fn(&[Tail]) -> Vec<Lsn>;

/// The rule for streams that do not depend on each other: each is kept to its end.
pub fn keep_all(tails: &[Tail]) -> Vec<Lsn> {
    tails.iter().map(|tail| tail.end).collect()
}

/// What one core has found in the files and all have to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The streams that it has read, and where they end.
    pub ends: Vec<(StreamId, StreamEnd)>,
    /// Snapshots that proved bad and were done without. They are still in the manifest: nothing is changed unless all
    /// cores recover.
    pub bad: Vec<(PartitionId, Installed)>,
}

/// Where the streams of the newest epoch are cut off that have no recorded end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Each of these streams with the last edit that is kept.
    streams: Vec<(Tail, Lsn)>,
    unproven: Vec<Unproven>,
    bad: Vec<(PartitionId, Installed)>,
}

impl Cut {
    /// Decides by `rule`, from what all cores have found.
    ///
    /// # Errors
    /// If a stream without a recorded end was read by no core, or ended differently for two of them; or if the rule
    /// says that an edit is cut off which is durable, or kept which is not there: then the streams contradict each
    /// other.
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

    /// The last edit that is kept of a stream; `None` if that was recorded before.
    pub fn last(&self, stream: StreamId) -> Option<Lsn> {
        self.streams.iter().find(|(tail, _)| tail.stream == stream).map(|(_, last)| *last)
    }

    /// The streams of which edits are cut off, with the last edit that is kept and the last that was there.
    pub fn cut_off(&self) -> impl Iterator<Item = (StreamId, Lsn, Lsn)> {
        let cut_off = self.streams.iter().filter(|(tail, last)| *last < tail.end);
        cut_off.map(|(tail, last)| (tail.stream, *last, tail.end))
    }

    /// Records the cut, and snapshots that proved bad, so that a new epoch may begin.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn record<F: Files>(&self, dir: &DataDir<F>) -> Result<(), StorageError> {
        for (partition, installed) in &self.bad {
            dir.discard_snapshot(*partition, *installed)?;
        }
        let Some((Tail { stream, .. }, _)) = self.streams.first() else { return Ok(()) };
        let last = |tail: &Tail, last| if is_planted(Bug::CutNotRecorded) { tail.end } else { last };
        let lasts: Vec<_> = self.streams.iter().map(|(tail, cut)| (tail.stream.core, last(tail, *cut))).collect();
        dir.end_epoch(stream.epoch, &lasts, &self.unproven)
    }
}

/// What several readings of one stream say together. One that began later in the stream may know less of what is
/// durable.
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
