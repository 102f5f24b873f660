//! The checkpoint node.

mod assembler;
mod plan;
