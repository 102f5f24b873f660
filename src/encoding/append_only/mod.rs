//! Append-only files of Redis: their commands, and the manifest that lists the files of a directory ([`manifest`]).
//!
//! A command is written as clients send it: an array of bulk strings. A line that begins with `#` is a remark. Nothing
//! else may stand in a file.

pub mod manifest;

use std::ops::Range;

use super::resp::{Args, Limits, Partial, ProtocolError, Requests};

/// Maximum size of one command in bytes; positions within it have 32 bits.
pub const LARGEST: usize = 2 << 30;
/// What a client may not exceed, a file may.
const LIMITS: Limits = Limits { args: i32::MAX as usize, bulk_bytes: LARGEST, unauthenticated: false };
/// Maximum number of commands that are parsed together.
const MOST: usize = 1000;

/// Reason why bytes are not commands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A line that is no remark, or an array without elements.
    #[error("this is not a command")]
    NoCommand,
    /// The bytes are no array of bulk strings.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// How far bytes were read.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Number of bytes that were understood; the reader does not want to see them again. None, without damage: the
    /// bytes end within a command.
    pub bytes: usize,
    /// What is wrong with the bytes that follow these, if anything is.
    pub damage: Option<Damage>,
}

/// Reader of one file, which holds no bytes and does no I/O: the caller shows it what has been read of the file so far.
#[derive(Debug, Default)]
pub struct Reader {
    requests: Requests,
    partial: Partial,
}

impl Reader {
    /// Calls `visit` with the first commands in `bytes`, each with the place where it stands. `bytes` is what follows
    /// what was understood before.
    ///
    /// # Errors
    /// Those of `visit`.
    pub fn read<E>(
        &mut self,
        bytes: &[u8],
        mut visit: impl FnMut(Args<'_>, Range<usize>) -> Result<(), E>,
    ) -> Result<Read, E> {
        if !matches!(bytes, [] | [b'#', ..] | [b'*'] | [b'*', b'1'..=b'9', ..]) {
            return Ok(Read { bytes: 0, damage: Some(Damage::NoCommand) });
        }
        let parsed = match self.requests.parse(bytes, &mut self.partial, &LIMITS, MOST) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Read { bytes: 0, damage: Some(error.into()) }),
        };
        let mut start = 0;
        for at in 0..self.requests.len() {
            let end = self.requests.end(at);
            match bytes[start..] {
                [b'*', b'1'..=b'9', ..] => visit(self.requests.args(at, bytes), start..end)?,
                [b'#', ..] => {}
                _ => return Ok(Read { bytes: start, damage: Some(Damage::NoCommand) }),
            }
            start = end;
        }
        // Something that is no request, such as an empty line, is parsed, but is not among the requests.
        let damage = (parsed > start).then_some(Damage::NoCommand);
        Ok(Read { bytes: start, damage })
    }
}
