//! A node's answer to the master's challenge. It proves that the node knows the password, which itself never crosses
//! the network.
//!
//! The proof is the HMAC-SHA256, under the password's hash, of: `rollbook mirror`, a zero byte, the challenge, and of
//! the hello its version (4 bytes), role (1), node (8) and session (8), little-endian. So a proof is valid once, and
//! only for the connection that it was made for.
//!
//! The proof does not protect the rest of the connection: somebody in between can read and change it. That takes TLS,
//! which this protocol does not have yet.

use super::{Hello, Role};
use crate::config::Password;
use crate::config::password::Proof;

/// Length of a challenge in bytes.
pub const NONCE: usize = 32;

/// Computes the proof that belongs to `password`, the challenge `nonce` and `hello`.
pub fn prove(password: &Password, nonce: &[u8], hello: &Hello) -> Proof {
    password.prove(&statement(nonce, hello))
}

/// Whether `proof` was made with `password` for the challenge `nonce` and `hello`.
pub fn is_proved(password: &Password, nonce: &[u8; NONCE], hello: &Hello, proof: &[u8]) -> bool {
    password.is_proved(&statement(nonce, hello), proof)
}

fn statement(nonce: &[u8], hello: &Hello) -> Vec<u8> {
    let role = match hello.role {
        Role::Control => 0,
        Role::Stream => 1,
        Role::Upload => 2,
        Role::Download => 3,
    };
    let (protocol, node, session) =
        (hello.protocol.to_le_bytes(), hello.node.to_le_bytes(), hello.session.to_le_bytes());
    [b"rollbook mirror\0", nonce, &protocol, &[role], &node, &session].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_password_one_challenge_and_one_hello() {
        let (password, nonce) = (Password::new("sesame"), [5; NONCE]);
        let hello = Hello { protocol: 2, role: Role::Stream, node: 3, session: 4 };
        let proof = prove(&password, &nonce, &hello);
        assert!(is_proved(&password, &nonce, &hello, &proof));
        assert!(!is_proved(&Password::new("Sesame"), &nonce, &hello, &proof));
        assert!(!is_proved(&password, &[6; NONCE], &hello, &proof));
        let others = [Hello { role: Role::Upload, ..hello }, Hello { node: 9, ..hello }, Hello { session: 9, ..hello }];
        for other in others {
            assert!(!is_proved(&password, &nonce, &other, &proof), "{other:?}");
        }
    }
}
