//! What DUMP replies and RESTORE takes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | type of the value |
//! | … | the value |
//! | 2 | version of the format |
//! | 8 | checksum of everything before: CRC64 with the polynomial of Jones, as Redis computes it |

use super::{CHECKSUM, Limits, Object, RdbError, is_known, read};

const VERSION: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// A payload whose checksum is right and whose version is known.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    value: &'a [u8],
    version: u16,
}

impl<'a> Payload<'a> {
    /// Checks version and checksum.
    ///
    /// # Errors
    /// [`RdbError::Truncated`], [`RdbError::UnknownVersion`] or [`RdbError::Checksum`].
    pub fn check(bytes: &'a [u8]) -> Result<Self, RdbError> {
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(RdbError::Truncated)?;
        let (value, version) = checked.split_last_chunk::<VERSION>().ok_or(RdbError::Truncated)?;
        let version = u16::from_le_bytes(*version);
        if !is_known(version) {
            return Err(RdbError::UnknownVersion(version));
        }
        if CHECKSUM.checksum(checked) != u64::from_le_bytes(*checksum) {
            return Err(RdbError::Checksum);
        }
        Ok(Self { value, version })
    }

    /// Reads the value.
    ///
    /// # Errors
    /// If it is malformed, unknown or too large.
    pub fn read(self, limits: Limits) -> Result<Object<'a>, RdbError> {
        read(self.value, self.version, limits)
    }
}

/// Completes a payload: appends version and checksum to a value that begins with the byte of its type.
pub fn seal(value: &mut Vec<u8>, version: u16) {
    value.extend_from_slice(&version.to_le_bytes());
    let checksum = CHECKSUM.checksum(value);
    value.extend_from_slice(&checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::types;
    use super::*;

    const LIMITS: Limits = Limits { string: 1 << 20, value: 1 << 20 };

    #[test]
    fn the_checksum_is_that_of_redis() {
        // Redis's own self-test.
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_payload_of_another_version_or_checksum_is_refused() {
        let mut good = vec![types::STRING, 1, b'b'];
        seal(&mut good, 11);
        assert_eq!(Payload::check(&good).unwrap().read(LIMITS), Ok(Object::String(b"b".into())));
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            assert!(Payload::check(&damaged).is_err(), "byte {at}");
            assert!(Payload::check(&good[..at]).is_err(), "the first {at} bytes");
        }
        for (version, is_good) in [(0, false), (1, true), (12, true), (13, false), (79, false), (80, true), (81, false)]
        {
            let mut payload = vec![types::STRING, 1, b'b'];
            seal(&mut payload, version);
            let checked = Payload::check(&payload).map(|payload| payload.version);
            assert_eq!(checked, if is_good { Ok(version) } else { Err(RdbError::UnknownVersion(version)) });
        }
    }
}
