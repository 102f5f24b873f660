//! What a stream holds, for the oracle: its entries and one group, and what the requests of the load do to them.
//!
//! Every entry has one field, and an id whose second part is 0. Consumers are told from each other by their names only,
//! so that a read for one is a write each time: each read has a consumer of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::replies::{bulk, integer, ok};

/// The only group of each stream.
const GROUP: &[u8] = b"group";
/// The most entries that one request delivers.
const DELIVERED: usize = 2;
/// Number of entries that a trimmed stream keeps.
const KEPT: usize = 12;
/// Name of the field of every entry.
const FIELD: &[u8] = b"field";

/// The value of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// Value of each entry by its id.
    entries: BTreeMap<u64, Vec<u8>>,
    /// The greatest id that an entry ever had.
    last: u64,
    group: Option<Group>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    /// The greatest id that was delivered.
    delivered: u64,
    pending: BTreeSet<u64>,
}

/// Draws the words of a request on the stream `key`; `number` is greater than those of most requests before.
pub(super) fn request(random: &mut fastrand::Rng, key: &[u8], number: u64, value: &[u8]) -> Vec<Vec<u8>> {
    let new = id(number + 1);
    let oldest = (number + 1).saturating_sub(random.u64(0..60));
    let used: Vec<_> = (oldest..oldest + random.u64(1..20)).map(id).collect();
    let used = used.iter().map(Vec::as_slice);
    let consumer = format!("consumer{number}").into_bytes();
    let words: Vec<&[u8]> = match random.u8(0..10) {
        0..=3 => vec![b"XADD", key, &new, FIELD, value],
        4 => [&b"XDEL"[..], key].into_iter().chain(used.take(2)).collect(),
        5 => vec![b"XTRIM", key, b"MAXLEN", b"12"],
        6 => vec![b"XGROUP", b"CREATE", key, GROUP, b"0", b"MKSTREAM"],
        7 | 8 => vec![b"XREADGROUP", b"GROUP", GROUP, &consumer, b"COUNT", b"2", b"STREAMS", key, b">"],
        _ => [&b"XACK"[..], key, GROUP].into_iter().chain(used).collect(),
    };
    words.into_iter().map(<[u8]>::to_vec).collect()
}

/// The key that a request for a stream names, if it is one.
pub(super) fn key_of(words: &[Vec<u8>]) -> Option<&Vec<u8>> {
    match &words[0][..] {
        b"XADD" | b"XDEL" | b"XTRIM" | b"XACK" => words.get(1),
        b"XGROUP" => words.get(2),
        b"XREADGROUP" => words.get(7),
        _ => None,
    }
}

/// What a request of [`request`] must answer if the key holds `held`, and what the key holds then.
pub(super) fn expected(words: &[Vec<u8>], held: Option<&Events>) -> (Vec<u8>, Option<Events>) {
    let mut events = held.cloned().unwrap_or_default();
    let reply = match &words[0][..] {
        b"XADD" => {
            let added = number(&words[2]);
            if added <= events.last {
                let why = b"-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n";
                return (why.to_vec(), held.cloned());
            }
            events.entries.insert(added, words[4].clone());
            events.last = added;
            bulk(&words[2])
        }
        b"XDEL" => integer(words[2..].iter().filter(|id| events.entries.remove(&number(id)).is_some()).count()),
        b"XTRIM" => {
            let gone = events.entries.len().saturating_sub(KEPT);
            events.entries = events.entries.into_iter().skip(gone).collect();
            integer(gone)
        }
        b"XGROUP" if events.group.is_some() => b"-BUSYGROUP Consumer Group name already exists\r\n".to_vec(),
        b"XGROUP" => {
            events.group = Some(Group::default());
            return (ok(), Some(events));
        }
        b"XACK" => {
            let pending = events.group.as_mut().map(|group| &mut group.pending);
            integer(pending.map_or(0, |pending| words[3..].iter().filter(|id| pending.remove(&number(id))).count()))
        }
        _ => match events.deliver(&words[7]) {
            Some(reply) => return (reply, Some(events)),
            None => {
                let key = String::from_utf8_lossy(&words[7]);
                format!("-NOGROUP No such key '{key}' or consumer group 'group' in XREADGROUP with GROUP option\r\n")
                    .into_bytes()
            }
        },
    };
    // No request but XADD and XGROUP makes a stream.
    let is_made = held.is_some() || events.last > 0;
    (reply, is_made.then_some(events))
}

impl Events {
    /// Delivers the next entries of the stream `key` to a consumer; returns the reply, `None` without the group.
    fn deliver(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let group = self.group.as_mut()?;
        let next: Vec<_> = self.entries.range(group.delivered + 1..).take(DELIVERED).collect();
        let Some((last, _)) = next.last() else { return Some(b"*-1\r\n".to_vec()) };
        group.delivered = **last;
        group.pending.extend(next.iter().map(|(id, _)| **id));
        Some([b"*1\r\n*2\r\n".to_vec(), bulk(key), told(next.into_iter())].concat())
    }

    /// The reply to an XRANGE of everything.
    pub(super) fn told(&self) -> Vec<u8> {
        told(self.entries.iter())
    }
}

/// An array of these entries.
fn told<'a>(entries: impl ExactSizeIterator<Item = (&'a u64, &'a Vec<u8>)>) -> Vec<u8> {
    let mut reply = format!("*{}\r\n", entries.len()).into_bytes();
    for (number, value) in entries {
        reply.extend([&b"*2\r\n"[..], &bulk(&id(*number)), b"*2\r\n", &bulk(FIELD), &bulk(value)].concat());
    }
    reply
}

fn id(number: u64) -> Vec<u8> {
    format!("{number}-0").into_bytes()
}

fn number(id: &[u8]) -> u64 {
    String::from_utf8_lossy(id).split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
