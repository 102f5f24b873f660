//! The checkpoint node, and the master's side of it.
