//! Authentication: the password that clients and checkpoint nodes must give, and the delay after wrong ones.
//!
//! | module | what it is |
//! |---|---|
//! | [`guard`] | checks attempts against the server's password and delays addresses that gave wrong ones |
//!
//! The password's hash itself is a setting ([`crate::config::Password`]).

pub mod guard;
