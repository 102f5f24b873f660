//! Builds a [`Config`] from its sources: the file, then the environment, then `--set`, each overriding the one before.
//!
//! Each source is split into single settings with their [`Origin`]; the last source that names a setting wins. Every
//! winning setting is then checked by itself, so that one run reports all problems and says where each was set.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, check};

/// Configuration file that is read if none is named and it exists.
pub const DEFAULT_FILE: &str = "config.toml";
/// Prefix of environment variables; two underscores separate table and key, as in `ROLLBOOK_LOG__FLUSH_INTERVAL_MS`.
pub const ENVIRONMENT: &str = "ROLLBOOK_";

/// Where a setting was set, ordered by precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The setting was not set anywhere, and has its default.
    Default,
    /// The setting was set in a file, at this line (from 1; 0 means the file as a whole).
    File(PathBuf, usize),
    /// The setting was set by the environment variable of this name.
    Environment(String),
    /// The setting was set by `--set` with this key.
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Argument(key) => write!(f, "--set {key}"),
        }
    }
}

/// A problem with one setting, or with a whole file (then `key` is empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the setting was set.
    pub origin: Origin,
    /// The setting, as `table.key`.
    pub key: String,
    /// What is wrong with the setting.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.why),
            key => write!(f, "{}: {key}: {}", self.origin, self.why),
        }
    }
}

/// All problems of a configuration; never empty. Displayed with one line per problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The texts from which a configuration is built.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path and content of the configuration file.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; names without the prefix [`ENVIRONMENT`] are ignored.
    pub environment: Vec<(String, String)>,
    /// `--set` arguments, `table.key=value`.
    pub arguments: Vec<String>,
}

/// A valid configuration that knows the origin of each setting.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where `key`, as `table.key`, was set.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

impl Sources {
    /// Collects the sources of this process: the named file (which must exist) or [`DEFAULT_FILE`] (which may), the
    /// environment, and `arguments`.
    pub fn gather(file: Option<&Path>, arguments: &[String]) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let file = match std::fs::read_to_string(path) {
            Ok(text) => Some((path.to_owned(), text)),
            Err(e) if file.is_none() && e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                let origin = Origin::File(path.to_owned(), 0);
                return Err(ConfigError(vec![Problem {
                    origin,
                    key: String::new(),
                    why: format!("can't be read: {e}"),
                }]));
            }
        };
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((
                name.to_str().filter(|n| n.starts_with(ENVIRONMENT))?.to_owned(),
                value.to_string_lossy().into_owned(),
            ))
        });
        Ok(Self { file, environment: environment.collect(), arguments: arguments.to_vec() })
    }

    /// Builds and checks the configuration.
    ///
    /// # Errors
    ///
    /// Returns all problems: syntax, unknown settings, values of the wrong type, values that [`check`] refuses.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::default();
        if let Some((path, text)) = &self.file {
            layers.file(path, text);
        }
        self.environment.iter().for_each(|(name, value)| layers.variable(name, value));
        self.arguments.iter().for_each(|argument| layers.argument(argument));
        layers.finish()
    }
}

/// One setting before its value is parsed into its type.
struct Setting {
    value: Value,
    /// The raw text, for values from outside a file. Strings need no quotes there, so it is used if the parsed value
    /// has the wrong type.
    text: Option<String>,
    origin: Origin,
}

impl Setting {
    /// Interprets `text` from outside a file: as a TOML value (`10`, `true`, `["a", "b"]`) if it is one, otherwise as a
    /// string.
    fn unquoted(text: &str, origin: Origin) -> Self {
        let value = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
        Self { value, text: Some(text.to_owned()), origin }
    }
}

#[derive(Default)]
struct Layers {
    settings: BTreeMap<String, Setting>,
    problems: Vec<Problem>,
}

impl Layers {
    fn problem(&mut self, origin: Origin, key: &str, why: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.to_owned(), why: why.into() });
    }

    fn file(&mut self, path: &Path, text: &str) {
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let at = |offset: usize| Origin::File(path.to_owned(), line(offset));
        // Parsed twice: for the values, and for the line numbers of their keys.
        let (values, places) = match text.parse::<Table>().and_then(|t| Ok((t, DeTable::parse(text)?.into_inner()))) {
            Ok(read) => read,
            Err(e) => return self.problem(at(e.span().map_or(0, |s| s.start)), "", e.message()),
        };
        for (table, place) in &places {
            let (name, origin) = (table.get_ref().as_ref(), at(table.span().start));
            let (DeValue::Table(keys), Some(Value::Table(read))) = (place.get_ref(), values.get(name)) else {
                self.problem(origin, name, "stands outside of any table, such as [server]");
                continue;
            };
            if let Err(why) = typed(&one(name, Table::new())) {
                self.problem(origin, name, why);
                continue;
            }
            for key in keys.keys() {
                let Some(value) = read.get(key.get_ref().as_ref()) else { continue };
                let setting = Setting { value: value.clone(), text: None, origin: at(key.span().start) };
                self.settings.insert(format!("{name}.{}", key.get_ref()), setting);
            }
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix(ENVIRONMENT) else { return };
        let (rest, origin) = (rest.to_ascii_lowercase(), Origin::Environment(name.to_owned()));
        if let Some((table, key)) = rest.split_once("__") {
            self.settings.insert(format!("{table}.{key}"), Setting::unquoted(value, origin));
        } else if let Some((table, key)) = rest.split_once('_').filter(|(t, _)| typed(&one(t, Table::new())).is_ok()) {
            let meant = format!("{ENVIRONMENT}{}__{}", table.to_uppercase(), key.to_uppercase());
            self.problem(origin, "", format!("has one underscore where two are needed; {meant} sets {table}.{key}"));
        }
    }

    fn argument(&mut self, argument: &str) {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        let (key, origin) = (key.trim(), Origin::Argument(key.trim().to_owned()));
        if argument.contains('=') && key.contains('.') {
            self.settings.insert(key.to_owned(), Setting::unquoted(value, origin));
        } else {
            self.problem(origin, "", "is not of the form table.key=value");
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        let (mut whole, mut origins) = (Table::new(), BTreeMap::new());
        for (path, setting) in std::mem::take(&mut self.settings) {
            let (table, key) = path.split_once('.').unwrap_or((&path, ""));
            let alone = |value: Value| {
                let table = one(table, Table::from_iter([(key.to_owned(), value.clone())]));
                typed(&table).map(|_| value)
            };
            let text = setting.text.map(Value::String);
            match alone(setting.value).or_else(|why| text.and_then(|text| alone(text).ok()).ok_or(why)) {
                Ok(value) => {
                    let section = whole.entry(table).or_insert_with(|| Value::Table(Table::new()));
                    section.as_table_mut().and_then(|t| t.insert(key.to_owned(), value));
                    origins.insert(path, setting.origin);
                }
                // The parser's message would reveal the password.
                Err(_) if path == "server.password" => {
                    self.problem(
                        setting.origin,
                        &path,
                        "is neither a text in quotes nor \"sha256:\" with 64 hexadecimal digits",
                    );
                }
                Err(why) => self.problem(setting.origin, &path, why),
            }
        }
        if !self.problems.is_empty() {
            self.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
            return Err(ConfigError(self.problems));
        }
        let config = typed(&whole)
            .map_err(|why| ConfigError(vec![Problem { origin: Origin::Default, key: String::new(), why }]))?;
        let loaded = Loaded { config, origins };
        let broken = check::check(&loaded.config).into_iter();
        let problem = |b: check::Broken| Problem { origin: loaded.origin(b.key), key: b.key.to_owned(), why: b.why };
        let problems: Vec<_> = broken.map(problem).collect();
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError(problems)) }
    }
}

/// Makes a document with a single table.
fn one(name: &str, table: Table) -> Table {
    Table::from_iter([(name.to_owned(), Value::Table(table))])
}

fn typed(document: &Table) -> Result<Config, String> {
    Config::deserialize(document.clone()).map_err(|e| e.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;

    fn sources(file: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Sources {
        Sources {
            file: Some(("c.toml".into(), file.to_owned())),
            environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            arguments: arguments.iter().map(|argument| argument.to_string()).collect(),
        }
    }

    fn lines(sources: &Sources) -> Vec<String> {
        sources.load().unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn nothing_at_all_is_the_default_and_valid() {
        assert_eq!(Sources::default().load().unwrap().config, Config::default());
    }

    #[test]
    fn the_last_source_to_name_a_setting_wins() {
        let file = "[server]\nport = 1\nmax_clients = 10\n[log]\ndurability = \"sync\"\n";
        let environment = [("ROLLBOOK_SERVER__PORT", "2"), ("ROLLBOOK_LOG__SEGMENT_BYTES", "1GiB"), ("HOME", "/")];
        let loaded = sources(file, &environment, &["server.port=3"]).load().unwrap();
        assert_eq!((loaded.config.server.port, loaded.config.server.max_clients), (3, 10));
        assert_eq!((loaded.config.log.durability, loaded.config.log.segment_bytes), (Durability::Sync, 1 << 30));
        assert_eq!(loaded.origin("server.port").to_string(), "--set server.port");
        assert_eq!(loaded.origin("server.max_clients").to_string(), "c.toml:3");
        assert_eq!(loaded.origin("log.segment_bytes").to_string(), "environment variable ROLLBOOK_LOG__SEGMENT_BYTES");
        assert_eq!(loaded.origin("data.dir"), Origin::Default);
    }

    #[test]
    fn texts_need_no_quotes_outside_of_a_file() {
        for (given, password) in
            [("1_000", "1_000"), ("true", "true"), ("\"a b\"", "a b"), ("a=b", "a=b"), ("\"", "\"")]
        {
            let loaded = sources("", &[], &[&format!("server.password={given}")]).load().unwrap();
            assert!(loaded.config.server.password.unwrap().matches(password.as_bytes()), "{given}");
        }
        let bind = sources("", &[("ROLLBOOK_SERVER__BIND", "10.0.0.1, ::1")], &[]).load().unwrap().config.server.bind;
        assert_eq!(bind.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "::1"]);
    }

    #[test]
    fn all_that_is_wrong_is_reported_with_key_and_line() {
        let file =
            "port = 1\n[server]\nport = \"x\"\nprot = 1\npassword = 12345\n\n[lgo]\n[log]\nflush_interval_ms = -1\n";
        let wrong = lines(&sources(file, &[("ROLLBOOK_DATA__PARTITIONS", "100")], &["x", "log.buffers=many"]));
        let starts = [
            "c.toml:1: port: stands outside",
            "c.toml:3: server.port: invalid type: string \"x\"",
            "c.toml:4: server.prot: unknown field `prot`",
            "c.toml:5: server.password: is neither a text",
            "c.toml:7: lgo: unknown field",
            "c.toml:9: log.flush_interval_ms: invalid value: integer `-1`",
            "environment variable ROLLBOOK_DATA__PARTITIONS: data.partitions: 100 is not a power of two",
            "--set log.buffers: log.buffers: invalid type",
            "--set x: is not of the form",
        ];
        assert_eq!(wrong.len(), starts.len(), "{wrong:#?}");
        for (line, start) in wrong.iter().zip(starts) {
            assert!(line.starts_with(start), "{line} / {start}");
        }
        assert!(!wrong.concat().contains("12345"));
    }

    #[test]
    fn broken_rules_name_where_the_setting_stands() {
        let wrong = lines(&sources("[checkpoint]\n\n  port = 6380\n", &[], &["log.buffers=1"]));
        assert_eq!(wrong[0], "--set log.buffers: log.buffers: 1 is not from 2 to 1024");
        assert_eq!(wrong[1], "c.toml:3: checkpoint.port: 6380 is server.port already");
    }

    #[test]
    fn syntax_errors_name_their_line() {
        assert!(lines(&sources("[server]\nport = = 1\n", &[], &[]))[0].starts_with("c.toml:2: "));
        assert!(lines(&sources("[log]\nbuffers = 2\nbuffers = 3\n", &[], &[]))[0].starts_with("c.toml:3: "));
    }

    #[test]
    fn a_variable_with_one_underscore_is_an_error_only_if_it_begins_with_a_table() {
        let wrong = lines(&sources("", &[("ROLLBOOK_SERVER_PORT", "1"), ("ROLLBOOK_FLAVOUR", "x")], &[]));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("ROLLBOOK_SERVER__PORT sets server.port"), "{wrong:?}");
    }
}
