//! Cores and the messages between them.
