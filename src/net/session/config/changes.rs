//! Changes of settings while the server runs.

use super::names;
use super::number::{Why, integer, memory};
use super::packing::PackingChange;
use crate::commands::parse;

use rustix::process::{Resource, getrlimit};

use crate::config::password::NoHash;
use crate::config::{Config, Durability, Limits, Password, Settings, Sources, check};

/// Descriptors that the process needs for other things than clients, at least.
const OTHER_FILES: u64 = 64;

/// One change of a setting, by `CONFIG SET`.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Password(Option<Password>),
    Durability(Durability),
    MaxMemory(Option<u64>),
    MaxClients(u32),
    AdminClients(u32),
    IdleTimeout(Option<u64>),
    KeepAlive(Option<u64>),
    AuthTimeout(Option<u64>),
    AuthAttempts(u32),
    ClientsMemory(Option<u64>),
    Bulk(usize),
    Args(usize),
    QueryBuffer(usize),
    Output(Output),
    Packing(PackingChange),
    /// Redis's `save`, left as it is.
    Save,
}

/// Changes of how many bytes of replies a client may leave unread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Output {
    hard: Option<usize>,
    soft: Option<Option<u64>>,
    soft_s: Option<u64>,
}

impl Change {
    /// The change of the setting `name`, which exists in `config`, to `value`.
    pub(super) fn parse(name: &str, value: &[u8], config: &Config) -> Result<Self, Why> {
        match name {
            "save" => save(value, config).map(|()| Self::Save),
            "requirepass" | "server.password" => password(value).map(Self::Password),
            "appendfsync" => fsync(value).map(Self::Durability),
            "maxmemory" => memory(value).map(Self::MaxMemory),
            "maxclients" => clients(number(value, 1, u32::MAX.into())? as u32).map(Self::MaxClients),
            "maxmemory-clients" => memory(value).map(Self::ClientsMemory),
            "proto-max-bulk-len" => bytes(value).map(Self::Bulk),
            "client-query-buffer-limit" => bytes(value).map(Self::QueryBuffer),
            "client-output-buffer-limit" => output(value).map(Self::Output),
            "timeout" => Ok(Self::IdleTimeout(Some(number(value, 0, i32::MAX as i64)?).filter(|s| *s > 0))),
            "tcp-keepalive" => {
                let longest = check::LONGEST_KEEPALIVE_S as i64;
                Ok(Self::KeepAlive(Some(number(value, 0, longest)?).filter(|s| *s > 0)))
            }
            "log.durability" => Ok(Self::Durability(own(name, value)?.log.durability)),
            "memory.max_bytes" => Ok(Self::MaxMemory(own(name, value)?.memory.max_bytes)),
            "memory.clients_max_bytes" => Ok(Self::ClientsMemory(own(name, value)?.memory.clients_max_bytes)),
            "server.auth_timeout_s" => Ok(Self::AuthTimeout(own(name, value)?.server.auth_timeout_s)),
            "server.auth_attempts" => Ok(Self::AuthAttempts(own(name, value)?.server.auth_attempts)),
            "server.admin_clients" => Ok(Self::AdminClients(own(name, value)?.server.admin_clients)),
            "limits.bulk_bytes" => one(name, value, |limits| limits.bulk_bytes).map(Self::Bulk),
            "limits.args" => one(name, value, |limits| limits.args).map(Self::Args),
            "limits.query_buffer_bytes" => one(name, value, |limits| limits.query_buffer_bytes).map(Self::QueryBuffer),
            "limits.output_buffer_bytes" => {
                let hard = Some(one(name, value, |limits| limits.output_buffer_bytes)?);
                Ok(Self::Output(Output { hard, ..Output::default() }))
            }
            "limits.output_buffer_soft_bytes" => {
                let soft = Some(one(name, value, |limits| limits.output_buffer_soft_bytes)?);
                Ok(Self::Output(Output { soft, ..Output::default() }))
            }
            "limits.output_buffer_soft_s" => {
                let soft_s = Some(one(name, value, |limits| limits.output_buffer_soft_s)?);
                Ok(Self::Output(Output { soft_s, ..Output::default() }))
            }
            "server.max_clients" => clients(own(name, value)?.server.max_clients).map(Self::MaxClients),
            "server.tcp_keepalive_s" => Ok(Self::KeepAlive(own(name, value)?.server.tcp_keepalive_s)),
            "server.idle_timeout_s" => Ok(Self::IdleTimeout(own(name, value)?.server.idle_timeout_s)),
            _ => PackingChange::parse(name, value)
                .unwrap_or_else(|| Err("can't set immutable config".into()))
                .map(Self::Packing),
        }
    }

    /// Whether `other` changes the same setting.
    pub(super) fn is_of_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Packing(this), Self::Packing(other)) => this.is_of_same(*other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Makes the change in `settings`.
    pub(super) fn apply(self, settings: &mut Settings) {
        match self {
            Self::Password(password) => settings.password = password,
            Self::Durability(durability) => settings.durability = durability,
            Self::MaxMemory(bytes) => settings.max_memory = bytes,
            Self::MaxClients(most) => settings.max_clients = most,
            Self::AdminClients(most) => settings.admin_clients = most,
            Self::AuthTimeout(seconds) => settings.auth_timeout_s = seconds,
            Self::AuthAttempts(most) => settings.auth_attempts = most,
            Self::ClientsMemory(bytes) => settings.clients_max_bytes = bytes,
            Self::Bulk(bytes) => settings.limits.bulk_bytes = bytes,
            Self::Args(most) => settings.limits.args = most,
            Self::QueryBuffer(bytes) => settings.limits.query_buffer_bytes = bytes,
            Self::Output(Output { hard, soft, soft_s }) => {
                let limits = &mut settings.limits;
                limits.output_buffer_bytes = hard.unwrap_or(limits.output_buffer_bytes);
                limits.output_buffer_soft_bytes = soft.unwrap_or(limits.output_buffer_soft_bytes);
                limits.output_buffer_soft_s = soft_s.unwrap_or(limits.output_buffer_soft_s);
            }
            Self::Packing(change) => change.apply(&mut settings.packing),
            Self::KeepAlive(seconds) => settings.tcp_keepalive_s = seconds,
            Self::IdleTimeout(seconds) => settings.idle_timeout_s = seconds,
            Self::Save => {}
        }
    }
}

/// A value under one of our own names, read as `--set` reads it.
fn own(name: &str, value: &[u8]) -> Result<Config, Why> {
    own_beside(name, value, Vec::new())
}

/// As [`own`], of a limit. How it goes with the other limits is seen later: here those that it is bound to are at their
/// extremes.
fn one<T>(name: &str, value: &[u8], limit: impl FnOnce(&Limits) -> T) -> Result<T, Why> {
    let others = [
        "limits.bulk_bytes=1KiB",
        "limits.query_buffer_bytes=1TiB",
        "limits.output_buffer_bytes=1TiB",
        "memory.clients_max_bytes=0",
    ];
    let others = others.iter().filter(|other| !other.starts_with(name)).map(|other| (*other).to_owned());
    Ok(limit(&own_beside(name, value, others.collect())?.limits))
}

fn own_beside(name: &str, value: &[u8], mut arguments: Vec<String>) -> Result<Config, Why> {
    let value = std::str::from_utf8(value).map_err(|_| "argument must be UTF-8 text")?;
    arguments.push(format!("{name}={value}"));
    let sources = Sources { arguments, ..Sources::default() };
    let loaded = sources.load().map_err(|e| e.0.first().map_or_else(String::new, |problem| problem.why.clone()))?;
    Ok(loaded.config)
}

fn password(value: &[u8]) -> Result<Option<Password>, Why> {
    let text = std::str::from_utf8(value).map_err(|_| "argument must be UTF-8 text")?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|why: NoHash| why.to_string().into()) }
}

fn bytes(value: &[u8]) -> Result<usize, Why> {
    let bytes = memory(value)?.unwrap_or(0);
    usize::try_from(bytes).map_err(|_| "argument must be a memory value".into())
}

/// `<class> <hard> <soft> <seconds>`, once or several times. Only ordinary clients have replies that are kept for them:
/// for the classes that Redis knows besides, what is asked for is let pass.
fn output(value: &[u8]) -> Result<Output, Why> {
    let words: Vec<&[u8]> = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let mut output = Output::default();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for of_class in words.chunks(4) {
        let (hard, soft) = (bytes(of_class[1]), memory(of_class[2]));
        let seconds = parse::integer(of_class[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let (Ok(hard), Ok(soft), Some(seconds)) = (hard, soft, seconds) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        match of_class[0].to_ascii_lowercase().as_slice() {
            b"normal" => {
                // No time at all means that there is no lower bound, as in Redis; and no upper bound is the highest
                // there is.
                let soft = soft.filter(|_| seconds > 0);
                let hard = Some(if hard == 0 { usize::MAX >> 1 } else { hard });
                output = Output { hard, soft: Some(soft), soft_s: (seconds > 0).then_some(seconds) };
            }
            b"slave" | b"replica" | b"pubsub" => {}
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        }
    }
    Ok(output)
}

/// Lets pass what asks for nothing new: no snapshots by number of writes, as clients ask that make their own, and the
/// value that CONFIG GET tells. Checkpoints bound the log, so that none can be switched off.
fn save(value: &[u8], config: &Config) -> Result<(), Why> {
    if value.is_empty() || value == names::save(config).as_bytes() {
        Ok(())
    } else {
        Err("checkpoint.every_seconds and checkpoint.every_edits say when checkpoints are made, from the start on"
            .into())
    }
}

/// `everysec` and `no` are both weaker than what `async` promises.
fn fsync(value: &[u8]) -> Result<Durability, Why> {
    match value.to_ascii_lowercase().as_slice() {
        b"always" => Ok(Durability::Sync),
        b"everysec" | b"no" => Ok(Durability::Async),
        _ => Err("argument(s) must be one of the following: everysec, always, no".into()),
    }
}

fn number(value: &[u8], least: u32, most: i64) -> Result<u64, Why> {
    integer(value, least.into(), most).map(|number| number as u64)
}

/// As many clients, if the process may open as many files.
fn clients(most: u32) -> Result<u32, Why> {
    let room = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    if u64::from(most) <= room {
        Ok(most)
    } else {
        Err(format!("The operating system is not able to handle the specified number of clients, try with {room}")
            .into())
    }
}
