//! Preflight: checks before anything starts, without changing anything.
//!
//! There are three groups of checks: the configuration fits the machine ([`settings`]), the kernel supports what the
//! program needs (`kernel`, `ring`), and the configured resources are free (`directory`, `ports`). Every check gives a
//! [`Finding`]: one sentence that says what to do. A resource found free here may be taken a moment later; the data
//! directory's lock and the listeners decide in the end. The preflight reports problems early and clearly.

pub mod directory;
pub mod kernel;
pub mod ports;
pub mod ring;

use std::fmt;

use super::{Exit, Failure};
use crate::config::load::Loaded;
use crate::config::{Config, NodeMode, Origin};

pub use kernel::{Ready, raise_limits};

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The check found no problem.
    Fine,
    /// The server can run, but the operator should know of something.
    Note,
    /// The server cannot start; the program exits with this code.
    Blocker(Exit),
}

/// Finding of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub subject: &'static str,
    /// Result of the check.
    pub verdict: Verdict,
    /// A sentence with the result, and what to do about it.
    pub text: String,
}

impl Finding {
    /// Finding that all is well.
    pub fn fine(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Fine, text: text.into() }
    }

    /// Finding that the server can run, with a note for the operator.
    pub fn note(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Note, text: text.into() }
    }

    /// Finding that the machine lacks something, or that a resource is in use.
    pub fn missing(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Blocker(Exit::Unavailable), text: text.into() }
    }

    /// Finding that a check failed, or showed that the server cannot start.
    pub fn failed(subject: &'static str, error: impl Into<Failure>) -> Self {
        let failure = error.into();
        Self { subject, verdict: Verdict::Blocker(failure.exit), text: failure.to_string() }
    }

    /// Finding that a setting does not fit the machine.
    pub fn misconfigured(loaded: &Loaded, key: &'static str, why: impl fmt::Display) -> Self {
        let text = match loaded.origin(key) {
            Origin::Default => format!("{key}: {why}"),
            origin => format!("{origin}: {key}: {why}"),
        };
        Self { subject: "configuration", verdict: Verdict::Blocker(Exit::Config), text }
    }
}

/// All findings of a preflight.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Findings in the order of the checks.
    pub findings: Vec<Finding>,
}

impl FromIterator<Finding> for Report {
    fn from_iter<T: IntoIterator<Item = Finding>>(findings: T) -> Self {
        Self { findings: findings.into_iter().collect() }
    }
}

impl Report {
    /// Fails if there are blockers. If any of them is a wrong configuration, that determines the exit code: the user
    /// can fix it at once, and the others may be consequences of it.
    ///
    /// # Errors
    ///
    /// Returns all blockers.
    pub fn verdict(&self) -> Result<(), Failure> {
        let blockers = || {
            self.findings.iter().filter_map(|finding| match finding.verdict {
                Verdict::Blocker(exit) => Some((exit, finding)),
                _ => None,
            })
        };
        let Some((first, _)) = blockers().next() else { return Ok(()) };
        let exit = if blockers().any(|(exit, _)| exit == Exit::Config) { Exit::Config } else { first };
        Err(Failure { exit, reasons: blockers().map(|(_, finding)| finding.text.clone()).collect() })
    }

    /// Findings that do not prevent a start but that the operator should know of.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict == Verdict::Note)
    }
}

/// Checks that the configuration fits this machine; `serve --check` runs these in addition to the configuration's own
/// rules. Needs no resource that a running server would hold.
pub fn settings(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = vec![kernel::cores(loaded)];
    findings.push(directory::usable(loaded, "data.dir", &loaded.config.data.dir));
    if let Some(dir) = &loaded.config.checkpoint.dir {
        findings.push(directory::usable(loaded, "checkpoint.dir", dir));
    }
    findings.extend(ports::addresses(loaded));
    findings.extend(exposure(&loaded.config));
    findings.extend(password(loaded));
    findings.extend(kernel::memory(&loaded.config));
    findings
}

/// Runs all checks for a server; `rollbook doctor` shows the result.
pub fn everything(loaded: &Loaded) -> Report {
    let config = &loaded.config;
    let mut findings = settings(loaded);
    findings.push(kernel::version());
    findings.push(ring::check());
    findings.push(kernel::locked_memory());
    findings.push(kernel::open_files(config));
    // If the directory is unusable, that has been reported; nothing more can be learned about it.
    if !findings.iter().any(|finding| finding.verdict == Verdict::Blocker(Exit::Config)) {
        findings.push(directory::direct_io(&config.data.dir));
        let free = directory::free(&config.data.dir);
        // If another process uses the directory, it may be changing the contents.
        let looked = (free.verdict == Verdict::Fine).then(|| directory::contents(loaded));
        findings.push(free);
        findings.extend(looked);
        findings.push(directory::space(config));
        findings.extend(ports::free(config));
    }
    Report::from_iter(findings)
}

/// Prepares the process to be a master: raises its limits as far as permitted, then runs all checks.
///
/// # Errors
///
/// Returns everything that prevents a start.
pub fn master(loaded: &Loaded) -> Result<Ready, Failure> {
    raise_limits();
    let report = everything(loaded);
    // Logged for operators who do not run `doctor`.
    report.notes().for_each(|note| tracing::warn!(subject = note.subject, "{}", note.text));
    report.verdict()?;
    Ok(kernel::ready(&loaded.config))
}

/// Runs the checks for a checkpoint node: its directory, and nothing about the kernel.
///
/// # Errors
///
/// Returns everything that prevents a start.
pub fn node(loaded: &Loaded) -> Result<(), Failure> {
    let dir = loaded.config.node_dir();
    let key = if loaded.config.checkpoint.dir.is_some() { "checkpoint.dir" } else { "data.dir" };
    raise_limits();
    let report = Report::from_iter([directory::usable(loaded, key, &dir)]);
    report.verdict()
}

/// Note if the password is readable by every user of this machine.
fn password(loaded: &Loaded) -> Option<Finding> {
    let key = "server.password";
    let shown = loaded.config.server.password.is_some() && matches!(loaded.origin(key), Origin::Argument(_));
    shown.then(|| {
        let text = "server.password was given as an argument, which every user of this machine can read: \
                    set it in the file or with ROLLBOOK_SERVER__PASSWORD";
        Finding::note("password", text)
    })
}

/// Note about who can reach the server, and whether a password is required.
fn exposure(config: &Config) -> Option<Finding> {
    let server = &config.server;
    let node = (config.checkpoint.node != NodeMode::None).then_some(&config.checkpoint.bind);
    let open = server.bind.iter().chain(node).find(|address| !address.to_canonical().is_loopback())?;
    match (&server.password, server.protected_mode) {
        (Some(_), _) => None,
        (None, true) => Some(Finding::note(
            "protected mode",
            format!("{open} is reachable from other machines, but they are refused until server.password is set"),
        )),
        (None, false) => Some(Finding::note(
            "protected mode",
            format!(
                "anybody who reaches {open} can read and erase everything: set server.password, \
                 or bind to this machine alone"
            ),
        )),
    }
}
