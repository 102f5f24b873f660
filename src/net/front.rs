//! What an engine gives to the clients of its core: replies that were under way, and commands of the session for it to
//! do its part of.

use super::clients::Clients;
use super::connection::{Closing, Hold};
use super::session;
use crate::commands::Spec;
use crate::encoding::resp::{Args, Reply};
use crate::engine::{Engine, Front};
use crate::ids::{Caller, CoreId, Lsn};

/// A reply of more bytes than this is worth a look at what its connection holds at once; the end of the turn looks in
/// any case.
const LONG_REPLY: usize = 4 << 10;

impl Front for Clients {
    fn answer(&mut self, to: Caller, wrote: Option<(CoreId, Lsn)>, reply: &[u8]) {
        let cores = self.service.cores.placement.cores();
        let Some(connection) = self.connections.get_mut(to.connection as usize) else { return };
        if connection.client != to.client || connection.closing == Closing::Now {
            return;
        }
        if let Some((core, lsn)) = wrote {
            connection.note_write(core, lsn, cores);
        }
        if !connection.replies.answer(to.request, reply, &mut connection.output) {
            return;
        }
        if matches!(connection.hold, Hold::Blocked(request, _) if request == to.request) {
            connection.hold = Hold::No;
        }
        if !connection.answered {
            connection.answered = true;
            self.lists.answered.push(to.connection);
        }
        if reply.len() > LONG_REPLY {
            self.bound_output(to.connection);
        }
    }

    fn part(&mut self, to: Caller, wrote: Option<(CoreId, Lsn)>, bytes: usize) {
        let cores = self.service.cores.placement.cores();
        let Some(connection) = self.connections.get_mut(to.connection as usize) else { return };
        if connection.client != to.client {
            return;
        }
        if let Some((core, lsn)) = wrote {
            connection.note_write(core, lsn, cores);
        }
        connection.replies.keep(to.request, bytes);
        if bytes > LONG_REPLY {
            self.bound_output(to.connection);
        }
    }

    fn perform(
        &mut self,
        engine: &mut Engine,
        client: u64,
        spec: &'static Spec,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        session::perform(self, engine, client, spec, args, reply);
    }
}
