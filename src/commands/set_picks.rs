//! Commands that pick members of a set at random: SPOP, SRANDMEMBER.

use std::ops::ControlFlow;

use super::parse::integer;
use super::random::{Draws, Random, count_argument};
use super::registry::row::{READ, READ_FROM, VARIES, WRITE_FAST, key, set};
use super::registry::{KeyFlags, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch, take_room};
use crate::encoding::edit::{Change, Removal};
use crate::store::{Selection, SetRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    set("spop", |p, s| p.spop(s), -2, "key [count]", WRITE_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .tips(VARIES)
        .about(
            "1.0.0",
            "O(N), N being the number of members removed",
            "Removes members, chosen at random, and tells them",
        ),
    set("srandmember", |p, _| p.srandmember(), -2, "key [count]", READ).keys(READ_FROM).tips(VARIES).about(
        "1.0.0",
        "O(N), N being the number of members returned",
        "Tells members, chosen at random",
    ),
];

const TOO_LARGE: Refused = Refused::Because("ERR the members are too large to be removed by one command");

impl<'a> Plan<'_, 'a, '_> {
    /// SPOP key [count]
    pub(super) fn spop(&mut self, scratch: &'a mut Scratch) -> Planned {
        if self.args.len() > 3 {
            return Err(Refused::Syntax);
        }
        let mut random = Random(self.context.random);
        scratch.clear();
        let Some(count) = self.args.get(2) else {
            let Some(set) = self.first_set()? else {
                self.reply.null();
                return Ok(());
            };
            set.random_member(|| random.next()).with(|member| {
                scratch.elements.push(member);
                self.reply.bulk(member);
            });
            self.edit_first(Change::RemoveMembers(scratch.elements.elements()));
            return Ok(());
        };
        let count = integer(count).and_then(|count| usize::try_from(count).ok());
        let count = count.ok_or(Refused::Because("ERR value is out of range, must be positive"))?;
        match self.first_set()? {
            Some(set) if count >= set.len() => {
                self.reply.set(set.len());
                self.write_members(set);
                self.edit_first(Change::Delete(Removal::Deleted));
                Ok(())
            }
            Some(set) if count > 0 => self.pop_some(scratch, set, count, random),
            _ => {
                self.reply.set(0);
                Ok(())
            }
        }
    }

    /// Pops `count` members of a set that has more. The edit names the members that go or, if these are fewer, those
    /// that stay.
    fn pop_some(&mut self, scratch: &'a mut Scratch, set: SetRef<'_>, count: usize, mut random: Random) -> Planned {
        let (start, mut room) = (self.reply.written(), MAX_CONTENT);
        let few_stay = set.len() - count < count;
        self.reply.set(count);
        let mut named = ControlFlow::Continue(());
        let mut name = |member: &[u8]| {
            if named.is_continue() {
                scratch.elements.push(member);
                named = take_room(&mut room, member.len());
            }
        };
        if few_stay {
            let mut selection = Selection::new(count, set.len());
            let _ = set.for_each(|member| {
                let goes = selection.takes(random.next());
                member.with(|member| if goes { self.reply.bulk(member) } else { name(member) });
                ControlFlow::<()>::Continue(())
            });
        } else {
            set.distinct_members(
                count,
                || random.next(),
                |member| {
                    member.with(|member| {
                        name(member);
                        self.reply.bulk(member);
                    });
                },
            );
        }
        if named.is_break() {
            self.reply.take_back(start);
            return Err(TOO_LARGE);
        }
        let members = scratch.elements.elements();
        if few_stay {
            let expire_at = self.first().and_then(|entry| entry.expire_at);
            self.edit_first(Change::PutSet { members, expire_at });
        } else {
            self.edit_first(Change::RemoveMembers(members));
        }
        Ok(())
    }
}

impl Plan<'_, '_, '_> {
    /// SRANDMEMBER key [count]
    pub(super) fn srandmember(&mut self) -> Planned {
        if self.args.len() > 3 {
            return Err(Refused::Syntax);
        }
        let mut random = Random(self.context.random);
        let Some(count) = self.args.get(2) else {
            match self.first_set()? {
                Some(set) => set.random_member(|| random.next()).with(|member| self.reply.bulk(member)),
                None => self.reply.null(),
            }
            return Ok(());
        };
        let count = count_argument(count)?;
        match self.first_set()? {
            Some(set) if count < 0 => return self.repeated_members(set, count.unsigned_abs(), random),
            Some(set) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
                self.reply.array(count);
                let reply = &mut *self.reply;
                set.distinct_members(count, || random.next(), |member| member.with(|member| reply.bulk(member)));
            }
            None => self.reply.array(0),
        }
        Ok(())
    }

    /// Appends `count` members, each drawn from all members, so that they may repeat.
    fn repeated_members(&mut self, set: SetRef<'_>, count: u64, mut random: Random) -> Planned {
        let mut draws = Draws::begin(self, count)?;
        self.reply.array(usize::try_from(count).unwrap_or(usize::MAX));
        let drawn = set.random_members(
            || random.next(),
            |member| {
                member.with(|member| self.reply.bulk(member));
                draws.count(self.reply)
            },
        );
        drawn.break_value().unwrap_or(Ok(()))
    }

    /// Appends every member of a set.
    pub(super) fn write_members(&mut self, set: SetRef<'_>) {
        let reply = &mut *self.reply;
        let _: ControlFlow<()> = set.for_each(|member| {
            member.with(|member| reply.bulk(member));
            ControlFlow::Continue(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    fn words(reply: &str) -> Vec<String> {
        reply.split(' ').skip(2).step_by(2).map(str::to_owned).collect()
    }

    fn rig_with(members: impl Iterator<Item = String>) -> Rig {
        let mut rig = Rig::new();
        let members: Vec<String> = members.collect();
        for some in members.chunks(500) {
            rig.line(&format!("SADD s {}", some.join(" ")));
        }
        rig
    }

    #[test]
    fn what_is_popped_was_there_and_is_gone_whatever_the_form_and_the_count() {
        for (size, prefix) in [(100, ""), (100, "m"), (1000, "m")] {
            for count in [0, 1, 7, size / 40, size / 2, size - 1, size, size + 1] {
                let all: BTreeSet<String> = (0..size).map(|n| format!("{prefix}{n}")).collect();
                let mut rig = rig_with(all.iter().cloned());
                rig.line("PEXPIRE s 5000");
                let popped: BTreeSet<String> = words(&rig.line(&format!("SPOP s {count}"))).into_iter().collect();
                let logged: usize = rig.edits.iter().map(String::len).sum();
                let left: BTreeSet<String> = words(&rig.line("SMEMBERS s")).into_iter().collect();
                assert_eq!(popped.len(), count.min(size), "{count} of {size}");
                assert!(popped.is_disjoint(&left) && popped.union(&left).eq(&all), "{count} of {size}");
                assert_eq!(rig.line("PTTL s"), if left.is_empty() { ":-2" } else { ":5000" });
                // The edit names what goes or what stays, whichever is less.
                assert!(logged < 250 + 30 * count.min(size - count.min(size)), "{count} of {size}: {logged}");
            }
        }
    }

    #[test]
    fn picks_are_all_drawn_and_never_twice_unless_asked_for() {
        for prefix in ["", "m"] {
            let mut rig = rig_with((0..10).map(|n| format!("{prefix}{n}")));
            let mut drawn = std::collections::BTreeMap::<String, i32>::new();
            for _ in 0..300 {
                let picks = words(&rig.line("SRANDMEMBER s 3"));
                assert_eq!(picks.iter().collect::<BTreeSet<_>>().len(), 3);
                picks.into_iter().for_each(|pick| *drawn.entry(pick).or_default() += 1);
            }
            assert!(drawn.len() == 10 && drawn.values().all(|times| (50..140).contains(times)), "{drawn:?}");
            assert_eq!(words(&rig.line("SRANDMEMBER s 20")).len(), 10);
            assert_eq!(words(&rig.line("SRANDMEMBER s -20")).len(), 20);
            assert!(rig.edits.is_empty());
        }
    }

    #[test]
    fn no_count_makes_a_reply_without_bounds() {
        let mut rig = rig_with(std::iter::once("member".into()));
        rig.max_string = 10_000;
        for count in ["-9223372036854775807", "-1700", "-1000"] {
            assert_eq!(rig.line(&format!("SRANDMEMBER s {count}")), "-ERR value is out of range", "{count}");
        }
        assert!(rig.line("SRANDMEMBER s 9223372036854775807").starts_with("*1 "));
    }

    #[test]
    fn replies_have_the_types_that_redis_gives_them() {
        let mut rig = rig_with(["a".to_owned()].into_iter());
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("SRANDMEMBER s"), "$1 a");
        assert_eq!(rig.line("SRANDMEMBER s 1"), "*1 $1 a");
        assert_eq!(rig.line("SRANDMEMBER none"), "_");
        assert_eq!(rig.line("SRANDMEMBER none 5"), "*0");
        assert_eq!(rig.line("SPOP none"), "_");
        assert_eq!(rig.line("SPOP none 5"), "~0");
        assert_eq!(rig.line("SPOP s 0"), "~0");
        assert_eq!(rig.line("SPOP s -1"), "-ERR value is out of range, must be positive");
        assert_eq!(rig.line("SPOP s 1 1"), "-ERR syntax error");
        assert_eq!(rig.line("SPOP s 5"), "~1 $1 a");
    }
}
