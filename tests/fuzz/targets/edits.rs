//! Bytes that are edits do to a store what they do to a model of one, and mean the same when written down again.
//!
//! Input: the body of a frame: edits, each behind its length. Keys and partitions are brought into the store's own.

use rollbook::encoding::edit::{Change, Edit, EncodedEdits, split};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::PartitionId;

use super::model::Model;
use super::small::{assert_same, partition, store, tagged};

/// The longest string, so that no input asks for much memory.
const LONGEST: u64 = 1 << 20;

/// Applies the edits.
pub fn run(data: &[u8]) {
    let (mut store, mut model) = (store(), Model::default());
    for bytes in split(data) {
        let Ok(edit) = bytes.and_then(Edit::decode) else { break };
        let mut encoded = EncodedEdits::new();
        encoded.push(partition(&edit), &edit);
        let again = split(encoded.as_bytes()).next().expect("one was written");
        assert_eq!(Edit::decode(again.expect("it is whole")).expect("what was written is read"), edit);
        let Some(edit) = own(edit) else { continue };
        assert_eq!(store.apply(&edit).is_ok(), model.apply(&edit), "{edit:?}");
    }
    assert_same(&store, &model);
}

/// The edit as one of the store's own; `None` if it asks for too much memory.
fn own(edit: Edit<'_>) -> Option<Edit<'_>> {
    let partition = PartitionId(0);
    Some(match edit {
        Edit::Key { change: Change::WriteString { offset, .. }, .. } if offset > LONGEST => return None,
        Edit::Key { db, key, change, .. } => {
            let key = tagged(&key);
            let change = match change {
                Change::Move { to_db, to_key } => Change::Move { to_db, to_key: tagged(&to_key).into() },
                other => other,
            };
            Edit::Key { db, slot: slot_of(&key), key: key.into(), change }
        }
        Edit::Flush { db, .. } => Edit::Flush { partition, db },
        Edit::SwapDb { a, b, .. } => Edit::SwapDb { partition, a, b },
        Edit::Barrier { checkpoint, digests, .. } => Edit::Barrier { partition, checkpoint, digests },
    })
}
