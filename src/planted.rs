//! Bugs that the simulator's own test plants, to prove that the simulator finds bugs of their kind. Compiled only for
//! this crate's tests; in every other build nothing can be planted.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "some are planted in the model disk, which only the tests have"))]
pub(crate) enum Bug {
    /// A commit is called durable before it is written.
    AcknowledgedBeforeSync,
    /// A commit whose sync failed is called durable all the same.
    FailedSyncAccepted,
    /// The directory entry of a new segment is not synced.
    SegmentNameUnsynced,
    /// A segment gets its name before its header is on disk.
    SegmentHeaderUnsynced,
    /// The directory entries of an epoch's first segments are not synced.
    FirstSegmentUnsynced,
    /// The end of a cleanly closed stream is not recorded.
    EndNotRecorded,
    /// A reply leaves when its edit is synced, not when no crash can cut it off any more.
    AcknowledgedWhenSynced,
    /// The checkpoint node is sent what is synced, not what no crash can cut off any more.
    ShippedWhenSynced,
    /// The ends of the streams are recorded in place of the cut.
    CutNotRecorded,
    /// One core applies edits that were cut off.
    CutIgnored,
    /// Recovery does not sync what it has read.
    TailTrusted,
    /// Recovery does not rewrite data that may only be in a cache.
    CacheTrusted,
    /// A torn commit left by a crash is treated as corruption.
    TornTailRefused,
    /// Frame checksums are not verified.
    ChecksumIgnored,
    /// Positions of different epochs are compared by lsn alone.
    EpochIgnored,
    /// A snapshot claims to contain one edit more than it does.
    SnapshotAhead,
    /// The manifest is not synced.
    ManifestUnsynced,
    /// Segments are deleted before the manifest that names their snapshots is on disk.
    DroppedBeforeRecorded,
    /// A stream's segments are deleted once a snapshot of any of its partitions covers them, instead of all.
    CoveredByOne,
    /// An installed snapshot is not synced.
    SnapshotUnsynced,
    /// The directory entry of an installed snapshot is not synced.
    SnapshotNameUnsynced,
    /// The manifest names a snapshot before the snapshot is in place.
    RecordedBeforeMoved,
    /// A snapshot is installed though the newest snapshot of another partition lacks a value that it has given away.
    TransfersIgnored,
    /// A snapshot becomes the older one though that of another partition lacks a value that it has given away.
    OlderTransfersIgnored,
    /// Snapshots that need each other are recorded one after the other.
    RecordedOneByOne,
    /// A snapshot forgets the values that its partition has given away in former lives of the master.
    TransfersForgotten,
    /// A slot that a value leaves while a core takes its partition's snapshot is not captured before that.
    MovedPastCapture,
    /// Edits of a value that has moved to another slot do not reach the capture that follows it.
    FollowedEditsForgotten,
    /// A slot that a followed value comes to is captured after that, together with the value.
    FollowedTwice,
    /// The edits of a group are logged one by one instead of as a unit.
    GroupSplit,
    /// A read does not wait until the edit that it observed is acknowledged.
    ReadNotGated,
    /// The node follows a stream starting one edit too late.
    FollowedLate,
    /// The node captures a state later than its barrier.
    CapturedLate,
    /// A node that delivers no snapshots is still relied on.
    FailingNodeCounts,
    /// An edit is acknowledged as mirrored when it is durable on the master but not yet on the node.
    MirroredWhenDurable,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether `bug` is planted in this thread.
#[inline]
pub(crate) fn is_planted(bug: Bug) -> bool {
    #[cfg(test)]
    return PLANTED.get() == Some(bug);
    #[cfg(not(test))]
    {
        let _ = bug;
        false
    }
}

/// Plants a bug in this thread, replacing any previous one.
#[cfg(test)]
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
