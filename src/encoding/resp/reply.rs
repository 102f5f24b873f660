//! Writes replies in RESP.

/// Version of RESP that a client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, the default of a new connection.
    #[default]
    Resp2,
    /// RESP3, chosen with `HELLO 3`.
    Resp3,
}

/// Writes replies one after the other into a buffer, in the client's version of the protocol.
pub struct Reply<'b> {
    out: &'b mut Vec<u8>,
    protocol: Protocol,
}

impl<'b> Reply<'b> {
    /// Makes a writer that appends to `out`.
    pub const fn new(out: &'b mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// Switches to another protocol version, which the client has just chosen.
    pub const fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The protocol version in use.
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

    /// Appends a status of one line.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// Appends an error: its code, a space and a sentence, such as `ERR syntax error`. Line ends become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// Like [`Self::error`], for texts that repeat bytes of a client's request.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.out.extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends an integer.
    #[inline]
    pub fn int(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// Appends a length or count.
    pub fn count(&mut self, number: usize) {
        self.head(b':', number);
    }

    /// Appends a bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends a bulk string, or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Appends a text for people (`INFO`, `CLIENT LIST`): a verbatim string in RESP3, a bulk string in RESP2.
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

    /// Appends null, for a missing value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Appends a null array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Begins an array; `len` replies must follow.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// Begins a map; `len` keys must follow, each with its value. In RESP2 it is a flat array.
    pub fn map(&mut self, len: usize) {
        if self.resp3() { self.head(b'%', len) } else { self.head(b'*', len * 2) }
    }

    /// Begins a set; in RESP2 it is an array.
    pub fn set(&mut self, len: usize) {
        self.head(if self.resp3() { b'~' } else { b'*' }, len);
    }

    /// Appends an array of unknown length: `write` writes the elements and returns their number.
    pub fn array_of(&mut self, write: impl FnOnce(&mut Self) -> usize) {
        self.headed(b'*', write);
    }

    /// Appends a set of unknown length: `write` writes the elements and returns their number. In RESP2 it is an array.
    pub fn set_of(&mut self, write: impl FnOnce(&mut Self) -> usize) {
        self.headed(if self.resp3() { b'~' } else { b'*' }, write);
    }

    /// Appends what `write` writes, and before it a head with the number that it returns.
    fn headed(&mut self, kind: u8, write: impl FnOnce(&mut Self) -> usize) {
        let start = self.out.len();
        let len = write(self);
        let mut number = itoa::Buffer::new();
        let head = [&[kind], number.format(len).as_bytes(), b"\r\n"].concat();
        self.out.splice(start..start, head);
    }

    /// Length of the buffer in bytes, to be passed to [`Self::take_back`].
    pub const fn written(&self) -> usize {
        self.out.len()
    }

    /// Truncates the buffer to `written` bytes.
    pub fn take_back(&mut self, written: usize) {
        self.out.truncate(written);
    }

    /// Appends a boolean; 1 or 0 in RESP2.
    pub fn bool(&mut self, value: bool) {
        match (self.resp3(), value) {
            (true, true) => self.out.extend_from_slice(b"#t\r\n"),
            (true, false) => self.out.extend_from_slice(b"#f\r\n"),
            (false, _) => self.int(i64::from(value)),
        }
    }

    /// Appends a number with a fraction, given in decimal: a double in RESP3, a bulk string in RESP2.
    pub fn digits(&mut self, digits: &[u8]) {
        if self.resp3() { self.line(b',', digits) } else { self.bulk(digits) }
    }

    /// Appends bytes that already are a complete reply.
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
