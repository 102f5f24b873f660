//! What was imported and what was skipped.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Number of keys that the server took.
    pub(super) imported: u64,
    /// Number of commands that the server executed.
    pub(super) executed: u64,
    /// What was left out at the end of a file that ends within something.
    pub(super) cut: Option<String>,
    /// For each reason: number of keys, and the first one.
    keys: BTreeMap<String, (u64, Vec<u8>)>,
    /// For each command that was refused: how often, and the first one with the reason.
    commands: BTreeMap<String, (u64, String)>,
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

    /// Counts a command that was not executed; `example` gives the reason and the command in words.
    pub(super) fn refuse(&mut self, name: &[u8], example: impl FnOnce() -> (String, String)) {
        let name = name.to_ascii_uppercase().escape_ascii().to_string();
        let counted = self.commands.entry(name).or_insert_with(|| {
            let (why, words) = example();
            (0, format!("{words}: {why}"))
        });
        counted.0 += 1;
    }

    /// What is missing, if anything is that was asked for.
    pub(super) fn missing(&self) -> Option<String> {
        let keys: u64 = self.keys.values().map(|(count, _)| count).sum();
        let commands: u64 = self.commands.values().map(|(count, _)| count).sum();
        match (keys, commands) {
            (0, 0) => None,
            (_, 0) => Some(format!("{keys} keys were not imported")),
            (0, _) => Some(format!("{commands} commands were not executed")),
            _ => Some(format!("{keys} keys were not imported, and {commands} commands were not executed")),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys imported", self.imported)?;
        if self.executed > 0 {
            write!(f, ", {} commands executed", self.executed)?;
        }
        for (why, (count, first)) in &self.keys {
            write!(f, "\n{count} keys skipped: {why} (first: \"{}\")", first.escape_ascii())?;
        }
        for (name, (count, first)) in &self.commands {
            write!(f, "\n{count} times {name} refused (first: {first})")?;
        }
        for (what, count) in &self.beside {
            write!(f, "\n{count} times skipped: {what}")?;
        }
        self.cut.iter().try_for_each(|cut| write!(f, "\n{cut}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_named() {
        let mut summary = Summary { imported: 7, executed: 9, cut: Some("cut".to_owned()), ..Summary::default() };
        assert_eq!(summary.missing(), None);
        for key in [&b"one"[..], b"two"] {
            summary.skip(key, Skipped::Key("too large".to_owned()));
        }
        assert_eq!(summary.missing().unwrap(), "2 keys were not imported");
        summary.skip(b"", Skipped::Beside("a library of functions".to_owned()));
        for name in [&b"eval"[..], b"EVAL"] {
            summary.refuse(name, || ("ERR why".to_owned(), "eval x".to_owned()));
        }
        let text = summary.to_string();
        let lines = [
            "7 keys imported, 9 commands executed",
            "2 keys skipped: too large (first: \"one\")",
            "2 times EVAL refused (first: eval x: ERR why)",
            "1 times skipped: a library of functions",
            "cut",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        assert_eq!(summary.missing().unwrap(), "2 keys were not imported, and 2 commands were not executed");
    }
}
