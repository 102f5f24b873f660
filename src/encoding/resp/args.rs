//! A request's arguments, as ranges of the bytes that it was received in.

/// Position of one argument in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// The arguments of one request, beginning with the command's name; never empty. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Makes arguments from the ranges `spans` of `bytes`. There must be at least one, and all must lie within `bytes`.
    pub const fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// Number of arguments, including the name.
    #[expect(clippy::len_without_is_empty, reason = "a request has a name at least")]
    pub const fn len(self) -> usize {
        self.spans.len()
    }

    /// The argument at `index`, if any; 0 is the name.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }

    /// The argument at `index`, for commands whose arity guarantees that it exists.
    ///
    /// # Panics
    /// If there is no such argument.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..][..span.len as usize]
    }

    /// The arguments without the first `count` ones. At least one must remain.
    ///
    /// # Panics
    /// If there are fewer than `count` arguments.
    pub fn skip(self, count: usize) -> Self {
        Self { spans: &self.spans[count..], ..self }
    }

    /// The arguments from `index` on.
    pub fn from(self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        self.spans.get(index..).unwrap_or_default().iter().map(move |s| &bytes[s.start as usize..][..s.len as usize])
    }
}
