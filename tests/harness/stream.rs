//! All that a stream tells of itself, for comparing streams on servers of several versions.

use super::resp::{Conn, Value};

/// Fields of XINFO STREAM that depend on how the events are packed, or that Redis 7.0 does not know.
const LEFT_OUT: [&[u8]; 3] = [b"radix-tree-keys", b"radix-tree-nodes", b"active-time"];

/// The reply to XINFO STREAM FULL on all events and all that is pending, in words, without what is left out.
pub fn stream_facts(conn: &mut Conn, key: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    collect(&conn.command::<&[u8]>(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]), &mut words);
    words
}

fn collect(value: &Value, words: &mut Vec<String>) {
    let Value::Array(items) = value else {
        words.push(match value {
            // Redis 7.0 calls the pending entries of a group and of a consumer so.
            Value::Bulk(bytes) if bytes == b"pel" => "pending".to_owned(),
            Value::Bulk(bytes) => bytes.escape_ascii().to_string(),
            other => format!("{other:?}"),
        });
        return;
    };
    words.push("(".to_owned());
    let mut items = items.iter();
    while let Some(item) = items.next() {
        if matches!(item, Value::Bulk(name) if LEFT_OUT.contains(&&name[..])) {
            items.next();
        } else {
            collect(item, words);
        }
    }
    words.push(")".to_owned());
}
