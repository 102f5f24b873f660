//! From a request's words to its row: one multiplication and one comparison, by a perfect hash that the compiler finds.

use super::{Spec, connection, hashes, keys, server, strings};
use crate::encoding::resp::{Args, Reply};

/// The rows of all groups.
const GROUPS: [&[Spec]; 5] = [connection::ROWS, server::ROWS, keys::ROWS, strings::ROWS, hashes::ROWS];
const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Longest name of a command that is not a subcommand.
const LONGEST: usize = 16;
const BITS: u32 = 10;
const EMPTY: u8 = u8::MAX;

/// All rows but those of subcommands.
pub(super) static SPECS: [&Spec; COUNT] = {
    let mut specs = [&GROUPS[0][0]; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            specs[at] = &GROUPS[group][row];
            at += 1;
            row += 1;
        }
        group += 1;
    }
    specs
};

/// Names as numbers, in the order of [`SPECS`].
static NAMES: [u128; COUNT] = NAMES_CONST;
const NAMES_CONST: [u128; COUNT] = {
    let mut names = [0; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            let name = GROUPS[group][row].name.as_bytes();
            assert!(name.len() <= LONGEST, "LONGEST is too short");
            let mut byte = name.len();
            while byte > 0 {
                byte -= 1;
                assert!(name[byte].is_ascii_lowercase(), "names are small letters");
                names[at] = names[at] << 8 | name[byte] as u128;
            }
            at += 1;
            row += 1;
        }
        group += 1;
    }
    names
};

/// A factor that sends every name to a place of its own, and the places.
static PLACES: [u8; 1 << BITS] = PERFECT.1;
const FACTOR: u64 = PERFECT.0;
const PERFECT: (u64, [u8; 1 << BITS]) = {
    let mut factor = 0x9e37_79b9_7f4a_7c15_u64;
    'search: loop {
        let mut places = [EMPTY; 1 << BITS];
        let mut at = 0;
        while at < COUNT {
            let place = place(NAMES_CONST[at], factor);
            if places[place] != EMPTY {
                factor = factor.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
                continue 'search;
            }
            places[place] = at as u8;
            at += 1;
        }
        break (factor, places);
    }
};

#[inline]
const fn place(name: u128, factor: u64) -> usize {
    let folded = name as u64 ^ ((name >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(factor) >> (64 - BITS)) as usize
}

/// The row of the command called `name`, in any letter case.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    let word = small_letters(name)?;
    let at = usize::from(PLACES[place(word, FACTOR)]);
    if NAMES.get(at) == Some(&word) { Some(SPECS[at]) } else { None }
}

/// A word as a number, its first byte lowest, capital letters turned into small ones; `None` if it is too long to be a name.
///
/// Only letters become small letters when their bit is set, and names are letters only: no other word turns into one.
#[inline]
fn small_letters(word: &[u8]) -> Option<u128> {
    const SMALL: u128 = u128::from_le_bytes([0x20; LONGEST]);
    // Two loads that may overlap: no loop over a length that the CPU cannot foresee.
    let bits = if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        if word.len() > LONGEST {
            return None;
        }
        let tail = u128::from(u64::from_le_bytes(*tail));
        u128::from(u64::from_le_bytes(*head)) | tail << (8 * (word.len() - 8))
    } else if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        let tail = u64::from(u32::from_le_bytes(*tail));
        u128::from(u64::from(u32::from_le_bytes(*head)) | tail << (8 * (word.len() - 4)))
    } else {
        word.iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    };
    let used = u128::MAX.checked_shr(128 - 8 * word.len() as u32).unwrap_or(0);
    Some((bits | SMALL) & used)
}

/// The row of the command or subcommand that a request names, if the request has as many arguments as it takes.
///
/// # Errors
/// If there is no such command or the number of arguments is wrong.
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Spec, Refusal<'_>> {
    let Some(mut spec) = lookup(args.at(0)) else { return Err(Refusal::UnknownCommand(args)) };
    if !spec.subcommands.is_empty()
        && let Some(name) = args.get(1)
    {
        spec = spec.subcommand(name).ok_or(Refusal::UnknownSubcommand(spec, name))?;
    }
    if spec.takes(args.len()) { Ok(spec) } else { Err(Refusal::WrongArity(spec)) }
}

/// Why a request is no command.
#[derive(Debug)]
pub enum Refusal<'a> {
    /// There is no command of this name.
    UnknownCommand(Args<'a>),
    /// The command has no subcommand of this name.
    UnknownSubcommand(&'static Spec, &'a [u8]),
    /// It takes another number of arguments.
    WrongArity(&'static Spec),
}

/// As much of a client's words as an error repeats, in bytes.
const REPEATED: usize = 128;

impl Refusal<'_> {
    /// Answers the client, in Redis's words.
    #[cold]
    pub fn reply(&self, reply: &mut Reply<'_>) {
        match self {
            Self::UnknownCommand(args) => {
                let mut words = Vec::new();
                for word in args.from(1) {
                    if words.len() >= REPEATED {
                        break;
                    }
                    let word = repeated(word, REPEATED - words.len());
                    words.extend([b"'", word, b"' "].concat());
                }
                let name = repeated(args.at(0), REPEATED);
                let parts = [b"ERR unknown command '", name, b"', with args beginning with: ", &words];
                reply.error_bytes(&parts.concat());
            }
            Self::UnknownSubcommand(parent, name) => {
                let parent = parent.name.to_ascii_uppercase();
                let name = repeated(name, REPEATED);
                let parts = [b"ERR unknown subcommand '", name, b"'. Try ", parent.as_bytes(), b" HELP."];
                reply.error_bytes(&parts.concat());
            }
            Self::WrongArity(spec) => {
                reply.error(&format!("ERR wrong number of arguments for '{}' command", spec.name));
            }
        }
    }
}

/// As much of a client's word as an error repeats: up to a zero byte, as in C.
fn repeated(word: &[u8], len: usize) -> &[u8] {
    let word = &word[..word.len().min(len)];
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_letter_case_and_nothing_else_is() {
        for spec in SPECS {
            assert_eq!(lookup(spec.name.as_bytes()).unwrap().command, spec.command);
            assert_eq!(lookup(spec.name.to_uppercase().as_bytes()).unwrap().command, spec.command);
            assert!(lookup(&spec.name.as_bytes()[1..]).is_none_or(|other| other.name == &spec.name[1..]));
            let mut longer = spec.name.as_bytes().to_vec();
            longer.push(0);
            assert!(lookup(&longer).is_none());
        }
        for word in [&b""[..], b"\0", b" ", b"get ", b"client|id", b"G\x05T", &[b'a'; 17], &[0; 400]] {
            assert!(lookup(word).is_none(), "{word:?}");
        }
    }
}
