//! The master's machine is gone for good, its disk with it: somebody ends the node in good order, and a master goes on
//! in the directory that it leaves behind. Everything must be there that was acknowledged as mirrored while that node
//! lived.

use std::path::PathBuf;
use std::time::Duration;

use super::history::History;

/// How long a node may take to end: it has to notice first that its master is gone.
const PATIENCE: Duration = Duration::from_secs(60);

impl History {
    /// Whether the master's machine is lost now. There must be a node that has acknowledged edits of each stream.
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
