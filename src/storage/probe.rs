//! Measures at start which way of making writes durable is faster on the device.
//!
//! Two ways of syncing are measured in two kinds of space. In space that is only reserved, the first sync of each block
//! must also record that it is written, which costs a write to the file system's journal; space that was filled with
//! zeros before avoids that.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use super::StorageError;
use super::error::Context;
use super::files::AlignedBuf;
use crate::encoding::frame::BLOCK;

/// Number of writes of each kind. The kinds take turns, so that a slow moment of the device affects all of them.
const ROUNDS: usize = 9;
/// The probe ends after this time, once it has completed [`FEW`] rounds.
const BUDGET: Duration = Duration::from_millis(150);
const FEW: usize = 3;

/// How a commit is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMethod {
    /// The file is open with `O_DSYNC`: a write returns when it is on disk.
    DsyncWrite,
    /// Writes are followed by `fdatasync`.
    #[default]
    WriteThenFdatasync,
}

/// Result of the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// The better way of syncing.
    pub method: SyncMethod,
    /// Whether segments are filled with zeros before they are used, because that syncs faster than space only reserved.
    pub zero_fill: bool,
    /// Median time of a durable 4 KiB write by `method`, in microseconds.
    pub commit_us: u32,
    /// The same as `commit_us`, by the other method.
    pub other_us: u32,
    /// The same as `commit_us` in the other kind of space.
    pub other_space_us: u32,
}

/// Measures for about 100 ms in the file system of `dir`, in a temporary file that is removed afterwards.
///
/// # Errors
/// If the file cannot be created or written with direct I/O, or the disk is full.
pub fn probe(dir: &Path) -> Result<Probed, StorageError> {
    let path = dir.join(format!("probe.{}.tmp", std::process::id()));
    let measured = measure(&path).context(&path, "cannot measure the disk");
    let removed = std::fs::remove_file(&path).context(&path, "cannot remove");
    let times = measured?;
    removed?;
    Ok(choose(times))
}

/// Median times in microseconds, as `[method][space]`: methods in the order of [`SyncMethod`]; space reserved, then
/// filled.
type Times = [[u32; 2]; 2];

fn measure(path: &Path) -> io::Result<Times> {
    let open = |flags| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
    };
    let direct = open(libc::O_DIRECT)?;
    let files = [open(libc::O_DIRECT | libc::O_DSYNC)?, direct];
    // The first half of the file is filled, the second only reserved.
    let half = (2 * ROUNDS * BLOCK) as u64;
    rustix::fs::fallocate(&files[1], FallocateFlags::empty(), 0, 2 * half)?;
    files[1].write_all_at(AlignedBuf::new(half as usize).bytes(), 0)?;
    files[1].sync_all()?;
    let mut buffer = AlignedBuf::new(BLOCK);
    buffer.bytes_mut().fill(1);
    let mut times: [[Vec<u32>; 2]; 2] = Default::default();
    let began = Instant::now();
    for round in 0..ROUNDS {
        for (method, file) in files.iter().enumerate() {
            for (space, base) in [half, 0].into_iter().enumerate() {
                let at = base + ((2 * round + method) * BLOCK) as u64;
                times[method][space].push(commit(file, method == 1, &buffer, at)?);
            }
        }
        if began.elapsed() > BUDGET && round + 1 >= FEW {
            break;
        }
    }
    Ok(times.map(|spaces| spaces.map(median)))
}

fn commit(file: &File, sync: bool, buffer: &AlignedBuf, at: u64) -> io::Result<u32> {
    let began = Instant::now();
    file.write_all_at(buffer.bytes(), at)?;
    if sync {
        file.sync_data()?;
    }
    Ok(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX))
}

fn median(mut times: Vec<u32>) -> u32 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Chooses the fastest of the four combinations. Filling with zeros writes everything twice, so it must save at least
/// an eighth. So must a separate sync: each takes a kernel thread, and with it four times as many context switches.
fn choose(times: Times) -> Probed {
    let best_reserved = times[0][0].min(times[1][0]);
    let best_filled = times[0][1].min(times[1][1]);
    let zero_fill = saves_an_eighth(best_filled, best_reserved);
    let space = usize::from(zero_fill);
    let method = usize::from(saves_an_eighth(times[1][space], times[0][space]));
    Probed {
        method: [SyncMethod::DsyncWrite, SyncMethod::WriteThenFdatasync][method],
        zero_fill,
        commit_us: times[method][space],
        other_us: times[1 - method][space],
        other_space_us: times[method][1 - space],
    }
}

fn saves_an_eighth(with: u32, without: u32) -> bool {
    u64::from(with) * 8 < u64::from(without) * 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_is_chosen_and_filling_must_pay() {
        let chosen = choose([[900, 300], [800, 400]]);
        assert_eq!((chosen.method, chosen.zero_fill, chosen.commit_us), (SyncMethod::DsyncWrite, true, 300));
        let chosen = choose([[400, 390], [330, 320]]);
        assert_eq!((chosen.method, chosen.zero_fill), (SyncMethod::WriteThenFdatasync, false));
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(probe(dir.path()).unwrap().commit_us > 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
