//! Passwords, stored only as hashes: neither the process's memory nor its configuration needs to hold the plain
//! password.
//!
//! The hash is the plain SHA-256, as in Redis's access lists, so that both ends of the replication connection can prove
//! that they know it: it is the key of a node's response to the master's challenge. Whoever has the hash can therefore
//! pose as a node; it needs as much protection as the password.
//!
//! Users with rights of their own (`ACL`) would need a list of names with such hashes, kept here. TLS would keep
//! network traffic from being read; its place is in `net`, between the ring and the connection. Neither exists yet.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Prefix of a hash where a password is expected.
const PREFIX: &str = "sha256:";
/// Maximum length of a password in bytes.
const LONGEST: usize = 16 << 10;

/// Hash of a password. It is never displayed, and comparison takes the same time however much of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 32]);

/// Response to a challenge that proves knowledge of the password without revealing it.
pub type Proof = [u8; 32];

impl Password {
    /// Hashes `text` as a password.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Makes a password from random bytes, which nobody can type.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether `guess` is the password. Guesses above the maximum length are rejected without hashing, which would take
    /// time.
    pub fn matches(&self, guess: &[u8]) -> bool {
        guess.len() <= LONGEST && bool::from(Sha256::digest(guess).ct_eq(&self.0))
    }

    /// Computes the response to `challenge` that proves knowledge of the password.
    pub fn prove(&self, challenge: &[u8]) -> Proof {
        self.mac(challenge).finalize().into_bytes().into()
    }

    /// Whether `proof` is the right response to `challenge`.
    pub fn is_proved(&self, challenge: &[u8], proof: &[u8]) -> bool {
        self.mac(challenge).verify_slice(proof).is_ok()
    }

    fn mac(&self, challenge: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is one").chain_update(challenge)
    }
}

/// Error for a text that is neither a password nor a valid hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what follows \"sha256:\" is not a hash of 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for Password {
    type Err = NoHash;

    /// Parses a plain password, or `sha256:` followed by its hash in hexadecimal.
    fn from_str(text: &str) -> Result<Self, NoHash> {
        let Some(digits) = text.strip_prefix(PREFIX) else { return Ok(Self::new(text)) };
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let mut hash = [0; 32];
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(NoHash);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(NoHash);
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_matched_whole_and_never_shown() {
        let password = Password::new("opensesame");
        assert!(password.matches(b"opensesame"));
        assert!(!password.matches(b"opensesam") && !password.matches(b"") && !password.matches(b"opensesame "));
        let shown = format!("{password:?} {}", toml::Value::try_from(&password).unwrap());
        assert!(!shown.contains("open") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn a_hash_may_stand_for_the_password() {
        // printf sesame | sha256sum
        let right = "sha256:d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";
        assert_eq!(right.parse(), Ok(Password::new("sesame")));
        assert_eq!(right.replace("d0c0", "D0C0").parse(), Ok(Password::new("sesame")));
        assert_eq!("SHA256:d0".parse(), Ok(Password::new("SHA256:d0")));
        for wrong in ["sha256:", "sha256:00", &right[..70], &format!("{right}0"), &right.replace("d0c0", "d0g0")] {
            assert_eq!(wrong.parse::<Password>(), Err(NoHash), "{wrong}");
        }
    }

    #[test]
    fn a_proof_is_of_one_password_and_one_challenge() {
        let (password, other) = (Password::new("opensesame"), Password::new("Opensesame"));
        let proof = password.prove(b"challenge");
        assert!(password.is_proved(b"challenge", &proof));
        assert!(!password.is_proved(b"another", &proof) && !other.is_proved(b"challenge", &proof));
        assert!(!password.is_proved(b"challenge", &proof[..31]) && !password.is_proved(b"challenge", b""));
    }
}
