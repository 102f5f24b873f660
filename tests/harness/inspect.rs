//! `rollbook inspect` from the outside.

use std::path::Path;
use std::process::Command;

/// What `rollbook inspect verify` said of a data directory.
#[derive(Debug)]
pub struct Verdict {
    /// Its exit code.
    pub code: Option<i32>,
    /// All that it printed.
    pub text: String,
}

/// Runs `rollbook inspect verify DIR --json`.
pub fn verify(directory: &Path) -> Verdict {
    let output = Command::new(env!("CARGO_BIN_EXE_rollbook"))
        .args(["inspect", "verify"])
        .arg(directory)
        .arg("--json")
        .output()
        .expect("run rollbook inspect");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    Verdict { code: output.status.code(), text: out + &String::from_utf8_lossy(&output.stderr) }
}
