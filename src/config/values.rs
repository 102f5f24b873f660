//! Parsing of single values: sizes with units, lists of one item, and 0 or `""` for "none".

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Unit suffixes of a number of bytes, with their factors.
const UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Parses a number of bytes: `4096`, `64KiB`, `2 GiB`.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').len();
    let number = text[..digits].replace('_', "").parse::<u64>().ok()?;
    let unit = text[digits..].trim();
    let factor = if unit.is_empty() { 1 } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    // TOML integers are signed: larger numbers cannot be written.
    number.checked_mul(factor).filter(|bytes| i64::try_from(*bytes).is_ok())
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes such as 65536 or \"64KiB\" (units B, KiB, MiB, GiB, TiB)")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        parse_bytes(value).ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
    }
}

/// Deserializes a number of bytes, with or without a unit.
pub(super) fn bytes<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let value = deserializer.deserialize_any(BytesVisitor)?;
    T::try_from(value).map_err(|_| D::Error::invalid_value(Unexpected::Unsigned(value), &BytesVisitor))
}

/// Deserializes a number of bytes, where 0 means `None`.
pub(super) fn bytes_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Some(bytes(deserializer)?).filter(|value| *value != 0))
}

/// Deserializes a list, or a text of items separated by commas or spaces (the form that the environment uses).
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let items = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split([',', ' ']).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        OneOrMany::Many(items) => items,
    };
    items.iter().map(|item| item.parse().map_err(|e| D::Error::custom(format_args!("{item:?}: {e}")))).collect()
}

/// (De)serializes an optional number; `None` is written 0.
pub(super) mod zero_is_none {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer, T: Serialize + Default>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => T::default().serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Default + PartialEq,
    {
        Ok(Some(T::deserialize(deserializer)?).filter(|value| *value != T::default()))
    }
}

/// (De)serializes an optional text; `None` is written `""`.
pub(super) mod empty_is_none {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer, T: Serialize>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(in super::super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: fmt::Display>,
    {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }
}

/// (De)serializes the number of partitions as a plain number.
pub(super) mod partitions {
    use super::*;
    use crate::ids::Partitions;

    pub(in super::super) fn serialize<S: Serializer>(value: &Partitions, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(value.count())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Partitions, D::Error> {
        let count = i64::deserialize(deserializer)?;
        let known = u16::try_from(count).ok().and_then(Partitions::new);
        known.ok_or_else(|| D::Error::custom(format_args!("{count} is not a power of two from 1 to 16384")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_units() {
        for (text, value) in [
            ("0", Some(0)),
            ("4_096", Some(4096)),
            ("64KiB", Some(65_536)),
            ("2 GiB", Some(2 << 30)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1kb", None),
            ("1.5MiB", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("16777216TiB", None),
        ] {
            assert_eq!(parse_bytes(text), value, "{text:?}");
        }
    }
}
