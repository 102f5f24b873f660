//! What commands do and answer.

mod differential;
mod dump;
mod expiry;
