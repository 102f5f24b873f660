//! Reads and verifies a snapshot file.

use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::format::{FOOTER, Footer, FormatError, HEADER, Header, SECTION};
use super::{SectionHeader, Subject, Summary};
use crate::ids::Position;
use crate::storage::error::Context;
use crate::storage::files::{Access, PlainFile, Sequential};
use crate::storage::{Corruption, Files, Installed, OsFiles, StorageError};

/// Bytes that are read at once; few in tests, so that there are several pieces.
const READ: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// A section with its checksum verified.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Header of the section.
    pub header: SectionHeader,
    /// Entries of the section, as `encoding::entry` lays them out.
    pub entries: &'a [u8],
}

/// Reads the sections of a snapshot in order. Blocks.
#[derive(Debug)]
pub struct SnapshotReader<F: Files = OsFiles> {
    path: PathBuf,
    file: BufReader<Sequential<F::File>>,
    size: u64,
    header: Header,
    /// Offset in the file up to which it was read.
    at: u64,
    next_slot: u16,
    seen: Footer,
    digests: Vec<u64>,
    crc: crc32fast::Hasher,
    entries: Vec<u8>,
    summary: Option<Summary>,
}

impl SnapshotReader {
    /// As [`Self::open_any_in`], with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open_any_in`].
    pub fn open_any(path: &Path) -> Result<Self, StorageError> {
        Self::open_any_in(&OsFiles, path)
    }

    /// As [`Self::open_in`], with the operating system's files.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub fn open(path: &Path, subject: Subject) -> Result<Self, StorageError> {
        Self::open_in(&OsFiles, path, subject)
    }
}

impl<F: Files> SnapshotReader<F> {
    /// Opens `path`, which must be a snapshot of `subject`.
    ///
    /// # Errors
    /// If the file is missing, damaged or a snapshot of something else, or the disk fails.
    pub fn open_in(files: &F, path: &Path, subject: Subject) -> Result<Self, StorageError> {
        let reader = Self::open_any_in(files, path).map_err(|error| match error {
            // Callers open only snapshots that are known to have existed.
            StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                Corruption::new(path, 0, "the file is missing").into()
            }
            other => other,
        })?;
        let found = reader.header.subject;
        if found == subject {
            return Ok(reader);
        }
        let why = if found.id == subject.id {
            let (p, n) = (found.partition, found.partitions.count());
            format!("it is a snapshot of partition {p} of {n}, not of partition {} of this data", subject.partition)
        } else {
            format!("it belongs to another data directory ({})", found.id)
        };
        Err(Corruption::new(path, 16, why).into())
    }

    /// Opens a snapshot, whatever partition and data directory it says it belongs to.
    ///
    /// # Errors
    /// If the file is not a snapshot, or the disk fails.
    pub fn open_any_in(files: &F, path: &Path) -> Result<Self, StorageError> {
        let file = files.open(path, Access::Read).context(path, "cannot open")?;
        let size = file.size().context(path, "cannot read the size")?;
        let mut file = BufReader::with_capacity(READ, Sequential::new(file));
        let mut bytes = [0; HEADER];
        if size < (HEADER + FOOTER) as u64 {
            return Err(Corruption::new(path, size, "the file is too short for a snapshot").into());
        }
        file.read_exact(&mut bytes).context(path, "cannot read")?;
        let header = Header::parse(&bytes).map_err(|why| Corruption::new(path, 0, why.to_string()))?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes);
        let partitions = header.subject.partitions;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            at: HEADER as u64,
            next_slot: partitions.slots(header.subject.partition).start,
            seen: Footer::default(),
            digests: vec![0; usize::from(partitions.slots_each())],
            crc,
            entries: Vec::new(),
            summary: None,
            header,
        })
    }

    /// The partition and data directory that this is a snapshot of.
    pub fn subject(&self) -> Subject {
        self.header.subject
    }

    /// Position in the log of the snapshot.
    pub fn position(&self) -> Position {
        self.header.position
    }

    /// Number of sections in the whole file.
    pub fn sections(&self) -> u32 {
        self.header.sections
    }

    /// Length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.size
    }

    /// Returns the next section; `None` after the last, once the whole file has proved valid.
    ///
    /// # Errors
    /// If the file is damaged, or the disk fails.
    #[expect(clippy::should_implement_trait, reason = "the section borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Section<'_>>, StorageError> {
        if self.summary.is_some() {
            return Ok(None);
        }
        if self.seen.sections == self.header.sections {
            self.finish()?;
            return Ok(None);
        }
        let began = self.at;
        let mut bytes = [0; SECTION];
        self.read(&mut bytes)?;
        let damaged = |why: &str| Corruption::new(&self.path, began, why);
        let header = SectionHeader::parse(&bytes).ok_or_else(|| damaged("no section begins here"))?;
        // The length is checked against the file's before memory is allocated.
        if header.bytes > self.size - self.at {
            return Err(damaged("the section is longer than the file").into());
        }
        self.entries.resize(header.bytes as usize, 0);
        let mut entries = std::mem::take(&mut self.entries);
        let read = self.read(&mut entries);
        self.entries = entries;
        read?;
        self.check(&header, &bytes, began)?;
        let slots = self.header.subject.partitions.slots(self.header.subject.partition);
        self.next_slot = header.slot.0 + 1;
        self.digests[usize::from(header.slot.0 - slots.start)] = header.digest;
        self.seen.sections += 1;
        self.seen.entries = self.seen.entries.wrapping_add(header.entries);
        self.seen.digest = self.seen.digest.wrapping_add(header.digest);
        Ok(Some(Section { header, entries: &self.entries }))
    }

    fn check(&self, header: &SectionHeader, bytes: &[u8; SECTION], began: u64) -> Result<(), Corruption> {
        let Subject { id, partitions, partition } = self.header.subject;
        let why = if !SectionHeader::verify(id, bytes, &self.entries) {
            "checksum mismatch in the section"
        } else if !partitions.slots(partition).contains(&header.slot.0) || header.slot.0 < self.next_slot {
            "a section of a slot that cannot come here"
        } else if header.position < self.header.position || !header.is_needed(self.header.position) {
            "an impossible section"
        } else {
            return Ok(());
        };
        Err(Corruption::new(&self.path, began, why))
    }

    /// Fills `into`, and adds the bytes to the checksum and the offset.
    fn read(&mut self, into: &mut [u8]) -> Result<(), StorageError> {
        if self.at + into.len() as u64 > self.size {
            return Err(Corruption::new(&self.path, self.size, "the file ends too early").into());
        }
        self.file.read_exact(into).context(&self.path, "cannot read")?;
        self.crc.update(into);
        self.at += into.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StorageError> {
        let began = self.at;
        let mut bytes = [0; FOOTER];
        self.read(&mut bytes)?;
        let damaged = |offset, why: String| Corruption::new(&self.path, offset, why);
        let footer = Footer::parse(self.header.subject.id, &bytes);
        let footer = footer.map_err(|why: FormatError| damaged(began, why.to_string()))?;
        if footer != self.seen {
            return Err(damaged(began, "the footer counts other sections than there are".into()).into());
        }
        if self.at != self.size {
            return Err(damaged(self.at, "the file goes on after its end".into()).into());
        }
        let crc = self.crc.clone().finalize();
        let (position, digest) = (self.header.position, footer.digest);
        let installed = Installed { position, bytes: self.size, crc, digest };
        let (sections, entries) = (footer.sections, footer.entries);
        self.summary = Some(Summary { installed, sections, entries, digests: std::mem::take(&mut self.digests) });
        Ok(())
    }

    /// Summary of the whole file; known once [`Self::next`] has returned `None`.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }
}

/// Reads and verifies a whole snapshot of `subject`, without decoding its entries.
///
/// # Errors
/// If the snapshot is damaged or of something else, or the disk fails.
pub fn verify(path: &Path, subject: Subject) -> Result<Summary, StorageError> {
    verify_in(&OsFiles, path, subject)
}

/// As [`verify`], on any [`Files`].
///
/// # Errors
/// As [`verify`].
pub fn verify_in<F: Files>(files: &F, path: &Path, subject: Subject) -> Result<Summary, StorageError> {
    let mut reader = SnapshotReader::open_in(files, path, subject)?;
    while reader.next()?.is_some() {}
    reader.summary.ok_or_else(|| Corruption::new(path, 0, "the snapshot does not end").into())
}
