//! Planted bugs that leave out a sync. They are planted in the model disk, which reports the sync as done and does
//! nothing, so that the tested code stays unchanged.

use std::path::Path;

use crate::planted::{Bug, is_planted};
use crate::storage::path;

/// Whether the sync of a file through [`Files`](crate::storage::Files) is left out.
pub(super) fn leaves_out_file(file: &Path) -> bool {
    let is_manifest = || path::MANIFESTS.iter().any(|name| file.ends_with(name));
    let is_incoming = || file.parent().is_some_and(|dir| dir.ends_with(path::INCOMING));
    (is_planted(Bug::ManifestUnsynced) && is_manifest()) || (is_planted(Bug::SnapshotUnsynced) && is_incoming())
}

/// Whether the sync of a directory through [`Files`](crate::storage::Files) is left out.
pub(super) fn leaves_out_dir(dir: &Path) -> bool {
    let is_stream = || dir.ancestors().nth(2).is_some_and(|log| log.ends_with(path::LOG));
    let holds_snapshots =
        || dir.ends_with(path::INCOMING) || dir.parent().is_some_and(|parent| parent.ends_with(path::SNAPSHOTS));
    (is_planted(Bug::FirstSegmentUnsynced) && is_stream())
        || (is_planted(Bug::SnapshotNameUnsynced) && holds_snapshots())
}

/// Whether the log's sync of a new segment's header is left out.
pub(super) fn leaves_out_header() -> bool {
    is_planted(Bug::SegmentHeaderUnsynced)
}

/// Whether the log's sync of the directory after renaming a new segment is left out.
pub(super) fn leaves_out_segment_name() -> bool {
    is_planted(Bug::SegmentNameUnsynced)
}

/// Whether a commit of the log is reported as done when it has only begun.
pub(super) fn commits_early() -> bool {
    is_planted(Bug::AcknowledgedBeforeSync)
}

/// Whether a failed commit of the log is reported as done.
pub(super) fn hides_failures() -> bool {
    is_planted(Bug::FailedSyncAccepted)
}
