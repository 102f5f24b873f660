//! Errors of storage. The kind of an error says what to do about it: repair the data, repair the disk, or use another
//! place.

use std::io;
use std::path::{Path, PathBuf};

/// Data that differs from what was written and cannot be the trace of a crash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: damaged at byte {offset}: {why}", file.display())]
pub struct Corruption {
    /// The damaged file.
    pub file: PathBuf,
    /// Offset of the damage in the file, in bytes.
    pub offset: u64,
    /// What was found, and what was expected.
    pub why: String,
}

impl Corruption {
    /// Damage at byte `offset` of `file`; `why` says what was found and expected.
    pub fn new(file: &Path, offset: u64, why: impl Into<String>) -> Self {
        Self { file: file.to_owned(), offset, why: why.into() }
    }
}

/// Why a storage operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A call to the operating system failed: exit code 74.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed, as in "cannot read".
        what: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// The data is damaged, and was left as it is: exit code 65.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// Another process has locked the data directory or a file in it: exit code 69.
    #[error("{}: in use by another process", path.display())]
    InUse {
        /// The locked directory or file.
        path: PathBuf,
    },
    /// This program, with this configuration, cannot use the data directory: exit code 78.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
}

impl StorageError {
    /// Exit code of a program that ends because of this error, as in `sysexits.h`.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } => 74,
            Self::Corrupt(_) => 65,
            Self::InUse { .. } => 69,
            Self::Unusable { .. } => 78,
        }
    }

    /// Whether the file system is full, or a quota is used up: freeing space elsewhere helps.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }

    /// Whether the file system is full, or a quota or the limit on file sizes is reached, so that waiting for space may
    /// help.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_out_of_space(source))
    }
}

/// Whether an I/O error means that there is no space (including the limit on file sizes), rather than that something is
/// broken.
pub fn is_out_of_space(error: &io::Error) -> bool {
    is_disk_full(error) || error.kind() == io::ErrorKind::FileTooLarge
}

/// Whether an I/O error means that the file system is full, or a quota is used up.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Adds a path and an operation to an error of the operating system.
pub(crate) trait Context<T> {
    /// Turns an error into a [`StorageError`] that says that `what` was tried with `path`.
    fn context(self, path: &Path, what: &'static str) -> Result<T, StorageError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, path: &Path, what: &'static str) -> Result<T, StorageError> {
        self.map_err(|e| StorageError::Io { path: path.to_owned(), what, source: e.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_tells_whether_data_disk_place_or_configuration_are_to_be_mended() {
        let io = StorageError::Io { path: PathBuf::new(), what: "cannot read", source: io::ErrorKind::Other.into() };
        let in_use = StorageError::InUse { path: PathBuf::new() };
        let unusable = StorageError::Unusable { path: PathBuf::new(), why: String::new() };
        let corrupt = Corruption::new(Path::new("a"), 7, "rot").into();
        assert_eq!([io, corrupt, in_use, unusable].map(|error| error.exit_code()), [74, 65, 69, 78]);
    }

    #[test]
    fn a_full_disk_a_used_up_quota_and_a_file_that_may_not_grow_are_no_failures_of_the_disk() {
        let of =
            |kind: io::ErrorKind| StorageError::Io { path: PathBuf::new(), what: "cannot write", source: kind.into() };
        let told = |kind| (of(kind).is_disk_full(), of(kind).is_out_of_space());
        assert_eq!(told(io::ErrorKind::StorageFull), (true, true));
        assert_eq!(told(io::ErrorKind::QuotaExceeded), (true, true));
        assert_eq!(told(io::ErrorKind::FileTooLarge), (false, true), "others cannot make it larger");
        assert_eq!(told(io::ErrorKind::PermissionDenied), (false, false));
        assert!(!StorageError::InUse { path: PathBuf::new() }.is_out_of_space());
    }
}
