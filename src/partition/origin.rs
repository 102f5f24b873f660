//! Decides what a partition is recovered from: a snapshot and the log after it, or the log alone. A table whose first
//! fitting row decides. Pure.
//!
//! A snapshot that a core has written slot by slot is treated like any other: its position is that of its barrier, and
//! edits that a slot already holds are skipped during replay ([`super::replica`]).

/// State of one generation of a partition's snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// No snapshot of this generation is installed.
    Missing,
    /// The snapshot was loaded.
    Good,
    /// The snapshot is damaged, missing, or not the one that the manifest names.
    Bad,
}

/// How far back the log of a partition reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// To the first edit that the partition ever had.
    Whole,
    /// To some later edit.
    Partial,
}

/// What a partition's state is recovered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The newest snapshot and the log after it.
    Newest,
    /// The older snapshot and the log after it. The newest snapshot is set aside.
    Older,
    /// The whole log that is kept. Snapshots that proved bad are set aside.
    Log,
    /// Nothing: the state cannot be known, so the start is refused.
    Refused,
}

/// A row of the table: conditions (`None` fits everything) and the origin that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Required state of the newest snapshot.
    pub newest: Snapshot,
    /// Required state of the older snapshot. That snapshot is read only if a row asks.
    pub older: Option<Snapshot>,
    /// How far back the log must reach.
    pub log: Option<Log>,
    /// The origin that follows.
    pub origin: Origin,
}

const fn row(newest: Snapshot, older: Option<Snapshot>, log: Option<Log>, origin: Origin) -> Row {
    Row { newest, older, log, origin }
}

/// The table; the first row that fits decides. The last row needs no condition on the log: for a partition without
/// snapshots, log is dropped only where it holds no edits of that partition (otherwise only behind the older snapshot).
pub const TABLE: [Row; 7] = [
    row(Snapshot::Good, None, None, Origin::Newest),
    row(Snapshot::Bad, Some(Snapshot::Good), None, Origin::Older),
    row(Snapshot::Bad, Some(Snapshot::Bad), Some(Log::Whole), Origin::Log),
    row(Snapshot::Bad, Some(Snapshot::Bad), Some(Log::Partial), Origin::Refused),
    row(Snapshot::Bad, Some(Snapshot::Missing), Some(Log::Whole), Origin::Log),
    row(Snapshot::Bad, Some(Snapshot::Missing), Some(Log::Partial), Origin::Refused),
    row(Snapshot::Missing, Some(Snapshot::Missing), None, Origin::Log),
];

/// Looks the origin up in the table. A case without a row is refused: no manifest names an older snapshot without a
/// newer.
///
/// # Errors
/// If `older`, which reads the older snapshot, fails.
pub fn origin<E>(newest: Snapshot, log: Log, older: impl FnOnce() -> Result<Snapshot, E>) -> Result<Origin, E> {
    let rows = || TABLE.iter().filter(|row| row.newest == newest);
    let older = if rows().any(|row| row.older.is_some()) { Some(older()?) } else { None };
    let fits =
        |row: &&Row| row.older.is_none_or(|wanted| Some(wanted) == older) && row.log.is_none_or(|wanted| wanted == log);
    Ok(rows().find(fits).map_or(Origin::Refused, |row| row.origin))
}
