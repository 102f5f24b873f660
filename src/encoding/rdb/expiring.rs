//! Hashes some of whose fields expire, in the plain encoding that Redis 7.4 and newer read.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`types::HASH_METADATA`] |
//! | 8 | the least time, little-endian |
//! | … | number of fields |
//! | … | per field: its time less the least one, plus 1, as a length (0: it does not expire); its name; its value |

use super::types;
use super::write::{length, number, string};
use crate::time::UnixMillis;

/// Version of the format of such hashes: that of Redis 7.4.
pub const VERSION: u16 = 12;

/// Begins a hash of `count` fields whose least time is `first`; [`field`] appends them.
pub fn begin(out: &mut Vec<u8>, count: usize, first: UnixMillis) {
    out.push(types::HASH_METADATA);
    out.extend_from_slice(&first.get().to_le_bytes());
    length(out, count);
}

/// Appends a field; `first` is the least time.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8], expire_at: Option<UnixMillis>, first: UnixMillis) {
    number(out, expire_at.map_or(0, |at| at.get().saturating_sub(first.get()).saturating_add(1)));
    string(out, name);
    string(out, value);
}
