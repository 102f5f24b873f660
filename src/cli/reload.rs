//! SIGHUP: reloads the configuration from file, environment and arguments, and applies its log level. All other
//! settings stay fixed while the daemon runs. An invalid configuration changes nothing.

use super::arguments::Configuration;
use super::logging::Dial;
use crate::config::{Config, Level};

/// State needed to reload the configuration.
pub struct Reload {
    arguments: Configuration,
    /// The configuration in force.
    config: Config,
    dial: Dial,
}

impl Reload {
    /// Makes the state for a process that loaded `config` from `arguments` and whose log level `dial` sets.
    pub fn new(arguments: &Configuration, config: &Config, dial: Dial) -> Self {
        Self { arguments: arguments.clone(), config: config.clone(), dial }
    }

    /// Reloads the configuration, applies its log level, and logs the result. Returns the level if the configuration is
    /// valid.
    pub fn read_again(&mut self) -> Option<Level> {
        let loaded = match self.arguments.load() {
            Ok(loaded) => loaded,
            Err(failure) => {
                let why = failure.reasons.join("; ");
                tracing::error!("SIGHUP: the configuration is not good, and nothing changes: {why}");
                return None;
            }
        };
        let (level, origin) = (loaded.config.logging.level, loaded.origin("logging.level"));
        let before = std::mem::replace(&mut self.config.logging.level, level);
        // Log the change at a moment when both the old and the new level show it.
        if level > before {
            self.dial.set(level);
        }
        match before == level {
            true => tracing::info!("SIGHUP: the log level is {} as before ({origin})", level.name()),
            false => tracing::info!("SIGHUP: the log level is {} from now on ({origin})", level.name()),
        }
        if loaded.config != self.config {
            tracing::warn!(
                "SIGHUP: settings other than logging.level have changed; they take effect at the next start"
            );
        }
        self.dial.set(level);
        Some(level)
    }
}
