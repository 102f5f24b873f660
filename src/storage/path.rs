//! Names of the files and directories in a data directory.
//!
//! ```text
//! LOCK                                    locked by the process that uses the directory
//! manifest.0, manifest.1                  the manifest, in two copies
//! log/0000000003/00001/<first lsn>.seg    segments of epoch 3, core 1; the lsn has 20 digits
//! log/0000000003/00001/next.tmp           space for the next segment; holds no edits
//! snapshots/00017/0000000003-<lsn>.snap   partition 17 at position 3.<lsn>
//! incoming/                               snapshots being uploaded by the checkpoint node, or written by cores
//! node/                                   directory of the checkpoint node, when it runs as a child process
//! aside/                                  files that were set aside because nothing refers to them
//! reserve                                 space for starts on a full disk; holds no data
//! mirror-of                               in a checkpoint node's directory: the data directory that it mirrors
//! ```
//!
//! Numbers are zero-padded, so that names sort in numeric order.

use std::path::{Path, PathBuf};

use crate::ids::{CoreId, Epoch, Lsn, PartitionId, Position, StreamId};

/// Name of the lock file.
pub const LOCK: &str = "LOCK";
/// Names of the manifest's two copies.
pub const MANIFESTS: [&str; 2] = ["manifest.0", "manifest.1"];
/// Name of the file that holds the space prepared for a stream's next segment.
pub const NEXT: &str = "next.tmp";
/// Directory of the logs.
pub const LOG: &str = "log";
/// Directory of the installed snapshots.
pub const SNAPSHOTS: &str = "snapshots";
/// Directory of snapshots that are being uploaded, or written by cores.
pub const INCOMING: &str = "incoming";
/// Directory of the checkpoint node when it runs as a child process.
pub const NODE: &str = "node";
/// Name of the file in a checkpoint node's directory that says which data directory it mirrors.
pub const MIRROR_OF: &str = "mirror-of";
/// Directory of files that were set aside because nothing refers to them.
pub const ASIDE: &str = "aside";

/// Name of the file that keeps space for starts on a full disk.
pub const RESERVE: &str = "reserve";

/// The directory of an epoch's logs.
pub fn epoch(data: &Path, epoch: Epoch) -> PathBuf {
    data.join(LOG).join(format!("{:010}", epoch.0))
}

/// The directory of a stream.
pub fn stream(data: &Path, stream: StreamId) -> PathBuf {
    epoch(data, stream.epoch).join(format!("{:05}", stream.core.0))
}

/// The file name of the segment that begins with `first`.
pub fn segment_name(first: Lsn) -> String {
    format!("{:020}.seg", first.0)
}

/// The segment of `stream` that begins with `first`.
pub fn segment(data: &Path, id: StreamId, first: Lsn) -> PathBuf {
    stream(data, id).join(segment_name(first))
}

/// The directory of a partition's snapshots.
pub fn partition(data: &Path, partition: PartitionId) -> PathBuf {
    data.join(SNAPSHOTS).join(format!("{:05}", partition.0))
}

/// The file name of the snapshot at `position`.
pub fn snapshot_name(position: Position) -> String {
    format!("{:010}-{:020}.snap", position.epoch.0, position.lsn.0)
}

/// The snapshot of a partition at `position`.
pub fn snapshot(data: &Path, id: PartitionId, position: Position) -> PathBuf {
    partition(data, id).join(snapshot_name(position))
}

/// The epoch whose logs a directory of this name holds.
pub fn parse_epoch(name: &str) -> Option<Epoch> {
    parse::<u32>(name, 10).map(Epoch)
}

/// The core whose stream a directory of this name holds.
pub fn parse_core(name: &str) -> Option<CoreId> {
    parse::<u16>(name, 5).map(CoreId)
}

/// First lsn of the segment with this file name.
pub fn parse_segment(name: &str) -> Option<Lsn> {
    parse::<u64>(name.strip_suffix(".seg")?, 20).map(Lsn)
}

/// The partition whose snapshots a directory of this name holds.
pub fn parse_partition(name: &str) -> Option<PartitionId> {
    parse::<u16>(name, 5).map(PartitionId)
}

/// Position of the snapshot with this file name.
pub fn parse_snapshot(name: &str) -> Option<Position> {
    let (epoch, lsn) = name.strip_suffix(".snap")?.split_once('-')?;
    Some(Position::new(parse_epoch(epoch)?, Lsn(parse::<u64>(lsn, 20)?)))
}

/// Parses a number of exactly `digits` digits: names with other spellings are not ours.
fn parse<T: std::str::FromStr>(name: &str, digits: usize) -> Option<T> {
    let plain = name.len() == digits && name.bytes().all(|b| b.is_ascii_digit());
    if plain { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_nothing_else_does() {
        let position = Position::new(Epoch(3), Lsn(u64::MAX));
        assert_eq!(parse_snapshot(&snapshot_name(position)), Some(position));
        assert_eq!(parse_segment(&segment_name(Lsn(1))), Some(Lsn(1)));
        assert_eq!((parse_core("00300"), parse_core("300"), parse_core("65536")), (Some(CoreId(300)), None, None));
        assert_eq!(segment(Path::new("d"), StreamId::new(Epoch(3), CoreId(1)), Lsn(7)), {
            PathBuf::from("d/log/0000000003/00001/00000000000000000007.seg")
        });
        for name in
            ["1.seg", "+0000000000000000001.seg", "00000000000000000001.seg.tmp", "99999999999999999999.seg", NEXT]
        {
            assert_eq!(parse_segment(name), None, "{name}");
        }
    }
}
