//! Finds the segment files of a stream that are to be read, and checks that they are there.

use std::path::{Path, PathBuf};

use super::extent::StreamSpec;
use super::segment::SegmentHeader;
use crate::encoding::frame::BLOCK;
use crate::ids::{DirectoryId, Lsn, StreamId};
use crate::storage::error::Context;
use crate::storage::files::{self, Access, AlignedBuf, Files};
use crate::storage::{Corruption, StorageError, path};

/// Lists the first lsns of the segments of a stream that are on disk, in order.
pub(super) fn listed<F: Files>(files: &F, dir: &Path, stream: StreamId) -> Result<Vec<Lsn>, StorageError> {
    let names = files::list(files, &path::stream(dir, stream))?;
    Ok(names.iter().filter_map(|name| path::parse_segment(name)).collect())
}

/// Returns the segments that hold the edits from `from` (or from the first kept edit) to the stream's end, with their
/// first lsns.
///
/// # Errors
/// If the first of these segments is missing. Gaps between segments are noticed when they are read.
pub(in crate::storage) fn plan<F: Files>(
    files: &F,
    spec: &StreamSpec,
    from: Lsn,
) -> Result<Vec<(Lsn, PathBuf)>, StorageError> {
    let start = from.max(spec.first).max(Lsn(1));
    if spec.last.is_some_and(|last| last < start) {
        return Ok(Vec::new());
    }
    let firsts = listed(files, &spec.dir, spec.stream)?;
    let skipped = firsts.iter().rposition(|first| *first <= start);
    let Some(skipped) = skipped else {
        let stream = spec.stream;
        let to = spec.last.map_or(String::new(), |last| format!(", which is known to have ended with {last}"));
        let why = format!("the segment is missing that holds edit {start} of stream {stream}{to}");
        return Err(Corruption::new(&path::stream(&spec.dir, spec.stream), 0, why).into());
    };
    let wanted = firsts[skipped..].iter().filter(|first| spec.last.is_none_or(|last| **first <= last));
    Ok(wanted.map(|first| (*first, path::segment(&spec.dir, spec.stream, *first))).collect())
}

/// Reads from a segment file's header which data directory and stream it belongs to.
pub(super) fn identify<F: Files>(files: &F, path: &Path) -> Result<(DirectoryId, SegmentHeader), StorageError> {
    let file = files.open(path, Access::ReadDirect).context(path, "cannot open")?;
    let mut block = AlignedBuf::new(BLOCK);
    let read = files::read_direct(&file, path, 0, block.bytes_mut())?;
    let Ok(block) = <&[u8; BLOCK]>::try_from(&block.bytes()[..read]) else {
        return Err(Corruption::new(path, read as u64, "the file ends within the segment's header").into());
    };
    let id = SegmentHeader::claimed_id(block);
    let header = SegmentHeader::parse(id, block).map_err(|why| Corruption::new(path, 0, why.to_string()))?;
    Ok((id, header))
}
