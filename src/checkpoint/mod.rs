//! The checkpoint node, and the master's side of it.

pub mod master;
pub mod protocol;
