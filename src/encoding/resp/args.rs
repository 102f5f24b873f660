//! A request's arguments: places in the bytes that it came in.

/// Where one argument stands in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// The arguments of one request, its name first; never empty. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Arguments at `spans` of `bytes`. Every span lies in `bytes`, and there is at least one.
    pub const fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// Their number, the name included.
    #[expect(clippy::len_without_is_empty, reason = "a request has a name at least")]
    pub const fn len(self) -> usize {
        self.spans.len()
    }

    /// The argument at `index`; 0 is the name.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }

    /// The argument at `index`, which the command's arity promises.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..][..span.len as usize]
    }

    /// The request that begins after the first `count` arguments; there are more than these.
    ///
    /// # Panics
    /// If there are not even so many.
    pub fn skip(self, count: usize) -> Self {
        Self { spans: &self.spans[count..], ..self }
    }

    /// The arguments from `index` on.
    pub fn from(self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        self.spans.get(index..).unwrap_or_default().iter().map(move |s| &bytes[s.start as usize..][..s.len as usize])
    }
}
