//! What clients and strangers meet at the port: libraries, limits, hostile bytes.

mod hostile;
mod libraries;
mod memory_limit;
mod port_limits;
mod published_weaknesses;
mod split_requests;
