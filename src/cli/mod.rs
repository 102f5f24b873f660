//! The commands of the program.
//!
//! | module | what it is |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`exit`] | exit codes, and failures with their reasons |
//! | [`checkpoint`] | the checkpoint node |
//! | [`preflight`] | checks before anything starts |
//! | [`doctor`] | runs the preflight and prints its findings |
//! | [`logging`] | writes events to standard error |
//! | [`signals`], [`reload`] | what each signal does to a daemon; SIGHUP |
//! | [`serve`] | the master |
//! | [`mod@bench`] | the load generator's arguments, progress line, tables and files |
//! | [`import`] | gives a running server what files of Redis or another server hold |
//! | [`inspect`] | shows and verifies files on disk |

pub mod arguments;
pub mod bench;
pub mod checkpoint;
pub mod doctor;
pub mod exit;
pub mod import;
pub mod inspect;
pub mod logging;
pub mod preflight;
pub mod reload;
pub mod serve;
pub mod signals;

use std::process::ExitCode;

use clap::Parser;

use crate::config::load::Loaded;
use arguments::{Arguments, Command, Configuration};
pub use exit::{Exit, Failure};
use reload::Reload;
use signals::Signals;

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) => {
            // Asking for help or the version is no failure. If even printing fails, there is nowhere to report it.
            let _ = help.print();
            return if help.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    // With a handler, exceeding the limit of the file size (SIGXFSZ) fails the write, which is handled, instead of
    // killing the process.
    let unused = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(libc::SIGXFSZ, unused) {
        eprintln!("rollbook: cannot handle SIGXFSZ: {error}");
        return Exit::Unavailable.into();
    }
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.reasons.iter().for_each(|reason| eprintln!("rollbook: {reason}"));
            failure.exit.into()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) if serve.check => check(&serve.configuration.load()?),
        Command::Serve(serve) => {
            let loaded = serve.configuration.load()?;
            let logging = logging::start(&loaded.config.logging);
            let signals = take_signals(&serve.configuration, &loaded, &logging)?;
            let ready = preflight::master(&loaded)?;
            serve::run(&serve.configuration, &loaded.config, &ready, &signals)
        }
        Command::Checkpoint(checkpoint) => {
            let loaded = checkpoint.configuration.load()?;
            let logging = logging::start(&loaded.config.logging);
            let signals = take_signals(&checkpoint.configuration, &loaded, &logging)?;
            preflight::node(&loaded)?;
            checkpoint::run(&loaded.config, checkpoint.parent, &signals)
        }
        Command::Bench(arguments) => bench::run(arguments),
        Command::Import(import) => import::run(import),
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Doctor(doctor) => doctor::run(doctor),
    }
}

/// Installs the signal handlers of a daemon.
fn take_signals(arguments: &Configuration, loaded: &Loaded, logging: &logging::Guard) -> Result<Signals, Failure> {
    let reload = Reload::new(arguments, &loaded.config, logging.dial());
    Signals::take(reload).map_err(|why| Failure::new(Exit::Unavailable, format_args!("cannot handle signals: {why}")))
}

/// `serve --check`: reports whether the configuration is valid, with notes that may interest the operator.
fn check(loaded: &Loaded) -> Result<(), Failure> {
    let report = preflight::settings(loaded).into_iter().collect::<preflight::Report>();
    report.verdict()?;
    report.notes().for_each(|note| println!("note: {}", note.text));
    println!("The configuration is valid.");
    Ok(())
}
