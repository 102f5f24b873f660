//! One reply out of the parts that several cores have given.

use crate::encoding::resp::{Protocol, Reply};

/// How parts become one reply. An error among the parts is the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// There is one part.
    Only,
    /// All parts say OK.
    Ok,
    /// Integers are added.
    Sum,
    /// Arrays are joined, one part's elements after another's.
    Concat,
    /// Arrays are joined in the order of the request: for each element, the part that has it.
    InOrder(Vec<u16>),
    /// Any part that is not null; the number is a random one to choose by.
    Any(u64),
    /// Texts (bulk strings) are joined.
    Text,
    /// There is no reply.
    Nothing,
    /// Integers are added; the reply is OK, or this error if they come to nothing.
    Found(&'static str),
    /// For `WAITAOF`: the first `cores` parts tell each of a core that its edits are on disk. Parts may be missing.
    OnDisk {
        /// How many cores.
        cores: u16,
    },
    /// For `WAIT`: the first `cores` parts tell each that the checkpoint node has a core's edits. Parts may be missing.
    Mirrored {
        /// How many cores.
        cores: u16,
    },
}

/// Writes the reply that `parts` come to. Each part is one whole reply of ours.
pub fn merge(how: &Merge, parts: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
    if let Some(error) = parts.iter().find(|p| p.first() == Some(&b'-')) {
        out.extend_from_slice(error);
        return;
    }
    let mut reply = Reply::new(out, protocol);
    match how {
        Merge::Only | Merge::Ok => parts.iter().take(1).for_each(|p| reply.raw(p)),
        Merge::Sum => reply.int(parts.iter().map(|p| head(p).0).sum()),
        Merge::Concat => {
            reply.array(parts.iter().map(|p| head(p).0.max(0) as usize).sum());
            parts.iter().for_each(|p| reply.raw(head(p).1));
        }
        Merge::InOrder(homes) => {
            let mut rest: Vec<&[u8]> = parts.iter().map(|p| head(p).1).collect();
            reply.array(homes.len());
            for home in homes {
                let (element, after) = split_string(rest[usize::from(*home)]);
                reply.raw(element);
                rest[usize::from(*home)] = after;
            }
        }
        Merge::Any(random) => {
            let full: Vec<_> = parts.iter().filter(|p| p.starts_with(b"$") && !p.starts_with(b"$-")).collect();
            match full.get((*random % full.len().max(1) as u64) as usize) {
                Some(part) => reply.raw(part),
                None => reply.null(),
            }
        }
        Merge::Text => {
            let texts: Vec<&[u8]> = parts.iter().map(|p| text(p)).collect();
            reply.text(&String::from_utf8_lossy(&texts.concat()));
        }
        Merge::Nothing => {}
        Merge::Found(otherwise) => {
            if parts.iter().any(|p| head(p).0 > 0) {
                reply.ok();
            } else {
                reply.error(otherwise);
            }
        }
        Merge::OnDisk { cores } => {
            reply.array(2);
            reply.int(all_there(parts, *cores));
            // The checkpoint node keeps edits in memory until it writes a snapshot, so no replica has synced them.
            reply.int(0);
        }
        Merge::Mirrored { cores } => reply.int(all_there(parts, *cores)),
    }
}

/// 1 if none of the first `count` parts is missing.
fn all_there(parts: &[Vec<u8>], count: u16) -> i64 {
    parts.iter().take(usize::from(count)).all(|p| !p.is_empty()).into()
}

/// The number in a reply's first line, and what follows that line.
fn head(reply: &[u8]) -> (i64, &[u8]) {
    let end = memchr::memchr(b'\n', reply).map_or(reply.len(), |i| i + 1);
    let (line, rest) = reply.split_at(end);
    let number = line.get(1..).unwrap_or_default().trim_ascii_end();
    (std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).unwrap_or(0), rest)
}

/// Splits a bulk string or null from what follows it.
fn split_string(replies: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = head(replies);
    let line = replies.len() - rest.len();
    let body = if replies.first() == Some(&b'$') && length >= 0 { length as usize + 2 } else { 0 };
    replies.split_at((line + body).min(replies.len()))
}

/// The text in a bulk or verbatim string.
fn text(reply: &[u8]) -> &[u8] {
    let (length, rest) = head(reply);
    let body = rest.get(..length.max(0) as usize).unwrap_or_default();
    if reply.first() == Some(&b'=') { body.get(4..).unwrap_or_default() } else { body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(how: &Merge, parts: &[&str]) -> String {
        let parts: Vec<_> = parts.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut out = vec![];
        merge(how, &parts, Protocol::Resp2, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_become_one_reply() {
        assert_eq!(merged(&Merge::Ok, &["+OK\r\n", "+OK\r\n"]), "+OK\r\n");
        assert_eq!(merged(&Merge::Sum, &[":1\r\n", ":41\r\n"]), ":42\r\n");
        assert_eq!(
            merged(&Merge::Concat, &["*1\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\nb\r\n"]),
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
        let mget = ["*2\r\n$2\r\n\r\n\r\n$-1\r\n", "*1\r\n$1\r\nx\r\n"];
        assert_eq!(merged(&Merge::InOrder(vec![0, 1, 0]), &mget), "*3\r\n$2\r\n\r\n\r\n$1\r\nx\r\n$-1\r\n");
        assert_eq!(merged(&Merge::Any(5), &["$-1\r\n", "$1\r\nk\r\n"]), "$1\r\nk\r\n");
        assert_eq!(merged(&Merge::Any(5), &["$-1\r\n", "$-1\r\n"]), "$-1\r\n");
        assert_eq!(merged(&Merge::Found("ERR none"), &[":0\r\n", ":2\r\n"]), "+OK\r\n");
        assert_eq!(merged(&Merge::Found("ERR none"), &[":0\r\n", ":0\r\n"]), "-ERR none\r\n");
        assert_eq!(merged(&Merge::Mirrored { cores: 2 }, &[":1\r\n", ":1\r\n", ""]), ":1\r\n");
        assert_eq!(merged(&Merge::Mirrored { cores: 2 }, &[":1\r\n", "", ""]), ":0\r\n");
        assert_eq!(merged(&Merge::OnDisk { cores: 1 }, &["", ""]), "*2\r\n:0\r\n:0\r\n");
        assert_eq!(merged(&Merge::Text, &["$2\r\na\n\r\n", "=6\r\ntxt:b\n\r\n"]), "$4\r\na\nb\n\r\n");
    }

    #[test]
    fn an_error_among_the_parts_is_the_reply() {
        assert_eq!(merged(&Merge::Sum, &[":1\r\n", "-OOM no\r\n"]), "-OOM no\r\n");
    }
}
