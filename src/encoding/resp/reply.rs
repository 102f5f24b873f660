//! Writing replies.

/// Which version of the protocol a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2, the default of a new connection.
    #[default]
    Resp2,
    /// Version 3, chosen with `HELLO 3`.
    Resp3,
}

/// Writes replies behind each other into a buffer, in the client's version of the protocol.
pub struct Reply<'b> {
    out: &'b mut Vec<u8>,
    protocol: Protocol,
}

impl<'b> Reply<'b> {
    /// Replies go to the end of `out`.
    pub const fn new(out: &'b mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// Uses another version from here on, which the client has just chosen.
    pub const fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The version in use.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A status; one line.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: its code, a space and a sentence, such as `ERR syntax error`. Line ends become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// As [`Self::error`], with what a client sent repeated in it.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.out.extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// A length or count.
    pub fn count(&mut self, number: usize) {
        self.head(b':', number);
    }

    /// A string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A string, or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A text for people (`INFO`, `CLIENT LIST`): a verbatim string in version 3.
    pub fn text(&mut self, text: &str) {
        if self.resp3() {
            self.head(b'=', text.len() + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// A missing value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A missing array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The head of an array; `len` replies follow.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// The head of a map; `len` keys, each followed by its value. An array of both in version 2.
    pub fn map(&mut self, len: usize) {
        if self.resp3() { self.head(b'%', len) } else { self.head(b'*', len * 2) }
    }

    /// The head of a set; an array in version 2.
    pub fn set(&mut self, len: usize) {
        self.head(if self.resp3() { b'~' } else { b'*' }, len);
    }

    /// An array whose length is known only at its end: `write` writes the elements and returns their number.
    pub fn array_of(&mut self, write: impl FnOnce(&mut Self) -> usize) {
        let start = self.out.len();
        let len = write(self);
        let mut number = itoa::Buffer::new();
        let head = [b"*", number.format(len).as_bytes(), b"\r\n"].concat();
        self.out.splice(start..start, head);
    }

    /// Bytes in the buffer so far.
    pub const fn written(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since there were `written` bytes.
    pub fn take_back(&mut self, written: usize) {
        self.out.truncate(written);
    }

    /// A truth value; 1 or 0 in version 2.
    pub fn bool(&mut self, value: bool) {
        match (self.resp3(), value) {
            (true, true) => self.out.extend_from_slice(b"#t\r\n"),
            (true, false) => self.out.extend_from_slice(b"#f\r\n"),
            (false, _) => self.int(i64::from(value)),
        }
    }

    /// Bytes that are a whole reply already.
    pub fn raw(&mut self, reply: &[u8]) {
        self.out.extend_from_slice(reply);
    }

    #[inline]
    fn head(&mut self, kind: u8, number: usize) {
        self.line(kind, itoa::Buffer::new().format(number).as_bytes());
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }
}
