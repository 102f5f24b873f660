//! Tests of edits and their encoding.

use super::*;

fn key_edit(change: Change<'_>) -> Edit<'_> {
    Edit::Key { db: Db(3), slot: Slot(77), key: Cow::Borrowed(b"key"), change }
}

fn samples() -> Vec<Edit<'static>> {
    let mut fields = Fields::default();
    fields.push(b"size", b"4096");
    fields.push(b"", b"");
    fields.push(b"mtime", &[0, 255, 10]);
    let mut names = Fields::default();
    names.push(b"owner", b"");
    let mut expiring = ExpiringFields::default();
    expiring.push(b"size", b"4096", Some(UnixMillis::new(1 << 40)));
    expiring.push(b"", b"", None);
    let mut members = Elements::default();
    members.push(b"one");
    members.push(b"");
    members.push(b"-17");
    let mut scored = Scored::default();
    scored.push(b"one", 1.5);
    scored.push(b"", f64::NEG_INFINITY);
    let at = Some(UnixMillis::new(1_700_000_000_123));
    let mut elements = Elements::default();
    [&b"first"[..], b"", b"last"].into_iter().for_each(|element| elements.push(element));
    let mut ranges = Ranges::default();
    ranges.push(3, 1);
    ranges.push(9, 1 << 40);
    [
        key_edit(Change::PutString { value: b"value".into(), expire_at: None }),
        key_edit(Change::PutString { value: b"".into(), expire_at: at }),
        key_edit(Change::WriteString { offset: 9, bytes: b"tail".into() }),
        key_edit(Change::PutHash { fields: fields.clone(), expire_at: at }),
        key_edit(Change::SetFields(fields)),
        key_edit(Change::RemoveFields(names.clone())),
        key_edit(Change::ExpireFields(names.clone())),
        key_edit(Change::PutExpiringHash { fields: expiring.clone(), expire_at: at }),
        key_edit(Change::SetExpiringFields(expiring)),
        key_edit(Change::SetFieldExpiry { fields: names.clone(), expire_at: at }),
        key_edit(Change::SetFieldExpiry { fields: names, expire_at: None }),
        key_edit(Change::PutSet { members: members.clone(), expire_at: at }),
        key_edit(Change::PutSet { members: Elements::default(), expire_at: None }),
        key_edit(Change::AddMembers(members.clone())),
        key_edit(Change::RemoveMembers(members.clone())),
        key_edit(Change::PutSortedSet { members: scored.clone(), expire_at: at }),
        key_edit(Change::SetScores(scored)),
        key_edit(Change::RemoveScored(members)),
        key_edit(Change::RemoveRanks { first: 3, count: 1 << 40 }),
        key_edit(Change::PutList { elements: elements.clone(), expire_at: at }),
        key_edit(Change::PushElements { end: End::Left, elements: elements.clone() }),
        key_edit(Change::PushElements { end: End::Right, elements }),
        key_edit(Change::PopElements { end: End::Right, count: 1 << 33 }),
        key_edit(Change::SetElement { index: 1 << 33, value: b"value".into() }),
        key_edit(Change::InsertElement { index: 0, value: b"".into() }),
        key_edit(Change::RemoveElements(ranges)),
        key_edit(Change::SetExpiry(at)),
        key_edit(Change::SetExpiry(None)),
        key_edit(Change::Delete(Removal::Deleted)),
        key_edit(Change::Delete(Removal::Expired)),
        key_edit(Change::Move { to_db: Db(15), to_key: b"other key".into() }),
        Edit::Flush { partition: PartitionId(7), db: Db(15) },
        Edit::SwapDb { partition: PartitionId(7), a: Db(0), b: Db(9) },
        Edit::Barrier { partition: PartitionId(7), checkpoint: true, digests: vec![1, u64::MAX, 0].into() },
    ]
    .into_iter()
    .chain(stream::samples().into_iter().map(key_edit))
    .collect()
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut encoded = EncodedEdits::new();
    for edit in samples() {
        encoded.push(PartitionId(7), &edit);
    }
    let decoded: Vec<_> = split(encoded.as_bytes()).map(|e| Edit::decode(e.unwrap()).unwrap()).collect();
    assert_eq!(decoded, samples());
    assert_eq!(encoded.count() as usize, samples().len());
}

#[test]
fn damaged_bytes_are_refused_or_are_another_edit_but_never_a_panic() {
    for edit in samples() {
        let mut encoded = EncodedEdits::new();
        encoded.push(PartitionId(7), &edit);
        let bytes = encoded.as_bytes();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= flip;
                for part in split(&damaged).flatten() {
                    match Edit::decode(part) {
                        Ok(Edit::Key { change: Change::SetFields(fields), .. }) => {
                            assert!(fields.iter().count() == fields.len());
                        }
                        Ok(Edit::Key { change: Change::SetExpiringFields(fields), .. }) => {
                            assert!(fields.iter().count() == fields.len());
                        }
                        Ok(Edit::Key { change: Change::AddMembers(members), .. }) => {
                            assert!(members.iter().count() == members.len());
                        }
                        Ok(Edit::Key { change: Change::SetScores(members), .. }) => {
                            assert!(members.iter().all(|(_, score)| is_score(score)));
                        }
                        _ => {}
                    }
                }
            }
            for part in split(&bytes[..at]).flatten() {
                assert!(Edit::decode(part).is_err());
            }
        }
    }
}
