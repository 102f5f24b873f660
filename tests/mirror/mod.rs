//! The checkpoint node as the mirror of its master, over any network.

mod digest;
mod network;
mod port;
