//! What operators set, see and send: configuration, preflight, signals, files of others.

mod append_only;
mod config;
mod copy;
mod import;
mod preflight;
mod signals;

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Server;

/// Runs `rollbook import` of a file or directory into the server.
fn import(path: &Path, server: &Server, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    command.arg("import").arg(path).args(["--port", &server.port().to_string()]).args(options);
    command.output().expect("run rollbook import")
}

/// All that a program has printed.
fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
