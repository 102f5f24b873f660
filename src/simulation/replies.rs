//! Replies as bytes, and what an array of bulk strings holds.

/// The lines of an array of bulk strings: each string's length, then the string.
pub(super) fn words(reply: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = reply.strip_suffix(b"\r\n").unwrap_or(reply).split(|b| *b == b'\n').skip(1);
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

pub(super) fn ok() -> Vec<u8> {
    b"+OK\r\n".to_vec()
}

pub(super) fn integer(n: usize) -> Vec<u8> {
    format!(":{n}\r\n").into_bytes()
}

pub(super) fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}
