//! Which partitions' snapshots are on their way in, so that no two uploads write one file.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::PartitionId;

/// The partitions whose snapshots are on their way in. A connection that is over may still have bytes to be read, while
/// the node's next one offers the same snapshot again: two must not write and install one file.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeSet<PartitionId>>>);

impl Claims {
    /// The claim to a partition, unless somebody else has it.
    pub(super) fn claim(&self, partition: PartitionId) -> Option<Claim> {
        self.lock().insert(partition).then(|| Claim { claims: self.clone(), partition })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PartitionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write and install a partition's snapshot, until it is dropped.
pub(super) struct Claim {
    claims: Claims,
    partition: PartitionId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.partition);
    }
}
