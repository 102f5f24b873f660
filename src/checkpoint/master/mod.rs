//! The master's side of the checkpoint node.

pub mod policy;
