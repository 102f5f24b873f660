//! One reply out of the parts that several cores have given.

use crate::commands::debug;
use crate::commands::registry::Gather;
use crate::encoding::resp::{Protocol, Reply};

impl From<Gather> for Merge {
    fn from(gather: Gather) -> Self {
        match gather {
            Gather::Ok => Self::Ok,
            Gather::Sum => Self::Sum,
            Gather::Concat | Gather::ByKey => Self::Concat,
        }
    }
}

/// How parts become one reply. An error among the parts is the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Every part is `+OK`, and so is the reply.
    Ok,
    /// Parts are integers; the reply is their sum.
    Sum,
    /// Arrays are joined, one part's elements after another's.
    Concat,
    /// Arrays are joined in the order of the request: for each element, the part that has it.
    InOrder(Vec<u16>),
    /// For `RANDOMKEY`: each part is an array of how many keys its core has, how many of those that it drew before the
    /// first live one had expired, and that live one, if it found any. The number is a random one to choose by.
    Drawn(u64),
    /// Digests, in hexadecimal: their sum.
    Digest,
    /// Texts (bulk strings) are joined.
    Text,
    /// The reply is empty: nothing is sent.
    Nothing,
    /// Integers are added; the reply is OK, or this error if they come to nothing.
    Found(&'static str),
}

/// Writes the reply that `parts` come to. Each part is one whole reply of ours.
pub fn merge(how: &Merge, parts: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
    if let Some(error) = parts.iter().find(|p| p.first() == Some(&b'-')) {
        out.extend_from_slice(error);
        return;
    }
    let mut reply = Reply::new(out, protocol);
    match how {
        Merge::Ok => parts.iter().take(1).for_each(|p| reply.raw(p)),
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
        Merge::Drawn(random) => match draw(parts, *random) {
            Some(key) => reply.raw(key),
            None => reply.null(),
        },
        Merge::Digest => {
            let digits = parts.iter().filter_map(|part| std::str::from_utf8(part.get(1..)?).ok());
            let digests = digits.filter_map(|digits| u64::from_str_radix(digits.trim(), 16).ok());
            let sum = digests.fold(0, u64::wrapping_add);
            reply.simple(&debug::digest_text(sum));
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
    }
}

/// A live key, as a reply, out of the parts of [`Merge::Drawn`]; each as likely as any other. It is as if one drew
/// among the keys of all cores until one is live: the draws of each core are told by its part, the failed ones first.
fn draw(parts: &[Vec<u8>], seed: u64) -> Option<&[u8]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let part = |part| {
        let (keys, rest) = head(head(part).1);
        let (expired, key) = head(rest);
        (keys.max(0) as u64, expired, key)
    };
    let mut left: Vec<(u64, i64, &[u8])> = parts.iter().map(|p| part(p)).collect();
    loop {
        let all: u64 = left.iter().map(|(keys, ..)| keys).sum();
        let mut place = (all > 0).then(|| random.u64(..all))?;
        let drawn = left.iter_mut().find(|(keys, ..)| {
            let here = place < *keys;
            place -= if here { 0 } else { *keys };
            here
        });
        match drawn? {
            (_, expired, _) if *expired > 0 => *expired -= 1,
            // It has found no live key at all, and draws no more.
            (keys, _, b"") => *keys = 0,
            (_, _, key) => return Some(key),
        }
    }
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
        assert_eq!(merged(&Merge::Found("ERR none"), &[":0\r\n", ":2\r\n"]), "+OK\r\n");
        assert_eq!(merged(&Merge::Found("ERR none"), &[":0\r\n", ":0\r\n"]), "-ERR none\r\n");
        let digests = [format!("+{}\r\n", debug::digest_text(u64::MAX)), format!("+{}\r\n", debug::digest_text(17))];
        let sum = format!("+{:040x}\r\n", 16);
        assert_eq!(merged(&Merge::Digest, &[&digests[0], &digests[1]]), sum);
        assert_eq!(merged(&Merge::Text, &["$2\r\na\n\r\n", "=6\r\ntxt:b\n\r\n"]), "$4\r\na\nb\n\r\n");
    }

    #[test]
    fn a_key_is_drawn_from_a_core_as_often_as_it_has_live_keys() {
        let count = |parts: &[&str], key: &str| {
            let draws = (0..2_000).map(|seed| merged(&Merge::Drawn(seed), parts));
            draws.filter(|drawn| drawn.contains(key)).count()
        };
        let (few, many) = ("*3\r\n:1\r\n:0\r\n$1\r\na\r\n", "*3\r\n:9\r\n:0\r\n$1\r\nb\r\n");
        let (none, expired) = ("*2\r\n:0\r\n:0\r\n", "*2\r\n:900\r\n:100\r\n");
        // 200 are expected of 2,000; six standard deviations are 80.
        for parts in [&[few, many][..], &[none, many, few], &[expired, many, none, few]] {
            assert!((120..280).contains(&count(parts, "a")), "{parts:?}: {}", count(parts, "a"));
            assert_eq!(count(parts, "a") + count(parts, "b"), 2_000);
        }
        // Nine of its ten keys have expired, so a live key there is as rare as on the other core.
        let mostly = |misses| format!("*3\r\n:10\r\n:{misses}\r\n$1\r\nc\r\n");
        let found: usize = (0..40)
            .map(|misses| {
                let weight = 0.9f64.powi(misses) * 0.1;
                (weight * count(&[few, &mostly(misses)], "c") as f64) as usize
            })
            .sum();
        assert!((800..1_200).contains(&found), "{found} of about 2,000");
        assert_eq!(merged(&Merge::Drawn(1), &[none, expired]), "$-1\r\n");
        assert_eq!(merged(&Merge::Drawn(1), &[none]), "$-1\r\n");
    }

    #[test]
    fn an_error_among_the_parts_is_the_reply() {
        assert_eq!(merged(&Merge::Sum, &[":1\r\n", "-OOM no\r\n"]), "-OOM no\r\n");
    }
}
