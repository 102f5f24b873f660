//! A node that cannot write, because its disk is full or its directory vanishes. Promise: the master checkpoints
//! everything all the same.

use std::path::Path;
use std::time::Duration;

use super::History;
use crate::replication::master::policy;
use crate::storage::Files;

/// How long a checkpoint may take while the node cannot write.
const PATIENCE: Duration = Duration::from_secs(120);
/// The node's directory.
const NODE_DIR: &str = "/node";

impl History {
    /// Deletes the node's directory while the node runs.
    pub(super) fn delete_node_directory(&self) {
        if let Some(node) = self.node.as_ref().filter(|node| node.process.is_alive()) {
            self.world.note(|| "the node's directory vanishes".to_owned());
            // The directory may not exist yet.
            let _ = node.process.remove_dir_all(Path::new(NODE_DIR));
        }
    }

    /// Makes the disk of the node's own machine full or, if it is full, gives it room again.
    pub(super) fn fill_node_disk_or_make_room(&self) {
        self.world.disk(1 - self.machine, |disk, _| {
            disk.capacity = if disk.capacity.is_none() { Some(0) } else { None };
        });
    }

    /// Fills the disk of the connected node, and waits until the master has checkpointed everything all the same.
    pub(super) async fn bear_with_node(&mut self) -> Result<(), String> {
        self.world.disk(1 - self.machine, |disk, _| disk.capacity = Some(0));
        self.world.note(|| "the node's disk is full".to_owned());
        let deadline = self.world.now() + PATIENCE;
        let mut ticket = None;
        while self.world.now() <= deadline {
            self.request()?;
            self.world.sleep(Duration::from_millis(50)).await;
            self.check_promises()?;
            let Some(master) = &self.master else { return Err("nobody is left".to_owned()) };
            let shared = &master.shared;
            let outcome = ticket.and_then(|ticket| shared.state().policy.outcome(ticket));
            match outcome {
                Some(policy::Outcome::Done) => {
                    self.world.disk(1 - self.machine, |disk, _| disk.capacity = None);
                    return Ok(());
                }
                Some(policy::Outcome::Failed(_)) => ticket = None,
                None if ticket.is_none() && shared.state().policy.is_connected() => {
                    let observed = shared.observe();
                    ticket = shared.state().policy.request(observed);
                }
                None => {}
            }
        }
        Err("nothing is checkpointed while the node's disk is full".to_owned())
    }
}
