//! Everything that a client can see.

use std::collections::BTreeMap;
use std::fmt;

use super::resp::{Conn, Value};
use super::server::Server;

/// The content of all databases: (database, key) → (type, fields, time of expiry in milliseconds or -1). A string has
/// one field, named ""; the fields of a set or sorted set are its members, those of a list its indices, and those of a
/// stream its ids, with what is told of its groups under "".
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dump(pub BTreeMap<(u8, Vec<u8>), Content>);

/// Type, fields and time of expiry.
pub type Content = (String, BTreeMap<Vec<u8>, Vec<u8>>, i64);

impl Dump {
    /// Reads everything, database by database.
    pub fn take(server: &Server) -> Self {
        let mut conn = server.connect();
        let mut dump = Self::default();
        for db in 0..16u8 {
            conn.command(&["SELECT", &db.to_string()]);
            let keys = scan(&mut conn);
            for chunk in keys.chunks(100) {
                dump.add(&mut conn, db, chunk);
            }
        }
        dump
    }

    /// Reads some keys of the database `db`, which `conn` has selected.
    pub fn add(&mut self, conn: &mut Conn, db: u8, keys: &[Vec<u8>]) {
        let each =
            |command: &str| keys.iter().map(|key| vec![command.as_bytes().to_vec(), key.clone()]).collect::<Vec<_>>();
        let types = conn.pipeline(&each("TYPE"));
        let expiries = conn.pipeline(&each("PEXPIRETIME"));
        let reads: Vec<Vec<Vec<u8>>> = keys
            .iter()
            .zip(&types)
            .map(|(key, kind)| {
                let words: &[&str] = match kind.text().as_str() {
                    "hash" => &["HGETALL"],
                    "set" => &["SMEMBERS"],
                    "zset" => &["ZRANGE", "0", "-1", "WITHSCORES"],
                    "list" => &["LRANGE", "0", "-1"],
                    "stream" => &["XRANGE", "-", "+"],
                    _ => &["GET"],
                };
                let mut words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
                words.insert(1, key.clone());
                words
            })
            .collect();
        let values = conn.pipeline(&reads);
        for (((key, kind), expiry), value) in keys.iter().zip(types).zip(expiries).zip(values) {
            let kind = kind.text();
            let fields: BTreeMap<_, _> = match kind.as_str() {
                "hash" => with_expiries(conn, key, value.pairs().into_iter().collect()),
                "zset" => value.pairs().into_iter().map(|(member, score)| (member, shortest(&score))).collect(),
                "set" => value.items().iter().map(|member| (told(member), Vec::new())).collect(),
                "list" => (0..).zip(value.items()).map(|(at, element)| (index(at), told(element))).collect(),
                "stream" => {
                    let groups = conn.command(&[b"XINFO", &b"GROUPS"[..], key]);
                    let entries = value.items().iter().map(|entry| match entry.items() {
                        [id, fields] => (told(id), format!("{:?}", fields.items()).into_bytes()),
                        _ => panic!("not an entry: {entry:?}"),
                    });
                    entries.chain([(Vec::new(), format!("{groups:?}").into_bytes())]).collect()
                }
                "string" => value.bytes().map(|value| (Vec::new(), value.to_vec())).into_iter().collect(),
                // It expired between the scan and now.
                "none" => continue,
                other => panic!("a key of type {other}"),
            };
            if !fields.is_empty() {
                self.0.insert((db, key.clone()), (kind, fields, expiry.int()));
            }
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Panics, naming the first differences, unless both are the same.
    pub fn assert_same(&self, later: &Self) {
        if self == later {
            return;
        }
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(later.0.keys()).collect();
        let different = keys.into_iter().filter(|key| self.0.get(*key) != later.0.get(*key));
        let lines: Vec<String> = different
            .take(10)
            .map(|key| {
                let show = |dump: &Self| dump.0.get(key).map_or("missing".to_owned(), |content| format!("{content:?}"));
                format!("{} {}: first {}, then {}", key.0, key.1.escape_ascii(), show(self), show(later))
            })
            .collect();
        panic!("{} keys, then {}; these differ:\n{}", self.len(), later.len(), lines.join("\n"));
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.len())
    }
}

/// A score in as few digits as it takes: Redis 7.0 writes more.
fn shortest(score: &[u8]) -> Vec<u8> {
    let number = str::from_utf8(score).ok().and_then(|text| text.parse::<f64>().ok());
    number.expect("a score is a number").to_string().into_bytes()
}

/// The fields of a hash, those that expire with their times behind their values. A Redis before 7.4 has none.
fn with_expiries(conn: &mut Conn, key: &[u8], mut fields: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let count = fields.len().to_string().into_bytes();
    let words = [&b"HPEXPIRETIME"[..], key, b"FIELDS", &count].into_iter();
    let times = conn.command(&words.chain(fields.keys().map(Vec::as_slice)).collect::<Vec<_>>());
    if let Value::Array(times) = &times {
        for (value, time) in fields.values_mut().zip(times).filter(|(_, time)| time.int() > 0) {
            value.extend(format!(" until {}", time.int()).bytes());
        }
    }
    fields
}

/// The bytes of a bulk string.
fn told(value: &Value) -> Vec<u8> {
    value.bytes().map(<[u8]>::to_vec).unwrap_or_default()
}

/// The index of a list's element as text that sorts as indices do.
fn index(at: u64) -> Vec<u8> {
    format!("{at:08}").into_bytes()
}

fn scan(conn: &mut Conn) -> Vec<Vec<u8>> {
    let mut keys = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = conn.command(&["SCAN", &cursor, "COUNT", "1000"]);
        let [next, found] = reply.items() else { panic!("not a reply to SCAN: {reply:?}") };
        keys.extend(found.items().iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)));
        cursor = next.text();
        if cursor == "0" {
            return keys.into_iter().collect();
        }
    }
}
