//! What the tests of these commands share.

use crate::encoding::resp::{Args, Span};

/// Calls `test` with the words of `text`, which single spaces separate, as a request.
pub(super) fn request<R>(text: &str, test: impl FnOnce(Args<'_>) -> R) -> R {
    let mut start = 0;
    let spans: Vec<_> = text
        .split(' ')
        .map(|word| {
            let span = Span { start, len: word.len() as u32 };
            start += span.len + 1;
            span
        })
        .collect();
    test(Args::new(text.as_bytes(), &spans))
}
