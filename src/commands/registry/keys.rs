//! Positions of a command's keys among its arguments, in the terms of Redis's key specifications
//! (<https://redis.io/docs/latest/develop/reference/key-specs/>): one rule for where a group of keys begins, one for
//! which arguments belong to it.

use super::KeyFlags;
use crate::commands::parse;
use crate::encoding::resp::Args;

/// A group of keys among the arguments of a command, and what the command does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Beginning of the group of keys.
    pub begin: Begin,
    /// Which arguments belong to the group, relative to its beginning.
    pub find: Find,
    /// Flags that say what the command does to the keys of the group.
    pub flags: KeyFlags,
}

/// Beginning of a group of keys among a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The group begins at this argument; the command's name has index 0.
    Index(u8),
    /// The group begins after this word, in any letter case. The search starts at argument `from` and goes forwards; if
    /// `from` is negative, it counts from the end and the search goes backwards.
    Keyword {
        /// The word to find.
        word: &'static str,
        /// Argument at which the search starts.
        from: i8,
    },
    /// The group is the argument of an option that may be given several times, in any letter case; the last one counts,
    /// as the command itself reads them.
    Option {
        /// Names of the option.
        names: &'static [&'static str],
        /// Argument at which the options begin.
        from: u8,
        /// Other options that take arguments, and how many: what looks like one of `names` there is none.
        others: &'static [(&'static str, u8)],
    },
}

/// Which arguments are keys, relative to where their group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Every `step`th argument up to `last`.
    Range {
        /// Index of the last key, counted from the first key; if negative, counted from the end of the request, where
        /// -1 is the last argument.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
        /// With `last` -1: only the first `1 / limit` of the remaining arguments are considered; 0 and 1 mean all of
        /// them.
        limit: u8,
    },
    /// A number of keys that is given by an argument (*numkeys*).
    Count {
        /// Index of the *numkeys* argument, counted from where the group begins.
        at: u8,
        /// Index of the first key, counted from where the group begins.
        first: u8,
        /// Distance from one key to the next.
        step: u8,
    },
}

/// Indexes of a group of keys in one request.
type Indices = std::iter::StepBy<std::ops::Range<usize>>;

impl KeySpec {
    /// One key, at a fixed position.
    pub const fn one(at: u8, flags: KeyFlags) -> Self {
        Self::range(at, 0, 1, flags)
    }

    /// Every `step`th argument from `first` to `last`; `last` is counted as in [`Find::Range`].
    pub const fn range(first: u8, last: i8, step: u8, flags: KeyFlags) -> Self {
        Self { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, flags }
    }

    /// A group whose number of keys is argument `at`; the keys follow it immediately.
    pub const fn counted(at: u8, flags: KeyFlags) -> Self {
        Self { begin: Begin::Index(at), find: Find::Count { at: 0, first: 1, step: 1 }, flags }
    }

    /// The one key that is the argument of an option, as [`Begin::Option`] finds it.
    pub const fn option(
        names: &'static [&'static str],
        from: u8,
        others: &'static [(&'static str, u8)],
        flags: KeyFlags,
    ) -> Self {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Self { begin: Begin::Option { names, from, others }, find, flags }
    }

    /// Number of key specifications that describe the group to clients: one for each name of an option, unless an
    /// argument of another option may look like it.
    pub const fn described(&self) -> usize {
        match self.begin {
            Begin::Option { names, others: [], .. } => names.len(),
            _ => 1,
        }
    }

    /// Number of keys that the command's grammar names for each of these specifications: one for each key at a fixed
    /// position, and one for any number of them.
    pub const fn named(&self) -> i64 {
        match self.find {
            Find::Range { last: last @ 1.., step, .. } => last as i64 / step as i64 + 1,
            _ => 1,
        }
    }

    /// Indexes of these keys in a request. Empty if the request has no such keys, or announces more keys than it has;
    /// the command's plan then reports the error.
    #[inline]
    pub fn indices(&self, args: Args<'_>) -> Indices {
        let nothing = (0..0).step_by(1);
        let Some(begin) = self.begin.find(args) else { return nothing };
        let (first, end, step) = match self.find {
            Find::Range { last, step, limit } => {
                let end = match last {
                    0.. => begin + usize::from(last.unsigned_abs()) + 1,
                    -1 if limit > 1 => begin + args.len().saturating_sub(begin) / usize::from(limit),
                    _ => (args.len() + 1).saturating_add_signed(last.into()),
                };
                (begin, end.min(args.len()), step)
            }
            Find::Count { at, first, step } => {
                let count = args.get(begin + usize::from(at)).and_then(parse::integer).unwrap_or(0);
                let first = begin + usize::from(first);
                let end = usize::try_from(count)
                    .ok()
                    .and_then(|count| count.checked_mul(step.into())?.checked_add(first))
                    .filter(|end| *end <= args.len());
                match end {
                    Some(end) => (first, end, step),
                    None => return nothing,
                }
            }
        };
        (first..end).step_by(usize::from(step).max(1))
    }
}

impl Begin {
    fn find(self, args: Args<'_>) -> Option<usize> {
        match self {
            Self::Index(at) => Some(usize::from(at)),
            Self::Keyword { word, from } => {
                let is_word = |at: &usize| args.at(*at).eq_ignore_ascii_case(word.as_bytes());
                let found = match usize::try_from(from) {
                    Ok(from) => (from..args.len()).find(is_word),
                    Err(_) => {
                        let from = args.len().checked_add_signed(from.into())?;
                        (1..=from).rev().find(is_word)
                    }
                };
                found.map(|at| at + 1).filter(|at| *at < args.len())
            }
            Self::Option { names, from, others } => {
                let mut found = None;
                let mut at = usize::from(from);
                while let Some(word) = args.get(at) {
                    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
                    if at + 1 < args.len() && names.iter().any(|name| is(name)) {
                        found = Some(at + 1);
                        at += 1;
                    } else if let Some((_, count)) = others.iter().find(|(name, _)| is(name)) {
                        at += usize::from(*count);
                    }
                    at += 1;
                }
                found
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    fn found(spec: KeySpec, text: &str) -> Vec<usize> {
        request(text, |args| spec.indices(args).collect())
    }

    #[test]
    fn keys_stand_where_their_specification_says() {
        const FLAGS: KeyFlags = KeyFlags::RO;
        assert_eq!(found(KeySpec::one(1, FLAGS), "GET a"), [1]);
        assert_eq!(found(KeySpec::one(2, FLAGS), "OBJECT FREQ a"), [2]);
        assert_eq!(found(KeySpec::range(1, -1, 1, FLAGS), "DEL a b c"), [1, 2, 3]);
        assert_eq!(found(KeySpec::range(1, -2, 1, FLAGS), "BLPOP a b 0"), [1, 2]);
        assert_eq!(found(KeySpec::range(1, -1, 2, FLAGS), "MSET a 1 b 2"), [1, 3]);
        assert_eq!(found(KeySpec::range(1, 1, 1, FLAGS), "SMOVE a b m"), [1, 2]);
        assert_eq!(found(KeySpec::counted(1, FLAGS), "ZINTERCARD 2 a b LIMIT 1"), [2, 3]);
        assert_eq!(found(KeySpec::counted(2, FLAGS), "ZUNIONSTORE d 3 a b c"), [3, 4, 5]);
        let streams = KeySpec {
            begin: Begin::Keyword { word: "STREAMS", from: 1 },
            find: Find::Range { last: -1, step: 1, limit: 2 },
            flags: FLAGS,
        };
        assert_eq!(found(streams, "XREAD COUNT 2 STREAMS a b 0 0"), [4, 5]);
        let migrated = KeySpec {
            begin: Begin::Keyword { word: "KEYS", from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
            flags: FLAGS,
        };
        assert_eq!(found(migrated, "MIGRATE h p KEYS 0 9 KEYS a b"), [7, 8]);
    }

    #[test]
    fn the_last_of_several_options_names_the_key() {
        const OTHERS: &[(&str, u8)] = &[("BY", 1), ("GET", 1), ("LIMIT", 2)];
        let option = |text| found(KeySpec::option(&["STORE", "STOREDIST"], 2, OTHERS, KeyFlags::OW), text);
        assert_eq!(option("SORT a ALPHA store b"), [4]);
        assert_eq!(option("SORT a STORE b ALPHA STORE c DESC"), [6]);
        assert_eq!(option("SORT a STORE b storedist c"), [5]);
        assert_eq!(option("SORT a STOREDIST b STORE c"), [5]);
        assert_eq!(option("SORT STORE STORE STORE"), [3]);
        // The argument of an option is none, whatever it looks like; Redis would tell the word behind it.
        assert_eq!(option("SORT a STORE store ALPHA"), [3]);
        assert_eq!(option("SORT a STORE b STORE STORE"), [5]);
        assert_eq!(option("SORT a STORE BY GET STORE"), [3]);
        assert_eq!(option("SORT a BY STORE get STORE LIMIT STORE STORE"), [0; 0]);
        assert_eq!(option("SORT a LIMIT 0 STORE b"), [0; 0]);
        assert_eq!(option("SORT a BY"), [0; 0]);
        assert_eq!(option("SORT a STORE"), [0; 0]);
        assert_eq!(option("SORT a ALPHA"), [0; 0]);
    }

    #[test]
    fn a_request_that_does_not_have_its_keys_has_none() {
        const FLAGS: KeyFlags = KeyFlags::RO;
        for count in ["3", "-1", "x", "9223372036854775807", "0"] {
            assert_eq!(found(KeySpec::counted(1, FLAGS), &format!("ZINTERCARD {count} a b")), [0; 0], "{count}");
        }
        assert_eq!(found(KeySpec::one(1, FLAGS), "GET"), [0; 0]);
    }
}
