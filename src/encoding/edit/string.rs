//! Encodes and decodes edits of strings as flatbuffers.

use std::borrow::Cow;

use super::{Body, Builder, Change, UnixMillis, fb};

pub(super) fn decode_put(put: fb::PutString<'_>) -> Change<'_> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Change::PutString { value: Cow::Borrowed(put.value().bytes()), expire_at }
}

pub(super) fn decode_write(write: fb::WriteString<'_>) -> Change<'_> {
    Change::WriteString { offset: write.offset(), bytes: Cow::Borrowed(write.bytes().bytes()) }
}

pub(super) fn build_put(b: &mut Builder, value: &[u8], expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let value = Some(b.create_vector::<u8>(value));
    let put = fb::PutString::create(b, &fb::PutStringArgs { value, expire_at_ms });
    (fb::Change::PutString, put.as_union_value())
}

pub(super) fn build_write(b: &mut Builder, offset: u64, bytes: &[u8]) -> Body {
    let bytes = Some(b.create_vector::<u8>(bytes));
    let write = fb::WriteString::create(b, &fb::WriteStringArgs { offset, bytes });
    (fb::Change::WriteString, write.as_union_value())
}
