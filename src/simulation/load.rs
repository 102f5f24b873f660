//! Random requests, and what each must answer and do.

use std::collections::{BTreeMap, BTreeSet};

use super::events;
use super::oracle::{Content, Effect, Key, Value};
use super::replies::{bulk, integer, ok, words};
use crate::encoding::resp::{Args, Span};
use crate::ids::Db;

/// A parsed request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The database of the connection.
    pub(super) db: Db,
    pub(super) words: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Request {
    pub(super) fn new(words: &[&[u8]]) -> Self {
        let starts = words.iter().scan(0, |end, word| {
            *end += word.len();
            Some(Span { start: (*end - word.len()) as u32, len: word.len() as u32 })
        });
        let (owned, spans) = (words.iter().map(|word| word.to_vec()).collect(), starts.collect());
        Self { db: Db(0), words: owned, spans, bytes: words.concat() }
    }

    fn in_db(mut self, db: Db) -> Self {
        self.db = db;
        self
    }

    pub(super) fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Name of the key.
    pub(super) fn name(&self) -> &[u8] {
        events::key_of(&self.words).unwrap_or(&self.words[1])
    }

    /// The key.
    pub(super) fn key(&self) -> Key {
        (self.db, self.name().to_vec())
    }

    /// Draws a request for a time when slots are captured: values move often, and the one that has come last to another
    /// key, `moved`, is edited.
    pub(super) fn while_capturing(random: &mut fastrand::Rng, number: u64, moved: Option<&Key>) -> Self {
        let value = [number.to_string().as_bytes(), &[b'.'; 70]].concat();
        let digit = random.u8(0..5).to_string().into_bytes();
        let edit = |(db, key): &Key, pops| {
            let field = [b"field", &digit[..]].concat();
            let edit = match &key[..] {
                [b'h', ..] => Self::new(&[b"HSET", key, &field, &value]),
                [b's', b'e', ..] => Self::new(&[b"SADD", key, &digit]),
                [b'z', ..] => Self::new(&[b"ZADD", key, &digit, &digit]),
                [b'l', ..] if pops => Self::new(&[b"LPOP", key]),
                [b'l', ..] => Self::new(&[b"RPUSH", key, &value]),
                _ => return None,
            };
            Some(edit.in_db(*db))
        };
        match (random.u8(0..4), moved.and_then(|moved| edit(moved, random.bool()))) {
            (0 | 1, Some(edit)) => edit,
            (0..=2, _) => Self::rename(random),
            _ => Self::random(random, number),
        }
    }

    /// Draws a request, mostly in the first database; `number` makes its value one that was never written before.
    pub(super) fn random(random: &mut fastrand::Rng, number: u64) -> Self {
        let db = Db(u8::from(random.u8(0..6) == 0));
        let request = if random.u8(0..30) == 0 { Self::moved(random, db) } else { Self::usual(random, number) };
        request.in_db(db)
    }

    fn usual(random: &mut fastrand::Rng, number: u64) -> Self {
        let key = format!("key{}", random.u8(0..20)).into_bytes();
        let (x, y) = if random.bool() { (b"hash{x}1", b"hash{x}2") } else { (b"hash{x}2", b"hash{x}1") };
        let hash = match random.u8(0..9) {
            number @ 0..6 => format!("hash{number}").into_bytes(),
            _ => x.to_vec(),
        };
        let list = format!("list{}", random.u8(0..4)).into_bytes();
        let field = format!("field{}", random.u8(0..10)).into_bytes();
        let long = if random.u8(..) < 6 { random.usize(300..9_000) } else { random.usize(0..60) };
        let value = [number.to_string().as_bytes(), &vec![b'.'; long]].concat();
        let counter = format!("counter{}", random.u8(0..4)).into_bytes();
        let tag = random.u8(0..4);
        let (a, b) = (format!("a{{{tag}}}").into_bytes(), format!("b{{{tag}}}").into_bytes());
        let set = format!("set{}", random.u8(0..4)).into_bytes();
        let member = random.u8(0..12);
        let member = if member < 9 { member.to_string() } else { format!("member{member}") }.into_bytes();
        let sorted_set = format!("zset{}", random.u8(0..4)).into_bytes();
        let score = random.u8(..).to_string().into_bytes();
        let stream = format!("stream{}", random.u8(0..3)).into_bytes();
        // Far ahead, and another time than any before.
        let at = (4_000_000_000_000 + number).to_string().into_bytes();
        match random.u8(0..53) {
            0..=6 => Self::new(&[b"SET", &key, &value]),
            7 => Self::new(&[b"APPEND", &key, &value[..value.len().min(20)]]),
            8 | 9 => Self::new(&[b"INCR", &counter]),
            10 => Self::new(&[b"DEL", &key]),
            11..=13 => Self::new(&[b"HSET", &hash, &field, &value]),
            14 => Self::new(&[b"HDEL", &hash, &field]),
            15 | 16 | 29 | 30 => Self::new(&[b"MSET", &a, &value, &b, &value]),
            17 => Self::new(&[b"GET", &key]),
            18 => Self::new(&[b"HLEN", &hash]),
            19 | 20 => Self::new(&[b"SADD", &set, &member]),
            21 => Self::new(&[b"SREM", &set, &member]),
            22 => Self::new(&[b"SCARD", &set]),
            23 | 24 => Self::new(&[b"RPUSH", &list, &value]),
            25 => Self::new(&[b"LPUSH", &list, &value]),
            26 => Self::new(&[b"LPOP", &list]),
            27 => Self::new(&[b"LSET", &list, b"-1", &value]),
            28 => Self::new(&[b"LTRIM", &list, b"1", b"20"]),
            31 | 32 => Self::new(&[b"ZADD", &sorted_set, &score, &member]),
            33 => Self::new(&[b"ZREM", &sorted_set, &member]),
            34 => Self::new(&[b"ZPOPMIN", &sorted_set]),
            35..=40 => {
                let words = events::request(random, &stream, number, &value);
                Self::new(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            41 => Self::new(&[b"GET", &counter]),
            42 => Self::new(&[b"RENAME", &a, &b]),
            43 => Self::new(&[b"RENAMENX", x, y]),
            44 => Self::new(&[b"RENAME", x, y]),
            45..=50 => Self::rename(random),
            _ => Self::new(&[b"HPEXPIREAT", &hash, &at, b"FIELDS", b"1", &field]),
        }
    }

    /// Draws a request that gives a key of some type another name, mostly in another slot.
    fn rename(random: &mut fastrand::Rng) -> Self {
        let (name, count) =
            [("hash", 6), ("hash", 6), ("set", 4), ("zset", 4), ("list", 4), ("stream", 3)][random.usize(0..6)];
        let from = random.usize(0..count);
        let to = (from + random.usize(1..count)) % count;
        let command: &[u8] = if random.u8(0..4) == 0 { b"RENAMENX" } else { b"RENAME" };
        Self::new(&[command, format!("{name}{from}").as_bytes(), format!("{name}{to}").as_bytes()])
    }

    /// Draws a request that moves a key of some type to the other database.
    fn moved(random: &mut fastrand::Rng, db: Db) -> Self {
        let (name, count) =
            [("key", 20), ("hash", 6), ("set", 4), ("zset", 4), ("list", 4), ("stream", 3)][random.usize(0..6)];
        let key = format!("{name}{}", random.usize(0..count));
        Self::new(&[b"MOVE", key.as_bytes(), if db == Db(0) { b"1" } else { b"0" }])
    }

    /// The other name that the request gives a key, if it is one that renames.
    pub(super) fn new_name(&self) -> Option<&[u8]> {
        self.words[0].starts_with(b"RENAME").then(|| &*self.words[2])
    }

    /// The key that the request hands a value over to, if it does.
    pub(super) fn moves_to(&self) -> Option<Key> {
        let (db, name) = self.key();
        match self.new_name() {
            Some(to) => Some((db, to.to_vec())),
            None if self.hands_over() => Some((Db(1 - db.0), name)),
            None => None,
        }
    }

    /// Whether the request hands a value over to another key.
    pub(super) fn hands_over(&self) -> bool {
        self.words[0] == b"MOVE" || self.new_name().is_some()
    }

    /// A request that reads the whole value of a key, whichever type keys of its name have.
    pub(super) fn read((db, key): &Key) -> Self {
        let key = &key[..];
        Self::read_command(key).in_db(*db)
    }

    fn read_command(key: &[u8]) -> Self {
        let command: &[u8] = match key {
            [b'h', b'a', b's', b'h', ..] => b"HGETALL",
            [b's', b'e', b't', ..] => b"SMEMBERS",
            [b'z', b's', b'e', b't', ..] => return Self::new(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
            [b's', b't', b'r', ..] => return Self::new(&[b"XRANGE", key, b"-", b"+"]),
            [b'l', b'i', b's', b't', ..] => return Self::new(&[b"LRANGE", key, b"0", b"-1"]),
            _ => b"GET",
        };
        Self::new(&[command, key])
    }

    /// The reply that the request must give, and the effect that it must have, if keys hold `content`.
    pub(super) fn expected(&self, content: &Content) -> (Vec<u8>, Effect) {
        let held = content.get(&self.key());
        let string = || if let Some(Value::String(s)) = held { s.clone() } else { Vec::new() };
        let hash = || if let Some(Value::Hash(h)) = held { h.clone() } else { BTreeMap::new() };
        let set = || if let Some(Value::Set(s)) = held { s.clone() } else { BTreeSet::new() };
        let list = || if let Some(Value::List(l)) = held { l.clone() } else { Vec::new() };
        let key = || self.key();
        match &self.words[0][..] {
            b"SET" => (ok(), vec![(key(), Some(Value::String(self.words[2].clone())))]),
            b"MSET" => {
                let pairs = self.words[1..].chunks(2);
                (ok(), pairs.map(|p| ((self.db, p[0].clone()), Some(Value::String(p[1].clone())))).collect())
            }
            b"APPEND" => {
                let value = [string(), self.words[2].clone()].concat();
                (integer(value.len()), vec![(key(), Some(Value::String(value)))])
            }
            b"INCR" => {
                let before: u64 = String::from_utf8(string()).expect("a number").parse().unwrap_or(0);
                let after = before as usize + 1;
                (integer(after), vec![(key(), Some(Value::String(after.to_string().into_bytes())))])
            }
            b"DEL" => (integer(usize::from(held.is_some())), held.map(|_| (key(), None)).into_iter().collect()),
            b"HSET" => {
                let mut fields = hash();
                let new = fields.insert(self.words[2].clone(), self.words[3].clone()).is_none();
                (integer(usize::from(new)), vec![(key(), Some(Value::Hash(fields)))])
            }
            b"HDEL" => {
                let mut fields = hash();
                let was = fields.remove(&self.words[2]).is_some();
                let left = (!fields.is_empty()).then_some(Value::Hash(fields));
                (integer(usize::from(was)), if was { vec![(key(), left)] } else { Vec::new() })
            }
            b"HPEXPIREAT" if hash().contains_key(&self.words[5]) => {
                (b"*1\r\n:1\r\n".to_vec(), vec![(key(), held.cloned())])
            }
            b"HPEXPIREAT" => (b"*1\r\n:-2\r\n".to_vec(), Vec::new()),
            b"SADD" => {
                let mut members = set();
                let new = members.insert(self.words[2].clone());
                (integer(usize::from(new)), if new { vec![(key(), Some(Value::Set(members)))] } else { Vec::new() })
            }
            b"SREM" => {
                let mut members = set();
                let was = members.remove(&self.words[2]);
                let left = (!members.is_empty()).then_some(Value::Set(members));
                (integer(usize::from(was)), if was { vec![(key(), left)] } else { Vec::new() })
            }
            b"SCARD" => (integer(set().len()), Vec::new()),
            b"ZADD" | b"ZREM" | b"ZPOPMIN" => self.expected_of_sorted_set(held),
            b"RPUSH" | b"LPUSH" => {
                let mut list = list();
                list.insert(if self.words[0] == b"RPUSH" { list.len() } else { 0 }, self.words[2].clone());
                (integer(list.len()), vec![(key(), Some(Value::List(list)))])
            }
            b"LPOP" | b"LSET" | b"LTRIM" => self.expected_of_list(list()),
            b"XADD" | b"XDEL" | b"XTRIM" | b"XACK" | b"XGROUP" | b"XREADGROUP" => {
                let before = if let Some(Value::Stream(events)) = held { Some(events) } else { None };
                let (reply, after) = events::expected(&self.words, before);
                // A read for a consumer that is new is a write, even of nothing.
                let is_write = before != after.as_ref() || self.words[0] == b"XREADGROUP" && !reply.starts_with(b"-");
                (reply, if is_write { vec![(key(), after.map(Value::Stream))] } else { Vec::new() })
            }
            b"RENAME" | b"RENAMENX" | b"MOVE" => self.expected_of_handing_over(held, content),
            b"HLEN" => (integer(hash().len()), Vec::new()),
            b"GET" => (held.map_or(b"$-1\r\n".to_vec(), |_| bulk(&string())), Vec::new()),
            other => panic!("the load has no {}", other.escape_ascii()),
        }
    }

    /// What a change of the sorted set that the key holds must answer, and do.
    fn expected_of_sorted_set(&self, held: Option<&Value>) -> (Vec<u8>, Effect) {
        let before = if let Some(Value::SortedSet(members)) = held { members.clone() } else { BTreeMap::new() };
        let mut members = before.clone();
        let reply = match &self.words[0][..] {
            b"ZADD" => {
                let score = String::from_utf8_lossy(&self.words[2]).parse().unwrap_or_default();
                integer(usize::from(members.insert(self.words[3].clone(), score).is_none()))
            }
            b"ZREM" => integer(usize::from(members.remove(&self.words[2]).is_some())),
            _ => match in_order(&before).first() {
                Some((score, member)) => {
                    members.remove(*member);
                    [b"*2\r\n".to_vec(), bulk(member), bulk(score.to_string().as_bytes())].concat()
                }
                None => b"*0\r\n".to_vec(),
            },
        };
        let left = (!members.is_empty()).then(|| Value::SortedSet(members.clone()));
        (reply, if members == before { Vec::new() } else { vec![(self.key(), left)] })
    }

    /// What it must answer, and do, that a key which holds this gets another name or goes to the other database.
    fn expected_of_handing_over(&self, held: Option<&Value>, content: &Content) -> (Vec<u8>, Effect) {
        let (replaces, moves) = (self.words[0] == b"RENAME", self.words[0] == b"MOVE");
        let to = if moves { (Db(1 - self.db.0), self.words[1].clone()) } else { (self.db, self.words[2].clone()) };
        match held {
            None if !moves => (b"-ERR no such key\r\n".to_vec(), Vec::new()),
            Some(value) if replaces || !content.contains_key(&to) => {
                let effect = vec![(self.key(), None), (to, Some(value.clone()))];
                (if replaces { ok() } else { integer(1) }, effect)
            }
            _ => (integer(0), Vec::new()),
        }
    }

    /// What a change of this list must answer, and do.
    fn expected_of_list(&self, before: Vec<Vec<u8>>) -> (Vec<u8>, Effect) {
        let mut list = before.clone();
        let reply = match &self.words[0][..] {
            b"LPOP" if list.is_empty() => b"$-1\r\n".to_vec(),
            b"LPOP" => bulk(&list.remove(0)),
            b"LSET" => match list.last_mut() {
                Some(last) => {
                    last.clone_from(&self.words[3]);
                    ok()
                }
                None => b"-ERR no such key\r\n".to_vec(),
            },
            _ => {
                list = list.into_iter().skip(1).take(20).collect();
                ok()
            }
        };
        let left = (!list.is_empty()).then(|| Value::List(list.clone()));
        (reply, if list == before { Vec::new() } else { vec![(self.key(), left)] })
    }
}

/// The databases that requests use.
pub(super) const DATABASES: [Db; 2] = [Db(0), Db(1)];

/// All keys that requests name.
pub(super) fn universe() -> Vec<Key> {
    DATABASES.into_iter().flat_map(|db| names().into_iter().map(move |name| (db, name))).collect()
}

fn names() -> Vec<Vec<u8>> {
    let numbered = |name: &'static str, count: usize| (0..count).map(move |n| format!("{name}{n}").into_bytes());
    let tagged = |name: &'static str| (0..4).map(move |n| format!("{name}{{{n}}}").into_bytes());
    numbered("key", 20)
        .chain(numbered("hash", 6))
        .chain(numbered("set", 4))
        .chain(numbered("zset", 4))
        .chain(numbered("list", 4))
        .chain(numbered("stream", 3))
        .chain(numbered("counter", 4))
        .chain(tagged("a"))
        .chain(tagged("b"))
        .chain([b"hash{x}1".to_vec(), b"hash{x}2".to_vec()])
        .collect()
}

/// Whether `reply`, that of a [`Request::read`], is right for a key that holds `held`.
pub(super) fn tells(reply: &[u8], held: Option<&Value>) -> bool {
    match held {
        Some(Value::String(s)) => reply == bulk(s),
        Some(Value::Set(members)) => words(reply).skip(1).step_by(2).collect::<BTreeSet<_>>() == *members,
        Some(Value::Hash(fields)) => {
            let mut words = words(reply);
            let mut found = BTreeMap::new();
            while let (Some(_), Some(name), Some(_), Some(value)) =
                (words.next(), words.next(), words.next(), words.next())
            {
                found.insert(name, value);
            }
            found == *fields
        }
        Some(Value::SortedSet(members)) => {
            let told =
                in_order(members).into_iter().map(|(score, member)| [bulk(member), bulk(score.to_string().as_bytes())]);
            reply
                == [format!("*{}\r\n", 2 * members.len()).into_bytes(), told.flatten().collect::<Vec<_>>().concat()]
                    .concat()
        }
        Some(Value::List(list)) => {
            let elements = list.iter().map(|element| bulk(element)).collect::<Vec<_>>().concat();
            reply == [format!("*{}\r\n", list.len()).as_bytes(), &elements].concat()
        }
        Some(Value::Stream(events)) => reply == events.told(),
        None => reply == b"$-1\r\n" || reply == b"*0\r\n",
    }
}

/// Scores and members of a sorted set, ascending.
fn in_order(members: &BTreeMap<Vec<u8>, u32>) -> Vec<(u32, &Vec<u8>)> {
    let mut order: Vec<_> = members.iter().map(|(member, score)| (*score, member)).collect();
    order.sort_unstable();
    order
}
