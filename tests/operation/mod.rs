//! What operators set, see and send: configuration, preflight, signals.

mod config;
mod preflight;
mod signals;
