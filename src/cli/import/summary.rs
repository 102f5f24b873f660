//! What was imported and what was skipped.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Number of keys that the server took.
    pub(super) imported: u64,
    /// For each reason: number of keys, and the first one.
    keys: BTreeMap<String, (u64, Vec<u8>)>,
    /// Number of things that are not keys.
    beside: BTreeMap<String, u64>,
}

/// Something that was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// A key, with the reason.
    Key(String),
    /// Something that is not a key.
    Beside(String),
}

impl Summary {
    /// Counts something that was not imported; `key` is its name, if it is a key.
    pub(super) fn skip(&mut self, key: &[u8], what: Skipped) {
        match what {
            Skipped::Key(why) => self.keys.entry(why).or_insert_with(|| (0, key.to_vec())).0 += 1,
            Skipped::Beside(what) => *self.beside.entry(what).or_default() += 1,
        }
    }

    /// Number of keys that were not imported.
    pub(super) fn skipped_keys(&self) -> u64 {
        self.keys.values().map(|(count, _)| count).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys imported", self.imported)?;
        for (why, (count, first)) in &self.keys {
            write!(f, "\n{count} keys skipped: {why} (first: \"{}\")", first.escape_ascii())?;
        }
        for (what, count) in &self.beside {
            write!(f, "\n{count} times skipped: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_of_each_reason_is_named() {
        let mut summary = Summary { imported: 7, ..Summary::default() };
        for key in [&b"one"[..], b"two"] {
            summary.skip(key, Skipped::Key("too large".to_owned()));
        }
        summary.skip(b"", Skipped::Beside("a library of functions".to_owned()));
        let text = summary.to_string();
        let lines = [
            "7 keys imported",
            "2 keys skipped: too large (first: \"one\")",
            "1 times skipped: a library of functions",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        assert_eq!(summary.skipped_keys(), 2);
    }
}
