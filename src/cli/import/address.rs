//! The address of a server that is copied: `redis://[user[:password]@]host[:port][/database]`.

use std::str::FromStr;

use crate::bench::client::Target;
use crate::bench::error::BenchError;
use crate::bench::plan::Secret;

/// Port of Redis where an address names none.
const USUAL_PORT: u16 = 6379;

/// An address, as the user has given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: u16,
    /// The only database to copy; `None` for all.
    pub(super) db: Option<u64>,
}

impl Address {
    /// Resolves the address.
    ///
    /// # Errors
    /// If the host name cannot be resolved.
    pub(super) fn target(&self) -> Result<Target, BenchError> {
        let target = Target::resolve(&self.host, self.port, self.password.clone().map(Secret))?;
        Ok(target.as_user(self.user.clone()))
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "an address has the form redis://[user:password@]host[:port][/database]";
        if text.starts_with("rediss://") {
            return Err("TLS (rediss://) is not supported: give the server a port without it, or use a tunnel");
        }
        let rest = text.strip_prefix("redis://").ok_or(FORM)?;
        let (rest, db) = rest.split_once('/').map_or((rest, ""), |(rest, db)| (rest, db));
        let db = if db.is_empty() { None } else { Some(db.parse().map_err(|_| "a database is a number")?) };
        let (access, server) = rest.rsplit_once('@').map_or((None, rest), |(access, server)| (Some(access), server));
        let (user, password) = match access.map(|access| access.split_once(':').unwrap_or((access, ""))) {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => (None, None),
        };
        if user.is_some() && password.is_none() {
            return Err(
                "a user needs a password: redis://user:password@host, or redis://:password@host without a user",
            );
        }
        let (host, port) = match server.strip_prefix('[').and_then(|server| server.split_once(']')) {
            // An IPv6 address.
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(USUAL_PORT), str::parse).map_err(|_| "a port is a number up to 65535")?;
        if host.is_empty() {
            return Err(FORM);
        }
        Ok(Self { user, password, host: host.to_owned(), port, db })
    }
}

/// A name or password, in which `%40` stands for `@` and so on; `None` if there is none.
fn decoded(text: &str) -> Result<Option<String>, &'static str> {
    const MALFORMED: &str = "a % in a name or password is followed by two hexadecimal digits, as in %40 for @";
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>().ok_or(MALFORMED)?;
        let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+')).ok_or(MALFORMED)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| MALFORMED)?);
        rest = after;
    }
    let text = String::from_utf8(bytes).map_err(|_| "a name or password is UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_redis_cli() {
        let text = |text: &str| Some(text.to_owned());
        let address =
            |user, password, host: &str, port, db| Address { user, password, host: host.to_owned(), port, db };
        for (given, expected) in [
            ("redis://host", address(None, None, "host", 6379, None)),
            ("redis://host/", address(None, None, "host", 6379, None)),
            ("redis://127.0.0.1:6380/3", address(None, None, "127.0.0.1", 6380, Some(3))),
            ("redis://:secret@host", address(None, text("secret"), "host", 6379, None)),
            ("redis://me:a%40b%3a@host:1", address(text("me"), text("a@b:"), "host", 1, None)),
            ("redis://me:a@b@[::1]:7", address(text("me"), text("a@b"), "::1", 7, None)),
            ("redis://[::1]", address(None, None, "::1", 6379, None)),
        ] {
            assert_eq!(given.parse(), Ok(expected), "{given}");
        }
        for wrong in
            ["host:6379", "redis://", "rediss://host", "redis://host:x", "redis://h/x", "redis://me@h", "redis://:%4@h"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
