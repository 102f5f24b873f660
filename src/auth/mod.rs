//! Who may come in: what clients of both ports must know, and how wrong attempts are slowed down.
//!
//! | module | what it is |
//! |---|---|
//! | [`guard`] | the password of the server, and the addresses that gave wrong ones |
//!
//! The password's hash itself is a setting ([`crate::config::Password`]).

pub mod guard;
