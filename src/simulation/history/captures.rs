//! Snapshots that the master's cores take: they are asked for now and then while no node is connected, and values move
//! and change more often while they are taken.

use super::super::load::Request;
use super::super::master::Master;
use super::History;

impl History {
    /// Now and then, asks for snapshots while no node is connected, where cores take them.
    pub(super) fn save_without_node(&self) {
        let Some(master) = self.master.as_ref().filter(|_| self.settings.max_log_bytes.is_some()) else { return };
        let observed = master.shared.observe();
        let mut state = master.shared.state();
        if !state.policy.is_connected() && self.world.once_in(20) {
            // Nobody waits for the outcome.
            let _ = state.policy.request(observed);
        }
    }

    /// Draws the next request.
    pub(super) fn draw_request(&self, master: &Master) -> Request {
        let is_capturing = master.cores.iter().any(|core| core.borrow().is_capturing());
        let moved = self.moved.as_ref().filter(|_| is_capturing);
        self.world.draw(|random| {
            if is_capturing {
                Request::while_capturing(random, self.requests, moved)
            } else {
                Request::random(random, self.requests)
            }
        })
    }
}
