//! Passwords, of which only the hash is kept: neither the memory of the process nor its configuration need hold the password itself.
//!
//! The hash is the plain SHA-256, as in Redis's access lists, so that both ends of the mirror can prove that they know it: it is the key
//! of what a node answers to the master's challenge. Whoever has the hash can therefore pose as a node; it is worth as much care as the
//! password.
//!
//! Users with rights of their own (`ACL`) would bring a list of names with such hashes, kept here; TLS would keep what crosses the
//! network from being read, and has its place in `net`, between the ring and the worker. Neither exists yet.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What stands before a hash, where a password could stand.
const PREFIX: &str = "sha256:";
/// Bytes of the longest password.
const LONGEST: usize = 16 << 10;

/// The hash of a password: never shown, and compared in a time that does not depend on how much of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 32]);

/// What proves that somebody knows a password, without showing it.
pub type Proof = [u8; 32];

impl Password {
    /// This text as a password.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// A password that nobody has to know: random bytes.
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether `guess` is the password. What is longer than any password is not looked at, which takes time.
    pub fn matches(&self, guess: &[u8]) -> bool {
        guess.len() <= LONGEST && bool::from(Sha256::digest(guess).ct_eq(&self.0))
    }

    /// What only somebody who knows the password can say to `challenge`.
    pub fn prove(&self, challenge: &[u8]) -> Proof {
        self.mac(challenge).finalize().into_bytes().into()
    }

    /// Whether `proof` is what is to be said to `challenge`.
    pub fn is_proved(&self, challenge: &[u8], proof: &[u8]) -> bool {
        self.mac(challenge).verify_slice(proof).is_ok()
    }

    fn mac(&self, challenge: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is one").chain_update(challenge)
    }
}

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what follows \"sha256:\" is not a hash of 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for Password {
    type Err = NoHash;

    /// The password itself, or `sha256:` and its hash.
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
