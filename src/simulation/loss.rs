//! The loss of the master's machine with its disk: the node is ended in good order, and the next master starts in the
//! directory that it leaves behind. Everything must be there that was acknowledged as mirrored while that node ran.

use std::path::PathBuf;
use std::time::Duration;

use super::history::History;

/// How long the node may take to end, which includes noticing that its master is gone.
const PATIENCE: Duration = Duration::from_secs(60);

impl History {
    /// Draws whether the master's machine is lost now; only if a node runs that has acknowledged edits of every stream.
    pub(super) fn is_machine_lost(&self) -> bool {
        let is_followed = self.node.as_ref().is_some_and(|node| node.process.is_alive());
        self.settings.may_lose_machine && is_followed && self.oracle.borrow().is_mirrored() && self.world.once_in(3)
    }

    /// Loses the master's machine, and makes the node's directory the next master's.
    pub(super) async fn lose_machine(&mut self) -> Result<(), String> {
        let (Some(master), Some(node)) = (self.master.take(), self.node.take()) else { return Ok(()) };
        self.note_installed(&master);
        self.outcome.crashes += 1;
        self.outcome.machines_lost += 1;
        self.world.lose(self.machine);
        self.after_death(&master.process);
        node.process.live_on();
        node.end();
        let deadline = self.world.now() + PATIENCE;
        while node.left_behind().is_none() {
            if let Some(why) = &*node.failed.borrow() {
                return Err(format!("the node cannot leave its directory to a master: {why}"));
            }
            if self.world.now() > deadline {
                return Err("the node does not end".to_owned());
            }
            self.world.sleep(Duration::from_millis(20)).await;
        }
        if node.left_behind() == Some(None) {
            return Err("the node has acknowledged edits, but leaves no data directory behind".to_owned());
        }
        self.oracle.borrow_mut().handed_over(|key| node.reached(key))?;
        node.process.kill();
        (self.machine, self.dir) = (node.process.machine(), PathBuf::from("/node"));
        Ok(())
    }
}
