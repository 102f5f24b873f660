//! `rollbook import`: gives the keys in an RDB file of Redis or Valkey to a running server, by RESTORE.
//!
//! | file | what it is |
//! |---|---|
//! | `source` | reads the file item by item |
//! | `sender` | sends keys in batches, and counts the replies |
//! | `summary` | what was imported and what was skipped |

mod sender;
mod source;
mod summary;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, Failure};
use crate::bench::client::Target;
use crate::bench::plan::Secret;
use crate::encoding::rdb::file::Item;
use sender::Sender;
use source::Source;
use summary::{Skipped, Summary};

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The RDB file.
    pub file: PathBuf,
    /// The server's host.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The server's port.
    #[arg(long, default_value_t = 6380)]
    pub port: u16,
    /// The server's password [default: the environment variable REDISCLI_AUTH, if it is set].
    #[arg(long)]
    pub password: Option<String>,
    /// Overwrite keys that exist. By default they stay as they are, and are reported.
    #[arg(long)]
    pub replace: bool,
}

/// Imports the file and prints what was imported and what was skipped.
///
/// # Errors
///
/// If the file or the server fails, or keys were skipped. What was imported until then stays.
pub fn run(import: &Import) -> Result<(), Failure> {
    let mut source = Source::open(&import.file)?;
    let from_environment = || std::env::var("REDISCLI_AUTH").ok().filter(|text| !text.is_empty());
    let password = import.password.clone().or_else(from_environment).map(Secret);
    let target = Target::resolve(&import.host, import.port, password).map_err(sender::failure)?;
    let mut sender = Sender::connect(&target, import.replace)?;
    let bar = ProgressBar::new(source.bytes());
    // The template is valid; if it were not, the default style would do.
    if let Ok(style) = ProgressStyle::with_template("importing {wide_bar} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    let mut summary = Summary::default();
    let imported = transfer(&mut source, &mut sender, &mut summary, &bar);
    bar.finish_and_clear();
    println!("{summary}");
    imported?;
    match summary.skipped_keys() {
        0 => Ok(()),
        keys => Err(Failure::new(Exit::Data, format_args!("{keys} keys were not imported"))),
    }
}

fn transfer(source: &mut Source, sender: &mut Sender, summary: &mut Summary, bar: &ProgressBar) -> Result<(), Failure> {
    loop {
        let version = source.version();
        let goes_on = source.next(|item| {
            match item {
                Item::Key(key) => sender.restore(&key, version, summary)?,
                Item::ModuleKey { key, module } => {
                    summary.skip(&key, Skipped::Key(format!("values of the module {module} are not known")));
                }
                Item::ModuleData(module) => {
                    summary.skip(b"", Skipped::Beside(format!("what the module {module} stores beside the keys")));
                }
                Item::Functions(_) => summary.skip(b"", Skipped::Beside("a library of functions".to_owned())),
                Item::Note { .. } => {}
                Item::End => return Ok(false),
            }
            Ok(true)
        });
        match goes_on {
            Ok(true) => bar.set_position(source.position()),
            Ok(false) => return sender.settle(summary),
            Err(failure) => {
                // What is under way is answered and counted, so that the summary is right.
                let _ = sender.settle(summary);
                return Err(failure);
            }
        }
    }
}
