//! Unions, intersections and differences of sorted sets and sets: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD.
//!
//! A plan works on a list of operands, wherever they are; an operand that is missing is empty, and all members of
//! a set have the score 1.

use std::ops::ControlFlow;

use hashbrown::HashMap;
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Builder;

use super::parse::{integer_argument, score_argument};
use super::registry::row::{READ, key, sorted_set};
use super::registry::{Flags, KeyFlags, KeySpec, Route, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch, take_room};
use crate::encoding::edit::{Change, Removal, ScoredBuffer};
use crate::encoding::slot::slot_of;
use crate::store::{Member, SetRef, SortedSetRef, Value};

const OPERANDS: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// The operands' number is argument 1.
const READ_KEYS: &[KeySpec] = &[KeySpec::counted(1, OPERANDS)];
/// Argument 1 is the destination, and argument 2 the operands' number.
const STORE_KEYS: &[KeySpec] = &[key(1, KeyFlags::OW.and(KeyFlags::UPDATE)), KeySpec::counted(2, OPERANDS)];
const STORES: Flags = Flags::WRITE.and(Flags::DENYOOM);

const UNION_COST: &str = "O(N + M log M), N being the number of all members, M that of the result's";
const INTER_COST: &str = "O(NK + M log M), N being the number of the smallest operand's members, K that of operands, \
                          M that of the result's members";
const DIFF_COST: &str = "O(NK + M log M), N being the number of the first operand's members, K that of operands, \
                         M that of the result's members";

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    sorted_set("zdiff", |p, _| p.zcombine(Operation::Diff, "zdiff"), -3, "numkeys key ... [WITHSCORES]", READ)
        .route(Route::OneCore)
        .keys(READ_KEYS)
        .about("6.2.0", DIFF_COST, "Tells the members of the first sorted set that no other has"),
    sorted_set(
        "zdiffstore",
        |p, s| p.zcombinestore(s, Operation::Diff, "zdiffstore"),
        -4,
        "destination numkeys key ...",
        STORES,
    )
    .route(Route::OneCore)
    .keys(STORE_KEYS)
    .about("6.2.0", DIFF_COST, "Stores the members of the first sorted set that no other has"),
    sorted_set(
        "zinter",
        |p, _| p.zcombine(Operation::Inter, "zinter"),
        -3,
        "numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]",
        READ,
    )
    .route(Route::OneCore)
    .keys(READ_KEYS)
    .about("6.2.0", INTER_COST, "Tells the members that all sorted sets have"),
    sorted_set("zintercard", |p, _| p.zintercard(), -3, "numkeys key ... [LIMIT limit]", READ)
        .route(Route::OneCore)
        .keys(READ_KEYS)
        .about(
            "7.0.0",
            "O(NK), N being the number of the smallest operand's members, K that of operands",
            "Counts the members that all sorted sets have",
        ),
    sorted_set(
        "zinterstore",
        |p, s| p.zcombinestore(s, Operation::Inter, "zinterstore"),
        -4,
        "destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM|MIN|MAX>]",
        STORES,
    )
    .route(Route::OneCore)
    .keys(STORE_KEYS)
    .about("2.0.0", INTER_COST, "Stores the members that all sorted sets have"),
    sorted_set(
        "zunion",
        |p, _| p.zcombine(Operation::Union, "zunion"),
        -3,
        "numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]",
        READ,
    )
    .route(Route::OneCore)
    .keys(READ_KEYS)
    .about("6.2.0", UNION_COST, "Tells the members that any of the sorted sets has"),
    sorted_set(
        "zunionstore",
        |p, s| p.zcombinestore(s, Operation::Union, "zunionstore"),
        -4,
        "destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM|MIN|MAX>]",
        STORES,
    )
    .route(Route::OneCore)
    .keys(STORE_KEYS)
    .about("2.0.0", UNION_COST, "Stores the members that any of the sorted sets has"),
];

/// How operands are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of a member in several operands become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // The sum of both infinities counts as 0.
            Self::Sum => score(a + b),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

/// A number as a score: 0 where it is not one (infinity times zero), or is -0.
fn score(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number + 0.0 }
}

/// Score of each member of a set.
const SCORE_IN_SET: f64 = 1.0;

/// A value that is combined with others.
#[derive(Clone, Copy)]
enum Operand<'p> {
    Missing,
    Set(SetRef<'p>),
    SortedSet(SortedSetRef<'p>),
}

impl<'p> Operand<'p> {
    fn of(value: Option<Value<'p>>) -> Result<Self, Refused> {
        match value {
            None => Ok(Self::Missing),
            Some(Value::Set(set)) => Ok(Self::Set(set)),
            Some(Value::SortedSet(sorted_set)) => Ok(Self::SortedSet(sorted_set)),
            Some(_) => Err(Refused::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(sorted_set) => sorted_set.len(),
        }
    }

    fn score(self, member: Member<'_>) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Set(set) => set.contains(member).then_some(SCORE_IN_SET),
            Self::SortedSet(sorted_set) => member.with(|member| sorted_set.score(member)),
        }
    }

    fn for_each(self, mut visit: impl FnMut(Member<'p>, f64) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Self::Missing => ControlFlow::Continue(()),
            Self::Set(set) => set.for_each(|member| visit(member, SCORE_IN_SET)),
            Self::SortedSet(sorted_set) => sorted_set.for_each(|member, score| visit(Member::Bytes(member), score)),
        }
    }
}

/// An operand, and the factor of its scores.
#[derive(Clone, Copy)]
struct Weighted<'p> {
    operand: Operand<'p>,
    weight: f64,
}

impl<'p> Weighted<'p> {
    fn score(self, member: Member<'_>) -> Option<f64> {
        self.operand.score(member).map(|own| score(own * self.weight))
    }

    fn for_each(self, mut visit: impl FnMut(Member<'p>, f64) -> ControlFlow<()>) -> ControlFlow<()> {
        self.operand.for_each(|member, own| visit(member, score(own * self.weight)))
    }
}

/// Operands and options of a request.
struct Combination<'p> {
    operands: SmallVec<[Weighted<'p>; 4]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members at which ZINTERCARD stops counting; 0 for none.
    limit: usize,
}

/// Members of a result, ascending.
type Combined<'p> = Vec<(Member<'p>, f64)>;

impl<'p> Combination<'p> {
    /// Combines the operands.
    fn combine(mut self, operation: Operation, seed: u64) -> Combined<'p> {
        let mut members = match operation {
            Operation::Union => self.union(seed),
            Operation::Inter => {
                let mut members = Vec::new();
                let _ = self.intersect(|member, score| {
                    members.push((member, score));
                    ControlFlow::Continue(())
                });
                members
            }
            Operation::Diff => self.difference(),
        };
        members.sort_unstable_by(|a, b| {
            a.1.total_cmp(&b.1).then_with(|| a.0.with(|one| b.0.with(|other| one.cmp(other))))
        });
        members
    }

    /// Puts the smallest operand first. Scores are added in this order, on which the last digit of a sum depends.
    fn sort(&mut self) {
        self.operands.sort_by_key(|weighted| weighted.operand.len());
    }

    fn union(&mut self, seed: u64) -> Combined<'p> {
        self.sort();
        let most = self.operands.last().map_or(0, |weighted| weighted.operand.len());
        let mut union = HashMap::with_capacity_and_hasher(most, Xxh3Builder::new().with_seed(seed));
        for weighted in &self.operands {
            let _ = weighted.for_each(|member, score| {
                union
                    .entry(member)
                    .and_modify(|present| *present = self.aggregate.of(*present, score))
                    .or_insert(score);
                ControlFlow::Continue(())
            });
        }
        union.into_iter().collect()
    }

    /// Visits the members that all operands have.
    fn intersect(&mut self, mut visit: impl FnMut(Member<'p>, f64) -> ControlFlow<()>) -> ControlFlow<()> {
        self.sort();
        let Some((first, others)) = self.operands.split_first() else { return ControlFlow::Continue(()) };
        first.for_each(|member, score| {
            let mut scores = others.iter().map(|other| other.score(member));
            match scores.try_fold(score, |sum, score| Some(self.aggregate.of(sum, score?))) {
                Some(score) => visit(member, score),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// The members of the first operand that no other one has.
    fn difference(&self) -> Combined<'p> {
        let Some((first, others)) = self.operands.split_first() else { return Vec::new() };
        let mut members = Vec::new();
        let _ = first.for_each(|member, score| {
            if others.iter().all(|other| other.operand.score(member).is_none()) {
                members.push((member, score));
            }
            ControlFlow::Continue(())
        });
        members
    }
}

/// What a request may say after its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Reply,
    Store,
    Count,
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// Looks up the operands, whose number is argument `at`, and parses the options after them.
    fn weighted_operands(
        &mut self,
        at: usize,
        operation: Operation,
        form: Form,
        name: &'static str,
    ) -> Result<Combination<'p>, Refused> {
        let count = integer_argument(self.args.at(at))?;
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Refused::NoOperands(name))?;
        let end = count.checked_add(at + 1).filter(|end| *end <= self.args.len()).ok_or(Refused::Syntax)?;
        let mut operands = SmallVec::new();
        for key in self.args.from(at + 1).take(count) {
            let value = self.find(slot_of(key), key).map(|entry| entry.value);
            operands.push(Weighted { operand: Operand::of(value)?, weight: 1.0 });
        }
        let mut combination = Combination { operands, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let scores_count = operation != Operation::Diff && form != Form::Count;
        let mut words = self.args.from(end);
        while let Some(word) = words.next() {
            if scores_count && word.eq_ignore_ascii_case(b"WEIGHTS") && words.len() >= count {
                for (weighted, weight) in combination.operands.iter_mut().zip(words.by_ref().take(count)) {
                    let weight = score_argument(weight);
                    weighted.weight = weight.map_err(|_| Refused::Because("ERR weight value is not a float"))?;
                }
            } else if scores_count && word.eq_ignore_ascii_case(b"AGGREGATE") {
                combination.aggregate = match words.next() {
                    Some(word) if word.eq_ignore_ascii_case(b"SUM") => Aggregate::Sum,
                    Some(word) if word.eq_ignore_ascii_case(b"MIN") => Aggregate::Min,
                    Some(word) if word.eq_ignore_ascii_case(b"MAX") => Aggregate::Max,
                    _ => return Err(Refused::Syntax),
                };
            } else if form == Form::Reply && word.eq_ignore_ascii_case(b"WITHSCORES") {
                combination.with_scores = true;
            } else if form == Form::Count && word.eq_ignore_ascii_case(b"LIMIT") {
                let limit = integer_argument(words.next().ok_or(Refused::Syntax)?).ok();
                let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                combination.limit = limit.ok_or(Refused::Because("ERR LIMIT can't be negative"))?;
            } else {
                return Err(Refused::Syntax);
            }
        }
        Ok(combination)
    }

    /// ZUNION, ZINTER, ZDIFF numkeys key ... [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]
    fn zcombine(&mut self, operation: Operation, name: &'static str) -> Planned {
        let combination = self.weighted_operands(1, operation, Form::Reply, name)?;
        let with_scores = combination.with_scores;
        let members = combination.combine(operation, self.context.random);
        let nested = self.begin_members(members.len(), with_scores);
        for (member, score) in members {
            member.with(|member| self.write_member(member, with_scores.then_some(score), nested));
        }
        Ok(())
    }

    /// ZINTERCARD numkeys key ... [LIMIT limit]
    pub(super) fn zintercard(&mut self) -> Planned {
        let mut combination = self.weighted_operands(1, Operation::Inter, Form::Count, "zintercard")?;
        let (mut count, limit) = (0, combination.limit);
        let _ = combination.intersect(|_, _| {
            count += 1;
            if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.reply.count(count);
        Ok(())
    }

    /// ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE destination numkeys key ... [WEIGHTS weight ...]
    /// [AGGREGATE SUM | MIN | MAX]
    fn zcombinestore(&mut self, scratch: &'a mut Scratch, operation: Operation, name: &'static str) -> Planned {
        let combination = self.weighted_operands(2, operation, Form::Store, name)?;
        let members = combination.combine(operation, self.context.random);
        scratch.clear();
        let mut stored = Stored::new(scratch);
        let copied =
            members.into_iter().try_for_each(|(member, score)| member.with(|member| stored.push(member, score)));
        stored.check(copied)?;
        self.store_members(self.args.at(1), stored)
    }

    /// Plans that a key holds exactly these members, and replies their number.
    pub(super) fn store_members(&mut self, key: &'a [u8], members: Stored<'a>) -> Planned {
        let (db, slot) = (self.context.db, self.here(key)?);
        let members = members.buffer.members();
        self.reply.count(members.len());
        let present = self.peek(db, slot, key);
        if !members.is_empty() {
            self.edit(db, slot, key, Change::PutSortedSet { members, expire_at: None });
        } else if present.is_some() {
            self.edit(db, slot, key, Change::Delete(Removal::Deleted));
        }
        Ok(())
    }
}

/// Members that become one value, in ascending order.
pub(super) struct Stored<'a> {
    buffer: &'a mut ScoredBuffer,
    /// Bytes that the edit may still take.
    room: usize,
}

impl<'a> Stored<'a> {
    /// No members yet; `scratch` has been cleared.
    pub(super) fn new(scratch: &'a mut Scratch) -> Self {
        Self { buffer: &mut scratch.scored, room: MAX_CONTENT }
    }

    /// Adds a member; breaks if it is too much for one edit.
    pub(super) fn push(&mut self, member: &[u8], score: f64) -> ControlFlow<()> {
        self.buffer.push(member, score);
        take_room(&mut self.room, member.len() + size_of_val(&score))
    }

    /// Refuses unless all members have been added.
    pub(super) fn check(&self, pushed: ControlFlow<()>) -> Planned {
        if pushed.is_continue() { Ok(()) } else { Err(Refused::Because("ERR the result is too large to be stored")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    fn rig() -> Rig {
        let mut rig = Rig::new();
        rig.line("ZADD a 1 one 2 two 3 three");
        rig.line("ZADD b 10 two 20 three 30 four -inf five");
        rig.line("SET string value");
        rig
    }

    #[test]
    fn scores_are_weighted_and_aggregated() {
        let mut rig = rig();
        for (request, reply) in [
            ("ZUNION 2 a b", "*5 $4 five $3 one $3 two $5 three $4 four"),
            ("ZINTER 2 a b WITHSCORES", "*4 $3 two $2 12 $5 three $2 23"),
            ("ZINTER 2 a b WEIGHTS 2 0.5 WITHSCORES", "*4 $3 two $1 9 $5 three $2 16"),
            ("ZINTER 2 b a AGGREGATE MIN WITHSCORES", "*4 $3 two $1 2 $5 three $1 3"),
            ("ZINTER 3 a b a AGGREGATE MAX WITHSCORES", "*4 $3 two $2 10 $5 three $2 20"),
            ("ZUNION 1 b WEIGHTS 0 WITHSCORES", "*8 $4 five $1 0 $4 four $1 0 $5 three $1 0 $3 two $1 0"),
            ("ZUNION 2 b b WEIGHTS 1 -1 WITHSCORES", "*8 $4 five $1 0 $4 four $1 0 $5 three $1 0 $3 two $1 0"),
            ("ZDIFF 2 a b WITHSCORES", "*2 $3 one $1 1"),
            ("ZDIFF 2 none a", "*0"),
            ("ZINTER 2 a none", "*0"),
            ("ZINTERCARD 2 a b", ":2"),
            ("ZINTERCARD 2 a b LIMIT 1", ":1"),
            ("ZINTERCARD 2 a b LIMIT 0", ":2"),
            ("ZUNION 2 a string", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command"),
            ("ZUNION 2 a", "-ERR syntax error"),
            ("ZDIFF 1 a WEIGHTS 1", "-ERR syntax error"),
            ("ZUNION 1 a WEIGHTS nan", "-ERR weight value is not a float"),
            ("ZINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("ZUNIONSTORE a 1 b WITHSCORES", "-ERR syntax error"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("ZDIFF 2 a b WITHSCORES"), "*1 *2 $3 one ,1");
    }

    #[test]
    fn a_result_replaces_whatever_the_destination_held() {
        let mut rig = rig();
        rig.line("PEXPIRE string 5000");
        assert_eq!(rig.line("ZUNIONSTORE string 2 a b"), ":5");
        assert_eq!(rig.line("PTTL string"), ":-1");
        assert_eq!(rig.line("TYPE string"), "+zset");
        assert_eq!(rig.line("ZINTERSTORE a 2 a b WEIGHTS 1 0"), ":2");
        assert_eq!(rig.line("ZRANGE a 0 -1 WITHSCORES"), "*4 $3 two $1 2 $5 three $1 3");
        assert_eq!(rig.line("ZDIFFSTORE a 2 a a"), ":0");
        assert_eq!(rig.line("EXISTS a"), ":0");
        assert_eq!(rig.line("ZDIFFSTORE a 2 a a"), ":0");
        assert!(rig.edits.is_empty());
    }
}
