//! The master's side of the checkpoint node.

mod intake;
pub mod policy;
mod sessions;
