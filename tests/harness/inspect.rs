//! `rollbook inspect` from the outside.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What `rollbook inspect verify` said of a data directory.
#[derive(Debug)]
pub struct Verdict {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its JSON, null if it printed none.
    pub json: Value,
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
    let json = serde_json::from_str(&out).unwrap_or_default();
    Verdict { code: output.status.code(), json, text: out + &String::from_utf8_lossy(&output.stderr) }
}
