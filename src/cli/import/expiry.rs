//! Expiries in append-only files that must wait for the end of the commands.
//!
//! A command may set an expiry that has come by now, and a later one may extend it: Redis lets nothing expire while
//! it reads its files. So an expiry that has come, or may come soon, is sent as one far in the future, from which the
//! real one can be told ([`AGES`] later). When all commands have been executed, keys that still have such an expiry get
//! the real one.

use std::collections::BTreeSet;

use super::connection::{failure, select};
use super::summary::{Skipped, Summary};
use crate::bench::client::{Client, Value};
use crate::bench::request::request;
use crate::cli::{Exit, Failure};
use crate::encoding::resp::Args;
use crate::time::{UnixMillis, unix_millis};

/// How much later an expiry is that was put off, in milliseconds: some thirty thousand years, in whole seconds.
const AGES: u64 = 1_000_000_000_000 * 1000;
/// Expiries that come within this time, in milliseconds, are put off: an hour.
const SOON: u64 = 3_600_000;
/// Number of keys that are asked for at once.
const MOST: usize = 500;

/// The keys whose expiry was put off.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Whether commands are read or follow.
    is_on: bool,
    /// Database and name of each key.
    keys: BTreeSet<(u64, Vec<u8>)>,
}

/// The words of a command, one of which is another.
pub(super) struct Rewritten<'a> {
    words: Args<'a>,
    place: usize,
    word: Vec<u8>,
}

impl Rewritten<'_> {
    /// The words.
    pub(super) fn each(&self) -> Vec<&[u8]> {
        let words = self.words.from(0).enumerate();
        words.map(|(at, word)| if at == self.place { &self.word[..] } else { word }).collect()
    }
}

impl PutOff {
    /// Says that commands are read from now on, or will be.
    pub(super) const fn begin(&mut self) {
        self.is_on = true;
    }

    /// The time at which the server is told that the key expires.
    pub(super) fn delay(&mut self, db: u64, key: &[u8], at: UnixMillis) -> UnixMillis {
        if !self.is_on || at.get() > unix_millis().get() + SOON {
            return at;
        }
        self.keys.insert((db, key.to_vec()));
        UnixMillis::new(at.get() + AGES)
    }

    /// The command with an expiry that was put off; `None` if it can be sent as it is.
    pub(super) fn rewritten<'a>(&mut self, db: u64, words: Args<'a>) -> Option<Rewritten<'a>> {
        let (place, unit) = expiry_in(words)?;
        let at = str::from_utf8(words.get(place)?).ok()?.parse::<u64>().ok()?;
        let at = UnixMillis::new(at.checked_mul(unit)?.max(1));
        let delayed = self.delay(db, words.get(1)?, at);
        (delayed != at).then(|| Rewritten { words, place, word: (delayed.get() / unit).to_string().into_bytes() })
    }
}

/// Place of the time at which the command lets a key expire, and its unit in milliseconds.
fn expiry_in(words: Args<'_>) -> Option<(usize, u64)> {
    let is = |at: usize, name: &[u8]| words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
    let option = |name: &[u8]| (3..words.len()).find(|at| is(*at, name));
    if is(0, b"PEXPIREAT") {
        Some((2, 1))
    } else if is(0, b"EXPIREAT") {
        Some((2, 1000))
    } else if is(0, b"SET") {
        option(b"PXAT").map(|at| (at + 1, 1)).or_else(|| option(b"EXAT").map(|at| (at + 1, 1000)))
    } else if is(0, b"RESTORE") && !is(2, b"0") {
        (4..words.len()).any(|at| is(at, b"ABSTTL")).then_some((2, 1))
    } else {
        None
    }
}

/// Gives the keys that still have an expiry that was put off the real one.
///
/// # Errors
/// If the connection is lost, or the server does not tell when keys expire.
pub(super) fn settle(client: &mut Client, put_off: PutOff, summary: &mut Summary) -> Result<(), Failure> {
    let keys: Vec<_> = put_off.keys.into_iter().collect();
    for of_one in keys.chunk_by(|one, other| one.0 == other.0) {
        select(client, of_one[0].0)?;
        for some in of_one.chunks(MOST) {
            settle_some(client, some, summary)?;
        }
    }
    Ok(())
}

fn settle_some(client: &mut Client, keys: &[(u64, Vec<u8>)], summary: &mut Summary) -> Result<(), Failure> {
    let (mut questions, mut changes) = (Vec::new(), Vec::new());
    keys.iter().for_each(|(_, key)| request(&mut questions, &[b"PEXPIRETIME", key]));
    client.send(&questions).map_err(failure)?;
    let (now, mut count) = (unix_millis().get(), 0);
    for (_, key) in keys {
        let at = match client.receive().map_err(failure)? {
            Value::Text(digits) => str::from_utf8(&digits).ok().and_then(|digits| digits.parse::<u64>().ok()),
            Value::Error(why) => {
                return Err(Failure::new(Exit::Unavailable, format_args!("the server refused PEXPIRETIME: {why}")));
            }
            Value::Null | Value::Many(_) => None,
        };
        let Some(at) = at.and_then(|at| at.checked_sub(AGES)) else { continue };
        count += 1;
        if at > now {
            request(&mut changes, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
        } else {
            summary.skip(b"", Skipped::Beside("a key that has expired".to_owned()));
            request(&mut changes, &[b"DEL", key]);
        }
    }
    client.send(&changes).map_err(failure)?;
    for _ in 0..count {
        if let Value::Error(why) = client.receive().map_err(failure)? {
            return Err(Failure::new(Exit::Unavailable, format_args!("the server refused an expiry: {why}")));
        }
    }
    Ok(())
}
