//! A snapshot file whose checksums are right is loaded or refused, and what was loaded means the same when written down
//! again.
//!
//! Input: one byte of flags (lowest bit: the checksums stay as they are; the next: so do lengths and sums), then the
//! file.

use rollbook::encoding::entry::Entry;
use rollbook::storage::StorageError;
use rollbook::storage::snapshot::{SectionHeader, SnapshotReader, SnapshotWriter, Subject, Summary};
use rollbook::store::Store;

use super::file::Memory;

/// Bytes of the header, of a section before its entries, of the footer.
const HEADER: usize = 64;
const SECTION: usize = 48;
const FOOTER: usize = 32;

/// Reads the file.
pub fn run(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 == 0 && bytes.len() >= HEADER + FOOTER {
        repair(&mut bytes, flags & 2 == 0);
    }
    let Ok(read) = read(&bytes) else { return };
    let again = written(&read);
    let summary = self::read(&again).expect("what was written is read").summary;
    let sums = |s: &Summary| (s.installed.position, s.installed.digest, s.sections, s.entries, s.digests.clone());
    assert_eq!(sums(&summary), sums(&read.summary), "what was written means something else");
    load(&read);
}

struct Read {
    subject: Subject,
    sections: Vec<(SectionHeader, Vec<u8>)>,
    summary: Summary,
}

fn read(bytes: &[u8]) -> Result<Read, StorageError> {
    let file = Memory::holding(bytes);
    let mut reader = SnapshotReader::open_any(&file.path())?;
    let (subject, mut sections) = (reader.subject(), Vec::new());
    while let Some(section) = reader.next()? {
        assert!(section.entries.len() <= bytes.len(), "more entries than bytes");
        sections.push((section.header, section.entries.to_vec()));
    }
    let summary = reader.summary().expect("a file that was read has a summary").clone();
    assert_eq!(summary.installed.bytes, bytes.len() as u64);
    assert_eq!(summary.installed.crc, crc32fast::hash(bytes));
    Ok(Read { subject, sections, summary })
}

fn written(read: &Read) -> Vec<u8> {
    let file = Memory::holding(b"");
    let path = file.path();
    let position = read.summary.installed.position;
    let mut writer = SnapshotWriter::create(&path, read.subject, position).expect("a file in memory is made");
    for (header, entries) in &read.sections {
        writer.section(*header, entries).expect("a file in memory is written");
    }
    let summary = writer.finish().expect("a file in memory is finished");
    let bytes = std::fs::read(&path).expect("a file in memory is read");
    assert_eq!(summary.installed.crc, crc32fast::hash(&bytes));
    bytes
}

/// What the sections hold goes into a store, or is refused without a trace.
fn load(read: &Read) {
    let Subject { partitions, partition, .. } = read.subject;
    // What is found with many slots is found with few, and far more often in the same time.
    if partitions.slots_each() > 64 {
        return;
    }
    let owned = partition.0..partition.0 + 1;
    let (mut store, mut copy) = (Store::new(partitions, owned.clone()), Store::new(partitions, owned));
    for (header, entries) in &read.sections {
        let empty = store.used_memory();
        let digests = store.digests(partition);
        if store.load_section(header.slot, header.entries, entries).is_err() {
            assert_eq!(
                (store.used_memory(), store.digests(partition)),
                (empty, digests),
                "a trace of what was refused"
            );
            continue;
        }
        let mut section = Vec::new();
        // A key that comes twice is what no snapshot holds; its section's digest would tell.
        if !has_doubles(entries) {
            let count = store.write_section(header.slot, &mut section);
            assert_eq!(count, header.entries, "entries are lost");
            copy.load_section(header.slot, count, &section).expect("what was written is loaded");
            assert_eq!(copy.digest(header.slot), store.digest(header.slot), "what was written means something else");
        }
    }
}

fn has_doubles(mut entries: &[u8]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    while let (false, Ok(entry)) = (entries.is_empty(), Entry::read(&mut entries)) {
        if !seen.insert((entry.db, entry.key)) {
            return true;
        }
    }
    false
}

/// Makes the checksums right and, if `sums` too, lengths, numbers and digests.
fn repair(bytes: &mut [u8], sums: bool) {
    bytes[..8].copy_from_slice(b"ROLLSNP\n");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let id: [u8; 16] = bytes[16..32].try_into().expect("sixteen bytes");
    let end = bytes.len() - FOOTER;
    let (mut at, mut count, mut entries, mut digest) = (HEADER, 0u32, 0u64, 0u64);
    while at + SECTION <= end {
        let section = &mut bytes[at..end];
        let mut length = number(section, 32);
        if length > (section.len() - SECTION) as u64 {
            if !sums {
                break;
            }
            length %= (section.len() - SECTION + 1) as u64;
            section[32..40].copy_from_slice(&length.to_le_bytes());
        }
        let section = &mut section[..SECTION + length as usize];
        section[..4].copy_from_slice(b"SECT");
        count += 1;
        entries = entries.wrapping_add(number(section, 24));
        digest = digest.wrapping_add(number(section, 40));
        sign(id, section, 4, 8);
        at += section.len();
    }
    if sums {
        bytes[48..52].copy_from_slice(&count.to_le_bytes());
        bytes[end + 8..end + 12].copy_from_slice(&count.to_le_bytes());
        bytes[end + 16..end + 24].copy_from_slice(&entries.to_le_bytes());
        bytes[end + 24..end + 32].copy_from_slice(&digest.to_le_bytes());
    }
    bytes[end..end + 4].copy_from_slice(b"DONE");
    sign(id, &mut bytes[end..], 4, 8);
    sign(id, &mut bytes[..HEADER], 12, 16);
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Puts the checksum of what stands from `from` on where it belongs.
fn sign(id: [u8; 16], bytes: &mut [u8], at: usize, from: usize) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&id);
    crc.update(&bytes[from..]);
    bytes[at..at + 4].copy_from_slice(&crc.finalize().to_le_bytes());
}
