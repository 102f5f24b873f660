//! Edits of sets: their members, and how they are encoded as flatbuffers.

use super::elements::{build as build_elements, decode as elements};
use super::{Body, Builder, Change, EditError, Elements, UnixMillis, fb};

pub(super) fn decode_put(put: fb::PutSet<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Ok(Change::PutSet { members: elements(put.lengths(), put.bytes())?, expire_at })
}

pub(super) fn decode_add(add: fb::AddMembers<'_>) -> Result<Change<'_>, EditError> {
    elements(add.lengths(), add.bytes()).map(Change::AddMembers)
}

pub(super) fn decode_remove(remove: fb::RemoveMembers<'_>) -> Result<Change<'_>, EditError> {
    elements(remove.lengths(), remove.bytes()).map(Change::RemoveMembers)
}

pub(super) fn build_put(b: &mut Builder, members: &Elements<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (lengths, bytes) = build_elements(b, members);
    let put = fb::PutSet::create(b, &fb::PutSetArgs { lengths, bytes, expire_at_ms });
    (fb::Change::PutSet, put.as_union_value())
}

pub(super) fn build_add(b: &mut Builder, members: &Elements<'_>) -> Body {
    let (lengths, bytes) = build_elements(b, members);
    let add = fb::AddMembers::create(b, &fb::AddMembersArgs { lengths, bytes });
    (fb::Change::AddMembers, add.as_union_value())
}

pub(super) fn build_remove(b: &mut Builder, members: &Elements<'_>) -> Body {
    let (lengths, bytes) = build_elements(b, members);
    let remove = fb::RemoveMembers::create(b, &fb::RemoveMembersArgs { lengths, bytes });
    (fb::Change::RemoveMembers, remove.as_union_value())
}
