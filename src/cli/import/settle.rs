//! Gives what still has an expiry that was put off the real one, when all commands have been executed.

use std::collections::BTreeMap;

use super::connection::{failure, select};
use super::expiry::{Names, PutOff, real, real_of_field};
use super::summary::{Skipped, Summary};
use crate::bench::client::{Client, Value};
use crate::bench::request::{argument, begin, request};
use crate::cli::{Exit, Failure};
use crate::time::unix_millis;

/// Number of keys that are asked for at once.
const KEYS: usize = 500;
/// Number of hashes that are asked for at once, each for some hundreds of fields.
const HASHES: usize = 50;

/// Database and name of a key.
type Name = (u64, Vec<u8>);

/// Gives keys and fields their real expiries, and removes what has expired.
///
/// # Errors
/// If the connection is lost, or the server does not tell when keys expire.
pub(super) fn settle(client: &mut Client, put_off: PutOff, summary: &mut Summary) -> Result<(), Failure> {
    each(client, put_off.keys, KEYS, |client, keys| settle_keys(client, keys, summary))?;
    each(client, put_off.hashes, HASHES, |client, hashes| settle_hashes(client, hashes, summary))
}

/// Calls `settle` with at most `most` names of one database at a time, which the connection has chosen.
fn each(
    client: &mut Client,
    names: Names,
    most: usize,
    mut settle: impl FnMut(&mut Client, &[Name]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let names: Vec<_> = names.into_iter().collect();
    for of_one in names.chunk_by(|one, other| one.0 == other.0) {
        select(client, of_one[0].0)?;
        of_one.chunks(most).try_for_each(|some| settle(client, some))?;
    }
    Ok(())
}

/// Sends requests, and returns the replies to them.
fn ask(client: &mut Client, requests: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
    client.send(requests).map_err(failure)?;
    (0..count).map(|_| client.receive().map_err(failure)).collect()
}

fn number(reply: &Value) -> Option<u64> {
    let Value::Text(digits) = reply else { return None };
    str::from_utf8(digits).ok()?.parse().ok()
}

fn refused(what: &str, why: &str) -> Failure {
    Failure::new(Exit::Unavailable, format_args!("the server refused {what}: {why}"))
}

fn settle_keys(client: &mut Client, keys: &[Name], summary: &mut Summary) -> Result<(), Failure> {
    let (mut questions, mut changes, mut count) = (Vec::new(), Vec::new(), 0);
    keys.iter().for_each(|(_, key)| request(&mut questions, &[b"PEXPIRETIME", key]));
    let replies = ask(client, &questions, keys.len())?;
    let now = unix_millis().get();
    for ((_, key), reply) in keys.iter().zip(replies) {
        if let Value::Error(why) = reply {
            return Err(refused("PEXPIRETIME", &why));
        }
        // A negative number: the key is not there, or does not expire.
        let Some(at) = number(&reply).and_then(real) else { continue };
        count += 1;
        if at > now {
            request(&mut changes, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
        } else {
            summary.skip(b"", Skipped::Beside("a key that has expired".to_owned()));
            request(&mut changes, &[b"DEL", key]);
        }
    }
    accept(ask(client, &changes, count)?)
}

/// Fails if the server refused an expiry.
fn accept(replies: Vec<Value>) -> Result<(), Failure> {
    replies.into_iter().try_for_each(|reply| match reply {
        Value::Error(why) => Err(refused("an expiry", &why)),
        _ => Ok(()),
    })
}

/// Settles some hashes, some hundreds of fields of each at a time.
fn settle_hashes(client: &mut Client, hashes: &[Name], summary: &mut Summary) -> Result<(), Failure> {
    // Those that have more fields to tell, with the cursors of HSCAN.
    let mut open: Vec<_> = hashes.iter().map(|(_, key)| (&key[..], b"0".to_vec())).collect();
    while !open.is_empty() {
        let mut questions = Vec::new();
        for (key, cursor) in &open {
            request(&mut questions, &[b"HSCAN", key, cursor, b"COUNT", b"500", b"NOVALUES"]);
        }
        let replies = ask(client, &questions, open.len())?;
        let mut found = Vec::new();
        for ((key, cursor), reply) in open.iter_mut().zip(replies) {
            match scanned(reply) {
                Ok((next, fields)) => {
                    *cursor = next;
                    found.push((*key, fields));
                }
                Err(why) => {
                    *cursor = b"0".to_vec();
                    // Something else than a hash has come into its place.
                    if !why.starts_with("WRONGTYPE") {
                        summary.refuse(b"HSCAN", || (why, format!("HSCAN {}", key.escape_ascii())));
                    }
                }
            }
        }
        found.retain(|(_, fields)| !fields.is_empty());
        settle_fields(client, &found, summary)?;
        open.retain(|(_, cursor)| cursor != b"0");
    }
    Ok(())
}

/// The next cursor and the fields, from a reply to HSCAN.
fn scanned(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
    let parts = match reply {
        Value::Many(parts) => <[Value; 2]>::try_from(parts).ok(),
        Value::Error(why) => return Err(why),
        _ => None,
    };
    let Some([Value::Text(cursor), Value::Many(fields)]) = parts else {
        return Err("not a cursor and fields".to_owned());
    };
    let text = |field| if let Value::Text(field) = field { Some(field) } else { None };
    Ok((cursor, fields.into_iter().filter_map(text).collect()))
}

/// Settles some fields of some hashes.
fn settle_fields(client: &mut Client, hashes: &[(&[u8], Vec<Vec<u8>>)], summary: &mut Summary) -> Result<(), Failure> {
    let on_fields = |out: &mut Vec<u8>, words: &[&[u8]], fields: &[&[u8]]| {
        begin(out, words, 2 + fields.len());
        let count = fields.len().to_string();
        [b"FIELDS", count.as_bytes()].iter().chain(fields).for_each(|word| argument(out, word));
    };
    let mut questions = Vec::new();
    for (key, fields) in hashes {
        let fields: Vec<_> = fields.iter().map(Vec::as_slice).collect();
        on_fields(&mut questions, &[b"HPEXPIRETIME", key], &fields);
    }
    let replies = ask(client, &questions, hashes.len())?;
    let (now, mut changes, mut count) = (unix_millis().get(), Vec::new(), 0);
    for ((key, fields), reply) in hashes.iter().zip(replies) {
        let times = match reply {
            Value::Many(times) => times,
            Value::Error(why) => return Err(refused("HPEXPIRETIME", &why)),
            _ => continue,
        };
        let mut by_time: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        for (field, time) in fields.iter().zip(&times) {
            if let Some(at) = number(time).and_then(real_of_field) {
                by_time.entry(at).or_default().push(field);
            }
        }
        for (at, fields) in by_time {
            count += 1;
            if at > now {
                on_fields(&mut changes, &[b"HPEXPIREAT", key, at.to_string().as_bytes()], &fields);
            } else {
                fields.iter().for_each(|_| summary.skip(b"", Skipped::Beside("a field that has expired".to_owned())));
                begin(&mut changes, &[b"HDEL", key], fields.len());
                fields.iter().for_each(|field| argument(&mut changes, field));
            }
        }
    }
    accept(ask(client, &changes, count)?)
}
