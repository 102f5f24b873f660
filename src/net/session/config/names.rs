//! The names of settings and their values as text.

use super::packing;
use crate::config::{Config, DebugCommand, Durability, Level, NodeMode};
use crate::ids::DATABASES;

type Value = fn(&Config) -> String;

/// Settings that Redis has too, or whose value clients ask for.
const REDIS: &[(&str, Value)] = &[
    ("appendfsync", |c| if c.log.durability == Durability::Async { "everysec" } else { "always" }.into()),
    ("appendonly", |_| yes(true)),
    ("bind", |c| c.server.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    ("client-output-buffer-limit", |c| {
        let limits = &c.limits;
        let soft = limits.output_buffer_soft_bytes.map_or((0, 0), |soft| (soft, limits.output_buffer_soft_s));
        let limits = format!("{} {} {}", limits.output_buffer_bytes, soft.0, soft.1);
        format!("normal {limits} slave {limits} pubsub {limits}")
    }),
    ("client-query-buffer-limit", |c| c.limits.query_buffer_bytes.to_string()),
    ("cluster-enabled", |_| yes(false)),
    ("daemonize", |_| yes(false)),
    ("databases", |_| DATABASES.to_string()),
    ("dir", |c| std::path::absolute(&c.data.dir).unwrap_or_default().display().to_string()),
    ("enable-debug-command", |c| {
        match c.server.debug_command {
            DebugCommand::No => "no",
            DebugCommand::Local => "local",
            DebugCommand::Yes => "yes",
        }
        .into()
    }),
    ("loglevel", |c| loglevel(c.logging.level).into()),
    ("maxclients", |c| c.server.max_clients.to_string()),
    ("maxmemory", |c| c.memory.max_bytes.unwrap_or(0).to_string()),
    ("maxmemory-clients", |c| c.memory.clients_max_bytes.unwrap_or(0).to_string()),
    ("maxmemory-policy", |_| "noeviction".into()),
    ("notify-keyspace-events", |_| String::new()),
    ("port", |c| c.server.port.to_string()),
    ("proto-max-bulk-len", |c| c.limits.bulk_bytes.to_string()),
    ("protected-mode", |c| yes(c.server.protected_mode)),
    // Whether there is one is no secret; what it is, is kept by nobody.
    ("requirepass", |c| c.server.password.as_ref().map_or("", |_| "…").into()),
    ("save", save),
    ("tcp-keepalive", |c| c.server.tcp_keepalive_s.unwrap_or(0).to_string()),
    ("timeout", |c| c.server.idle_timeout_s.unwrap_or(0).to_string()),
];

/// Every name with its value: Redis's, then our own.
pub(super) fn values(config: &Config) -> Vec<(String, String)> {
    let mut values: Vec<_> = REDIS.iter().map(|(name, value)| ((*name).to_owned(), value(config))).collect();
    values.extend(packing::values(&config.packing));
    // Every configuration can be written as TOML; if not, its own names would merely be missing here.
    for (section, keys) in toml::Table::try_from(config).unwrap_or_default() {
        for (key, value) in keys.as_table().into_iter().flatten() {
            values.push((format!("{section}.{key}"), text(value)));
        }
    }
    values
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn yes(on: bool) -> String {
    if on { "yes" } else { "no" }.into()
}

/// When a checkpoint is due, as pairs of seconds and edits.
pub(super) fn save(config: &Config) -> String {
    match config.checkpoint.node {
        NodeMode::None => String::new(),
        _ => format!("{} 1 1 {}", config.checkpoint.every_seconds, config.checkpoint.every_edits),
    }
}

const fn loglevel(level: Level) -> &'static str {
    match level {
        Level::Error | Level::Warn => "warning",
        Level::Info => "notice",
        Level::Debug => "verbose",
        Level::Trace => "debug",
    }
}
