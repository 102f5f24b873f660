//! What clients and strangers meet at the port: libraries, limits, hostile bytes, answers without delay.

mod hostile;
mod libraries;
mod memory_limit;
mod port_limits;
mod prompt;
mod published_weaknesses;
mod split_requests;
