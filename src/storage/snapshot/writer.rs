//! Writes a snapshot file.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::format::{FOOTER, Footer, HEADER, Header, SECTION};
use super::streamed::Streamed;
use super::{SectionHeader, Subject, Summary};
use crate::ids::Position;
use crate::storage::error::Context;
use crate::storage::files::{Access, PlainFile, Sequential};
use crate::storage::{Files, Installed, OsFiles, StorageError};

/// Bytes that are written at once; few in tests, so that there are several pieces.
const WRITE: usize = if cfg!(test) { 4 << 10 } else { 256 << 10 };

/// Writes a snapshot of one partition, section by section. Blocks. If it is dropped before [`Self::finish`], the file
/// is not a snapshot.
#[derive(Debug)]
pub struct SnapshotWriter<F: Files = OsFiles> {
    pub(super) path: PathBuf,
    pub(super) file: BufWriter<Sequential<F::File>>,
    pub(super) subject: Subject,
    position: Position,
    footer: Footer,
    digests: Vec<u64>,
    /// Checksum of everything after the file's header, except pending streamed sections.
    pub(super) crc: crc32fast::Hasher,
    pub(super) bytes: u64,
    pub(super) streamed: Option<Streamed>,
    /// Headers of streamed sections, with their offsets in the file.
    pub(super) headers: Vec<(u64, [u8; SECTION])>,
    /// Smallest slot that the next section may have.
    next_slot: u16,
}

impl SnapshotWriter {
    /// As [`Self::create_in`], with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::create_in`].
    pub fn create(path: &Path, subject: Subject, position: Position) -> Result<Self, StorageError> {
        Self::create_in(&OsFiles, path, subject, position)
    }
}

impl<F: Files> SnapshotWriter<F> {
    /// Creates or empties the file `path` and begins a snapshot of `subject` at `position`; single sections may be
    /// later.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn create_in(files: &F, path: &Path, subject: Subject, position: Position) -> Result<Self, StorageError> {
        let file = files.open(path, Access::Truncate).context(path, "cannot create")?;
        let mut file = BufWriter::with_capacity(WRITE, Sequential::new(file));
        file.write_all(&[0; HEADER]).context(path, "cannot write")?;
        Ok(Self {
            path: path.to_owned(),
            file,
            subject,
            position,
            footer: Footer::default(),
            digests: vec![0; usize::from(subject.partitions.slots_each())],
            crc: crc32fast::Hasher::new(),
            bytes: HEADER as u64,
            streamed: None,
            headers: Vec::new(),
            next_slot: subject.partitions.slots(subject.partition).start,
        })
    }

    /// Adds the section of a slot. Sections must be in the order of their slots, at the snapshot's position or later,
    /// and have entries unless they are later.
    ///
    /// # Errors
    /// If the disk fails or is full.
    ///
    /// # Panics
    /// If the header is not that of a section that may come next, or its length is not that of `entries`.
    pub fn section(&mut self, header: SectionHeader, entries: &[u8]) -> Result<(), StorageError> {
        self.check_next(&header);
        assert_eq!(header.bytes, entries.len() as u64, "the length is that of the entries");
        self.put(&header.write(self.subject.id, entries))?;
        self.put(entries)?;
        self.note(&header);
        Ok(())
    }

    pub(super) fn check_next(&self, header: &SectionHeader) {
        let slots = self.subject.partitions.slots(self.subject.partition);
        assert!(slots.contains(&header.slot.0) && header.slot.0 >= self.next_slot, "slots of the partition, in order");
        let is_of_it = header.position >= self.position && header.is_needed(self.position);
        assert!(is_of_it, "a section is of its snapshot");
    }

    /// Counts a written section in the footer.
    pub(super) fn note(&mut self, header: &SectionHeader) {
        let slots = self.subject.partitions.slots(self.subject.partition);
        self.next_slot = header.slot.0 + 1;
        self.digests[usize::from(header.slot.0 - slots.start)] = header.digest;
        self.footer.sections += 1;
        self.footer.entries = self.footer.entries.wrapping_add(header.entries);
        self.footer.digest = self.footer.digest.wrapping_add(header.digest);
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).context(&self.path, "cannot write")
    }

    /// Completes and syncs the file (not its directory).
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn finish(mut self) -> Result<Summary, StorageError> {
        let footer: [u8; FOOTER] = self.footer.write(self.subject.id);
        self.put(&footer)?;
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error);
        let file = file.context(&self.path, "cannot write")?.file;
        for (at, header) in &self.headers {
            file.write_at(*at, header).context(&self.path, "cannot write")?;
        }
        // Everything else is synced before the header is written, because the header makes the file a snapshot.
        file.sync().context(&self.path, "cannot sync")?;
        let header = Header { subject: self.subject, position: self.position, sections: self.footer.sections }.write();
        file.write_at(0, &header).context(&self.path, "cannot write")?;
        file.sync().context(&self.path, "cannot sync")?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header);
        crc.combine(&self.crc);
        let Footer { sections, entries, digest } = self.footer;
        let installed = Installed { position: self.position, bytes: self.bytes, crc: crc.finalize(), digest };
        Ok(Summary { installed, sections, entries, digests: self.digests })
    }
}
