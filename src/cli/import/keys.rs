//! The keys of an RDB file, or of the part of an append-only file that is one.

use std::io::Read;

use super::input::Input;
use super::sender::Sender;
use super::summary::{Skipped, Summary};
use crate::cli::Failure;
use crate::encoding::rdb::file::{Item, Reader};
use crate::encoding::rdb::{Limits, RdbError};

/// Maximum size of one item, in bytes: a file that announces more is taken for damaged.
const LARGEST: usize = 8 << 30;
/// Maximum length of a key's name or another string that is not a value.
const LIMITS: Limits = Limits { string: 512 << 20, value: 1 << 30 };

/// Whether a file that begins with these bytes begins with an RDB file.
pub(super) fn begin(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY")
}

/// Sends the keys up to the end of the RDB file; `moved` hears how far that is.
///
/// # Errors
/// If the file cannot be read or is damaged, or the connection is lost.
pub(super) fn send(
    input: &mut Input,
    sender: &mut Sender,
    summary: &mut Summary,
    moved: impl Fn(u64),
) -> Result<(), Failure> {
    let mut keys = Keys::new();
    while keys.next(input, |item, version| {
        match item {
            Item::Key(key) => sender.restore_from(&key, version, summary)?,
            Item::ModuleKey { key, module } => {
                summary.skip(&key, Skipped::Key(format!("values of the module {module} are not known")));
            }
            Item::ModuleData(module) => {
                summary.skip(b"", Skipped::Beside(format!("what the module {module} stores beside the keys")));
            }
            Item::Functions(_) => summary.skip(b"", Skipped::Beside("a library of functions".to_owned())),
            // Commands follow the keys, Redis says before these.
            Item::Note { name, value } if matches!(&name[..], b"aof-base" | b"aof-preamble") && value[..] == *b"1" => {
                sender.begin_commands()?;
            }
            Item::Note { .. } => {}
            Item::End => return Ok(false),
        }
        Ok(true)
    })? {
        moved(input.position());
    }
    Ok(())
}

/// Reads items.
struct Keys {
    reader: Reader,
}

impl Keys {
    fn new() -> Self {
        Self { reader: Reader::new(LIMITS) }
    }

    /// Calls `visit` with the next item and the version of the file's format.
    fn next<T>(
        &mut self,
        input: &mut Input<impl Read>,
        visit: impl FnOnce(Item<'_>, u16) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            match self.reader.next(input.held()) {
                Ok((None, read)) => {
                    input.take(read);
                    continue;
                }
                Ok((Some(item), read)) => {
                    let visited = visit(item, self.reader.version());
                    input.take(read);
                    return visited;
                }
                Err(RdbError::Truncated) => {}
                Err(error) => return Err(input.damaged(error)),
            }
            if !input.fill(LARGEST)? {
                return Err(input.damaged(RdbError::Truncated));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::input::BUFFER;
    use super::*;
    use crate::cli::Exit;
    use crate::encoding::rdb::{types, write};

    /// A file of keys with values of these lengths, without a checksum.
    fn file(lengths: &[usize]) -> Vec<u8> {
        let mut file = b"REDIS0009".to_vec();
        for length in lengths {
            file.push(types::STRING);
            write::string(&mut file, length.to_string().as_bytes());
            write::string(&mut file, &vec![b'x'; *length]);
        }
        file.push(255);
        file.extend_from_slice(&[0; 8]);
        file
    }

    fn lengths(bytes: &[u8]) -> Result<Vec<usize>, Failure> {
        let (mut input, mut keys) = (Input::new(Path::new("file"), bytes, bytes.len() as u64), Keys::new());
        let mut lengths = Vec::new();
        while keys.next(&mut input, |item, _| {
            let Item::Key(key) = &item else { return Ok(false) };
            lengths.push(key.value.iter().filter(|byte| **byte == b'x').count());
            Ok(true)
        })? {}
        assert_eq!(input.position(), input.bytes());
        Ok(lengths)
    }

    #[test]
    fn items_may_be_larger_than_the_buffer() {
        let all = [0, 1, BUFFER - 20, 5 * BUFFER, 3, BUFFER, 17];
        assert_eq!(lengths(&file(&all)), Ok(all.to_vec()));
    }

    #[test]
    fn a_file_that_ends_too_early_is_damaged() {
        let whole = file(&[3, 2 * BUFFER, 5]);
        for end in [0, 8, 9, 12, BUFFER, whole.len() - 20, whole.len() - 1] {
            let failure = lengths(&whole[..end]).unwrap_err();
            assert_eq!(failure.exit, Exit::Data, "{failure:?}");
        }
    }
}
