//! Bugs that the simulator's own test plants, to prove that it finds bugs of their kind. Compiled in only for this crate's tests;
//! everywhere else nothing is ever planted.

/// Something that is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A commit is called durable before it is written.
    AcknowledgedBeforeSync,
    /// A commit that failed is called durable all the same.
    FailedSyncAccepted,
    /// The name of a new segment is not synced.
    SegmentNameUnsynced,
    /// A segment gets its name before its header is on disk.
    SegmentHeaderUnsynced,
    /// The names of an epoch's first segments are not synced.
    FirstSegmentUnsynced,
    /// It is not recorded where a stream ended that was closed in good order.
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
    /// Recovery does not write again what may be in a cache only.
    CacheTrusted,
    /// What a crash left of a commit is taken for damage.
    TornTailRefused,
    /// A frame's checksum is not looked at.
    ChecksumIgnored,
    /// Positions of different epochs are compared by their lsn.
    EpochIgnored,
    /// A snapshot is said to hold one edit more than it does.
    SnapshotAhead,
    /// The manifest is not synced.
    ManifestUnsynced,
    /// Segments go before the manifest that names their snapshots is on disk.
    DroppedBeforeRecorded,
    /// A stream loses what any of its partitions covers, not what all do.
    CoveredByOne,
    /// An installed snapshot is not synced.
    SnapshotUnsynced,
    /// The name of an installed snapshot is not synced.
    SnapshotNameUnsynced,
    /// The manifest names a snapshot before it is in its place.
    RecordedBeforeMoved,
    /// The edits of a group are logged one by one.
    GroupSplit,
    /// A read does not wait for the edit that it tells of.
    ReadNotGated,
    /// The node follows a stream from one edit too late on.
    FollowedLate,
    /// The node captures a state later than its barrier.
    CapturedLate,
    /// A node that delivers no snapshots is counted on all the same.
    FailingNodeCounts,
    /// An edit is acknowledged as mirrored when it is durable here, and not yet at the node.
    MirroredWhenDurable,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is planted.
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

/// Plants a bug in this thread, in place of the one before.
#[cfg(test)]
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}
