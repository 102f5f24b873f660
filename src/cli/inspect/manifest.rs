//! `inspect manifest`: contents of a copy of the manifest, or of the valid, newer copy in a data directory.

use std::path::Path;

use serde_json::{Value, json};

use super::{Printer, Shown, is_dir};
use crate::storage::manifest::codec;
use crate::storage::{Corruption, DataDir, Generations, Installed, Manifest, StorageError, Transfer};

/// Prints the manifest at `path`.
pub(super) fn show(path: &Path, out: &mut Printer<'_>) -> Shown {
    let manifest = if is_dir(path) {
        let missing = || Corruption::new(path, 0, "there is no manifest here");
        DataDir::peek(path)?.ok_or_else(missing).map_err(StorageError::from)?
    } else {
        let bytes = std::fs::read(path).map_err(|source| StorageError::Io {
            path: path.to_owned(),
            what: "cannot read",
            source,
        })?;
        let decoded = codec::decode(&bytes).map_err(|why| Corruption::new(path, 0, why.to_string()));
        decoded.map_err(StorageError::from)?.0
    };
    out.document(&value(&manifest))?;
    out.line(format!("data directory {}, {} partitions", manifest.id, manifest.partitions.count()))?;
    for epoch in &manifest.epochs {
        out.line(format!("epoch {}:", epoch.epoch))?;
        for (core, stream) in epoch.streams.iter().enumerate() {
            let last = stream.last.map_or("open".to_owned(), |last| format!("last {last}"));
            out.line(format!("  core {core}: first {}, {last}", stream.first))?;
        }
    }
    for (partition, Generations { newest, older }) in manifest.snapshots.iter().enumerate() {
        for (name, installed) in [("newest", newest), ("older", older)] {
            if let Some(s) = installed {
                out.line(format!(
                    "partition {partition}: {name} snapshot at {}, {} bytes, crc32 {:08x}, digest {:016x}",
                    s.position, s.bytes, s.crc, s.digest
                ))?;
            }
        }
    }
    for Transfer { from, to, position } in &manifest.transfers {
        out.line(format!("a value moved from partition {from} to {to} at {position}"))?;
    }
    Ok(None)
}

fn value(manifest: &Manifest) -> Value {
    let epochs = manifest.epochs.iter().map(|e| {
        let streams = e.streams.iter().map(|s| json!({"first": s.first.0, "last": s.last.map(|last| last.0)}));
        json!({"epoch": e.epoch.0, "streams": streams.collect::<Vec<_>>()})
    });
    let snapshots = manifest.snapshots.iter().enumerate().filter(|(_, g)| g.newest.is_some()).map(|(partition, g)| {
        json!({"partition": partition, "newest": g.newest.as_ref().map(installed), "older": g.older.as_ref().map(installed)})
    });
    let transfers = manifest.transfers.iter();
    let transfers = transfers.map(|t| json!({"from": t.from.0, "to": t.to.0, "position": t.position.to_string()}));
    json!({"id": manifest.id.to_string(), "partitions": manifest.partitions.count(),
        "epochs": epochs.collect::<Vec<_>>(), "snapshots": snapshots.collect::<Vec<_>>(),
        "transfers": transfers.collect::<Vec<_>>()})
}

fn installed(s: &Installed) -> Value {
    json!({"position": s.position.to_string(), "bytes": s.bytes, "crc32": format!("{:08x}", s.crc),
        "digest": format!("{:016x}", s.digest)})
}
