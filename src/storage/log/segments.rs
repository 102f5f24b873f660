//! Which segment files of a stream are to be read, and whether they are all there.

use std::path::PathBuf;

use super::reader::StreamSpec;
use crate::encoding::frame::StreamId;
use crate::ids::Lsn;
use crate::storage::{Corruption, StorageError, file, path};

/// First lsns of the segments of a stream that are on disk, in order.
pub(super) fn listed(dir: &std::path::Path, stream: StreamId) -> Result<Vec<Lsn>, StorageError> {
    let names = file::list(&path::stream(dir, stream))?;
    Ok(names.iter().filter_map(|name| path::parse_segment(name)).collect())
}

/// The segments that hold the edits from `from` (or what is kept) up to the stream's end, with their first lsns.
///
/// # Errors
/// If the first of them is missing. Whether they follow each other without a gap shows when they are read.
pub(super) fn plan(spec: &StreamSpec, from: Lsn) -> Result<Vec<(Lsn, PathBuf)>, StorageError> {
    let start = from.max(spec.first).max(Lsn(1));
    if spec.last.is_some_and(|last| last < start) {
        return Ok(Vec::new());
    }
    let firsts = listed(&spec.dir, spec.stream)?;
    let skipped = firsts.iter().rposition(|first| *first <= start);
    let Some(skipped) = skipped else {
        let why = format!("the segment that holds edit {start} is missing");
        return Err(Corruption::new(&path::stream(&spec.dir, spec.stream), 0, why).into());
    };
    let wanted = firsts[skipped..].iter().filter(|first| spec.last.is_none_or(|last| **first <= last));
    Ok(wanted.map(|first| (*first, path::segment(&spec.dir, spec.stream, *first))).collect())
}
