//! Parses requests: all complete ones in the bytes received so far, as a batch.
//!
//! A request is an array of bulk strings or, typed by hand, one line of words ([`super::inline`]). *Incomplete* is not
//! *malformed*: [`Partial`] keeps the state of an incomplete request, so that every byte is examined once however the
//! input is cut, and no memory is allocated for a length that has only been announced.

use super::inline::{self, InlineError};
use super::{Args, Span};

/// Maximum length of a line in bytes: an inline request, or the header line of an array or string.
const LINE_MAX: usize = 64 * 1024;

/// Limits of a client's requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of arguments of one request.
    pub args: usize,
    /// Maximum bytes of one argument.
    pub bulk_bytes: usize,
    /// Whether the client has yet to authenticate; affects only the wording of a refusal.
    pub unauthenticated: bool,
}

impl Limits {
    /// Limits for unauthenticated clients.
    pub const UNAUTHENTICATED: Self = Self { args: 10, bulk_bytes: 16 * 1024, unauthenticated: true };

    /// Error for a request of too many arguments.
    const fn too_many(&self) -> ProtocolError {
        if self.unauthenticated { ProtocolError::UnauthenticatedArrayLength } else { ProtocolError::ArrayLength }
    }
}

/// Error for bytes that are not RESP. The connection must be closed, because the start of the next request is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it; they are the protocol's own")]
pub enum ProtocolError {
    #[error("Protocol error: too big mbulk count string")]
    ArrayHeadTooLong,
    #[error("Protocol error: too big bulk count string")]
    BulkHeadTooLong,
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedArrayLength,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0).escape_default())]
    ExpectedBulk(u8),
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

/// Parsing state of the incomplete request at the end of the input. Positions count from its first byte.
#[derive(Debug, Default)]
pub struct Partial {
    /// Position at which parsing continues.
    position: usize,
    /// Number of arguments still to come; 0 while the array's header is incomplete.
    missing: usize,
    spans: Vec<Span>,
    /// Minimum length of the complete request, as far as known.
    needed: usize,
}

impl Partial {
    /// Minimum length in bytes of the complete request; known as soon as the length of its current argument is.
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// Bytes of memory that the state takes.
    pub const fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    fn clear(&mut self) {
        self.position = 0;
        self.missing = 0;
        self.needed = 0;
        self.spans.clear();
    }
}

/// A batch of parsed requests. Refilled, it seldom allocates.
#[derive(Debug, Default)]
pub struct Requests {
    spans: Vec<Span>,
    requests: Vec<Request>,
    /// Words of inline requests, without quotes.
    words: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    first: usize,
    count: usize,
    inline: bool,
    /// End of the request in the parsed bytes.
    end: usize,
}

/// Result of one parsing step.
enum Step {
    Complete(usize),
    Incomplete,
}

impl Requests {
    /// Replaces the batch by the complete requests in `bytes`, at most `most` of them. `bytes` must begin with the
    /// incomplete request that `partial` describes, if any. Returns the number of bytes consumed. An error is returned
    /// only once all requests before it have been.
    ///
    /// # Errors
    /// If the next bytes are not RESP, or exceed the limits.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        partial: &mut Partial,
        limits: &Limits,
        most: usize,
    ) -> Result<usize, ProtocolError> {
        self.clear();
        let mut done = 0;
        if bytes.len() < partial.needed {
            return Ok(0);
        }
        while done < bytes.len() && self.requests.len() < most {
            let rest = &bytes[done..];
            let step = if partial.missing == 0 && rest[0] != b'*' {
                self.inline(rest, done, limits)
            } else {
                self.array(rest, done, partial, limits)
            };
            match step {
                Ok(Step::Complete(length)) => done += length,
                Ok(Step::Incomplete) => break,
                Err(_) if !self.requests.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Removes all requests.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
        self.words.clear();
    }

    /// Number of requests.
    pub const fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether the batch is empty.
    pub const fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The arguments of the request at `index`; `bytes` must be the bytes that were parsed.
    ///
    /// # Panics
    /// If there is no such request.
    #[inline]
    pub fn args<'a>(&'a self, index: usize, bytes: &'a [u8]) -> Args<'a> {
        let request = &self.requests[index];
        let source = if request.inline { &self.words } else { bytes };
        Args::new(source, &self.spans[request.first..][..request.count])
    }

    /// End of the request at `index` in the parsed bytes.
    ///
    /// # Panics
    /// If there is no such request.
    pub fn end(&self, index: usize) -> usize {
        self.requests[index].end
    }

    fn inline(&mut self, bytes: &[u8], offset: usize, limits: &Limits) -> Result<Step, ProtocolError> {
        let most = if limits.unauthenticated { limits.bulk_bytes } else { LINE_MAX };
        let window = &bytes[..bytes.len().min(most)];
        let Some(newline) = memchr::memchr(b'\n', window) else {
            return if bytes.len() < most { Ok(Step::Incomplete) } else { Err(ProtocolError::InlineTooLong) };
        };
        let line = window[..newline].strip_suffix(b"\r").unwrap_or(&window[..newline]);
        let first = self.spans.len();
        inline::split(line, &mut self.words, &mut self.spans)
            .map_err(|InlineError::UnbalancedQuotes| ProtocolError::UnbalancedQuotes)?;
        let count = self.spans.len() - first;
        if count > limits.args {
            return Err(limits.too_many());
        }
        if count > 0 {
            self.requests.push(Request { first, count, inline: true, end: offset + newline + 1 });
        }
        Ok(Step::Complete(newline + 1))
    }

    /// Parses one array of bulk strings, which begins at `offset` of the whole input.
    fn array(
        &mut self,
        bytes: &[u8],
        offset: usize,
        partial: &mut Partial,
        limits: &Limits,
    ) -> Result<Step, ProtocolError> {
        let first = self.spans.len();
        let (mut at, mut missing) = (partial.position, partial.missing);
        if missing == 0 {
            let Some(head) = head(bytes, 0, ProtocolError::ArrayHeadTooLong)? else { return Ok(Step::Incomplete) };
            at = head.end;
            missing = match head.number {
                Some(count) if count <= 0 => return Ok(Step::Complete(at)),
                Some(count) if count.unsigned_abs() <= limits.args as u64 => count.unsigned_abs() as usize,
                Some(_) => return Err(limits.too_many()),
                None => return Err(ProtocolError::ArrayLength),
            };
        } else {
            // A continued request is the first in the input: its spans are still valid, and need not be moved.
            debug_assert!(first == 0 && offset == 0, "only the last request of a batch is incomplete");
            std::mem::swap(&mut self.spans, &mut partial.spans);
        }
        while missing > 0 {
            let needed = match bulk(bytes, at, limits)? {
                Bulk::Whole(span, end) => {
                    self.spans.push(shifted(span, offset));
                    at = end;
                    missing -= 1;
                    continue;
                }
                Bulk::Headless => at + 1,
                Bulk::Until(end) => end,
            };
            if offset == 0 {
                std::mem::swap(&mut self.spans, &mut partial.spans);
            } else {
                partial.spans.extend(self.spans.drain(first..).map(|s| Span { start: s.start - offset as u32, ..s }));
            }
            (partial.position, partial.missing, partial.needed) = (at, missing, needed);
            return Ok(Step::Incomplete);
        }
        partial.clear();
        self.requests.push(Request { first, count: self.spans.len() - first, inline: false, end: offset + at });
        Ok(Step::Complete(at))
    }
}

fn shifted(span: Span, by: usize) -> Span {
    Span { start: span.start + by as u32, ..span }
}

/// Result of parsing a bulk string.
enum Bulk {
    /// A complete string, and the position of its end.
    Whole(Span, usize),
    /// The header line is incomplete.
    Headless,
    /// The string will be complete with this many bytes.
    Until(usize),
}

#[inline]
fn bulk(bytes: &[u8], at: usize, limits: &Limits) -> Result<Bulk, ProtocolError> {
    match bytes.get(at) {
        None => return Ok(Bulk::Headless),
        Some(b'$') => {}
        Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
    }
    let Some(head) = head(bytes, at, ProtocolError::BulkHeadTooLong)? else { return Ok(Bulk::Headless) };
    let length = match head.number {
        Some(length) if length < 0 => return Err(ProtocolError::BulkLength),
        Some(length) if length.unsigned_abs() <= limits.bulk_bytes as u64 => length.unsigned_abs() as usize,
        Some(_) if limits.unauthenticated => return Err(ProtocolError::UnauthenticatedBulkLength),
        _ => return Err(ProtocolError::BulkLength),
    };
    let end = head.end + length + 2;
    if bytes.len() < end {
        return Ok(Bulk::Until(end));
    }
    Ok(Bulk::Whole(Span { start: head.end as u32, len: length as u32 }, end))
}

/// A header line: a type byte and a number.
struct Head {
    /// `None` if it is not a number.
    number: Option<i64>,
    end: usize,
}

/// Parses the header line at `at`; `None` while the line has no end.
#[inline]
fn head(bytes: &[u8], at: usize, too_long: ProtocolError) -> Result<Option<Head>, ProtocolError> {
    // Nearly every header is a few digits: read them on the way to the end of the line.
    let mut number = 0i64;
    let digits = at + 1;
    let mut i = digits;
    while let Some(digit @ b'0'..=b'9') = bytes.get(i) {
        if i - digits == 18 {
            break;
        }
        number = number * 10 + i64::from(digit - b'0');
        i += 1;
    }
    if i > digits && bytes.get(i) == Some(&b'\r') && bytes.get(i + 1) == Some(&b'\n') {
        return Ok(Some(Head { number: Some(number), end: i + 2 }));
    }
    let window = &bytes[digits..bytes.len().min(digits + LINE_MAX)];
    let Some(newline) = memchr::memchr(b'\n', window) else {
        return if window.len() < LINE_MAX { Ok(None) } else { Err(too_long) };
    };
    let text = window[..newline].strip_suffix(b"\r").unwrap_or(&window[..newline]);
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    Ok(Some(Head { number, end: digits + newline + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { args: 1024 * 1024, bulk_bytes: 1 << 20, unauthenticated: false };

    fn all(bytes: &[u8], requests: &Requests) -> Vec<Vec<Vec<u8>>> {
        (0..requests.len()).map(|i| requests.args(i, bytes).from(0).map(<[u8]>::to_vec).collect()).collect()
    }

    /// Feeds `bytes` in pieces that end at `cuts`, as a connection does.
    fn fed(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        let (mut seen, mut held, mut from) = (vec![], vec![], 0);
        for &cut in cuts.iter().chain([&bytes.len()]) {
            held.extend_from_slice(&bytes[from..cut]);
            from = cut;
            loop {
                let done = requests.parse(&held, &mut partial, &LIMITS, 3)?;
                seen.extend(all(&held, &requests));
                held.drain(..done);
                if done == 0 {
                    break;
                }
            }
        }
        Ok(seen)
    }

    fn words(line: &[&str]) -> Vec<Vec<u8>> {
        line.iter().map(|w| w.as_bytes().to_vec()).collect()
    }

    #[test]
    fn requests_are_the_same_wherever_the_bytes_are_cut() {
        let script = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*0\r\n*-1\r\nPING\r\n\r\n*1\r\n$0\r\n\r\nset 'a b' \"\\x41\"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let expected = vec![
            words(&["SET", "k", "a\r\nb"]),
            words(&["PING"]),
            words(&[""]),
            words(&["set", "a b", "A"]),
            words(&["GET", "k"]),
        ];
        for first in 0..=script.len() {
            for second in first..=script.len() {
                assert_eq!(fed(script, &[first, second]).unwrap(), expected, "cut at {first} and {second}");
            }
        }
        let everywhere: Vec<usize> = (0..script.len()).collect();
        assert_eq!(fed(script, &everywhere).unwrap(), expected);
    }

    #[test]
    fn the_arguments_that_have_come_are_not_moved_for_each_byte() {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        let arguments = 100_000;
        let mut bytes = [b"*100001\r\n".to_vec(), b"$0\r\n\r\n".repeat(arguments)].concat();
        assert_eq!(requests.parse(&bytes, &mut partial, &LIMITS, 10), Ok(0));
        let kept = partial.spans.as_ptr();
        for byte in b"$1\r\nx\r" {
            bytes.push(*byte);
            assert_eq!(requests.parse(&bytes, &mut partial, &LIMITS, 10), Ok(0));
            assert_eq!((partial.spans.len(), partial.spans.as_ptr()), (arguments, kept));
        }
        bytes.push(b'\n');
        assert_eq!(requests.parse(&bytes, &mut partial, &LIMITS, 10), Ok(bytes.len()));
        assert_eq!(requests.args(0, &bytes).from(arguments).collect::<Vec<_>>(), [b"x"]);
    }

    #[test]
    fn malformed_requests_are_told_from_incomplete_ones() {
        use ProtocolError as E;
        for (bytes, error) in [
            (&b"*a\r\n"[..], E::ArrayLength),
            (b"*2000000\r\n", E::ArrayLength),
            (b"*99999999999999999999\r\n", E::ArrayLength),
            (b"*1\r\n+OK\r\n", E::ExpectedBulk(b'+')),
            (b"*1\r\n$-1\r\n", E::BulkLength),
            (b"*1\r\n$9999999\r\n", E::BulkLength),
            (b"*1\r\n$x\r\n", E::BulkLength),
            (b"set \"a\r\n", E::UnbalancedQuotes),
        ] {
            assert_eq!(fed(bytes, &[]), Err(error));
        }
        assert_eq!(fed(&[b'a'; LINE_MAX], &[]), Err(E::InlineTooLong));
        assert_eq!(fed(&[b"*".to_vec(), vec![b'1'; LINE_MAX]].concat(), &[]), Err(E::ArrayHeadTooLong));
        assert_eq!(fed(&[b"*1\r\n$".to_vec(), vec![b'1'; LINE_MAX]].concat(), &[]), Err(E::BulkHeadTooLong));
    }

    #[test]
    fn a_request_before_malformed_bytes_is_still_heard() {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        let bytes = b"PING\r\n*x\r\n";
        let done = requests.parse(bytes, &mut partial, &LIMITS, 10).unwrap();
        assert_eq!((done, requests.len()), (6, 1));
        assert_eq!(requests.parse(&bytes[done..], &mut partial, &LIMITS, 10), Err(ProtocolError::ArrayLength));
    }

    #[test]
    fn an_announced_length_is_waited_for_without_looking_again() {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        assert_eq!(requests.parse(b"*1\r\n$1000\r\nabc", &mut partial, &LIMITS, 10), Ok(0));
        assert_eq!(partial.needed(), 11 + 1000 + 2);
    }

    #[test]
    fn before_authentication_less_is_allowed() {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        let limits = Limits::UNAUTHENTICATED;
        let error = requests.parse(b"*11\r\n", &mut partial, &limits, 10).unwrap_err();
        assert_eq!(error, ProtocolError::UnauthenticatedArrayLength);
        let error = requests.parse(b"*2\r\n$16385\r\n", &mut partial, &limits, 10).unwrap_err();
        assert_eq!(error, ProtocolError::UnauthenticatedBulkLength);
        let (mut partial, words) = (Partial::default(), [&b"a "[..]; 11].concat());
        let error = requests.parse(&[&words, &b"\n"[..]].concat(), &mut partial, &limits, 10).unwrap_err();
        assert_eq!(error, ProtocolError::UnauthenticatedArrayLength);
        let error = requests.parse(&[b'a'; 16 * 1024], &mut partial, &limits, 10).unwrap_err();
        assert_eq!(error, ProtocolError::InlineTooLong);
    }
}
