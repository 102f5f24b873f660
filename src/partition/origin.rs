//! What a partition is recovered from: a snapshot and the log after it, or the log alone. A table, consulted row by
//! row. Pure.
//!
//! A snapshot that was written slot by slot is like any other here: its position is that of its oldest slot, and edits
//! that a slot has already are skipped there ([`super::replica`]).

/// What a generation of a partition's snapshots proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// None is installed.
    Missing,
    /// It was loaded.
    Good,
    /// It is damaged, gone, or not the one that the manifest names.
    Bad,
}

/// How far back the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// To the first edit that the partition ever had.
    Whole,
    /// To some later edit.
    Partial,
}

/// What a partition's state is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The newest snapshot and the log after it.
    Newest,
    /// The snapshot before it, and the log after that one. The newest is set aside.
    Older,
    /// All of the log that there is. Snapshots that proved bad are set aside.
    Log,
    /// Nothing: the state cannot be known, and the start is refused.
    Refused,
}

/// A row of the table: a condition (`None` fits everything) and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the newest snapshot must be.
    pub newest: Snapshot,
    /// What the one before it must be. It is read only if a row asks.
    pub older: Option<Snapshot>,
    /// How far back the log must go.
    pub log: Option<Log>,
    /// What follows.
    pub origin: Origin,
}

const fn row(newest: Snapshot, older: Option<Snapshot>, log: Option<Log>, origin: Origin) -> Row {
    Row { newest, older, log, origin }
}

/// The first row that fits decides. Log is dropped only behind the older snapshot, or where it has no edits of a
/// partition without snapshots: the last row needs no more of it than there is.
pub const TABLE: [Row; 7] = [
    row(Snapshot::Good, None, None, Origin::Newest),
    row(Snapshot::Bad, Some(Snapshot::Good), None, Origin::Older),
    row(Snapshot::Bad, Some(Snapshot::Bad), Some(Log::Whole), Origin::Log),
    row(Snapshot::Bad, Some(Snapshot::Bad), Some(Log::Partial), Origin::Refused),
    row(Snapshot::Bad, Some(Snapshot::Missing), Some(Log::Whole), Origin::Log),
    row(Snapshot::Bad, Some(Snapshot::Missing), Some(Log::Partial), Origin::Refused),
    row(Snapshot::Missing, Some(Snapshot::Missing), None, Origin::Log),
];

/// Consults the table. What it has no row for is refused: no manifest names only an older snapshot.
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
