//! A configuration file is either one that makes sense, and means the same when written down again, or is refused with
//! reasons.
//!
//! Input: the text of a file; behind a first `NUL`, `--set` arguments, one a line; behind a second, environment
//! variables.

use rollbook::config::{Config, Origin, Sources};

/// Loads the text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\0');
    let file = parts.next().map(|text| ("config.toml".into(), text.to_owned()));
    let arguments = parts.next().unwrap_or_default().lines().map(str::to_owned).collect();
    let variables = parts.next().unwrap_or_default().lines().filter_map(|line| line.split_once('='));
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let lines = file.as_ref().map_or(0, |(_, text): &(_, String)| text.lines().count() + 1);
    match (Sources { file, environment, arguments }).load() {
        Ok(loaded) => round_trip(loaded.config),
        Err(error) => {
            assert!(!error.0.is_empty(), "refused without a reason");
            for problem in error.0 {
                assert!(!problem.why.is_empty(), "{problem}");
                let within = !matches!(problem.origin, Origin::File(_, line) if line > lines);
                assert!(within, "{problem}: there are {lines} lines");
            }
        }
    }
}

fn round_trip(config: Config) {
    // A password is never written.
    let mut config = config;
    config.server.password = None;
    let text = written(&config);
    let file = Some(("again.toml".into(), text.clone()));
    let again = Sources { file, ..Sources::default() }.load();
    let again = again.unwrap_or_else(|error| panic!("what was written is refused: {error}\n{text}"));
    assert_eq!(again.config, config, "what was written means something else:\n{text}");
}

fn written(config: &Config) -> String {
    toml::to_string(config).expect("every configuration can be written")
}
