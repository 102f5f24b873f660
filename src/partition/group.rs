//! A unit of work on one core's data: commands run one after the other, each sees the effects of those before it, and
//! the edits of all are logged as one group, whole or not at all.

use smallvec::SmallVec;

use super::shard::{Expired, Shard};
use crate::commands::registry::Route;
use crate::commands::{Context, Scratch, Spec, plan};
use crate::config::Durability;
use crate::encoding::edit::{Change, Edit, Removal};
use crate::encoding::resp::{Args, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::{Lsn, PartitionId, Slot};
use crate::planted::{Bug, is_planted};
use crate::storage::{DirectDisk, Disk};
use crate::store::{Entry, Store, Value};

/// A unit under way: [`Shard::begin`] begins it, [`Self::run`] runs a command in it, [`Self::commit`] ends it.
#[must_use = "what it has applied is logged by its commit only"]
pub struct Group<'s, D: Disk = DirectDisk> {
    shard: &'s mut Shard<D>,
    /// Edits that were applied and are not logged yet, in order.
    applied: SmallVec<[Applied; 4]>,
    /// The slots that values have come to, each with the index of its edit in `applied`.
    arrivals: Vec<(usize, Slot)>,
    /// Lsn of the last edit logged for this unit; 0 if there is none.
    wrote: Lsn,
    /// Lsn of the last edit of any data that this unit's commands have read.
    looked_at: Lsn,
}

/// An edit that is applied to the store but not yet in the log.
struct Applied {
    partition: PartitionId,
    /// The slot of the edit's key; `None` if the edit concerns the whole partition.
    slot: Option<Slot>,
    /// Length of the encoded edit in bytes.
    bytes: u64,
}

/// Outcome of a command in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The command's reply (perhaps a refusal) is written.
    Replied,
    /// The command's keys hold nothing for it: a client that may block waits until one of them does. No reply is
    /// written.
    Wait,
    /// Some of the command's keys belong to other cores: their values must be fetched first. No reply is written.
    Fetch,
}

/// Outcome of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The unit's replies may be shown once this core's edits are safe up to here.
    pub gate: Lsn,
    /// Lsn of the unit's last edit; 0 if it wrote nothing.
    pub wrote: Lsn,
}

impl<'s, D: Disk> Group<'s, D> {
    #[inline]
    pub(super) fn new(shard: &'s mut Shard<D>) -> Self {
        shard.encoded.clear();
        Self { shard, applied: SmallVec::new(), arrivals: Vec::new(), wrote: Lsn(0), looked_at: Lsn(0) }
    }

    /// Runs a command: plans it and applies its edits, so that the next command of the unit sees them.
    #[inline]
    pub fn run(&mut self, spec: &Spec, context: &Context, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
        if spec.is_write()
            && let Some(refusal) = self.shard.refusal(spec)
        {
            reply.error(&refusal);
            return Ran::Replied;
        }
        if spec.route == Route::OneCore && !self.has_all_keys(spec, context, args) {
            return Ran::Fetch;
        }
        let mut scratch = std::mem::take(&mut self.shard.scratch);
        let planned = plan(spec, &self.shard.store, context, args, &mut scratch, reply);
        // What a read would tidy up or note is left where a write is refused.
        if planned.edits.is_empty() || !spec.is_write() && self.shard.refusal(spec).is_some() {
            self.looked_at = self.looked_at.max(self.last_edit(spec, context, args));
        } else {
            self.shard.store.set_clock(context.coarse_now());
            for (at, edit) in planned.edits.iter().enumerate() {
                self.apply(edit);
                if is_planted(Bug::GroupSplit) && at + 1 < planned.edits.len() {
                    self.append();
                }
            }
            if let (Some(at), Some(key)) = (planned.last_use, spec.first_key(args)) {
                self.shard.store.get_used(context.db, context.slot, key, at);
            }
        }
        let ran = if planned.waits { Ran::Wait } else { Ran::Replied };
        drop(planned);
        self.shard.scratch = scratch;
        ran
    }

    /// Applies an edit to the store and encodes it; [`Self::commit`] logs it.
    #[inline]
    pub(super) fn apply(&mut self, edit: &Edit<'_>) {
        let shard = &mut *self.shard;
        if shard.contradiction.is_some() {
            return;
        }
        if let (Edit::Key { slot, .. }, Some(to)) = (edit, edit.moves_to()) {
            if !shard.may_bind(*slot, to) && self.copy_over(edit) {
                return;
            }
            self.arrivals.push((self.applied.len(), to));
        }
        let shard = &mut *self.shard;
        let (partition, slot) = match edit {
            Edit::Key { slot, .. } => (shard.placement.partitions().of(*slot), Some(*slot)),
            Edit::Flush { partition, .. } | Edit::SwapDb { partition, .. } | Edit::Barrier { partition, .. } => {
                (*partition, None)
            }
        };
        let expired = expired_by(&shard.store, edit);
        let applied = match &mut shard.capture {
            Some(capture) => {
                // The edits of this unit are logged one after the other.
                let before = Lsn(shard.log.appended().0 + self.applied.len() as u64);
                capture.apply(&mut shard.store, edit, before)
            }
            None => shard.store.apply(edit),
        };
        if let Err(error) = applied {
            // This is our own bug: a plan made an edit that does not fit what it read.
            tracing::error!(%partition, %error, "an edit contradicts the data: the server ends");
            shard.contradiction = Some(format!("an edit of partition {partition} contradicts the data: {error}"));
            return;
        }
        shard.expired.keys += expired.keys;
        shard.expired.fields += expired.fields;
        let before = shard.encoded.as_bytes().len();
        shard.encoded.push(partition, edit);
        let bytes = (shard.encoded.as_bytes().len() - before) as u64;
        self.applied.push(Applied { partition, slot, bytes });
    }

    /// Applies, in place of an edit that moves a value to another slot, two that delete it there and write it here as
    /// it is. Returns false, and has done nothing, if the value is too large to be written with one edit.
    #[cold]
    fn copy_over(&mut self, edit: &Edit<'_>) -> bool {
        let Edit::Key { db, slot, key, change: Change::Move { to_db, to_key } } = edit else { return false };
        let Some(entry) = self.shard.store.get(*db, *slot, key) else { return false };
        let mut scratch = Scratch::default();
        let Ok(copy) = scratch.copy_of(&entry) else { return false };
        self.apply(&Edit::Key { db: *db, slot: *slot, key: (&**key).into(), change: Change::Delete(Removal::Deleted) });
        self.apply(&Edit::Key { db: *to_db, slot: slot_of(to_key), key: (&**to_key).into(), change: copy });
        true
    }

    /// Logs the edits that were applied, as one group, and ends the unit.
    #[inline]
    pub fn commit(mut self) -> Committed {
        self.append();
        let gate = match self.shard.durability {
            Durability::Async => Lsn(0),
            Durability::Sync | Durability::Mirrored => self.wrote.max(self.looked_at),
        };
        Committed { gate, wrote: self.wrote }
    }

    fn append(&mut self) {
        let shard = &mut *self.shard;
        shard.memory.note(shard.store.used_memory());
        // A unit with a contradiction is not logged, so that a restart does not bring back any of it.
        if self.applied.is_empty() || shard.contradiction.is_some() {
            return;
        }
        self.wrote = shard.log.append(&shard.encoded);
        shard.encoded.clear();
        let first = self.wrote.0 + 1 - self.applied.len() as u64;
        let mut arrivals = self.arrivals.drain(..).peekable();
        for (index, Applied { partition, slot, bytes }) in self.applied.drain(..).enumerate() {
            let lsn = Lsn(first + index as u64);
            shard.partitions[usize::from(partition.0)].note(lsn, bytes);
            if let Some((_, to)) = arrivals.next_if(|(at, _)| *at == index) {
                shard.note_arrival(partition, to, lsn, self.wrote);
            }
            match slot {
                Some(slot) => shard.last_edits[usize::from(slot.0)] = self.wrote,
                None => {
                    let slots = shard.placement.partitions().slots(partition);
                    shard.last_edits[usize::from(slots.start)..usize::from(slots.end)].fill(self.wrote);
                }
            }
        }
    }

    fn has_all_keys(&self, spec: &Spec, context: &Context, args: Args<'_>) -> bool {
        let partitions = self.shard.placement.partitions();
        spec.keys_of(args).all(|key| context.owned.contains(&partitions.of(slot_of(key)).0))
    }

    /// Lsn of the last edit of the data that a command has read.
    fn last_edit(&self, spec: &Spec, context: &Context, args: Args<'_>) -> Lsn {
        if self.shard.durability == Durability::Async || is_planted(Bug::ReadNotGated) {
            return Lsn(0);
        }
        let of_slot = |slot: Slot| self.shard.last_edits[usize::from(slot.0)];
        match spec.route {
            Route::Key => of_slot(context.slot),
            _ if spec.keys.is_empty() => self.shard.log.appended(),
            _ => spec.keys_of(args).map(|key| of_slot(slot_of(key))).max().unwrap_or_default(),
        }
    }
}

/// Number of keys and fields that go with the edit because they have expired. A hash that has no expiry of its own goes
/// with the last of its fields.
#[inline]
fn expired_by(store: &Store, edit: &Edit<'_>) -> Expired {
    match edit {
        Edit::Key { change: Change::ExpireFields(fields), .. } => Expired { keys: 0, fields: fields.len() as u64 },
        Edit::Key { db, slot, key, change: Change::Delete(Removal::Expired) } => match store.get(*db, *slot, key) {
            Some(Entry { value: Value::Hash(hash), expire_at: None }) => Expired { keys: 0, fields: hash.len() as u64 },
            _ => Expired { keys: 1, fields: 0 },
        },
        _ => Expired { keys: 0, fields: 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glommio::{LocalExecutorBuilder, Placement as Pinning};

    use super::*;
    use crate::commands::Registry;
    use crate::commands::testing::{FAULTY, WAITING, request};
    use crate::config::Durability;
    use crate::encoding::resp::Protocol;
    use crate::ids::{CoreId, Db, Partitions, Placement, StreamId};
    use crate::partition::MemoryBound;
    use crate::partition::capture::End;
    use crate::storage::{DataDir, Log, LogOptions, PartitionMarks};
    use crate::time::UnixMillis;

    const PARTITIONS: Partitions = Partitions::new(2).unwrap();

    /// The first of two cores with an empty directory, and the commands that it knows.
    struct Rig {
        shard: Shard,
        registry: Registry,
        memory: Arc<MemoryBound>,
        placement: Placement,
    }

    impl Rig {
        async fn new(dir: &tempfile::TempDir, durability: Durability, placement: Placement) -> Self {
            let (partitions, owned) = (placement.partitions(), placement.partitions_of(CoreId(0)));
            let (data, _) = DataDir::open(dir.path(), partitions).unwrap();
            let epoch = data.begin_epoch(placement.cores(), 64 << 10).unwrap();
            let log =
                Log::open(LogOptions::small(&data, StreamId::new(epoch, CoreId(0))), Arc::default()).await.unwrap();
            let marks = (0..partitions.count()).map(|_| PartitionMarks::new()).collect();
            let memory = Arc::new(MemoryBound::new(placement.cores(), None));
            let store = Store::new(partitions, owned);
            let shard = Shard::new(CoreId(0), placement, store, log, marks, durability, Arc::clone(&memory));
            let families = crate::commands::FAMILIES.iter().copied();
            Self { shard, registry: Registry::new(families), memory, placement }
        }

        /// Runs commands as one unit. Returns the outcome of each, the replies, and the outcome of the unit.
        fn unit(&mut self, commands: &[(&Spec, &str)]) -> (Vec<Ran>, String, Committed) {
            let (mut ran, mut out) = (Vec::new(), Vec::new());
            let mut group = self.shard.begin();
            for (spec, text) in commands {
                request(text, |args| {
                    let context = Context {
                        db: Db(0),
                        slot: spec.first_key(args).map(slot_of).unwrap_or_default(),
                        now: UnixMillis::new(1_700_000_000_000),
                        random: 1,
                        touch: true,
                        max_string: 1 << 20,
                        max_reply: 1 << 20,
                        partitions: self.placement.partitions(),
                        owned: self.placement.partitions_of(CoreId(0)),
                    };
                    ran.push(group.run(spec, &context, args, &mut Reply::new(&mut out, Protocol::Resp2)));
                });
            }
            let committed = group.commit();
            (ran, String::from_utf8(out).unwrap().replace("\r\n", " "), committed)
        }

        fn spec(&self, name: &str) -> Spec {
            self.registry.lookup(name.as_bytes()).unwrap().clone()
        }

        fn appended(&self) -> Lsn {
            self.shard.log().appended()
        }
    }

    /// Runs a test on the first of two cores, a core of its own.
    fn on_a_core(durability: Durability, test: fn(Rig)) {
        on_the_first_core(durability, Placement::new(PARTITIONS, 2).unwrap(), test);
    }

    fn on_the_first_core(durability: Durability, placement: Placement, test: fn(Rig)) {
        let live = move || async move {
            let dir = tempfile::tempdir().unwrap();
            test(Rig::new(&dir, durability, placement).await);
        };
        LocalExecutorBuilder::new(Pinning::Unbound).spawn(live).unwrap().join().unwrap();
    }

    /// Two keys of the first core, and one of the second.
    fn keys() -> [String; 3] {
        let of = |partition| {
            (0..).map(|n| format!("k{n}")).filter(move |key| PARTITIONS.of(slot_of(key.as_bytes())) == partition)
        };
        let mut here = of(PartitionId(0));
        [here.next().unwrap(), here.next().unwrap(), of(PartitionId(1)).next().unwrap()]
    }

    #[test]
    fn each_command_of_a_unit_sees_those_before_it_and_all_are_one_group() {
        on_a_core(Durability::Sync, |mut rig| {
            let ([a, b, _], set, incr, get) = (keys(), rig.spec("set"), rig.spec("incr"), rig.spec("get"));
            let (ran, replies, committed) = rig.unit(&[
                (&set, &format!("SET {a} 41")),
                (&incr, &format!("INCR {a}")),
                (&get, &format!("GET {a}")),
                (&set, &format!("SET {b} x")),
            ]);
            assert_eq!((ran, replies.as_str()), (vec![Ran::Replied; 4], "+OK :42 $2 42 +OK "));
            assert_eq!(committed, Committed { gate: Lsn(3), wrote: Lsn(3) });
            let (_, replies, committed) = rig.unit(&[(&get, &format!("GET {a}"))]);
            assert_eq!(replies, "$2 42 ");
            assert_eq!(committed, Committed { gate: Lsn(3), wrote: Lsn(0) }, "what it tells of must be safe");
        });
    }

    #[test]
    fn a_large_value_is_handed_over_whatever_snapshot_is_under_way_and_captured_once() {
        on_a_core(Durability::Async, |mut rig| {
            let (hset, rename) = (rig.spec("hset"), rig.spec("rename"));
            let slots = |range: std::ops::Range<u16>| {
                (0..).map(|n| format!("k{n}")).find(|key| range.contains(&slot_of(key.as_bytes()).0)).unwrap()
            };
            let (early, late, later) = (slots(0..500), slots(7000..7500), slots(7600..8100));
            let edits = |rig: &mut Rig, spec: &Spec, command: String| {
                let before = rig.appended();
                rig.unit(&[(spec, &command)]);
                rig.appended().0 - before.0
            };
            edits(&mut rig, &hset, format!("HSET {late} field {}", "v".repeat(500)));
            rig.shard.begin_capture(PartitionId(0));
            let mut steps = 4000;
            let mut slices: Vec<_> = rig
                .shard
                .capture(|| {
                    steps -= 1;
                    steps > 0
                })
                .into_iter()
                .collect();
            let begun = rig.appended();
            for (from, to) in [(&late, &later), (&later, &early), (&early, &late), (&late, &early)] {
                assert_eq!(edits(&mut rig, &rename, format!("RENAME {from} {to}")), 1, "{from} to {to}");
            }
            while rig.shard.is_capturing() {
                slices.extend(rig.shard.capture(|| true));
            }
            let all = slices.iter().flat_map(|slice| &slice.sections);
            let held: Vec<_> = all.filter(|section| section.entries > 0).map(|s| (s.slot, s.lsn)).collect();
            // Captured early, before the second edit moved the value on.
            assert_eq!(held, [(slot_of(later.as_bytes()), begun.next())]);
        });
    }

    #[test]
    fn before_too_many_partitions_are_bound_together_they_are_named_and_after_that_values_are_logged_whole() {
        let all = Placement::new(Partitions::new(8).unwrap(), 1).unwrap();
        on_the_first_core(Durability::Async, all, |mut rig| {
            let (hset, rename) = (rig.spec("hset"), rig.spec("rename"));
            let key_of = |partition| {
                let is_there = |key: &String| rig.placement.partitions().of(slot_of(key.as_bytes())).0 == partition;
                (0..).map(|n| format!("k{n}")).find(is_there).unwrap()
            };
            let keys: Vec<_> = (0..8).map(key_of).collect();
            let mut edits = Vec::new();
            let mut crowded = Vec::new();
            for from in 1..8 {
                rig.unit(&[(&hset, &format!("HSET {} field {}", keys[from], "v".repeat(500)))]);
                let before = rig.appended();
                rig.unit(&[(&rename, &format!("RENAME {} {}", keys[from], keys[0]))]);
                edits.push(rig.appended().0 - before.0);
                crowded.push(rig.shard.partitions[0].crowded() == rig.appended());
                assert!(rig.shard.partitions[1..].iter().all(|of| of.crowded() == Lsn(0)), "nothing came to those");
            }
            assert_eq!(edits, [1, 1, 1, 2, 2, 2, 2], "four may be bound together");
            assert_eq!(crowded[..3], [false, true, true], "two is not many");
        });
    }

    #[test]
    fn a_slot_that_is_captured_early_within_a_unit_has_the_edits_of_the_unit_before() {
        on_a_core(Durability::Async, |mut rig| {
            let [a, b, _] = keys();
            let (late, early) = if slot_of(a.as_bytes()) > slot_of(b.as_bytes()) { (a, b) } else { (b, a) };
            let (rpush, rename) = (rig.spec("rpush"), rig.spec("rename"));
            rig.shard.begin_capture(PartitionId(0));
            let mut steps = slot_of(early.as_bytes()).0 + 2;
            let before = rig.shard.capture(|| {
                steps -= 1;
                steps > 0
            });
            assert!(before.is_some_and(|slice| slice.end.is_none()));
            let push = format!("RPUSH {late} {}", "v".repeat(500));
            rig.unit(&[(&rpush, &push), (&rpush, &push), (&rename, &format!("RENAME {late} {early}"))]);
            let moved = rig.appended();
            let slice = rig.shard.capture(|| true).unwrap();
            let section = slice.sections.iter().find(|section| section.entries > 0).unwrap();
            assert_eq!((section.slot, section.lsn.next()), (slot_of(late.as_bytes()), moved));
        });
    }

    #[test]
    fn a_contradiction_stops_the_core_and_nothing_of_its_unit_is_logged() {
        on_a_core(Durability::Async, |mut rig| {
            let ([a, b, _], set) = (keys(), rig.spec("set"));
            rig.unit(&[(&set, &format!("SET {b} 1"))]);
            assert_eq!((rig.shard.contradiction(), rig.appended()), (None, Lsn(1)));
            rig.unit(&[
                (&set, &format!("SET {b} 2")),
                (&FAULTY, &format!("FAULTY {a}")),
                (&set, &format!("SET {b} 3")),
            ]);
            let why = rig.shard.contradiction().unwrap();
            assert!(why.contains(&a) && why.contains("contradicts"), "{why}");
            rig.unit(&[(&set, &format!("SET {b} 4"))]);
            assert_eq!(rig.appended(), Lsn(1), "nothing of it, and nothing after it");
        });
    }

    #[test]
    fn a_snapshot_is_given_up_where_writes_need_the_memory_of_values_that_it_holds() {
        on_a_core(Durability::Async, |mut rig| {
            let ([a, b, _], set, del) = (keys(), rig.spec("set"), rig.spec("del"));
            rig.unit(&[(&set, &format!("SET {a} {}", "a".repeat(1 << 20)))]);
            rig.shard.begin_capture(PartitionId(0));
            let capture = |rig: &mut Rig| rig.shard.capture(|| false).unwrap();
            while capture(&mut rig).bytes.is_empty() {}
            rig.unit(&[(&del, &format!("DEL {a}"))]);
            rig.memory.set(Some(1 << 20));
            let (_, replies, _) = rig.unit(&[(&set, &format!("SET {b} 1"))]);
            assert_eq!(replies, "+OK ");
            let end = capture(&mut rig).end;
            assert!(matches!(end, Some(End::Abandoned(why)) if why.contains("memory")), "{end:?}");
            // With memory to spare it goes on.
            rig.memory.set(None);
            rig.unit(&[(&set, &format!("SET {a} {}", "a".repeat(1 << 20)))]);
            rig.shard.begin_capture(PartitionId(0));
            while capture(&mut rig).bytes.is_empty() {}
            rig.unit(&[(&del, &format!("DEL {a}")), (&set, &format!("SET {b} 2"))]);
            let end = std::iter::repeat_with(|| rig.shard.capture(|| true).unwrap().end).flatten().next();
            assert_eq!(end, Some(End::Complete));
        });
    }

    #[test]
    fn a_command_that_waits_or_lacks_operands_does_nothing() {
        on_a_core(Durability::Async, |mut rig| {
            let ([a, b, elsewhere], rename) = (keys(), rig.spec("rename"));
            let set = rig.spec("set");
            rig.unit(&[(&set, &format!("SET {a} 1"))]);
            let (ran, replies, committed) = rig.unit(&[
                (&WAITING, &format!("WAITING {a}")),
                (&rename, &format!("RENAME {a} {elsewhere}")),
                (&rename, &format!("RENAME {a} {b}")),
            ]);
            assert_eq!((ran, replies.as_str()), (vec![Ran::Wait, Ran::Fetch, Ran::Replied], "+OK "));
            assert!(committed.wrote > Lsn(1));
        });
    }
}
