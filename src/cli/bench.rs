//! `rollbook bench`: the load generator's arguments, progress line, tables and files.
//!
//! Ctrl-C ends a run early: what was measured so far is printed and written, and the program exits with code 130; a
//! second Ctrl-C exits at once. Losing the server also ends a run early, with code 69. A verification that finds lost
//! acknowledged writes or torn values exits with code 65.

pub mod arguments;
pub mod compare;
mod files;
mod live;
pub mod peers;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Exit, Failure};
use crate::bench::report::{text, units};
use crate::bench::result::{Report, Verification};
use crate::bench::{self, BenchError, workload};
use arguments::{Bench, BenchCommand};
use live::Live;

/// Argument that lists the workloads when given in place of a workload's name.
const HELP: &str = "help";

/// Runs the load generator.
///
/// # Errors
///
/// If it could not measure or could not write its results, was interrupted, or a verification failed.
pub fn run(arguments: &Bench) -> Result<(), Failure> {
    match &arguments.command {
        Some(BenchCommand::Compare(compare)) => return compare::run(compare),
        Some(BenchCommand::Peers(peers)) => return peers::run(peers),
        None => {}
    }
    if arguments.load.workload == HELP {
        return print(&workloads());
    }
    super::preflight::raise_limits();
    let plan = arguments.load.plan();
    let stop = stop_on_interrupt()?;
    let mut live = Live::new(&plan);
    let outcome = bench::run(&plan, command_line(std::env::args()), &stop, &mut |progress| live.show(progress));
    live.finish();
    let outcome = outcome?;
    let report = &outcome.report;
    print(&summary(report))?;
    let written = files::write_all(&arguments.files, report)?;
    let names: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        print(&format!("\nwritten: {}\n", names.join(", ")))?;
    }
    if let Some(failure) = outcome.failure {
        return Err(failure.into());
    }
    if let Some(verification) = report.verification.as_ref().filter(|verification| !verification.passed) {
        return Err(not_passed(verification));
    }
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Failure::new(Exit::Interrupted, "interrupted: this is what was measured until then"));
    }
    Ok(())
}

/// Makes a flag that the first SIGINT or SIGTERM sets; the second signal ends the process.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        // The order matters: when the first signal arrives, the shutdown handler must still find the flag unset.
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|why| Failure::new(Exit::Unavailable, format_args!("cannot handle signals: {why}")))?;
    }
    Ok(stop)
}

/// The program's arguments for the report, without the password.
fn command_line(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide = false;
    let hidden = arguments.map(|argument| {
        let secret = std::mem::replace(&mut hide, argument == "--password");
        match argument.split_once('=') {
            _ if secret => "…".to_owned(),
            Some(("--password", _)) => "--password=…".to_owned(),
            _ => argument,
        }
    });
    hidden.collect()
}

fn workloads() -> String {
    let mut out = String::from("Workloads:\n");
    for about in workload::all() {
        let verifiable = if about.verifiable { "; can be verified" } else { "" };
        out += &format!("\n  {}\n      {}\n      Keys: {}{verifiable}.\n", about.name, about.text, about.distribution);
    }
    out
}

fn summary(report: &Report) -> String {
    let mut out = text::text(report);
    if let Some(error) = &report.first_error {
        out += &format!("\nThe first of {} errors: {error}\n", units::count(report.totals.errors));
    }
    out
}

fn not_passed(found: &Verification) -> Failure {
    let unexcused = found.lost - found.excused;
    let first = found.findings.first().map_or(String::new(), |finding| format!("; the first: {finding}"));
    let text = format!(
        "the verification failed: {} acknowledged writes are lost, {} values are torn{first}",
        units::count(unexcused),
        units::count(found.torn)
    );
    Failure::new(Exit::Data, text)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|e| Failure::new(Exit::Io, format_args!("standard output: {e}")))
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let exit = match &error {
            BenchError::Plan(_) => Exit::Usage,
            BenchError::Protocol { .. }
            | BenchError::Unreachable { .. }
            | BenchError::PasswordNeeded(_)
            | BenchError::PasswordRefused { .. }
            | BenchError::Lost { .. }
            | BenchError::Refused { .. }
            | BenchError::System { .. } => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_out_of_the_report() {
        let line = ["rollbook", "bench", "--password", "secret", "--password=secret", "--keys", "5"];
        let shown = command_line(line.into_iter().map(str::to_owned)).join(" ");
        assert_eq!(shown, "rollbook bench --password … --password=… --keys 5");
    }

    #[test]
    fn every_workload_is_listed() {
        let list = workloads();
        assert!(
            ["set", "get", "incr", "ycsb-a", "ycsb-f", "metadata", "scheduler"].iter().all(|name| list.contains(name))
        );
    }
}
