//! Clients that wait until edits of theirs are on disk, or at the checkpoint node (`WAIT`, `WAITAOF`), or for time to
//! pass (`DEBUG SLEEP`).
//!
//! A client waits on its own core, which reads the marks of the streams that it waits for; their cores are asked to
//! commit, and to tell when they have ([`Cores::watch`]). So a wait takes no place in any queue between cores, and ends
//! with its client.

use std::collections::BTreeSet;
use std::time::Instant;

use slab::Slab;

use super::cores::Cores;
use crate::encoding::resp::{Protocol, Reply};
use crate::ids::{Caller, CoreId, Lsn};

/// How safe edits are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The edits are durable on the master's disk.
    OnDisk,
    /// The checkpoint node holds the edits.
    Mirrored,
    /// The deadline has come: the client waits for no edits, but for time to pass (`DEBUG SLEEP`).
    Elapsed,
}

/// What a client in `WAIT` or `WAITAOF` waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How safe the edits are to be.
    pub goal: Goal,
    /// By core, the last of its edits.
    pub edits: Vec<(CoreId, Lsn)>,
    /// The client wants more than there ever is, so that only its deadline ends the wait.
    pub in_vain: bool,
    /// When the client is told how far things have come, in any case.
    pub deadline: Option<Instant>,
}

/// Names a client that waits on this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitId(usize);

/// The clients of one core that wait.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waits: Slab<Wait>,
    /// By core: edits there that are waited for, each with who waits.
    on_disk: Vec<BTreeSet<(Lsn, usize)>>,
    mirrored: Vec<BTreeSet<(Lsn, usize)>>,
    deadlines: BTreeSet<(Instant, usize)>,
}

#[derive(Debug)]
struct Wait {
    caller: Caller,
    wish: Wish,
    /// Edits of the wish that are not yet as safe as they are to be.
    missing: usize,
}

/// A wait that is over, and its reply.
pub(super) type Over = (Caller, Vec<u8>);

impl Goal {
    /// How far the stream of `core` has come.
    fn mark(self, cores: &Cores, core: CoreId) -> Lsn {
        let stream = &cores.streams[usize::from(core.0)];
        match self {
            Self::OnDisk => stream.durable(),
            Self::Mirrored => stream.mirrored(),
            Self::Elapsed => Lsn(u64::MAX),
        }
    }

    /// Whether all these edits are so safe.
    pub(super) fn is_reached(self, cores: &Cores, edits: &[(CoreId, Lsn)]) -> bool {
        edits.iter().all(|(core, lsn)| *lsn <= self.mark(cores, *core))
    }

    /// Writes the reply of the command that has this goal. The checkpoint node keeps edits in memory until it writes a
    /// snapshot, so no replica is counted that has them on disk.
    pub fn reply(self, is_reached: bool, reply: &mut Reply<'_>) {
        match self {
            Self::OnDisk => {
                reply.array(2);
                reply.int(is_reached.into());
                reply.int(0);
            }
            Self::Mirrored => reply.int(is_reached.into()),
            Self::Elapsed => reply.ok(),
        }
    }
}

impl Waits {
    pub(super) fn new(cores: usize) -> Self {
        let none = || (0..cores).map(|_| BTreeSet::new()).collect();
        Self { on_disk: none(), mirrored: none(), ..Self::default() }
    }

    fn of(&mut self, goal: Goal) -> &mut Vec<BTreeSet<(Lsn, usize)>> {
        match goal {
            Goal::OnDisk | Goal::Elapsed => &mut self.on_disk,
            Goal::Mirrored => &mut self.mirrored,
        }
    }

    /// Whether no client waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Lets a client of core `home` wait. It is looked after from the next [`Self::look`] on.
    pub(super) fn add(&mut self, cores: &Cores, home: CoreId, caller: Caller, wish: Wish) -> WaitId {
        let id = self.waits.vacant_key();
        for (core, lsn) in &wish.edits {
            self.of(wish.goal)[usize::from(core.0)].insert((*lsn, id));
            cores.watch(*core, home);
        }
        self.deadlines.extend(wish.deadline.map(|deadline| (deadline, id)));
        let missing = wish.edits.len();
        self.waits.insert(Wait { caller, wish, missing });
        WaitId(id)
    }

    /// Ends a wait without a reply: its client is gone.
    pub(super) fn cancel(&mut self, cores: &Cores, home: CoreId, WaitId(id): WaitId, client: u64) {
        if self.waits.get(id).is_some_and(|wait| wait.caller.client == client) {
            self.remove(cores, home, id);
        }
    }

    /// When the next client is to be answered in any case.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The waits that are over at `now`, by the marks or by their deadlines.
    pub(super) fn look(&mut self, cores: &Cores, home: CoreId, now: Instant) -> Vec<Over> {
        let mut over = Vec::new();
        for goal in [Goal::OnDisk, Goal::Mirrored] {
            for core in (0..cores.placement.cores()).map(CoreId) {
                self.look_at(cores, home, goal, core, &mut over);
            }
        }
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            over.push(self.end(cores, home, id));
        }
        over
    }

    /// Takes in how far one stream has come.
    fn look_at(&mut self, cores: &Cores, home: CoreId, goal: Goal, core: CoreId, over: &mut Vec<Over>) {
        let index = usize::from(core.0);
        if self.of(goal)[index].is_empty() {
            return;
        }
        let mark = goal.mark(cores, core);
        while let Some((lsn, id)) = self.of(goal)[index].first().copied()
            && lsn <= mark
        {
            self.of(goal)[index].pop_first();
            let wait = &mut self.waits[id];
            wait.missing -= 1;
            if wait.missing == 0 && !wait.wish.in_vain {
                over.push(self.end(cores, home, id));
            }
        }
        if let Some(why) = cores.failure(core) {
            let durable = cores.streams[index].durable();
            while let Some((lsn, id)) = self.of(goal)[index].last().copied()
                && lsn > durable
            {
                let caller = self.remove(cores, home, id).caller;
                let mut reply = Vec::new();
                Reply::new(&mut reply, Protocol::Resp2).error(&format!("MISCONF the log cannot be written: {why}"));
                over.push((caller, reply));
            }
        }
        if self.on_disk[index].is_empty() && self.mirrored[index].is_empty() {
            cores.unwatch(core, home);
        }
    }

    /// Ends every wait, each with how far things have come.
    pub(super) fn end_all(&mut self, cores: &Cores, home: CoreId) -> Vec<Over> {
        let all: Vec<usize> = self.waits.iter().map(|(id, _)| id).collect();
        all.into_iter().map(|id| self.end(cores, home, id)).collect()
    }

    /// Ends a wait with how far things have come.
    fn end(&mut self, cores: &Cores, home: CoreId, id: usize) -> Over {
        let Wait { caller, wish, missing } = self.remove(cores, home, id);
        let mut reply = Vec::new();
        wish.goal.reply(missing == 0, &mut Reply::new(&mut reply, Protocol::Resp2));
        (caller, reply)
    }

    fn remove(&mut self, cores: &Cores, home: CoreId, id: usize) -> Wait {
        let wait = self.waits.remove(id);
        for (core, lsn) in &wait.wish.edits {
            let index = usize::from(core.0);
            self.of(wait.wish.goal)[index].remove(&(*lsn, id));
            if self.on_disk[index].is_empty() && self.mirrored[index].is_empty() {
                cores.unwatch(*core, home);
            }
        }
        wait.wish.deadline.iter().for_each(|deadline| {
            self.deadlines.remove(&(*deadline, id));
        });
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::ids::{Epoch, Partitions, Placement, RequestId};
    use crate::runtime::bell::Bell;
    use crate::runtime::inbox::Inbox;
    use crate::storage::StreamMarks;

    const HOME: CoreId = CoreId(0);
    const OTHER: CoreId = CoreId(1);

    fn cores() -> Cores {
        let placement = Placement::new(Partitions::new(2).unwrap(), 2).unwrap();
        let streams = (0..2).map(|_| Arc::new(StreamMarks::new())).collect();
        let inboxes = (0..2).map(|_| Inbox::new(Arc::new(Bell::new().unwrap()))).collect();
        Cores::new(&Config::default(), placement, Epoch(1), streams, inboxes)
    }

    fn caller(client: u64) -> Caller {
        Caller { connection: 0, client, request: RequestId(0) }
    }

    fn mirrored(edits: &[(CoreId, u64)], deadline: Option<Instant>) -> Wish {
        let edits = edits.iter().map(|(core, lsn)| (*core, Lsn(*lsn))).collect();
        Wish { goal: Goal::Mirrored, edits, in_vain: false, deadline }
    }

    fn replies(over: Vec<Over>) -> Vec<(u64, String)> {
        over.into_iter().map(|(caller, reply)| (caller.client, String::from_utf8(reply).unwrap())).collect()
    }

    #[test]
    fn a_client_waits_until_all_its_edits_are_safe_and_their_cores_are_asked_to_tell() {
        let (cores, mut waits, now) = (cores(), Waits::new(2), Instant::now());
        waits.add(&cores, HOME, caller(1), mirrored(&[(HOME, 3), (OTHER, 5)], None));
        waits.add(&cores, HOME, caller(2), mirrored(&[(OTHER, 4)], None));
        assert!(cores.take_commit(OTHER) && !cores.take_commit(OTHER));
        assert_eq!(waits.look(&cores, HOME, now).len(), 0);
        cores.streams[1].set_mirrored(Lsn(4));
        cores.tell_watchers(OTHER);
        assert!(cores.take_moved(HOME) && !cores.take_moved(OTHER));
        assert_eq!(replies(waits.look(&cores, HOME, now)), [(2, ":1\r\n".into())]);
        cores.streams[1].set_mirrored(Lsn(9));
        assert_eq!(waits.look(&cores, HOME, now).len(), 0, "its edit on its own core is missing");
        cores.streams[0].set_mirrored(Lsn(3));
        assert_eq!(replies(waits.look(&cores, HOME, now)), [(1, ":1\r\n".into())]);
        assert!(waits.is_empty());
        cores.tell_watchers(OTHER);
        assert!(!cores.take_moved(HOME), "nobody waits any more");
    }

    #[test]
    fn a_deadline_ends_a_wait_with_how_far_things_have_come() {
        let (cores, mut waits, now) = (cores(), Waits::new(2), Instant::now());
        let later = now + Duration::from_secs(1);
        waits.add(&cores, HOME, caller(1), mirrored(&[(OTHER, 1)], Some(later)));
        let in_vain = Wish { in_vain: true, ..mirrored(&[(OTHER, 1)], Some(later)) };
        waits.add(&cores, HOME, caller(2), Wish { goal: Goal::OnDisk, edits: Vec::new(), ..in_vain });
        assert_eq!(waits.next_deadline(), Some(later));
        assert_eq!(waits.look(&cores, HOME, now).len(), 0);
        let over = replies(waits.look(&cores, HOME, later));
        assert_eq!(over, [(1, ":0\r\n".into()), (2, "*2\r\n:1\r\n:0\r\n".into())]);
        assert!(waits.is_empty() && waits.next_deadline().is_none());
    }

    #[test]
    fn a_failed_log_ends_the_waits_for_what_it_lost() {
        let (cores, mut waits, now) = (cores(), Waits::new(2), Instant::now());
        waits.add(&cores, HOME, caller(1), mirrored(&[(OTHER, 1)], None));
        cores.note_failure(OTHER, "no disk");
        let over = replies(waits.look(&cores, HOME, now));
        assert_eq!(over, [(1, "-MISCONF the log cannot be written: no disk\r\n".into())]);
        assert!(waits.is_empty());
    }

    #[test]
    fn a_wait_goes_with_its_client_and_no_other_does() {
        let (cores, mut waits, now) = (cores(), Waits::new(2), Instant::now());
        let one = waits.add(&cores, HOME, caller(1), mirrored(&[(OTHER, 1)], Some(now)));
        waits.cancel(&cores, HOME, one, 7);
        assert!(!waits.is_empty(), "it is another client's by now");
        waits.cancel(&cores, HOME, one, 1);
        assert!(waits.is_empty() && waits.next_deadline().is_none());
        cores.tell_watchers(OTHER);
        assert!(!cores.take_moved(HOME));
        waits.add(&cores, HOME, caller(2), mirrored(&[(OTHER, 1)], None));
        assert_eq!(replies(waits.end_all(&cores, HOME)), [(2, ":0\r\n".into())]);
    }
}
