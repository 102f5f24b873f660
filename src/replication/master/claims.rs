//! Which partitions' snapshots are being uploaded, so that no two uploads write one file.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::PartitionId;

/// The partitions whose snapshots are being uploaded, each claimed by one connection. The bytes of a connection that is
/// over may still be processed while the node's next connection offers the same snapshot again; both must not write and
/// install one file.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeSet<PartitionId>>>);

impl Claims {
    /// Claims a partition; `None` if it is claimed already.
    pub(super) fn claim(&self, partition: PartitionId) -> Option<Claim> {
        self.lock().insert(partition).then(|| Claim { claims: self.clone(), partition })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PartitionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exclusive right to write and install a partition's snapshot, until it is dropped.
pub(super) struct Claim {
    claims: Claims,
    partition: PartitionId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.partition);
    }
}
