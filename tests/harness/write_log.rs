//! Every write and flush that reached a disk, as `qemu-storage-daemon` has logged them, and the states in which a power
//! failure could have left the disk.
//!
//! The log has the format of dm-log-writes: a superblock, then per entry a header of one sector and the data.
//!
//! | offset in a header | bytes | what |
//! |---|---|---|
//! | 0 | 8 | first sector that was written, little-endian as all numbers |
//! | 8 | 8 | number of sectors |
//! | 16 | 8 | flags: 1 = flush, 4 = discard (no data follows) |
//! | 24 | 8 | length of the mark's text; no marks are made here |

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;

const SECTOR: usize = 512;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// A write or a flush.
struct Entry {
    /// Where it writes to, in sectors.
    sector: u64,
    /// Where in the log its data lies; empty for a flush.
    data: std::ops::Range<usize>,
    flush: bool,
    /// Where in the log it ends.
    end: usize,
}

/// The log of a run that is over.
pub struct WriteLog {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// What was done to the writes that no flush had followed.
#[derive(Debug, Default)]
pub struct Unflushed {
    /// On disk.
    pub kept: u32,
    /// Not on disk.
    pub dropped: u32,
    /// Some of their sectors on disk.
    pub torn: u32,
}

impl WriteLog {
    /// Reads the log.
    pub fn read(log: &Path) -> Self {
        let bytes = fs::read(log).expect("read a log of writes");
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let mut entries = Vec::new();
        let mut at = SECTOR;
        while at + SECTOR <= bytes.len() {
            let (sector, sectors, flags) = (number(at), number(at + 8) as usize, number(at + 16));
            assert_eq!(flags & DISCARD, 0, "the file system was mounted without discard");
            let data = at + SECTOR..at + SECTOR + sectors * SECTOR;
            at = data.end;
            entries.push(Entry { sector, data, flush: flags & FLUSH != 0, end: at });
        }
        Self { bytes, entries }
    }

    /// Number of its entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How long the log was when entry `at` had been written.
    pub fn length_at(&self, at: usize) -> usize {
        self.entries[at].end
    }

    /// The last flush up to entry `at`: every write before it is durable.
    pub fn last_flush(&self, at: usize) -> usize {
        self.entries[..=at].iter().rposition(|entry| entry.flush).unwrap_or(0)
    }

    /// Writes entries to an image of the disk.
    pub fn apply(&self, image: &File, entries: std::ops::Range<usize>) {
        for entry in &self.entries[entries] {
            image.write_all_at(&self.bytes[entry.data.clone()], entry.sector * SECTOR as u64).expect("write an image");
        }
    }

    /// Writes some of the entries, as a disk may that loses power: each whole, not at all, or in part.
    pub fn apply_some(&self, image: &File, entries: std::ops::Range<usize>, rng: &mut Rng) -> Unflushed {
        let mut done = Unflushed::default();
        // Disks that lose little and disks that lose much find different bugs.
        let keeps = rng.choice([0, 50, 90, 100]).expect("one of four");
        for entry in &self.entries[entries] {
            let sectors = self.bytes[entry.data.clone()].chunks(SECTOR).zip(entry.sector..);
            let is_torn = rng.u8(0..8) == 0 && entry.data.len() > SECTOR;
            let is_kept = rng.u8(0..100) < keeps;
            done.torn += u32::from(is_torn);
            done.kept += u32::from(is_kept && !is_torn);
            done.dropped += u32::from(!is_kept && !is_torn);
            for (bytes, sector) in sectors {
                if if is_torn { rng.bool() } else { is_kept } {
                    image.write_all_at(bytes, sector * SECTOR as u64).expect("write an image");
                }
            }
        }
        done
    }
}
