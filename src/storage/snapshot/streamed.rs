//! Writes sections that are not in memory as a whole: entries are written as they come, section headers when the file
//! is finished.

use std::io::Write;

use super::format::SECTION;
use super::{SectionHeader, SnapshotWriter};
use crate::storage::error::Context;
use crate::storage::{Files, StorageError};

/// A section whose entries are being written.
#[derive(Debug)]
pub(super) struct Streamed {
    header: SectionHeader,
    /// Offset in the file at which the section begins.
    at: u64,
    /// Checksum of the entries written so far.
    crc: crc32fast::Hasher,
}

impl<F: Files> SnapshotWriter<F> {
    /// Begins the section of a slot, with the same conditions as [`Self::section`]; `header.bytes` is ignored. Calls of
    /// [`Self::entries`] and one of [`Self::end_section`] must follow.
    ///
    /// # Errors
    /// If the disk fails or is full.
    ///
    /// # Panics
    /// If the section is not one that may come next.
    pub fn begin_section(&mut self, header: SectionHeader) -> Result<(), StorageError> {
        self.check_next(&header);
        assert!(self.streamed.is_none(), "the section before has ended");
        self.streamed =
            Some(Streamed { header: SectionHeader { bytes: 0, ..header }, at: self.bytes, crc: Default::default() });
        self.bytes += SECTION as u64;
        self.file.write_all(&[0; SECTION]).context(&self.path, "cannot write")
    }

    /// Adds entries to the section that was begun.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn entries(&mut self, entries: &[u8]) -> Result<(), StorageError> {
        if let Some(streamed) = &mut self.streamed {
            streamed.crc.update(entries);
            streamed.header.bytes += entries.len() as u64;
            self.bytes += entries.len() as u64;
            self.file.write_all(entries).context(&self.path, "cannot write")?;
        }
        Ok(())
    }

    /// Ends the section: all its entries were written.
    pub fn end_section(&mut self) {
        if let Some(Streamed { header, at, crc }) = self.streamed.take() {
            let bytes = header.write_with(self.subject.id, &crc);
            self.crc.update(&bytes);
            self.crc.combine(&crc);
            self.headers.push((at, bytes));
            self.note(&header);
        }
    }
}
