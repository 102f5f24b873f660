//! What operators set, see and send: configuration, preflight, signals, files of others.

mod config;
mod import;
mod preflight;
mod signals;
