//! The slot of a key: CRC16 (XMODEM) of the key, or of its `{tag}`, modulo 16,384.
//!
//! The rules are those of the Redis Cluster specification, "Key distribution model" and "Hash tags".

use crate::ids::Slot;

/// The slot that `key` belongs to.
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16(tag(key)) & 0x3fff)
}

/// The part of a key that is hashed: what stands between the first `{` and the next `}`, if that is not empty.
#[inline]
fn tag(key: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'{', key) {
        let rest = &key[open + 1..];
        if let Some(len @ 1..) = memchr::memchr(b'}', rest) {
            return &rest[..len];
        }
    }
    key
}

/// CRC16/XMODEM, four bytes a step: `TABLES[n][b]` is the remainder of byte `b` followed by `n` zero bytes.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        crc = TABLES[3][usize::from(chunk[0] ^ (crc >> 8) as u8)]
            ^ TABLES[2][usize::from(chunk[1] ^ crc as u8)]
            ^ TABLES[1][usize::from(chunk[2])]
            ^ TABLES[0][usize::from(chunk[3])];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

static TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut tables = [[0u16; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"123456789"), Slot(0x31c3));
    }

    #[test]
    fn four_bytes_a_step_equal_one_byte_a_step() {
        let bytes: Vec<u8> = (0..=255u8).rev().collect();
        for end in 0..bytes.len() {
            let slow =
                bytes[..end].iter().fold(0u16, |crc, b| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ b)]);
            assert_eq!(crc16(&bytes[..end]), slow);
        }
    }

    #[test]
    fn tags_follow_the_cluster_rules() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(tag(b"foo{bar"), b"foo{bar");
    }
}
