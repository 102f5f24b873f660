//! The checkpoint node, and the master's side of it.

mod clock;
mod link;
pub mod master;
pub mod node;
pub mod protocol;

#[cfg(test)]
mod tests;
