//! Commands that combine sets: SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD.
//!
//! The combinations work on [`Operands`], sets that have been looked up, wherever they are.

use std::ops::ControlFlow;

use hashbrown::HashSet;
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Builder;

use super::parse::integer;
use super::registry::row::{OVERWRITTEN, PUT, READ, UNORDERED, run, sets};
use super::registry::{KeyFlags, KeySpec, Route, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch, take_room};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::slot::slot_of;
use crate::store::{Member, SetRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    sets("sdiff", |p, _| p.combine(Combination::Difference), -2, "key ...", READ)
        .route(Route::OneCore)
        .keys(ALL_READ)
        .tips(UNORDERED)
        .about("1.0.0", TOTAL, "Tells the members of a set that none of the others has"),
    sets("sdiffstore", |p, s| p.store(s, Combination::Difference), -3, "destination key ...", PUT)
        .route(Route::OneCore)
        .keys(STORED)
        .about("1.0.0", TOTAL, "Stores the members of a set that none of the others has"),
    sets("sinter", |p, _| p.combine(Combination::Intersection), -2, "key ...", READ)
        .route(Route::OneCore)
        .keys(ALL_READ)
        .tips(UNORDERED)
        .about("1.0.0", SMALLEST, "Tells the members that all sets have"),
    sets("sintercard", |p, _| p.sintercard(), -3, "numkeys key ... [LIMIT limit]", READ)
        .route(Route::OneCore)
        .keys(&[KeySpec::counted(1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .about("7.0.0", SMALLEST, "Counts the members that all sets have"),
    sets("sinterstore", |p, s| p.store(s, Combination::Intersection), -3, "destination key ...", PUT)
        .route(Route::OneCore)
        .keys(STORED)
        .about("1.0.0", SMALLEST, "Stores the members that all sets have"),
    sets("sunion", |p, _| p.combine(Combination::Union), -2, "key ...", READ)
        .route(Route::OneCore)
        .keys(ALL_READ)
        .tips(UNORDERED)
        .about("1.0.0", TOTAL, "Tells the members that any of the sets has"),
    sets("sunionstore", |p, s| p.store(s, Combination::Union), -3, "destination key ...", PUT)
        .route(Route::OneCore)
        .keys(STORED)
        .about("1.0.0", TOTAL, "Stores the members that any of the sets has"),
];

const ALL_READ: &[KeySpec] = &[run(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))];
const STORED: &[KeySpec] = &[OVERWRITTEN[0], run(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))];

const TOTAL: &str = "O(N), N being the number of members of all sets";
const SMALLEST: &str = "O(N*M), N being the number of members of the smallest set and M the number of sets";

const TOO_LARGE: Refused = Refused::Because("ERR the resulting set is too large to be stored by one command");

/// The sets that a command combines, in the order of its arguments; `None` where a key is missing. They are borrowed
/// from wherever they have been looked up.
type Operands<'s> = SmallVec<[Option<SetRef<'s>>; 4]>;

/// Members that were met before.
type Met<'s> = HashSet<Member<'s>, Xxh3Builder>;

/// How sets are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combination {
    /// What all sets have.
    Intersection,
    /// What any of the sets has.
    Union,
    /// What the first set has and none of the others.
    Difference,
}

impl Combination {
    /// Visits every member of the result once, until `visit` breaks. `seed` is a random number.
    fn visit<'s>(
        self,
        operands: &Operands<'s>,
        seed: u64,
        visit: impl FnMut(Member<'s>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Intersection => intersection(operands, visit),
            Self::Union => union(operands, seed, visit),
            Self::Difference => difference(operands, seed, visit),
        }
    }
}

/// Looks up each member of the smallest set in the others, the smaller ones first: these rule out most.
fn intersection<'s>(operands: &Operands<'s>, mut visit: impl FnMut(Member<'s>) -> ControlFlow<()>) -> ControlFlow<()> {
    let Some(mut sets) = operands.iter().copied().collect::<Option<SmallVec<[SetRef<'s>; 4]>>>() else {
        return ControlFlow::Continue(());
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return ControlFlow::Continue(()) };
    smallest.for_each(|member| {
        if others.iter().all(|set| set.contains(member)) {
            visit(member)?;
        }
        ControlFlow::Continue(())
    })
}

/// Visits the largest set whole. A member of another set is new if neither the largest set has it nor one that was
/// visited before.
fn union<'s>(
    operands: &Operands<'s>,
    seed: u64,
    mut visit: impl FnMut(Member<'s>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut sets: SmallVec<[SetRef<'s>; 4]> = operands.iter().flatten().copied().collect();
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let Some((largest, others)) = sets.split_first() else { return ControlFlow::Continue(()) };
    largest.for_each(&mut visit)?;
    let mut met = Met::with_hasher(Xxh3Builder::new().with_seed(seed));
    for set in others {
        set.for_each(|member| {
            if !largest.contains(member) && met.insert(member) {
                visit(member)?;
            }
            ControlFlow::Continue(())
        })?;
    }
    ControlFlow::Continue(())
}

/// Looks up each member of the first set in the others or, if these are so many and so small that this takes fewer
/// steps, in one set of all their members.
fn difference<'s>(
    operands: &Operands<'s>,
    seed: u64,
    mut visit: impl FnMut(Member<'s>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some((Some(first), others)) = operands.split_first() else { return ControlFlow::Continue(()) };
    let mut others: SmallVec<[SetRef<'s>; 4]> = others.iter().flatten().copied().collect();
    // The largest one rules out most.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let total: usize = others.iter().map(|set| set.len()).sum();
    let mut met = Met::with_hasher(Xxh3Builder::new().with_seed(seed));
    if total + first.len() < first.len().saturating_mul(others.len()) {
        for set in others.drain(..) {
            let _: ControlFlow<()> = set.for_each(|member| {
                met.insert(member);
                ControlFlow::Continue(())
            });
        }
    }
    first.for_each(|member| {
        if !others.iter().any(|set| set.contains(member)) && !met.contains(&member) {
            visit(member)?;
        }
        ControlFlow::Continue(())
    })
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// The sets whose keys are the `count` arguments from `first` on.
    fn operands(&mut self, first: usize, count: usize) -> Result<Operands<'p>, Refused> {
        let keys = self.args.from(first).take(count).enumerate();
        let slot = self.slot();
        keys.map(|(n, key)| self.find_set(if n == 0 && first == 1 { slot } else { slot_of(key) }, key)).collect()
    }

    /// SINTER key ..., SUNION key ..., SDIFF key ...
    fn combine(&mut self, combination: Combination) -> Planned {
        let operands = self.operands(1, usize::MAX)?;
        let seed = self.context.random;
        self.reply.set_of(|reply| {
            let mut found = 0;
            let _ = combination.visit(&operands, seed, |member| {
                member.with(|member| reply.bulk(member));
                found += 1;
                ControlFlow::Continue(())
            });
            found
        });
        Ok(())
    }

    /// SINTERSTORE destination key ..., SUNIONSTORE destination key ..., SDIFFSTORE destination key ...
    fn store(&mut self, scratch: &'a mut Scratch, combination: Combination) -> Planned {
        let operands = self.operands(2, usize::MAX)?;
        scratch.clear();
        let (mut found, mut room) = (0, MAX_CONTENT);
        let stored = combination.visit(&operands, self.context.random, |member| {
            found += 1;
            member.with(|member| {
                scratch.elements.push(member);
                take_room(&mut room, member.len())
            })
        });
        if stored.is_break() {
            return Err(TOO_LARGE);
        }
        if found > 0 {
            self.edit_first(Change::PutSet { members: scratch.elements.elements(), expire_at: None });
        } else if self.peek(self.context.db, self.slot(), self.args.at(1)).is_some() {
            self.edit_first(Change::Delete(Removal::Deleted));
        }
        self.reply.count(found);
        Ok(())
    }

    /// SINTERCARD numkeys key ... [LIMIT limit]
    fn sintercard(&mut self) -> Planned {
        let count = integer(self.args.at(1)).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.ok_or(Refused::Because("ERR numkeys should be greater than 0"))?;
        if count > self.args.len() - 2 {
            return Err(Refused::Because("ERR Number of keys can't be greater than number of args"));
        }
        let mut limit = 0;
        let mut words = self.args.from(2 + count);
        while let Some(word) = words.next() {
            let value = words.next().filter(|_| word.eq_ignore_ascii_case(b"LIMIT")).ok_or(Refused::Syntax)?;
            let value = integer(value).and_then(|limit| usize::try_from(limit).ok());
            limit = value.ok_or(Refused::Because("ERR LIMIT can't be negative"))?;
        }
        let operands = self.operands(2, count)?;
        let mut found = 0;
        let _ = intersection(&operands, |_| {
            found += 1;
            if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.reply.count(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    type Sets = Vec<BTreeSet<String>>;

    /// What a command should tell of these sets.
    fn expected(command: &str, sets: &Sets) -> BTreeSet<String> {
        let all = sets.iter().flatten().cloned();
        match command {
            "SUNION" => all.collect(),
            "SINTER" => all.filter(|member| sets.iter().all(|set| set.contains(member))).collect(),
            _ => sets[0].iter().filter(|member| !sets[1..].iter().any(|set| set.contains(*member))).cloned().collect(),
        }
    }

    fn members(reply: &str) -> BTreeSet<String> {
        let words: Vec<String> = reply.split(' ').skip(2).step_by(2).map(str::to_owned).collect();
        let members: BTreeSet<String> = words.iter().cloned().collect();
        assert_eq!(members.len(), words.len(), "a member occurs twice");
        members
    }

    #[test]
    fn combinations_are_those_of_sets_in_whatever_form_and_number() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for round in 0..60 {
            let mut rig = Rig::new();
            let (mut sets, mut keys) = (Sets::new(), String::new());
            for n in 0..random.usize(1..[3, 12][round % 2]) {
                let size = [0, 3, 20, 400][random.usize(..4)];
                let prefix = ["", "", "m"][random.usize(..3)];
                let range = [10, 100, 600][random.usize(..3)];
                let set: BTreeSet<String> = (0..size).map(|_| format!("{prefix}{}", random.i32(..range))).collect();
                set.iter().for_each(|member| assert_eq!(rig.line(&format!("SADD {n} {member}")), ":1"));
                keys += &format!(" {n}");
                sets.push(set);
            }
            for command in ["SUNION", "SINTER", "SDIFF"] {
                let result = expected(command, &sets);
                assert_eq!(members(&rig.line(&format!("{command}{keys}"))), result, "seed {seed}: {command}");
                let stored = rig.line(&format!("{command}STORE d{keys}"));
                assert_eq!(stored, format!(":{}", result.len()), "seed {seed}: {command}");
                assert_eq!(members(&rig.line("SMEMBERS d")), result, "seed {seed}: {command}");
            }
            let common = expected("SINTER", &sets).len();
            for limit in [0, 1, 5, 1000] {
                let counted = rig.line(&format!("SINTERCARD {}{keys} LIMIT {limit}", sets.len()));
                assert_eq!(counted, format!(":{}", if limit == 0 { common } else { common.min(limit) }), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_result_replaces_what_its_key_held_even_an_operand() {
        let mut rig = Rig::new();
        rig.line("SADD a 1 2 3");
        rig.line("SADD b 3 4");
        rig.line("SET d string PX 5000");
        assert_eq!(rig.line("SINTERSTORE d a b"), ":1");
        assert_eq!(rig.line("PTTL d"), ":-1");
        assert_eq!(rig.line("SUNIONSTORE a a b"), ":4");
        assert_eq!(rig.line("SDIFFSTORE b b a"), ":0");
        assert_eq!(rig.line("EXISTS b"), ":0");
        assert_eq!(rig.line("SINTERSTORE none b a"), ":0");
        assert!(rig.edits.is_empty());
    }

    #[test]
    fn operands_are_refused_before_anything_is_done() {
        let mut rig = Rig::new();
        rig.line("SET string v");
        rig.line("SADD s a");
        for request in ["SINTER none string", "SUNION s string", "SDIFF none string", "SINTERSTORE d none string"] {
            assert!(rig.line(request).starts_with("-WRONGTYPE"), "{request}");
        }
        assert_eq!(rig.line("SINTERCARD 0 s"), "-ERR numkeys should be greater than 0");
        assert_eq!(rig.line("SINTERCARD x s"), "-ERR numkeys should be greater than 0");
        assert_eq!(rig.line("SINTERCARD 3 s s"), "-ERR Number of keys can't be greater than number of args");
        assert_eq!(rig.line("SINTERCARD 1 s LIMIT -1"), "-ERR LIMIT can't be negative");
        assert_eq!(rig.line("SINTERCARD 1 s LIMIT"), "-ERR syntax error");
        assert_eq!(rig.line("SINTERCARD 1 s other 1"), "-ERR syntax error");
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("SINTER s none"), "~0");
        assert_eq!(rig.line("SUNION s none"), "~1 $1 a");
    }
}
