//! `rollbook import`: gives a running server the keys of an RDB file, the commands of an append-only file or directory,
//! or the keys of another running server.
//!
//! | file | what it is |
//! |---|---|
//! | `files` | the files that a path stands for |
//! | `input` | a file, read through a buffer |
//! | `keys`, `commands` | the part of a file that is an RDB file, by RESTORE; the part that is commands |
//! | `address`, `live` | another server: its address; SCAN and DUMP, by RESTORE |
//! | `connection` | what is asked of either server |
//! | `expiry`, `settle` | expiries that must wait for the end of the commands; what is done with them then |
//! | `sender` | sends keys and commands in batches, and counts the replies |
//! | `summary` | what was imported and what was skipped |

mod address;
mod commands;
mod connection;
mod expiry;
mod files;
mod input;
mod keys;
mod live;
mod sender;
mod settle;
mod summary;

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, Failure};
use crate::bench::client::Target;
use crate::bench::plan::Secret;
use address::Address;
use input::Input;
use sender::Sender;
use summary::Summary;

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// An RDB file, an append-only file, or an append-only directory (or the manifest in it).
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub file: Option<PathBuf>,
    /// Copy a running server instead: redis://user:password@host:port/database, of which the host is enough; without a
    /// database, all of them.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<Address>,
    /// The host of the server that gets the keys.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port.
    #[arg(long, default_value_t = 6380)]
    pub port: u16,
    /// Its password [default: the environment variable REDISCLI_AUTH, if it is set].
    #[arg(long)]
    pub password: Option<String>,
    /// Overwrite keys that exist. By default they stay as they are, and are reported; the commands of append-only files
    /// are then only for a server without keys.
    #[arg(long)]
    pub replace: bool,
}

/// Imports, and prints what was imported and what was skipped.
///
/// # Errors
///
/// If a file or a server fails, or something was skipped. What was imported until then stays.
pub fn run(import: &Import) -> Result<(), Failure> {
    let paths = import.file.as_deref().map(files::of).transpose()?;
    let from_environment = || std::env::var("REDISCLI_AUTH").ok().filter(|text| !text.is_empty());
    let password = import.password.clone().or_else(from_environment).map(Secret);
    let target = Target::resolve(&import.host, import.port, password).map_err(connection::failure)?;
    let mut sender = Sender::connect(&target, import.replace)?;
    let (bar, mut summary) = (ProgressBar::new(0), Summary::default());
    let unit = if import.from.is_some() { "{pos} of {len} keys" } else { "{bytes} of {total_bytes}" };
    // The template is valid; if it were not, the default style would do.
    if let Ok(style) = ProgressStyle::with_template(&format!("importing {{wide_bar}} {unit}, {{eta}} left")) {
        bar.set_style(style);
    }
    let imported = match (&import.from, &paths) {
        (Some(from), _) => live::copy(from, &mut sender, &mut summary, &bar),
        (None, paths) => send_files(paths.as_deref().unwrap_or_default(), &mut sender, &mut summary, &bar),
    };
    // What is under way is answered and counted, so that the summary is right.
    let settled = sender.finish(&mut summary);
    bar.finish_and_clear();
    println!("{summary}");
    imported.and(settled)?;
    summary.missing().map_or(Ok(()), |missing| Err(Failure::new(Exit::Data, missing)))
}

fn send_files(paths: &[PathBuf], sender: &mut Sender, summary: &mut Summary, bar: &ProgressBar) -> Result<(), Failure> {
    let mut sizes = Vec::new();
    for path in paths {
        sizes.push(Input::open(path)?.bytes());
    }
    bar.set_length(sizes.iter().sum());
    let mut before = 0;
    for (at, (path, size)) in paths.iter().zip(sizes).enumerate() {
        send_file(path, at + 1 == paths.len(), sender, summary, |position| bar.set_position(before + position))?;
        before += size;
    }
    Ok(())
}

/// Sends the keys with which a file begins, if it begins with an RDB file, and the commands that follow.
fn send_file(
    path: &Path,
    is_last: bool,
    sender: &mut Sender,
    summary: &mut Summary,
    moved: impl Fn(u64),
) -> Result<(), Failure> {
    const ENOUGH: usize = 16;
    let mut input = Input::open(path)?;
    let mut goes_on = input.fill(ENOUGH)?;
    if goes_on && keys::begin(input.held()) {
        keys::send(&mut input, sender, summary, &moved)?;
        goes_on = !input.held().is_empty() || input.fill(ENOUGH)?;
    }
    if goes_on { commands::send(&mut input, is_last, sender, summary, moved) } else { Ok(()) }
}
