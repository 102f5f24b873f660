//! Changes of settings while the server runs.

use std::borrow::Cow;

use rustix::process::{Resource, getrlimit};

use crate::config::{Config, Durability, Password, Sources};
use crate::net::shared::Settings;
use crate::store::commands::parse;

/// Descriptors that the process needs for other things than clients, at least.
const OTHER_FILES: u64 = 64;

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Password(Option<Password>),
    Durability(Durability),
    MaxMemory(Option<u64>),
    MaxClients(u32),
    IdleTimeout(Option<u64>),
}

/// Why a value cannot be.
type Why = Cow<'static, str>;

impl Change {
    /// The change of the setting `name`, which exists, to `value`.
    pub(super) fn parse(name: &str, value: &[u8]) -> Result<Self, Why> {
        match name {
            "requirepass" | "server.password" => password(value).map(Self::Password),
            "appendfsync" => fsync(value).map(Self::Durability),
            "maxmemory" => memory(value).map(Self::MaxMemory),
            "maxclients" => clients(number(value, 1, u32::MAX.into())? as u32).map(Self::MaxClients),
            "timeout" => Ok(Self::IdleTimeout(Some(number(value, 0, i32::MAX as i64)?).filter(|s| *s > 0))),
            "log.durability" => Ok(Self::Durability(own(name, value)?.log.durability)),
            "memory.max_bytes" => Ok(Self::MaxMemory(own(name, value)?.memory.max_bytes)),
            "server.max_clients" => clients(own(name, value)?.server.max_clients).map(Self::MaxClients),
            "server.idle_timeout_s" => Ok(Self::IdleTimeout(own(name, value)?.server.idle_timeout_s)),
            _ => Err("can't set immutable config".into()),
        }
    }

    /// Makes the change.
    pub(super) fn apply(self, settings: &mut Settings) {
        match self {
            Self::Password(password) => settings.password = password,
            Self::Durability(durability) => settings.durability = durability,
            Self::MaxMemory(bytes) => settings.max_memory = bytes,
            Self::MaxClients(most) => settings.max_clients = most,
            Self::IdleTimeout(seconds) => settings.idle_timeout_s = seconds,
        }
    }
}

/// A value under one of our own names, read as `--set` reads it.
fn own(name: &str, value: &[u8]) -> Result<Config, Why> {
    let value = std::str::from_utf8(value).map_err(|_| "argument must be UTF-8 text")?;
    let sources = Sources { arguments: vec![format!("{name}={value}")], ..Sources::default() };
    let loaded = sources.load().map_err(|e| e.0.first().map_or_else(String::new, |problem| problem.why.clone()))?;
    Ok(loaded.config)
}

fn password(value: &[u8]) -> Result<Option<Password>, Why> {
    let text = std::str::from_utf8(value).map_err(|_| "argument must be UTF-8 text")?;
    Ok((!text.is_empty()).then(|| Password::new(text)))
}

/// `everysec` and `no` are both weaker than what `async` promises.
fn fsync(value: &[u8]) -> Result<Durability, Why> {
    match value.to_ascii_lowercase().as_slice() {
        b"always" => Ok(Durability::Sync),
        b"everysec" | b"no" => Ok(Durability::Async),
        _ => Err("argument(s) must be one of the following: everysec, always, no".into()),
    }
}

/// Bytes with Redis's units: `k` is a thousand, `kb` is 1024. 0 is no bound, and so is no number, as in Redis.
fn memory(value: &[u8]) -> Result<Option<u64>, Why> {
    const UNITS: [(&[u8], u64); 8] = [
        (b"", 1),
        (b"b", 1),
        (b"k", 1000),
        (b"kb", 1 << 10),
        (b"m", 1_000_000),
        (b"mb", 1 << 20),
        (b"g", 1_000_000_000),
        (b"gb", 1 << 30),
    ];
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = value.split_at(digits);
    let number = if digits == 0 { Some(0) } else { std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()) };
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let bytes = number.zip(factor).and_then(|(number, factor): (u64, u64)| number.checked_mul(factor));
    bytes.map(|bytes| (bytes > 0).then_some(bytes)).ok_or_else(|| "argument must be a memory value".into())
}

fn number(value: &[u8], least: i64, most: i64) -> Result<u64, Why> {
    let number = parse::integer(value).ok_or("argument couldn't be parsed into an integer")?;
    if (least..=most).contains(&number) {
        Ok(number as u64)
    } else {
        Err(format!("argument must be between {least} and {most} inclusive").into())
    }
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
