//! Look-up of commands: from a request's words to a registry row.
//!
//! Names are in a hash table with open addressing, built once at the start. A name's first 16 bytes, in lower case, are
//! compared as one number, so that a look-up is one multiplication and nearly always one comparison. Further bytes of
//! longer names are compared one by one.

use super::{CommandId, Spec};
use crate::encoding::resp::{Args, Reply};

/// Number of leading bytes of a name that are compared as one number.
const WORD: usize = 16;

/// Every command and subcommand of a server, searchable by name.
#[derive(Debug)]
pub struct Registry {
    /// Rows of all commands except subcommands, in the order given.
    rows: Vec<&'static Spec>,
    /// Number of rows, including subcommands; ids are below it.
    count: usize,
    /// Hash table of `rows` by name; its size is a power of two, and at least half of it is free.
    places: Vec<Option<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    word: u128,
    spec: &'static Spec,
}

impl Registry {
    /// Makes a registry from the rows of these families. It lives as long as the process, so that rows can be borrowed
    /// for ever.
    ///
    /// # Panics
    /// If two commands have the same name, or there are more than `u16::MAX`.
    pub fn new<'f>(families: impl IntoIterator<Item = &'f [Spec]>) -> Self {
        let mut count = 0;
        let mut rows: Vec<&'static Spec> = Vec::new();
        for row in families.into_iter().flatten() {
            rows.push(numbered(row, &mut count));
        }
        let mut places = vec![None; (4 * rows.len()).next_power_of_two()];
        for spec in &rows {
            let word = small_letters(spec.name.as_bytes());
            let mut at = place(word, places.len());
            while let Some(Place { spec: other, .. }) = places[at] {
                assert!(other.name != spec.name, "there are two commands called {}", spec.name);
                at = (at + 1) & (places.len() - 1);
            }
            places[at] = Some(Place { word, spec });
        }
        Self { rows, count: usize::from(count), places }
    }

    /// Every command that is not a subcommand, family by family.
    pub fn all(&self) -> impl Iterator<Item = &'static Spec> + Clone {
        self.rows.iter().copied()
    }

    /// Number of commands and subcommands; every [`CommandId`] is below it.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Finds the row of the command called `name`, in any letter case.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<&'static Spec> {
        let word = small_letters(name);
        let mut at = place(word, self.places.len());
        while let Some(Place { word: own, spec }) = self.places[at] {
            if own == word && has_rest(spec.name.as_bytes(), name) {
                return Some(spec);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
        None
    }

    /// Finds the row of the command or subcommand that a request names, and checks the number of arguments.
    ///
    /// # Errors
    ///
    /// If there is no such command, or the number of arguments is wrong.
    #[inline]
    pub fn resolve<'a>(&self, args: Args<'a>) -> Result<&'static Spec, Refusal<'a>> {
        let Some(mut spec) = self.lookup(args.at(0)) else { return Err(Refusal::UnknownCommand(args)) };
        if !spec.subcommands.is_empty()
            && let Some(name) = args.get(1)
        {
            spec = spec.subcommand(name).ok_or(Refusal::UnknownSubcommand(spec, name))?;
        }
        if spec.takes(args.len()) { Ok(spec) } else { Err(Refusal::WrongArity(spec)) }
    }
}

/// Copy of a row in which the command and all its subcommands have their ids.
fn numbered(row: &Spec, count: &mut u16) -> &'static Spec {
    let mut spec = row.clone();
    spec.id = CommandId(*count);
    *count = count.checked_add(1).expect("there are far fewer than 65,536 commands");
    let subcommands: Vec<Spec> = row.subcommands.iter().map(|sub| numbered(sub, count).clone()).collect();
    spec.subcommands = Vec::leak(subcommands);
    Box::leak(Box::new(spec))
}

#[inline]
fn place(word: u128, places: usize) -> usize {
    let folded = word as u64 ^ ((word >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (places - 1)
}

/// Whether two names that agree in their first [`WORD`] bytes agree in the rest.
#[inline]
fn has_rest(own: &[u8], name: &[u8]) -> bool {
    own.len() == name.len() && (name.len() <= WORD || own[WORD..].eq_ignore_ascii_case(&name[WORD..]))
}

/// The first [`WORD`] bytes of a name as a number, in lower case, the first byte lowest.
#[inline]
fn small_letters(word: &[u8]) -> u128 {
    // Two loads that may overlap avoid a loop whose length the CPU cannot predict.
    let bits = if let Some(head) = word.first_chunk() {
        u128::from_le_bytes(*head)
    } else if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        let tail = u128::from(u64::from_le_bytes(*tail));
        u128::from(u64::from_le_bytes(*head)) | tail << (8 * (word.len() - 8))
    } else if let (Some(head), Some(tail)) = (word.first_chunk(), word.last_chunk()) {
        let tail = u64::from(u32::from_le_bytes(*tail));
        u128::from(u64::from(u32::from_le_bytes(*head)) | tail << (8 * (word.len() - 4)))
    } else {
        word.iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    };
    // Exactly the bytes A to Z have bit 7 set in just one of these two sums, and clear in themselves. A sum of a 7-bit
    // value and a byte below 0x40 never carries into the next byte.
    const fn all(byte: u8) -> u128 {
        u128::from_le_bytes([byte; WORD])
    }
    let low = bits & all(0x7f);
    let capital = (low + all(0x80 - b'A')) ^ (low + all(0x7f - b'Z'));
    bits | (capital & !bits & all(0x80)) >> 2
}

/// Reason why a request names no executable command.
#[derive(Debug)]
pub enum Refusal<'a> {
    /// There is no command of this name.
    UnknownCommand(Args<'a>),
    /// The command has no subcommand of this name.
    UnknownSubcommand(&'static Spec, &'a [u8]),
    /// The command takes a different number of arguments.
    WrongArity(&'static Spec),
}

/// Maximum bytes of a client's words that an error message repeats.
const REPEATED: usize = 128;

impl Refusal<'_> {
    /// Writes the refusal as an error reply in Redis's wording.
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

/// The part of a client's word that an error message repeats: up to a zero byte, as in C.
fn repeated(word: &[u8], len: usize) -> &[u8] {
    let word = &word[..word.len().min(len)];
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::*;

    fn registry(names: &[&'static str]) -> Registry {
        let rows: Vec<Spec> = names.iter().map(|name| Spec::new(Group::Generic, name, -1, "")).collect();
        Registry::new([&rows[..]])
    }

    #[test]
    fn every_command_is_found_in_any_letter_case_and_nothing_else_is() {
        let names =
            ["get", "sort_ro", "a", "zrevrangebyscore", "georadiusbymember_ro", "georadiusbymember", "x-1", "incr"];
        let registry = registry(&names);
        for name in names {
            assert_eq!(registry.lookup(name.as_bytes()).unwrap().name, name);
            assert_eq!(registry.lookup(name.to_uppercase().as_bytes()).unwrap().name, name);
            assert!(registry.lookup(&name.as_bytes()[1..]).is_none(), "{name}");
            for byte in 0..=u8::MAX {
                let mut other = name.as_bytes().to_vec();
                other.push(byte);
                assert!(registry.lookup(&other).is_none_or(|found| found.name.as_bytes() == other), "{name} {byte}");
                let at = usize::from(byte) % name.len();
                other.pop();
                other[at] ^= 1 << (byte % 8);
                let same = other.eq_ignore_ascii_case(name.as_bytes());
                assert_eq!(registry.lookup(&other).is_some_and(|found| found.name == name), same, "{name} {byte}");
            }
        }
        for word in [&b""[..], b"\0", b" ", b"get ", b"client|id", b"G\x05T", &[b'a'; 17], &[0; 400], b"SORT\x7fRO"] {
            assert!(registry.lookup(word).is_none(), "{word:?}");
        }
    }

    #[test]
    fn a_thousand_commands_are_as_well() {
        let names: Vec<&'static str> = (0..1000).map(|n| &*format!("command_{n}").leak()).collect();
        let registry = registry(&names);
        let ids: Vec<u16> = names.iter().map(|name| registry.lookup(name.as_bytes()).unwrap().id.0).collect();
        assert_eq!(ids, (0..1000).collect::<Vec<_>>());
        assert_eq!((registry.count(), registry.all().count()), (1000, 1000));
    }

    #[test]
    fn subcommands_have_ids_of_their_own() {
        const PARENT: &[Spec] = &[
            Spec::new(Group::Generic, "first", -1, ""),
            Spec::new(Group::Generic, "parent", -2, "").subcommands(&[
                Spec::new(Group::Generic, "parent|one", -2, ""),
                Spec::new(Group::Generic, "parent|two", 2, ""),
            ]),
        ];
        let registry = Registry::new([PARENT]);
        let parent = registry.lookup(b"parent").unwrap();
        assert_eq!(parent.subcommand(b"TWO").unwrap().id, CommandId(3));
        assert_eq!(registry.count(), 4);
    }
}
