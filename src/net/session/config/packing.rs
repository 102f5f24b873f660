//! The settings of `[packing]` under the names that CONFIG GET and CONFIG SET know: Redis's, its older ones, our own.

use super::number::{Why, integer, memory, within};
use crate::config::Packing;

/// A setting of `[packing]`.
pub(super) struct Setting {
    /// Our name without its section.
    own: &'static str,
    /// Redis's names, the present one first.
    redis: &'static [&'static str],
    /// Reads the setting.
    get: fn(&Packing) -> i64,
    /// Writes the setting; the number has been checked to be one that the setting's type holds.
    set: fn(&mut Packing, i64),
}

macro_rules! setting {
    ($own:ident, $number:ty, $($redis:literal),+) => {
        Setting {
            own: stringify!($own),
            redis: &[$($redis),+],
            get: |packing| packing.$own.into(),
            set: |packing, value| packing.$own = value as $number,
        }
    };
}

const SETTINGS: &[Setting] = &[
    setting!(hash_entries, u32, "hash-max-listpack-entries", "hash-max-ziplist-entries"),
    setting!(hash_bytes, u32, "hash-max-listpack-value", "hash-max-ziplist-value"),
    setting!(set_integers, u32, "set-max-intset-entries"),
    setting!(set_entries, u32, "set-max-listpack-entries"),
    setting!(set_bytes, u32, "set-max-listpack-value"),
    setting!(sorted_set_entries, u32, "zset-max-listpack-entries", "zset-max-ziplist-entries"),
    setting!(sorted_set_bytes, u32, "zset-max-listpack-value", "zset-max-ziplist-value"),
    setting!(list_chunk, i32, "list-max-listpack-size", "list-max-ziplist-size"),
    setting!(list_compress_depth, u32, "list-compress-depth"),
    setting!(stream_block_bytes, u32, "stream-node-max-bytes"),
    setting!(stream_block_entries, u32, "stream-node-max-entries"),
    setting!(hyperloglog_bytes, u32, "hll-sparse-max-bytes"),
];

/// Change of one setting of `[packing]`.
#[derive(Clone, Copy)]
pub(super) struct PackingChange {
    setting: &'static Setting,
    value: i64,
}

impl PackingChange {
    /// Parses a change of the setting `name`; `None` if `[packing]` has no such setting.
    pub(super) fn parse(name: &str, value: &[u8]) -> Option<Result<Self, Why>> {
        let own = name.strip_prefix("packing.");
        let setting = SETTINGS.iter().find(|s| s.redis.contains(&name) || own == Some(s.own))?;
        let most = i32::MAX.into();
        let value = match setting.own {
            "list_chunk" => integer(value, i32::MIN.into(), most),
            own if own.ends_with("_bytes") => {
                let bytes = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
                memory(value).and_then(|value| within(bytes(value), 0, most))
            }
            _ => integer(value, 0, most),
        };
        Some(value.map(|value| Self { setting, value }))
    }

    /// Makes the change.
    pub(super) fn apply(self, packing: &mut Packing) {
        (self.setting.set)(packing, self.value);
    }

    /// Whether `other` changes the same setting.
    pub(super) fn is_of_same(self, other: Self) -> bool {
        self.setting.own == other.setting.own
    }
}

impl std::fmt::Debug for PackingChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "packing.{}={}", self.setting.own, self.value)
    }
}

/// Redis's names of the settings, with their values.
pub(super) fn values(packing: &Packing) -> impl Iterator<Item = (String, String)> {
    let names = SETTINGS.iter().flat_map(|s| s.redis.iter().map(move |name| (*name, s.get)));
    names.map(|(name, get)| (name.to_owned(), get(packing).to_string()))
}
