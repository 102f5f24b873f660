//! Signal handling of the daemons `rollbook serve` and `rollbook checkpoint`. No signal ends them by accident.
//!
//! | signal | what it does |
//! |---|---|
//! | SIGTERM, SIGINT, SIGQUIT | ends it in good order: the master loses nothing, whatever the durability. A second one changes nothing |
//! | SIGXCPU, SIGPWR | the same: the limit of CPU time is reached and SIGKILL is next, the power fails |
//! | SIGHUP | the log level is read again from the configuration ([`super::reload`]) |
//! | SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGIO, SIGSTKFLT, SIGRTMIN to SIGRTMAX | nothing; the first of each is logged |
//! | SIGPIPE | nothing: writing to a closed connection is an error of that connection (Rust's runtime sees to it) |
//! | SIGXFSZ | nothing: writing beyond the limit of a file's size is an error of the disk (for every command, see [`super::main`]) |
//! | SIGCHLD, SIGCONT, SIGURG, SIGWINCH | nothing, as Linux has it |
//! | SIGTSTP, SIGTTIN, SIGTTOU, SIGSTOP | stop the process until SIGCONT, as Linux has it; clients wait |
//! | SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP | end the process at once, as Linux has it: they are how a bug ends it, and how one asks for a core dump |
//! | SIGKILL | ends the process at once |
//!
//! Until the daemon has installed its stop hook ([`Signals::pass_to`]), there is nothing to lose, and a stop signal
//! ends it at once.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::reload::Reload;
use crate::config::Level;

/// Request that a signal makes to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Shut down in good order; the text names the signal.
    Stop(&'static str),
    /// The log level has been changed to this.
    Level(Level),
}

/// How a signal is interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Stop,
    Reload,
    Nothing,
}

/// Signals whose default action ends the process, except those that indicate bugs. SIGRTMIN and above are ignored.
const MEANINGS: [(i32, &str, Meaning); 13] = [
    (libc::SIGTERM, "SIGTERM", Meaning::Stop),
    (libc::SIGINT, "SIGINT", Meaning::Stop),
    (libc::SIGQUIT, "SIGQUIT", Meaning::Stop),
    (libc::SIGXCPU, "SIGXCPU", Meaning::Stop),
    (libc::SIGPWR, "SIGPWR", Meaning::Stop),
    (libc::SIGHUP, "SIGHUP", Meaning::Reload),
    (libc::SIGALRM, "SIGALRM", Meaning::Nothing),
    (libc::SIGVTALRM, "SIGVTALRM", Meaning::Nothing),
    (libc::SIGPROF, "SIGPROF", Meaning::Nothing),
    (libc::SIGUSR1, "SIGUSR1", Meaning::Nothing),
    (libc::SIGUSR2, "SIGUSR2", Meaning::Nothing),
    (libc::SIGIO, "SIGIO", Meaning::Nothing),
    (libc::SIGSTKFLT, "SIGSTKFLT", Meaning::Nothing),
];

type Hook = Box<dyn Fn(Told) + Send>;

/// The process's signal handlers, installed for the rest of its life.
pub struct Signals {
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Signals {
    /// Installs the handlers. `reload` handles SIGHUP.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn take(mut reload: Reload) -> io::Result<Self> {
        let known = MEANINGS.iter().map(|(signal, ..)| *signal);
        let mut signals = signal_hook::iterator::Signals::new(known.chain(libc::SIGRTMIN()..=libc::SIGRTMAX()))?;
        let hook: Arc<Mutex<Option<Hook>>> = Arc::default();
        let passed_to = Arc::clone(&hook);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut ignored = BTreeSet::new();
            for signal in signals.forever() {
                let (name, meaning) = meaning_of(signal);
                let told = match meaning {
                    Meaning::Stop => Some(Told::Stop(name)),
                    Meaning::Reload => reload.read_again().map(Told::Level),
                    Meaning::Nothing => {
                        if ignored.insert(signal) {
                            tracing::info!(signal, "{name} means nothing here and is ignored, this time and in future");
                        }
                        None
                    }
                };
                let hook = passed_to.lock().unwrap_or_else(PoisonError::into_inner);
                match (told, &*hook) {
                    (Some(told), Some(hook)) => hook(told),
                    (Some(Told::Stop(_)), None) => die_of(signal),
                    _ => {}
                }
            }
        })?;
        Ok(Self { hook })
    }

    /// From now on, calls `hook` with the request of each signal.
    pub fn pass_to(&self, hook: impl Fn(Told) + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
    }
}

fn meaning_of(signal: i32) -> (&'static str, Meaning) {
    let known = MEANINGS.iter().find(|(number, ..)| *number == signal);
    known.map_or(("a real-time signal", Meaning::Nothing), |(_, name, meaning)| (name, *meaning))
}

/// Ends the process as the default action of the signal would.
fn die_of(signal: i32) -> ! {
    // If the library does not know the signal, exit with the code that shells use for it.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Linux signal is in the table above, and is handled if its default action would end the process.
    #[test]
    fn every_signal_has_its_meaning() {
        const BY_DEFAULT: [i32; 20] = [
            libc::SIGPIPE,
            libc::SIGXFSZ,
            libc::SIGCHLD,
            libc::SIGCONT,
            libc::SIGURG,
            libc::SIGWINCH,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
            libc::SIGSTOP,
            libc::SIGABRT,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGSEGV,
            libc::SIGSYS,
            libc::SIGTRAP,
            libc::SIGKILL,
            // Used internally by the C library.
            32,
            33,
        ];
        let taken = |signal| MEANINGS.iter().any(|(number, ..)| *number == signal) || signal >= libc::SIGRTMIN();
        for signal in 1..=libc::SIGRTMAX() {
            assert!(taken(signal) != BY_DEFAULT.contains(&signal), "signal {signal}");
        }
    }
}
