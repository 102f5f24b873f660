//! Commands on their way to the data: executed here, sent to the cores that have their keys, or both.

use super::gates::Answer;
use super::mail::{Batch, Call, Origin};
use super::{Engine, Front, Merge};
use crate::commands::registry::{Find, Gather, KeySpec, Route};
use crate::commands::{Context, scan};
use crate::encoding::resp::{Args, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::{Caller, CoreId, Db, Lsn, Slot};
use crate::partition::{Committed, Ran};
use crate::storage::Disk;

/// What became of a command that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is executed and its reply written; the reply may leave once this core's edits are safe up to the gate.
    Done(Committed),
    /// Others execute it, or parts of it; the front gets the reply.
    UnderWay {
        /// The edit that this core's part has caused, or 0.
        wrote: Lsn,
        /// Bytes that this core's part has put aside for the reply.
        kept: usize,
    },
    /// It is not executed: there is no room for it now, in the log or on the way to another core.
    NoRoom,
}

/// One core's part of a command: its call, and its words.
type Piece<'a> = (CoreId, Call, Vec<&'a [u8]>);

impl<D: Disk> Engine<D> {
    /// Has a command executed, wherever its keys are. A reply that is there at once goes to the end of `out`.
    #[inline]
    pub fn submit(&mut self, caller: Caller, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Submitted {
        match call.spec.route {
            Route::Key => self.on_core(self.home(call.slot), caller, call, args, out),
            Route::OneCore => {
                let slot = slot_of(call.spec.first_key(args).unwrap_or_default());
                self.on_core(self.home(slot), caller, Call { slot, ..call }, args, out)
            }
            Route::Scatter(gather) => self.scatter(gather, caller, call, args, out),
            Route::EveryCore(gather) => self.on_every_core(gather.into(), caller, call, args, out),
            Route::Random => {
                let random = self.random.u64(..);
                self.everywhere(Merge::Drawn(random), caller, call, args, out)
            }
            Route::Cursor => {
                let slot = scan::cursor_slot(args.get(1).unwrap_or_default());
                self.on_core(self.home(slot), caller, Call { slot, ..call }, args, out)
            }
            Route::Session => {
                Reply::new(out, call.protocol).error("ERR this command touches no data");
                Submitted::Done(Committed::default())
            }
        }
    }

    /// Executes a command whose keys are all here, in a unit of its own.
    #[inline]
    pub(super) fn execute(&mut self, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Committed {
        let context = self.context(call);
        let start = out.len();
        let mut reply = Reply::new(out, call.protocol);
        let mut group = self.shard.begin();
        match group.run(call.spec, &context, args, &mut reply) {
            Ran::Replied => {}
            // Nobody waits here: what a command says whose keys hold nothing for it.
            Ran::Wait => reply.null(),
            Ran::Fetch => {
                let name = call.spec.name.to_ascii_uppercase();
                reply.error(&format!("CROSSSLOT Keys of {name} live on different cores; give them a common {{tag}}"));
            }
        }
        let committed = group.commit();
        self.counts.errors.note_reply(&out[start..]);
        committed
    }

    /// Has those of the keys that are here looked up before the first is needed, so that the memory's latency is paid
    /// once for all.
    #[inline]
    pub fn look_ahead<'a>(&mut self, keys: impl Iterator<Item = (Db, Slot, &'a [u8])>) {
        let (store, placement, core) = (self.shard.store(), self.placement, self.core);
        let here = keys.filter(|(_, slot, _)| placement.core_of_slot(*slot) == core);
        self.sought.clear();
        self.sought.extend(here.map(|(db, slot, key)| store.seek(db, slot, key)));
        self.sought.iter().for_each(|sought| store.seek_bucket(sought));
        self.sought.iter().for_each(|sought| store.seek_record(sought));
    }

    /// Has every core perform its part of a command of the session. A reply that is there at once goes to the end of
    /// `out`.
    pub fn broadcast(
        &mut self,
        how: Merge,
        caller: Caller,
        call: Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
        front: &mut impl Front<D>,
    ) -> Submitted {
        let cores = self.placement.cores();
        if (0..cores).any(|core| !self.has_room(call.spec, CoreId(core))) {
            return Submitted::NoRoom;
        }
        let gathering = self.gatherings.begin(caller, how, usize::from(cores), call.protocol);
        let mut whole = None;
        for core in (0..cores).map(CoreId) {
            let Some(origin) = self.gatherings.origin(gathering, usize::from(core.0)) else { continue };
            if core != self.core {
                self.forward(core, origin, call, args.from(0));
                continue;
            }
            let mut bytes = Vec::new();
            front.perform(self, caller.client, call.spec, args, &mut Reply::new(&mut bytes, call.protocol));
            whole = origin.part.and_then(|part| self.gatherings.put(caller, part, &bytes));
        }
        match whole {
            Some(reply) => {
                out.extend_from_slice(&reply);
                Submitted::Done(Committed::default())
            }
            None => Submitted::UnderWay { wrote: Lsn(0), kept: 0 },
        }
    }

    #[inline]
    fn home(&self, slot: Slot) -> CoreId {
        self.placement.core_of_slot(slot)
    }

    /// Executes a command on the one core that it needs.
    #[inline]
    fn on_core(&mut self, core: CoreId, caller: Caller, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Submitted {
        if !self.has_room(call.spec, core) {
            return Submitted::NoRoom;
        }
        if core == self.core {
            return Submitted::Done(self.execute(call, args, out));
        }
        self.forward(core, Origin { caller, part: None }, call, args.from(0));
        Submitted::UnderWay { wrote: Lsn(0), kept: 0 }
    }

    /// Executes a command on every core that has one of its keys, with these keys only.
    fn scatter(&mut self, gather: Gather, caller: Caller, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Submitted {
        let spec = call.spec;
        let step = match spec.keys.first() {
            Some(KeySpec { find: Find::Range { step, .. }, .. }) => usize::from(*step),
            _ => 1,
        };
        if !(args.len() - 1).is_multiple_of(step) {
            // A key without its value: any core's plan says so.
            return self.on_core(self.core, caller, call, args, out);
        }
        let slots: Vec<Slot> = spec.key_indices(args).map(|index| slot_of(args.at(index))).collect();
        let homes: Vec<CoreId> = slots.iter().map(|slot| self.home(*slot)).collect();
        let mut cores = homes.clone();
        cores.sort_unstable();
        cores.dedup();
        if let [core] = cores[..] {
            return self.on_core(core, caller, Call { slot: slots[0], ..call }, args, out);
        }
        let part_of = |home: &CoreId| cores.binary_search(home).unwrap_or_default() as u16;
        let how = match gather {
            Gather::ByKey => Merge::InOrder(homes.iter().map(part_of).collect()),
            other => other.into(),
        };
        let pieces = cores.iter().map(|core| {
            let keys = homes.iter().enumerate().filter(|(_, home)| *home == core).map(|(n, _)| n);
            let first = keys.clone().next().unwrap_or_default();
            let words = keys.flat_map(|n| (0..step).map(move |i| args.at(1 + n * step + i)));
            (*core, Call { slot: slots[first], ..call }, std::iter::once(args.at(0)).chain(words).collect())
        });
        self.in_pieces(how, caller, pieces.collect(), out)
    }

    /// Executes a command on every core.
    fn on_every_core(
        &mut self,
        how: Merge,
        caller: Caller,
        call: Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Submitted {
        if self.placement.cores() == 1 {
            return self.on_core(self.core, caller, call, args, out);
        }
        self.everywhere(how, caller, call, args, out)
    }

    /// As [`Self::on_every_core`], for replies that have to be put together even if there is one part only.
    fn everywhere(&mut self, how: Merge, caller: Caller, call: Call, args: Args<'_>, out: &mut Vec<u8>) -> Submitted {
        let cores = (0..self.placement.cores()).map(CoreId);
        let pieces = cores.map(|core| (core, Call { slot: Slot(0), ..call }, args.from(0).collect()));
        self.in_pieces(how, caller, pieces.collect(), out)
    }

    /// Executes a command in pieces, each on its core; the answers are put together.
    fn in_pieces(&mut self, how: Merge, caller: Caller, pieces: Vec<Piece<'_>>, out: &mut Vec<u8>) -> Submitted {
        if pieces.iter().any(|(core, call, _)| !self.has_room(call.spec, *core)) {
            return Submitted::NoRoom;
        }
        let Some((_, Call { protocol, .. }, _)) = pieces.first() else { return Submitted::NoRoom };
        let gathering = self.gatherings.begin(caller, how, pieces.len(), *protocol);
        let (mut whole, mut wrote, mut kept) = (None, Lsn(0), 0);
        for (index, (core, call, words)) in pieces.into_iter().enumerate() {
            let Some(origin) = self.gatherings.origin(gathering, index) else { continue };
            if core != self.core {
                self.forward(core, origin, call, words.into_iter());
                continue;
            }
            let mut single = Batch::default();
            single.push(origin, call, words.into_iter());
            let Some((_, _, args)) = single.get(0) else { continue };
            let mut bytes = Vec::new();
            let committed = self.execute(call, args, &mut bytes);
            (wrote, kept) = (committed.wrote, bytes.len());
            if committed.gate > self.shard.safe() {
                self.held.push(committed.gate, Answer { to: core, origin, wrote, bytes });
            } else {
                whole = origin.part.and_then(|part| self.gatherings.put(caller, part, &bytes));
            }
        }
        match whole {
            Some(reply) => {
                out.extend_from_slice(&reply);
                Submitted::Done(Committed { gate: Lsn(0), wrote })
            }
            None => Submitted::UnderWay { wrote, kept },
        }
    }

    /// Puts a command, or a piece of one, on its way to another core.
    #[inline]
    fn forward<'a>(&mut self, to: CoreId, origin: Origin, call: Call, words: impl Iterator<Item = &'a [u8]>) {
        self.post.request(to, origin, call, words);
        self.counts.forwarded += 1;
    }

    /// Builds what a plan must know of the outside: time, chance, limits, and which partitions are here.
    #[inline]
    fn context(&mut self, call: Call) -> Context {
        let placement = self.placement;
        Context {
            db: call.db,
            slot: call.slot,
            now: self.wall,
            random: self.random.u64(..),
            touch: call.touch,
            max_string: self.settings.limits.bulk_bytes as u64,
            max_reply: self.settings.limits.output_buffer_bytes,
            partitions: placement.partitions(),
            owned: placement.partitions_of(self.core),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glommio::{LocalExecutorBuilder, Placement as Pinning};

    use super::*;
    use crate::commands::Spec;
    use crate::commands::testing::{FAULTY, WAITING, request};
    use crate::config::Config;
    use crate::encoding::resp::Protocol;
    use crate::engine::Cores;
    use crate::ids::{Partitions, Placement, RequestId, StreamId};
    use crate::partition::Shard;
    use crate::partition::order::reports;
    use crate::runtime::bell::Bell;
    use crate::runtime::inbox::Inbox;
    use crate::runtime::mesh::mesh;
    use crate::storage::{DataDir, Log, LogOptions, PartitionMarks};
    use crate::store::Store;

    async fn engine(dir: &tempfile::TempDir) -> Engine {
        let partitions = Partitions::new(1).unwrap();
        let (data, _) = DataDir::open(dir.path(), partitions).unwrap();
        let epoch = data.begin_epoch(1, 64 << 10).unwrap();
        let log = Log::open(LogOptions::small(&data, StreamId::new(epoch, CoreId(0))), Arc::default()).await.unwrap();
        let bells: Arc<[_]> = [Arc::new(Bell::new().unwrap())].into();
        let inboxes = vec![Inbox::new(Arc::clone(&bells[0]))];
        let placement = Placement::new(partitions, 1).unwrap();
        let config = Config::default();
        let cores = Arc::new(Cores::new(&config, placement, epoch, vec![Arc::clone(log.marks())], inboxes));
        let (store, marks) = (Store::new(partitions, 0..1), Arc::new([PartitionMarks::new()]));
        let memory = Arc::clone(&cores.memory);
        let shard = Shard::new(CoreId(0), placement, store, log, marks, config.log.durability, memory);
        let endpoint = mesh(&bells).remove(0);
        Engine::new(cores, shard, endpoint, reports().0)
    }

    fn submit(engine: &mut Engine, spec: &'static Spec, text: &str) -> (Submitted, String) {
        let caller = Caller { connection: 0, client: 1, request: RequestId(0) };
        request(text, |args| {
            let slot = slot_of(args.at(1));
            let call = Call { spec, db: Db(0), slot, protocol: Protocol::Resp2, touch: true };
            let mut out = Vec::new();
            (engine.submit(caller, call, args, &mut out), String::from_utf8(out).unwrap())
        })
    }

    #[test]
    fn a_turn_in_which_an_edit_contradicts_the_data_shows_nothing() {
        let live = || async {
            let dir = tempfile::tempdir().unwrap();
            let mut engine = engine(&dir).await;
            let (submitted, reply) = submit(&mut engine, &WAITING, "WAITING key");
            assert!(matches!(submitted, Submitted::Done(_)) && reply == "$-1\r\n", "nobody waits here");
            assert_eq!(engine.end_turn(), Ok(()));
            submit(&mut engine, &FAULTY, "FAULTY key");
            assert!(engine.end_turn().is_err_and(|why| why.contains("contradicts")));
        };
        LocalExecutorBuilder::new(Pinning::Unbound).spawn(live).unwrap().join().unwrap();
    }
}
