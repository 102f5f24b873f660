//! Commands that change sorted sets member by member: ZADD, ZINCRBY, ZREM, ZPOPMIN, ZPOPMAX, ZMPOP.

use hashbrown::HashMap;
use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Builder;

use super::parse::{positive_argument, score_argument, unsigned_argument};
use super::registry::row::{CHANGED, PUT_FAST, READ_AND_CHANGED, WRITE_FAST, key, sorted_set};
use super::registry::{Flags, KeyFlags, KeySpec, Route, Spec};
use super::seen::Seen;
use super::sorted_set_spans::Way;
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::resp::{Args, Protocol};
use crate::encoding::slot::slot_of;
use crate::store::SortedSetRef;

const POPPED: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    sorted_set("zadd", |p, s| p.zadd(s), -4, "key [NX|XX] [GT|LT] [CH] [INCR] <score member> ...", PUT_FAST)
        .keys(CHANGED)
        .about(
            "1.2.0",
            "O(log N) for each member given, N being the number of members",
            "Adds members with scores, or changes the scores of members",
        ),
    sorted_set("zincrby", |p, s| p.zincrby(s), 4, "key increment member", PUT_FAST).keys(READ_AND_CHANGED).about(
        "1.2.0",
        "O(log N), N being the number of members",
        "Adds so much to the score of a member",
    ),
    sorted_set("zmpop", |p, _| p.zmpop(), -4, "numkeys key ... <MIN|MAX> [COUNT count]", Flags::WRITE)
        .route(Route::OneCore)
        .keys(&[KeySpec::counted(1, POPPED)])
        .about(
            "7.0.0",
            "O(K + M log N), K being the number of keys, N that of members, M that of members removed",
            "Removes the least or greatest members of the first sorted set that is there, and tells them",
        ),
    sorted_set("zpopmax", |p, _| p.zpop(Way::Descending), -2, "key [count]", WRITE_FAST).keys(&[key(1, POPPED)]).about(
        "5.0.0",
        "O(M log N), N being the number of members, M that of members removed",
        "Removes the members with the greatest scores, and tells them",
    ),
    sorted_set("zpopmin", |p, _| p.zpop(Way::Ascending), -2, "key [count]", WRITE_FAST).keys(&[key(1, POPPED)]).about(
        "5.0.0",
        "O(M log N), N being the number of members, M that of members removed",
        "Removes the members with the least scores, and tells them",
    ),
    sorted_set("zrem", |p, s| p.zrem(s), -3, "key member ...", WRITE_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE))])
        .about(
            "1.2.0",
            "O(M log N), N being the number of members, M that of members given",
            "Removes members, and the key with the last of them",
        ),
];

const NOT_A_SCORE: Refused = Refused::Because("ERR resulting score is not a number (NaN)");

/// Options of ZADD.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    /// Members that are there stay as they are.
    pub(super) nx: bool,
    /// Members that are not there are not added.
    pub(super) xx: bool,
    /// Scores only grow.
    gt: bool,
    /// Scores only shrink.
    lt: bool,
    /// The reply counts changed members as well as new ones.
    pub(super) ch: bool,
    /// The score is added to the member's present one.
    incr: bool,
}

impl Options {
    /// Parses the options. Also returns the position of the first score.
    fn parse(args: Args<'_>) -> Result<(Self, usize), Refused> {
        let mut options = Self::default();
        let mut at = 2;
        for word in args.from(2) {
            match () {
                () if word.eq_ignore_ascii_case(b"NX") => options.nx = true,
                () if word.eq_ignore_ascii_case(b"XX") => options.xx = true,
                () if word.eq_ignore_ascii_case(b"GT") => options.gt = true,
                () if word.eq_ignore_ascii_case(b"LT") => options.lt = true,
                () if word.eq_ignore_ascii_case(b"CH") => options.ch = true,
                () if word.eq_ignore_ascii_case(b"INCR") => options.incr = true,
                () => break,
            }
            at += 1;
        }
        let words = args.len() - at;
        if words == 0 || !words.is_multiple_of(2) {
            return Err(Refused::Syntax);
        }
        if options.nx && options.xx {
            return Err(Refused::Because("ERR XX and NX options at the same time are not compatible"));
        }
        if u8::from(options.nx) + u8::from(options.gt) + u8::from(options.lt) > 1 {
            return Err(Refused::Because("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if options.incr && words > 2 {
            return Err(Refused::Because("ERR INCR option supports a single increment-element pair"));
        }
        Ok((options, at))
    }

    /// Score that a member gets; `None` if the options keep it as it is.
    fn score(self, present: Option<f64>, given: f64) -> Result<Option<f64>, Refused> {
        let Some(present) = present else { return Ok((!self.xx).then_some(given)) };
        if self.nx {
            return Ok(None);
        }
        let score = if self.incr { present + given } else { given };
        if score.is_nan() {
            return Err(NOT_A_SCORE);
        }
        let keeps = self.lt && score >= present || self.gt && score <= present;
        Ok((!keeps).then_some(score))
    }
}

/// Scores that earlier pairs of the same request have given to members.
#[derive(Default)]
struct Given<'a> {
    few: SmallVec<[(&'a [u8], f64); FEW]>,
    /// All of them, once there are more than a few.
    many: Option<HashMap<&'a [u8], f64, Xxh3Builder>>,
}

/// Number of members up to which a linear search is fastest.
const FEW: usize = 16;

impl<'a> Given<'a> {
    fn get(&self, member: &[u8]) -> Option<f64> {
        match &self.many {
            Some(many) => many.get(member).copied(),
            None => self.few.iter().rev().find(|(other, _)| *other == member).map(|(_, score)| *score),
        }
    }

    fn set(&mut self, member: &'a [u8], score: f64, seed: u64) {
        if let Some(many) = &mut self.many {
            many.insert(member, score);
            return;
        }
        self.few.push((member, score));
        if self.few.len() == FEW {
            let mut many = HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
            many.extend(self.few.drain(..));
            self.many = Some(many);
        }
    }
}

/// What ZADD has done.
#[derive(Default)]
pub(super) struct Added {
    /// Number of members that were not there.
    new: usize,
    /// Number of members that were there and have another score now.
    changed: usize,
    /// Score of the last member; `None` if the options kept it as it was.
    score: Option<f64>,
}

impl Added {
    /// Number that the reply tells.
    pub(super) const fn counted(&self, options: Options) -> usize {
        if options.ch { self.new + self.changed } else { self.new }
    }
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member ...
    #[inline]
    pub(super) fn zadd(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (options, at) = Options::parse(self.args)?;
        let added = self.add_pairs(scratch, options, at)?;
        match added.score {
            Some(score) if options.incr => self.reply.double(score),
            None if options.incr => self.reply.null(),
            _ => self.reply.count(added.counted(options)),
        }
        Ok(())
    }

    /// ZINCRBY key increment member
    pub(super) fn zincrby(&mut self, scratch: &'a mut Scratch) -> Planned {
        let added = self.add_pairs(scratch, Options { incr: true, ..Options::default() }, 2)?;
        added.score.into_iter().for_each(|score| self.reply.double(score));
        Ok(())
    }

    /// Plans to set the scores of members, which are in pairs from argument `at` on.
    #[inline]
    fn add_pairs(&mut self, scratch: &'a mut Scratch, options: Options, at: usize) -> Result<Added, Refused> {
        let scores = self.args.from(at).step_by(2).map(score_argument).collect::<Result<_, _>>()?;
        let args = self.args;
        self.add(scratch, options, scores, args.from(at + 1).step_by(2))
    }

    /// Plans to set the scores of members.
    #[inline]
    pub(super) fn add(
        &mut self,
        scratch: &'a mut Scratch,
        options: Options,
        scores: SmallVec<[f64; 4]>,
        members: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Added, Refused> {
        let sorted_set = self.first_sorted_set()?;
        let several = scores.len() > 1;
        let (mut added, mut given) = (Added::default(), Given::default());
        scratch.clear();
        for (score, member) in scores.into_iter().zip(members) {
            let earlier = if several { given.get(member) } else { None };
            let present = earlier.or_else(|| sorted_set.and_then(|sorted_set| sorted_set.score(member)));
            added.score = options.score(present, score)?;
            let Some(score) = added.score else { continue };
            match present {
                Some(present) if present == score => continue,
                Some(_) => added.changed += 1,
                None => added.new += 1,
            }
            if several {
                given.set(member, score, self.context.random);
            }
            scratch.scored.push(member, score);
        }
        if added.new + added.changed > 0 {
            self.edit_first(Change::SetScores(scratch.scored.members()));
        }
        Ok(added)
    }

    /// ZREM key member ...
    pub(super) fn zrem(&mut self, scratch: &'a mut Scratch) -> Planned {
        let sorted_set = self.first_sorted_set()?;
        scratch.clear();
        let mut removed = 0;
        if let Some(sorted_set) = sorted_set {
            let mut seen = Seen::default();
            for member in self.args.from(2) {
                if sorted_set.score(member).is_some() && seen.is_new(member, self.context.random) {
                    scratch.elements.push(member);
                    removed += 1;
                }
            }
        }
        if removed > 0 {
            self.edit_first(Change::RemoveScored(scratch.elements.elements()));
        }
        self.reply.count(removed);
        Ok(())
    }

    /// ZPOPMIN key [count], ZPOPMAX key [count]
    pub(super) fn zpop(&mut self, way: Way) -> Planned {
        let count = match (self.args.get(2), self.args.len()) {
            (None, _) => 1,
            (Some(count), 3) => {
                let count = unsigned_argument(count, "ERR value is out of range, must be positive")?;
                usize::try_from(count).unwrap_or(usize::MAX)
            }
            _ => return Err(Refused::Syntax),
        };
        let Some(sorted_set) = self.first_sorted_set()?.filter(|_| count > 0) else {
            self.reply.array(0);
            return Ok(());
        };
        let nested = self.args.len() == 3 && self.reply.protocol() == Protocol::Resp3;
        self.pop_scored(sorted_set, self.args.at(1), count, way, nested);
        Ok(())
    }

    /// ZMPOP numkeys key ... MIN|MAX [COUNT count]
    pub(super) fn zmpop(&mut self) -> Planned {
        let keys = positive_argument(self.args.at(1), "ERR numkeys should be greater than 0")?;
        let at = keys.checked_add(2).filter(|at| *at < self.args.len()).ok_or(Refused::Syntax)?;
        let way = match self.args.at(at) {
            word if word.eq_ignore_ascii_case(b"MIN") => Way::Ascending,
            word if word.eq_ignore_ascii_case(b"MAX") => Way::Descending,
            _ => return Err(Refused::Syntax),
        };
        let count = match (self.args.get(at + 1), self.args.get(at + 2), self.args.len() - at) {
            (None, ..) => 1,
            (Some(word), Some(count), 3..) if word.eq_ignore_ascii_case(b"COUNT") => {
                let count = positive_argument(count, "ERR count should be greater than 0")?;
                if self.args.len() - at > 3 {
                    return Err(Refused::Syntax);
                }
                count
            }
            _ => return Err(Refused::Syntax),
        };
        for key in self.args.from(2).take(keys) {
            if let Some(sorted_set) = self.sorted_set_of(key)? {
                self.reply.array(2);
                self.reply.bulk(key);
                self.pop_scored(sorted_set, key, count, way, true);
                return Ok(());
            }
        }
        self.reply.null_array();
        Ok(())
    }

    /// Looks up a key that must hold a sorted set.
    pub(super) fn sorted_set_of(&mut self, key: &'a [u8]) -> Result<Option<SortedSetRef<'p>>, Refused> {
        super::sorted_set_in(self.find(slot_of(key), key))
    }

    /// Plans to remove up to `count` members from one end, and replies them: as pairs if `nested`, else flat.
    fn pop_scored(&mut self, sorted_set: SortedSetRef<'_>, key: &'a [u8], count: usize, way: Way, nested: bool) {
        let count = count.min(sorted_set.len());
        let first = match way {
            Way::Ascending => 0,
            Way::Descending => sorted_set.len() - count,
        };
        let change = if count == sorted_set.len() {
            Change::Delete(Removal::Deleted)
        } else {
            Change::RemoveRanks { first: first as u64, count: count as u64 }
        };
        self.edit(self.context.db, slot_of(key), key, change);
        self.reply.array(if nested { count } else { 2 * count });
        self.write_ranks(sorted_set, first..first + count, way, true, nested);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    #[test]
    fn a_member_named_several_times_gets_its_scores_one_after_the_other() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("ZADD z 1 a 2 a 3 b 3 b"), ":2");
        assert_eq!(rig.line("ZADD z CH 5 a 5 a 4 a"), ":2");
        assert_eq!(rig.line("ZADD z GT CH 9 a 7 a 11 a"), ":2");
        assert_eq!(rig.line("ZADD z NX CH 1 c 2 c"), ":1");
        assert_eq!(rig.line("ZRANGE z 0 -1 WITHSCORES"), "*6 $1 c $1 1 $1 b $1 3 $1 a $2 11");
        let many = (0..40).map(|n| format!(" {n} m{}", n % 20)).collect::<String>();
        assert_eq!(rig.line(&format!("ZADD y CH{many}")), ":40");
        assert_eq!(rig.line("ZSCORE y m3"), "$2 23");
    }

    #[test]
    fn nothing_is_logged_where_nothing_changes() {
        let mut rig = Rig::new();
        rig.line("ZADD z 1 a");
        for request in [
            "ZADD z 1 a",
            "ZADD z NX 2 a",
            "ZADD z XX 2 b",
            "ZADD z GT 0.5 a",
            "ZADD z XX GT INCR -1 a",
            "ZADD z 1 a 1 a",
            "ZINCRBY z 0 a",
            "ZREM z b",
            "ZADD y XX 1 a",
            "ZPOPMIN z 0",
            "ZMPOP 1 y MIN",
        ] {
            rig.line(request);
            assert!(rig.edits.is_empty(), "{request}: {:?}", rig.edits);
        }
    }

    #[test]
    fn a_sum_that_is_no_number_is_refused() {
        let mut rig = Rig::new();
        rig.line("ZADD z inf a -0 b");
        assert_eq!(rig.line("ZINCRBY z -inf a"), "-ERR resulting score is not a number (NaN)");
        assert_eq!(rig.line("ZADD z INCR -inf a"), "-ERR resulting score is not a number (NaN)");
        assert_eq!(rig.line("ZSCORE z a"), "$3 inf");
        assert_eq!(rig.line("ZSCORE z b"), "$1 0");
    }

    #[test]
    fn the_last_member_takes_the_key_with_it() {
        let mut rig = Rig::new();
        for request in ["ZREM z a b", "ZPOPMIN z 2", "ZPOPMAX z 9", "ZMPOP 2 y z MAX COUNT 2", "ZREMRANGEBYRANK z 0 -1"]
        {
            rig.line("ZADD z 1 a 2 b");
            assert!(!rig.line(request).starts_with('-'), "{request}");
            assert_eq!(rig.line("EXISTS z"), ":0", "{request}");
        }
    }

    #[test]
    fn popped_members_come_in_pairs_where_redis_has_pairs() {
        let mut rig = Rig::new();
        rig.line("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f");
        assert_eq!(rig.line("ZPOPMIN z"), "*2 $1 a $1 1");
        assert_eq!(rig.line("ZPOPMAX z 2"), "*4 $1 f $1 6 $1 e $1 5");
        assert_eq!(rig.line("ZMPOP 1 z MIN"), "*2 $1 z *1 *2 $1 b $1 2");
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("ZPOPMIN z 1"), "*1 *2 $1 c ,3");
        assert_eq!(rig.line("ZPOPMAX z"), "*2 $1 d ,4");
    }
}
