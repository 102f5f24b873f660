//! The manifest's two copies on disk. A change writes and syncs one, then the other: whatever a crash does to one, the
//! other is whole.

use std::io;
use std::path::Path;

use super::Manifest;
use super::codec::{self, ManifestError};
use crate::encoding::frame::padded;
use crate::storage::error::Context;
use crate::storage::files::{Access, Files, PlainFile, read_whole};
use crate::storage::{Corruption, StorageError, path};

/// The manifest as loaded from its two copies.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::storage) struct Loaded {
    pub(in crate::storage) manifest: Manifest,
    pub(in crate::storage) sequence: u64,
    /// What is wrong with the other copy, if it differs.
    pub(in crate::storage) repair: Option<String>,
}

/// Reads both copies in `dir` and takes the newer valid one; `None` if both files are empty or missing.
///
/// | one copy | the other | result |
/// |---|---|---|
/// | good | good | the one with the higher sequence; the other is repaired if it differs |
/// | good | damaged, empty or missing | the good one, and the other is repaired |
/// | of another version | anything | refuse |
/// | damaged | damaged, empty or missing | refuse |
/// | empty or missing | empty or missing | `None` |
pub(in crate::storage) fn load<F: Files>(files: &F, dir: &Path) -> Result<Option<Loaded>, StorageError> {
    let mut copies = Vec::new();
    for name in path::MANIFESTS {
        let file = dir.join(name);
        let bytes = read_whole(files, &file).context(&file, "cannot read")?;
        copies.push((name, codec::decode(&bytes)));
    }
    for (name, copy) in &copies {
        if let Err(why @ ManifestError::Version(_)) = copy {
            let (path, why) = (dir.join(name), format!("{why}; use the program that made it"));
            return Err(StorageError::Unusable { path, why });
        }
    }
    match (copies.remove(0), copies.remove(0)) {
        ((_, Ok(a)), (_, Ok(b))) if a == b => Ok(Some(Loaded { manifest: a.0, sequence: a.1, repair: None })),
        ((a_name, Ok(a)), (b_name, Ok(b))) => {
            let (stale, (manifest, sequence)) = if a.1 > b.1 { (b_name, a) } else { (a_name, b) };
            Ok(Some(Loaded { manifest, sequence, repair: Some(format!("{stale} was older than its twin")) }))
        }
        ((_, Ok((manifest, sequence))), (bad, Err(why))) | ((bad, Err(why)), (_, Ok((manifest, sequence)))) => {
            Ok(Some(Loaded { manifest, sequence, repair: Some(format!("{bad}: {why}")) }))
        }
        ((_, Err(ManifestError::Empty)), (_, Err(ManifestError::Empty))) => Ok(None),
        ((a, Err(a_why)), (b, Err(b_why))) => {
            let why = format!("no good copy of the manifest ({a}: {a_why}; {b}: {b_why})");
            Err(Corruption::new(&dir.join(a), 0, why).into())
        }
    }
}

/// Writes both copies, one after the other, and makes them durable. Allocates space for both before it writes, so a
/// full disk changes neither.
pub(in crate::storage) fn store<F: Files>(
    files: &F,
    dir: &Path,
    manifest: &Manifest,
    sequence: u64,
) -> Result<(), StorageError> {
    let bytes = codec::encode(manifest, sequence);
    let len = padded(bytes.len()) as u64;
    let open = |name| {
        let path = dir.join(name);
        let file = files.open(&path, Access::Write).context(&path, "cannot open")?;
        if file.size().context(&path, "cannot read the size")? < len {
            file.reserve(len).context(&path, "cannot reserve space")?;
        }
        Ok::<_, StorageError>((path, file))
    };
    let [first, second] = path::MANIFESTS;
    for (path, file) in [open(first)?, open(second)?] {
        overwrite(&file, &bytes).context(&path, "cannot write")?;
        crate::storage::failpoint::reach("manifest.copy-written");
    }
    Ok(())
}

/// Overwrites the file in place, which takes no new space, and syncs it.
fn overwrite(file: &impl PlainFile, bytes: &[u8]) -> io::Result<()> {
    file.write_at(0, bytes)?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CoreId, DirectoryId, Lsn, Partitions};
    use crate::storage::OsFiles;
    use crate::storage::model::World;

    fn manifest(n: u8) -> Manifest {
        Manifest::new(DirectoryId([n; 16]), Partitions::new(2).unwrap())
    }

    /// Every row of the table in [`load`], with the copies both ways round.
    #[test]
    fn any_two_copies_give_what_the_table_says() {
        let good = |n: u8| codec::encode(&manifest(n), u64::from(n));
        let mut other_version = good(9);
        other_version[8] = 99;
        let kinds: [(&str, Vec<u8>); 5] = [
            ("new", good(2)),
            ("old", good(1)),
            ("damaged", good(3)[..40].to_vec()),
            ("empty", Vec::new()),
            ("version", other_version),
        ];
        for (a, a_bytes) in &kinds {
            for (b, b_bytes) in &kinds {
                let dir = tempfile::tempdir().unwrap();
                std::fs::write(dir.path().join("manifest.0"), a_bytes).unwrap();
                std::fs::write(dir.path().join("manifest.1"), b_bytes).unwrap();
                let loaded = load(&OsFiles, dir.path());
                let pair = [*a, *b];
                if pair.contains(&"version") {
                    assert!(matches!(loaded, Err(StorageError::Unusable { .. })), "{pair:?}");
                } else if let Some(n) = [("new", 2), ("old", 1)].iter().find(|(k, _)| pair.contains(k)).map(|k| k.1) {
                    let loaded = loaded.unwrap().unwrap();
                    assert_eq!((loaded.manifest, loaded.sequence), (manifest(n), u64::from(n)), "{pair:?}");
                    assert_eq!(loaded.repair.is_some(), a != b, "{pair:?}");
                } else if pair == ["empty", "empty"] {
                    assert_eq!(loaded.unwrap(), None);
                } else {
                    assert!(matches!(loaded, Err(StorageError::Corrupt(_))), "{pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_shorter_manifest_over_a_longer_one_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut long = manifest(1);
        long.begin_epoch(2);
        store(&OsFiles, dir.path(), &long, 1).unwrap();
        store(&OsFiles, dir.path(), &manifest(1), 2).unwrap();
        let loaded = load(&OsFiles, dir.path()).unwrap().unwrap();
        assert_eq!(loaded, Loaded { manifest: manifest(1), sequence: 2, repair: None });
    }

    /// The disk has room for only one of the two copies of a longer manifest, then for both.
    #[test]
    fn on_a_full_disk_either_both_copies_are_written_or_none() {
        let (world, dir) = (World::new(1, 1), Path::new("/"));
        let process = world.process(0);
        store(&process, dir, &manifest(1), 1).unwrap();
        let mut longer = manifest(1);
        while codec::encode(&longer, 2).len() <= padded(codec::encode(&manifest(1), 1).len()) {
            let epoch = longer.begin_epoch(2);
            longer.end_streams(epoch, &[(CoreId(0), Lsn(0)), (CoreId(1), Lsn(0))]).unwrap();
        }
        let more = (padded(codec::encode(&longer, 2).len()) - padded(codec::encode(&manifest(1), 1).len())) as u64;
        for (room, fits) in [(more, false), (2 * more, true)] {
            world.disk(0, |disk, _| disk.capacity = Some(disk.used() + room));
            assert_eq!(
                store(&process, dir, &longer, 2).map_err(|why| why.is_disk_full()),
                if fits { Ok(()) } else { Err(true) }
            );
            let loaded = load(&process, dir).unwrap().unwrap();
            assert_eq!((loaded.sequence, loaded.repair), (if fits { 2 } else { 1 }, None), "{room} bytes of room");
        }
    }
}
