//! How a journal writes to its keys: half of them are strings, and the rest of every other type. Each write is one
//! command, whatever the key holds; from what a key holds the writes can be told that made it.

use super::resp::Value;

/// Number of entries that a stream keeps.
const KEPT: &str = "3";

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    String,
    Hash,
    Set,
    SortedSet,
    List,
    Stream,
}

impl Form {
    /// That of a journal's key.
    pub const fn of(key: usize) -> Self {
        match (key % 2, key / 2 % 5) {
            (0, _) => Self::String,
            (_, 0) => Self::Hash,
            (_, 1) => Self::Set,
            (_, 2) => Self::SortedSet,
            (_, 3) => Self::List,
            _ => Self::Stream,
        }
    }

    /// The command of write `number` of `value` to the key `name`.
    pub fn write(self, name: &str, value: &str, number: u64) -> Vec<String> {
        let number = number.to_string();
        let id = format!("{number}-1");
        let words: &[&str] = match self {
            Self::String => &["SET", name, value],
            Self::Hash => &["HSET", name, "value", value, "number", &number],
            Self::Set => &["SADD", name, &number],
            Self::SortedSet => &["ZADD", name, &number, "newest", &number, &number],
            Self::List => &["RPUSH", name, &number],
            Self::Stream => &["XADD", name, "MAXLEN", KEPT, &id, "value", value],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The command that reads the value of the key `name`.
    pub fn read(self, name: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::String => &["GET", name],
            Self::Hash => &["HGETALL", name],
            Self::Set => &["SMEMBERS", name],
            Self::SortedSet => &["ZRANGE", name, "0", "-1", "WITHSCORES"],
            Self::List => &["LRANGE", name, "0", "-1"],
            Self::Stream => &["XRANGE", name, "-", "+"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The writes that made a value, in order, each with the value that it wrote if that is kept; panics at half a
    /// write, and at elements in an order that no writes make.
    pub fn writes(self, reply: &Value) -> Vec<(u64, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let numbered = |value: String| (value.split('#').nth(1).map_or(0, number), Some(value));
        match self {
            Self::String => reply.bytes().map(|value| numbered(text(value))).into_iter().collect(),
            Self::Hash => {
                let fields: Vec<_> = reply.pairs().iter().map(|(name, value)| (text(name), text(value))).collect();
                let field = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone());
                let made = field("value").map(numbered);
                let whole = field("number").map(|text| number(&text)) == made.as_ref().map(|made| made.0);
                assert!(whole && fields.len() != 1, "half a write: {reply:?}");
                made.into_iter().collect()
            }
            Self::Set => {
                let mut numbers: Vec<u64> = reply.items().iter().map(|member| number(&member.text())).collect();
                numbers.sort_unstable();
                numbers.into_iter().map(|number| (number, None)).collect()
            }
            Self::SortedSet => {
                let scores: Vec<_> = reply.pairs().iter().map(|(name, score)| (text(name), text(score))).collect();
                let (newest, others): (Vec<_>, Vec<_>) = scores.into_iter().partition(|(name, _)| name == "newest");
                assert!(others.iter().all(|(name, score)| name == score), "a score that no write gave: {reply:?}");
                let numbers: Vec<u64> = others.iter().map(|(name, _)| number(name)).collect();
                assert!(numbers.is_sorted(), "no order of scores: {reply:?}");
                assert_eq!(newest.first().map(|(_, score)| number(score)), numbers.last().copied(), "half a write");
                numbers.into_iter().map(|number| (number, None)).collect()
            }
            Self::List => {
                let numbers: Vec<u64> = reply.items().iter().map(|element| number(&element.text())).collect();
                assert!(numbers.is_sorted_by(|a, b| a < b), "no order of writes: {reply:?}");
                numbers.into_iter().map(|number| (number, None)).collect()
            }
            Self::Stream => {
                let entries = reply.items().iter().map(|entry| match entry.items() {
                    [id, fields] => {
                        let id = id.text();
                        let value = fields.items().get(1).map(Value::text);
                        (number(id.strip_suffix("-1").unwrap_or_default()), value)
                    }
                    _ => panic!("not an entry: {entry:?}"),
                });
                entries.collect()
            }
        }
    }

    /// Whether every write since the value was made can be told from it.
    pub const fn keeps_all(self) -> bool {
        matches!(self, Self::Set | Self::SortedSet | Self::List)
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number of a write"))
}
