//! Which files a path stands for: itself, or what the manifest of an append-only directory lists.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::input::unreadable;
use crate::cli::{Exit, Failure};
use crate::encoding::append_only::manifest::listed;

/// Maximum size of a manifest in bytes: a larger file is none.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// The files that `path` stands for, in the order in which they are to be read.
///
/// # Errors
/// If there is nothing that can be imported.
pub(super) fn of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let manifest = if fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir() {
        manifest_in(path)?
    } else if is_manifest(path) {
        path.to_owned()
    } else {
        return Ok(vec![path.to_owned()]);
    };
    let bytes = fs::metadata(&manifest).and_then(|file| match file.len() {
        ..=LARGEST_MANIFEST => fs::read(&manifest),
        _ => Err(std::io::ErrorKind::FileTooLarge.into()),
    });
    let bytes = bytes.map_err(|error| unreadable(&manifest, &error))?;
    let names = listed(&bytes);
    let names = names.map_err(|why| Failure::new(Exit::Data, format_args!("{}, {why}", manifest.display())))?;
    let directory = manifest.parent().unwrap_or(Path::new(""));
    Ok(names.iter().map(|name| directory.join(OsStr::from_bytes(name))).collect())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "manifest")
}

/// The one manifest in a directory.
fn manifest_in(directory: &Path) -> Result<PathBuf, Failure> {
    let files = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let files = files.map_err(|error| unreadable(directory, &error))?;
    // Redis prepares a new one under such a name.
    let is_temporary = |path: &Path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"temp"));
    let paths = files.into_iter().map(|file| file.path());
    let mut manifests: Vec<_> = paths.filter(|path| is_manifest(path) && !is_temporary(path)).collect();
    let shown = directory.display();
    match (manifests.pop(), manifests.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::new(
            Exit::Data,
            format_args!(
                "{shown} has no file that ends in .manifest: give the append-only directory of Redis, or a file"
            ),
        )),
        _ => Err(Failure::new(Exit::Data, format_args!("{shown} has several manifests: give one of them"))),
    }
}
