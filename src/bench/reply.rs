//! Counts replies: finds where each one ends and whether it is an error. The contents are skipped.
//!
//! Parses RESP2 and RESP3 in pieces of any size. At any moment exactly one of these holds: bytes of a bulk string are
//! being skipped (`skip > 0`), the beginning of a line waits for its end (`line` is not empty), or a line begins with
//! the next byte. `open` has the number of missing elements of each unfinished aggregate.

use memchr::memchr;

/// Maximum length of a line: types, lengths, and texts such as errors.
const LONGEST_LINE: usize = 64 * 1024;
/// Maximum nesting depth of aggregates.
const DEEPEST: usize = 32;

/// Replies found in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// This many replies that are not errors.
    Good(u32),
    /// An error reply, with its text.
    Error(&'a [u8]),
}

/// Error for bytes that are not RESP, with an explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply cannot begin with {0:?}")]
pub struct Malformed(pub String);

/// What the current reply counts as when it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Meaning {
    /// The reply answers a request.
    #[default]
    Reply,
    /// The reply answers a request with an error, in RESP3's form for long errors.
    LongError,
    /// The reply answers no request: it is a push message, or an attribute of the reply that follows.
    Aside,
}

/// Parsing state of the replies on one connection.
#[derive(Debug, Default)]
pub struct Replies {
    /// Bytes of a bulk string still to be skipped, including its line end.
    skip: usize,
    /// Missing elements of each unfinished aggregate, the outermost first.
    open: Vec<u64>,
    /// Beginning of an incomplete line.
    line: Vec<u8>,
    meaning: Meaning,
}

impl Replies {
    /// Parses received bytes, and calls `answered` for the replies that end in them, in order.
    ///
    /// # Errors
    /// If the bytes are not RESP. The connection is then unusable.
    pub fn feed(&mut self, mut bytes: &[u8], mut answered: impl FnMut(Answer<'_>)) -> Result<(), Malformed> {
        let mut good = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                if self.skip == 0 {
                    self.element_ends(&mut good, &mut answered);
                }
                continue;
            }
            if self.line.is_empty() && self.open.is_empty() {
                // The most frequent reply by far, often many in a row.
                while let Some(rest) = bytes.strip_prefix(b"+OK\r\n") {
                    good += 1;
                    bytes = rest;
                }
            }
            let Some(end) = memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                if self.line.len() > LONGEST_LINE {
                    return Err(malformed(&self.line));
                }
                break;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.len() + end > LONGEST_LINE {
                return Err(malformed(line));
            }
            if self.line.is_empty() {
                self.take_line(line, &mut good, &mut answered)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole, &mut good, &mut answered)?;
                whole.clear();
                self.line = whole;
            }
        }
        flush(&mut good, &mut answered);
        Ok(())
    }

    /// Whether no reply is incomplete.
    pub fn is_between(&self) -> bool {
        self.skip == 0 && self.open.is_empty() && self.line.is_empty()
    }

    fn take_line(
        &mut self,
        line: &[u8],
        good: &mut u32,
        answered: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Malformed> {
        let text = line.strip_suffix(b"\r\n").ok_or_else(|| malformed(line))?;
        let (kind, rest) = text.split_first().ok_or_else(|| malformed(line))?;
        let outermost = self.open.is_empty();
        match kind {
            b'+' | b':' | b',' | b'#' | b'(' | b'_' => self.element_ends(good, answered),
            b'-' if outermost => {
                flush(good, answered);
                answered(Answer::Error(rest));
                self.meaning = Meaning::Reply;
            }
            b'-' => self.element_ends(good, answered),
            b'$' | b'=' | b'!' => {
                if *kind == b'!' && outermost {
                    self.meaning = Meaning::LongError;
                }
                match length(rest).ok_or_else(|| malformed(line))? {
                    Some(length) => {
                        let length = usize::try_from(length).ok().and_then(|length| length.checked_add(2));
                        self.skip = length.ok_or_else(|| malformed(line))?;
                    }
                    None => self.element_ends(good, answered),
                }
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                if matches!(kind, b'>' | b'|') && outermost {
                    self.meaning = Meaning::Aside;
                }
                let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let elements = length(rest).ok_or_else(|| malformed(line))?.unwrap_or(0) * each;
                // An attribute of an element does not count as an element, so one more is expected.
                let elements = elements + u64::from(*kind == b'|' && !outermost);
                if elements == 0 { self.element_ends(good, answered) } else { self.enter(elements, line)? }
            }
            _ => return Err(malformed(line)),
        }
        Ok(())
    }

    fn enter(&mut self, elements: u64, line: &[u8]) -> Result<(), Malformed> {
        if self.open.len() == DEEPEST {
            return Err(malformed(line));
        }
        self.open.push(elements);
        Ok(())
    }

    /// Completes an element, and all aggregates that it is the last element of.
    fn element_ends(&mut self, good: &mut u32, answered: &mut impl FnMut(Answer<'_>)) {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.open.pop();
        }
        match std::mem::take(&mut self.meaning) {
            Meaning::Reply => *good += 1,
            Meaning::LongError => {
                flush(good, answered);
                answered(Answer::Error(b"an error with a text of several lines"));
            }
            Meaning::Aside => {}
        }
    }
}

fn flush(good: &mut u32, answered: &mut impl FnMut(Answer<'_>)) {
    if *good > 0 {
        answered(Answer::Good(std::mem::take(good)));
    }
}

/// Parses a length; the inner `None` stands for -1, which means null.
fn length(digits: &[u8]) -> Option<Option<u64>> {
    if digits == b"-1" {
        return Some(None);
    }
    // Eighteen digits fit into the type; no reply has more bytes or elements.
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    Some(Some(number))
}

fn malformed(line: &[u8]) -> Malformed {
    let start = &line[..line.len().min(40)];
    Malformed(String::from_utf8_lossy(start).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Result for each reply: `.` for a good one, `E` for an error.
    fn answers(replies: &mut Replies, bytes: &[u8]) -> Result<String, Malformed> {
        let mut seen = String::new();
        replies.feed(bytes, |answer| match answer {
            Answer::Good(count) => (0..count).for_each(|_| seen.push('.')),
            Answer::Error(_) => seen.push('E'),
        })?;
        Ok(seen)
    }

    const ALL: &[u8] = b"+OK\r\n:17\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n-ERR no\r\n*0\r\n*-1\r\n*2\r\n$1\r\nx\r\n*1\r\n-inner\r\n%1\r\n+k\r\n:1\r\n\
        >2\r\n+pubsub\r\n+x\r\n_\r\n#t\r\n,1.5\r\n(123\r\n~1\r\n:1\r\n!5\r\nERR x\r\n=7\r\ntxt:abc\r\n|1\r\n+a\r\n+b\r\n+OK\r\n*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n";
    const SEEN: &str = ".....E.........E...";

    #[test]
    fn replies_of_every_kind_are_counted_wherever_they_are_cut() {
        let mut whole = Replies::default();
        let seen = answers(&mut whole, ALL).unwrap();
        for cut in 0..ALL.len() {
            let mut replies = Replies::default();
            let parts = [&ALL[..cut], &ALL[cut..]].map(|part| answers(&mut replies, part).unwrap());
            assert_eq!(parts.concat(), seen, "cut at {cut}");
            assert!(replies.is_between());
        }
        let mut replies = Replies::default();
        let bytewise: String = ALL.chunks(1).map(|byte| answers(&mut replies, byte).unwrap()).collect();
        assert_eq!(bytewise, seen);
        // A push message and two attributes count as no replies.
        assert_eq!(seen, SEEN);
    }

    #[test]
    fn what_is_no_reply_is_told_from_one_that_is_not_complete() {
        for bad in ["HTTP/1.1 400\r\n", "$x\r\n", "$-2\r\n", "+a\n", "\r\n", "*99999999999999999999\r\n"] {
            assert!(answers(&mut Replies::default(), bad.as_bytes()).is_err(), "{bad:?}");
        }
        let nested = b"*1\r\n".repeat(DEEPEST + 1);
        assert!(answers(&mut Replies::default(), &nested).is_err());
        assert!(answers(&mut Replies::default(), &[b'+'; LONGEST_LINE + 1]).is_err());
        let line = [vec![b'+'; LONGEST_LINE + 1], b"\r\n".to_vec()].concat();
        assert!(answers(&mut Replies::default(), &line).is_err(), "long, and here as a whole");
        let mut replies = Replies::default();
        assert_eq!(answers(&mut replies, b"$5\r\nab").unwrap(), "");
        assert!(!replies.is_between());
    }

    #[test]
    fn errors_come_in_their_place_with_their_text() {
        let mut seen = Vec::new();
        let feed = |answer: Answer<'_>| {
            seen.push(match answer {
                Answer::Good(count) => count.to_string(),
                Answer::Error(text) => String::from_utf8_lossy(text).into_owned(),
            });
        };
        Replies::default().feed(b"+OK\r\n+OK\r\n-OOM full\r\n:1\r\n", feed).unwrap();
        assert_eq!(seen, ["2", "OOM full", "1"]);
    }
}
