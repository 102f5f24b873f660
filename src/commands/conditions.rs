//! Deletion of strings on a condition, and the digest that conditions can compare: DIGEST, DELEX, DELIFEQ.

use xxhash_rust::xxh3::xxh3_64;

use super::registry::row::{READ_FAST, READ_FROM, WRITE_FAST, key, string};
use super::registry::{Flags, KeyFlags, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::edit::{Change, Removal};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    string(
        "delex",
        |p, _| p.delex(),
        -2,
        "key [IFEQ comparison-value | IFNE comparison-value | IFDEQ comparison-digest | IFDNE comparison-digest]",
        WRITE_FAST,
    )
    .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE).and(KeyFlags::VARIABLE))])
    .about(
        "8.4.0",
        "O(1) to compare values, O(N) to compare digests of N bytes",
        "Deletes a key, if its string is, or is not, a given one",
    ),
    string("delifeq", |p, _| p.delifeq(), 3, "key value", Flags::WRITE)
        .keys(&[key(1, KeyFlags::RM.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .about("9.0.0", "O(1)", "Deletes a key, if its string is a given one"),
    string("digest", |p, _| p.digest(), 2, "key", READ_FAST).keys(READ_FROM).about(
        "8.4.0",
        "O(N), N being the length of the string",
        "Tells the XXH3 digest of a key's string",
    ),
];

/// Number of hexadecimal digits of a string's digest.
const DIGITS: usize = 16;

/// Comparison of the string that a key holds with a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison<'a> {
    /// `IFEQ`: it is this string.
    Equal(&'a [u8]),
    /// `IFNE`: it is another string.
    Unequal(&'a [u8]),
    /// `IFDEQ`: its digest, in hexadecimal, is this one.
    DigestEqual(&'a [u8]),
    /// `IFDNE`: its digest, in hexadecimal, is another one.
    DigestUnequal(&'a [u8]),
}

impl<'a> Comparison<'a> {
    /// The comparison that an option called `name` asks for.
    pub(super) fn named(name: &[u8]) -> Option<fn(&'a [u8]) -> Self> {
        let is = |own: &[u8]| name.eq_ignore_ascii_case(own);
        match () {
            () if is(b"IFEQ") => Some(Self::Equal),
            () if is(b"IFNE") => Some(Self::Unequal),
            () if is(b"IFDEQ") => Some(Self::DigestEqual),
            () if is(b"IFDNE") => Some(Self::DigestUnequal),
            () => None,
        }
    }

    /// Whether it holds for a string. A missing string is equal to none.
    ///
    /// # Errors
    /// If it is to be compared with something that is no digest.
    pub(super) fn holds(self, held: Option<&[u8]>) -> Result<bool, Refused> {
        let Some(held) = held else { return Ok(matches!(self, Self::Unequal(_) | Self::DigestUnequal(_))) };
        match self {
            Self::Equal(wanted) => Ok(held == wanted),
            Self::Unequal(wanted) => Ok(held != wanted),
            Self::DigestEqual(wanted) => has_digest(held, wanted),
            Self::DigestUnequal(wanted) => has_digest(held, wanted).map(|has| !has),
        }
    }
}

/// Digest of a string, as Redis tells it.
fn digest_of(string: &[u8]) -> String {
    format!("{:0DIGITS$x}", xxh3_64(string))
}

fn has_digest(string: &[u8], digest: &[u8]) -> Result<bool, Refused> {
    if digest.len() != DIGITS {
        return Err(Refused::Because("ERR must be exactly 16 hexadecimal characters"));
    }
    Ok(digest.eq_ignore_ascii_case(digest_of(string).as_bytes()))
}

impl Plan<'_, '_, '_> {
    /// DIGEST key
    pub(super) fn digest(&mut self) -> Planned {
        let digest = self.first_string()?.map(|(value, _)| digest_of(value));
        self.reply.bulk_or_null(digest.as_ref().map(String::as_bytes));
        Ok(())
    }

    /// DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest]
    pub(super) fn delex(&mut self) -> Planned {
        match self.args.len() {
            2 => {
                let exists = self.first().is_some();
                self.delete_first_if(exists);
                Ok(())
            }
            4 => {
                let compare = Comparison::named(self.args.at(2));
                let compare =
                    compare.ok_or(Refused::Because("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"))?;
                self.delete_if_compared(compare(self.args.at(3)))
            }
            _ => Err(Refused::Arity("delex")),
        }
    }

    /// DELIFEQ key value
    pub(super) fn delifeq(&mut self) -> Planned {
        self.delete_if_compared(Comparison::Equal(self.args.at(2)))
    }

    fn delete_if_compared(&mut self, comparison: Comparison<'_>) -> Planned {
        let holds = match self.first_string()? {
            Some((value, _)) => comparison.holds(Some(value))?,
            None => false,
        };
        self.delete_first_if(holds);
        Ok(())
    }

    fn delete_first_if(&mut self, holds: bool) {
        if holds {
            self.edit_first(Change::Delete(Removal::Deleted));
        }
        self.reply.int(holds.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn digests_are_those_of_redis() {
        let mut rig = Rig::new();
        rig.run(&[b"SET", b"k", b"Hello world"]);
        assert_eq!(rig.line("DIGEST k"), "$16 b6acb9d84a38ff74");
        // One whose digest begins with zeros.
        rig.line("SET k v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd");
        assert_eq!(rig.line("DIGEST k"), "$16 00006c38adf31777");
        assert_eq!(rig.line("DIGEST none"), "$-1");
        rig.line("HSET h f v");
        assert!(rig.line("DIGEST h").starts_with("-WRONGTYPE"));
    }

    #[test]
    fn a_key_is_deleted_only_if_the_condition_holds() {
        let mut rig = Rig::new();
        let hello = "9555e8555c62dcfd";
        for (condition, holds) in [
            ("IFEQ hello", true),
            ("ifeq other", false),
            ("IFNE other", true),
            ("IFNE hello", false),
            (&format!("IFDEQ {hello}"), true),
            (&format!("IFDEQ {}", hello.to_uppercase()), true),
            ("IFDEQ 0000000000000000", false),
            ("IFDNE 0000000000000000", true),
            (&format!("ifdne {hello}"), false),
        ] {
            rig.line("SET k hello");
            assert_eq!(rig.line(&format!("DELEX k {condition}")), format!(":{}", u8::from(holds)), "{condition}");
            assert_eq!(rig.line("EXISTS k"), format!(":{}", u8::from(!holds)), "{condition}");
            rig.line("SET k hello");
            let reply = if holds { "+OK" } else { "$-1" };
            assert_eq!(rig.line(&format!("SET k new {condition}")), reply, "{condition}");
            assert_eq!(rig.line("GET k"), if holds { "$3 new" } else { "$5 hello" }, "{condition}");
        }
        rig.line("SET k hello");
        assert_eq!(rig.line("DELIFEQ k other"), ":0");
        assert_eq!(rig.line("DELIFEQ k hello"), ":1");
        assert_eq!(rig.line("DELIFEQ k hello"), ":0");
        rig.line("HSET h f v");
        assert!(rig.line("DELEX h IFEQ v").starts_with("-WRONGTYPE"));
        assert!(rig.line("DELIFEQ h v").starts_with("-WRONGTYPE"));
        assert_eq!(rig.line("DELEX h"), ":1");
        assert_eq!(rig.line("DELEX h"), ":0");
    }

    #[test]
    fn a_missing_key_is_created_only_where_unequal_is_wanted() {
        let mut rig = Rig::new();
        // What is compared with nothing need not be a digest.
        for (condition, reply) in [("IFEQ v", "$-1"), ("IFDEQ 1", "$-1"), ("IFNE v", "+OK"), ("IFDNE 1", "+OK")] {
            rig.line("DEL k");
            assert_eq!(rig.line(&format!("DELEX k {condition}")), ":0");
            assert_eq!(rig.line(&format!("SET k v {condition}")), reply);
        }
        for (request, reply) in [
            ("SET k w IFDEQ 1", "-ERR must be exactly 16 hexadecimal characters"),
            ("DELEX k IFDNE 12345678901234567", "-ERR must be exactly 16 hexadecimal characters"),
            ("DELEX k IFEQ", "-ERR wrong number of arguments for 'delex' command"),
            ("DELEX k IFEQ a b", "-ERR wrong number of arguments for 'delex' command"),
            ("SET k v IFEQ a IFNE b", "-ERR syntax error"),
            ("SET k v IFNE a XX", "-ERR syntax error"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        assert!(rig.line("DELEX k EQ v").starts_with("-ERR Invalid condition"));
    }
}
