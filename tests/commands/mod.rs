//! What commands do and answer.

mod differential;
mod expiry;
