//! Keeps space for starts on a full disk, in a file without content. A start that finds no space for its log takes from
//! it what small first segments need; these accept only edits that free memory or space (see
//! [`Space::Reserve`](crate::storage::Space)).

use std::io;

use super::DataDir;
use crate::encoding::frame::BLOCK;
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, remove, sync_dir};
use crate::storage::log::segment::MIN_BYTES;
use crate::storage::{StorageError, path};

/// Largest size in bytes of a first segment made from the reserve.
const SPARE_SEGMENT: u64 = 512 << 10;
/// Number of starts on a full disk that the reserve is enough for. It is refilled when there is space.
const STARTS: u64 = 4;
/// Bytes that a start takes besides its segments: a block each for two longer manifests, for the epoch's directory, and
/// for `aside/`.
const BESIDES: u64 = 4 * BLOCK as u64;

/// Size in bytes of a first segment made from the reserve, if its normal size is `first_bytes`.
pub(super) fn spare_bytes(first_bytes: u64) -> u64 {
    (first_bytes / 4).min(SPARE_SEGMENT).next_multiple_of(BLOCK as u64).max(MIN_BYTES)
}

/// Bytes that a start of `cores` cores takes from the reserve: a directory and a segment for each core, and
/// [`BESIDES`].
fn one_start(cores: u16, first_bytes: u64) -> u64 {
    u64::from(cores) * (BLOCK as u64 + spare_bytes(first_bytes)) + BESIDES
}

impl<F: Files> DataDir<F> {
    /// Fills the reserve for starts of `cores` cores. If there is not enough space, leaves no reserve.
    pub(super) fn fill_reserve(&self, cores: u16, first_bytes: u64) {
        let reserve = self.path.join(path::RESERVE);
        let filled = self.files.open(&reserve, Access::Write).and_then(|file| {
            file.reserve(STARTS * one_start(cores, first_bytes))?;
            file.sync()
        });
        if let Err(error) = filled {
            tracing::warn!(file = %reserve.display(), %error, "no space can be kept for a start on a full disk");
            // A partial reserve is useless; if removing it fails, no harm is done.
            let _ = self.files.remove(&reserve);
        }
    }

    /// Shortens the reserve by what a start of `cores` cores needs. Returns whether there was a reserve, so that there
    /// is more space now.
    pub(super) fn take_reserve(&self, cores: u16, first_bytes: u64) -> Result<bool, StorageError> {
        let reserve = self.path.join(path::RESERVE);
        if !self.files.exists(&reserve) {
            return Ok(false);
        }
        let shorten = |file: F::File| -> io::Result<u64> {
            let left = file.size()?.saturating_sub(one_start(cores, first_bytes));
            file.set_size(left)?;
            // The file system does not give the blocks to other files until the new size is on disk.
            file.sync().map(|()| left)
        };
        let left = self.files.open(&reserve, Access::Write).and_then(shorten).context(&reserve, "cannot shorten")?;
        if left == 0 {
            remove(&self.files, &reserve)?;
            sync_dir(&self.files, &self.path)?;
        }
        Ok(true)
    }
}
