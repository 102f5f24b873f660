//! What commands do and answer.

mod debug;
mod differential;
mod dump;
mod expiry;
mod random;
