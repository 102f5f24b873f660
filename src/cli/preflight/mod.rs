//! What must hold before anything starts, looked at without changing anything.
//!
//! Three questions: does the configuration fit the machine ([`settings`]), can the kernel do what the program needs
//! (`kernel`, `ring`), is what is configured free (`directory`, `ports`). Every answer is a [`Finding`] of one sentence that
//! says what to do. What is found free here may be taken a moment later; the lock and the listeners decide in the end, this
//! only says it early and well.

pub mod directory;
pub mod kernel;
pub mod ports;
pub mod ring;

use std::fmt;

use super::{Exit, Failure};
use crate::config::load::Loaded;
use crate::config::{Config, NodeMode, Origin};

pub use kernel::{Ready, raise_limits};

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Fine,
    /// It works, but somebody may want to know.
    Note,
    /// Nothing can start; the program ends with this code.
    Blocker(Exit),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// A sentence that says so, and what to do about it.
    pub text: String,
}

impl Finding {
    /// All is well.
    pub fn fine(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Fine, text: text.into() }
    }

    /// It works, but.
    pub fn note(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Note, text: text.into() }
    }

    /// The machine lacks something, or it is taken.
    pub fn missing(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Blocker(Exit::Unavailable), text: text.into() }
    }

    /// Looking failed, or showed that nothing can go on.
    pub fn failed(subject: &'static str, error: impl Into<Failure>) -> Self {
        let failure = error.into();
        Self { subject, verdict: Verdict::Blocker(failure.exit), text: failure.to_string() }
    }

    /// A setting does not fit the machine.
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
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl FromIterator<Finding> for Report {
    fn from_iter<T: IntoIterator<Item = Finding>>(findings: T) -> Self {
        Self { findings: findings.into_iter().collect() }
    }
}

impl Report {
    /// Nothing, if nothing stands in the way; else all that does. A wrong configuration outweighs a lacking machine: it is
    /// what the user can mend at once, and what follows from it may be beside the point.
    ///
    /// # Errors
    ///
    /// The blockers.
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

    /// What works, but somebody may want to know.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict == Verdict::Note)
    }
}

/// Whether the configuration fits this machine: what `serve --check` adds to the rules of the configuration itself. Asks for
/// nothing that a running server would have taken.
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

/// Everything that a server needs; what `rollbook doctor` shows.
pub fn everything(loaded: &Loaded) -> Report {
    let config = &loaded.config;
    let mut findings = settings(loaded);
    findings.push(kernel::version());
    findings.push(ring::check());
    findings.push(kernel::locked_memory());
    findings.push(kernel::open_files(config));
    // A directory that can't be used has been reported; there is nothing more to learn about it.
    if !findings.iter().any(|finding| finding.verdict == Verdict::Blocker(Exit::Config)) {
        findings.push(directory::direct_io(&config.data.dir));
        let free = directory::free(&config.data.dir);
        // Whoever has the directory may be changing it.
        let looked = (free.verdict == Verdict::Fine).then(|| directory::contents(loaded));
        findings.push(free);
        findings.extend(looked);
        findings.push(directory::space(config));
        findings.extend(ports::free(config));
    }
    Report::from_iter(findings)
}

/// Prepares the process to be a master: raises its limits as far as it may, then looks at everything.
///
/// # Errors
///
/// All that stands in the way.
pub fn master(loaded: &Loaded) -> Result<Ready, Failure> {
    raise_limits();
    let report = everything(loaded);
    // So that they are not lost on who does not ask the doctor.
    report.notes().for_each(|note| tracing::warn!(subject = note.subject, "{}", note.text));
    report.verdict()?;
    Ok(kernel::ready(&loaded.config))
}

/// Looks at what a checkpoint node needs: its directory, and nothing of the kernel.
///
/// # Errors
///
/// All that stands in the way.
pub fn node(loaded: &Loaded) -> Result<(), Failure> {
    let dir = loaded.config.node_dir();
    let key = if loaded.config.checkpoint.dir.is_some() { "checkpoint.dir" } else { "data.dir" };
    raise_limits();
    let report = Report::from_iter([directory::usable(loaded, key, &dir)]);
    report.verdict()
}

/// Whether the password stands where everybody on this machine can read it.
fn password(loaded: &Loaded) -> Option<Finding> {
    let key = "server.password";
    let shown = loaded.config.server.password.is_some() && matches!(loaded.origin(key), Origin::Argument(_));
    shown.then(|| {
        let text = "server.password was given as an argument, which every user of this machine can read: \
                    set it in the file or with ROLLBOOK_SERVER__PASSWORD";
        Finding::note("password", text)
    })
}

/// Who can reach the server, and whether he must prove who he is.
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
