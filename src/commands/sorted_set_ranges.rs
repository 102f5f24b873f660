//! Commands on ranges of sorted sets, by rank, score or member: ZRANGE, ZCOUNT, ZREMRANGEBYSCORE and related ones.
//!
//! Each range becomes a range of ranks with two searches. What is counted, skipped, told or removed follows from that,
//! so that nothing outside the range is visited.

use std::ops::{ControlFlow, Range};

use super::registry::row::{LOOKED_AT, READ, READ_FAST, READ_FROM, key, sorted_set};
use super::registry::{Flags, KeyFlags, KeySpec, Route, Spec};
use super::sorted_set_spans::{By, Span, Wanted, Way};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::resp::Protocol;
use crate::store::SortedSetRef;

const TOLD: &str = "O(log N + M), N being the number of members, M that of members returned";
const REMOVED: &str = "O(log N + M), N being the number of members, M that of members removed";
const PART_REMOVED: &[KeySpec] = &[key(1, KeyFlags::RW.and(KeyFlags::DELETE))];

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] =
    &[
        sorted_set("zcount", |p, _| p.zcount(By::Score), 4, "key min max", READ_FAST).keys(READ_FROM).about(
            "2.0.0",
            "O(log N), N being the number of members",
            "Counts the members with scores in a range",
        ),
        sorted_set("zlexcount", |p, _| p.zcount(By::Lex), 4, "key min max", READ_FAST).keys(READ_FROM).about(
            "2.8.9",
            "O(log N), N being the number of members",
            "Counts the members in a range of byte strings",
        ),
        sorted_set(
            "zrange",
            |p, _| p.zrange(None, None),
            -4,
            "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            READ,
        )
        .keys(READ_FROM)
        .about("1.2.0", TOLD, "Tells the members in a range"),
        sorted_set(
            "zrangebylex",
            |p, _| p.zrange(Some(By::Lex), Some(Way::Ascending)),
            -4,
            "key min max [LIMIT offset count]",
            READ,
        )
        .keys(READ_FROM)
        .deprecated("6.2.0", "`ZRANGE` with `BYLEX`")
        .about("2.8.9", TOLD, "Tells the members in a range of byte strings"),
        sorted_set(
            "zrangebyscore",
            |p, _| p.zrange(Some(By::Score), Some(Way::Ascending)),
            -4,
            "key min max [WITHSCORES] [LIMIT offset count]",
            READ,
        )
        .keys(READ_FROM)
        .deprecated("6.2.0", "`ZRANGE` with `BYSCORE`")
        .about("1.0.5", TOLD, "Tells the members with scores in a range"),
        sorted_set(
            "zrangestore",
            |p, s| p.zrangestore(s),
            -5,
            "destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]",
            Flags::WRITE.and(Flags::DENYOOM),
        )
        .route(Route::OneCore)
        .keys(&[key(1, KeyFlags::OW.and(KeyFlags::UPDATE)), key(2, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .about(
            "6.2.0",
            "O(log N + M), N being the number of members, M that of members stored",
            "Stores the members in a range",
        ),
        sorted_set("zremrangebylex", |p, _| p.zremrange(By::Lex), 4, "key min max", Flags::WRITE)
            .keys(PART_REMOVED)
            .about("2.8.9", REMOVED, "Removes the members in a range of byte strings"),
        sorted_set("zremrangebyrank", |p, _| p.zremrange(By::Rank), 4, "key start stop", Flags::WRITE)
            .keys(PART_REMOVED)
            .about("2.0.0", REMOVED, "Removes the members with ranks in a range"),
        sorted_set("zremrangebyscore", |p, _| p.zremrange(By::Score), 4, "key min max", Flags::WRITE)
            .keys(PART_REMOVED)
            .about("1.2.0", REMOVED, "Removes the members with scores in a range"),
        sorted_set(
            "zrevrange",
            |p, _| p.zrange(Some(By::Rank), Some(Way::Descending)),
            -4,
            "key start stop [WITHSCORES]",
            READ,
        )
        .keys(READ_FROM)
        .deprecated("6.2.0", "`ZRANGE` with `REV`")
        .about("1.2.0", TOLD, "Tells the members with ranks in a range, counted from the greatest"),
        sorted_set(
            "zrevrangebylex",
            |p, _| p.zrange(Some(By::Lex), Some(Way::Descending)),
            -4,
            "key max min [LIMIT offset count]",
            READ,
        )
        .keys(READ_FROM)
        .deprecated("6.2.0", "`ZRANGE` with `REV` and `BYLEX`")
        .about("2.8.9", TOLD, "Tells the members in a range of byte strings, from the greatest on"),
        sorted_set(
            "zrevrangebyscore",
            |p, _| p.zrange(Some(By::Score), Some(Way::Descending)),
            -4,
            "key max min [WITHSCORES] [LIMIT offset count]",
            READ,
        )
        .keys(READ_FROM)
        .deprecated("6.2.0", "`ZRANGE` with `REV` and `BYSCORE`")
        .about("2.2.0", TOLD, "Tells the members with scores in a range, from the greatest on"),
        sorted_set("zrank", |p, _| p.zrank(Way::Ascending, "zrank"), -3, "key member [WITHSCORE]", READ_FAST)
            .keys(READ_FROM)
            .about("2.0.0", "O(log N), N being the number of members", "Tells the rank of a member"),
        sorted_set("zrevrank", |p, _| p.zrank(Way::Descending, "zrevrank"), -3, "key member [WITHSCORE]", READ_FAST)
            .keys(READ_FROM)
            .about(
                "2.0.0",
                "O(log N), N being the number of members",
                "Tells the rank of a member, counted from the greatest",
            ),
        sorted_set("zcard", |p, _| p.zcard(), 2, "key", READ_FAST).keys(LOOKED_AT).about(
            "1.2.0",
            "O(1)",
            "Counts the members",
        ),
    ];

impl<'a> Plan<'_, 'a, '_> {
    /// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES], and the older forms that say by
    /// their names what it goes by and which way.
    pub(super) fn zrange(&mut self, by: Option<By>, way: Option<Way>) -> Planned {
        let wanted = Wanted::parse(self.args, 2, by, way, false)?;
        let Some(sorted_set) = self.first_sorted_set()? else {
            self.reply.array(0);
            return Ok(());
        };
        let ranks = wanted.ranks(sorted_set);
        let nested = self.begin_members(ranks.len(), wanted.with_scores);
        self.write_ranks(sorted_set, ranks, wanted.way, wanted.with_scores, nested);
        Ok(())
    }

    /// Begins a reply of `count` members. With scores, they are pairs in RESP3 and a flat array in RESP2. Returns
    /// whether they are pairs.
    pub(super) fn begin_members(&mut self, count: usize, with_scores: bool) -> bool {
        let nested = with_scores && self.reply.protocol() == Protocol::Resp3;
        self.reply.array(if with_scores && !nested { count.saturating_mul(2) } else { count });
        nested
    }

    /// Appends one member to a reply.
    pub(super) fn write_member(&mut self, member: &[u8], score: Option<f64>, nested: bool) {
        if nested {
            self.reply.array(2);
        }
        self.reply.bulk(member);
        if let Some(score) = score {
            self.reply.double(score);
        }
    }

    /// Appends the members of these ranks to a reply.
    pub(super) fn write_ranks(
        &mut self,
        sorted_set: SortedSetRef<'_>,
        ranks: Range<usize>,
        way: Way,
        with_scores: bool,
        nested: bool,
    ) {
        let _ = sorted_set.walk(ranks, way == Way::Descending, |member, score| {
            self.write_member(member, with_scores.then_some(score), nested);
            ControlFlow::<()>::Continue(())
        });
    }

    /// ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
    pub(super) fn zrangestore(&mut self, scratch: &'a mut Scratch) -> Planned {
        let wanted = Wanted::parse(self.args, 3, None, None, true)?;
        let source = self.sorted_set_of(self.args.at(2))?;
        scratch.clear();
        let mut members = super::sorted_set_algebra::Stored::new(scratch);
        if let Some(sorted_set) = source {
            // Ascending, whichever way the limit was counted: that is how they are stored.
            let copied = sorted_set.walk(wanted.ranks(sorted_set), false, |member, score| members.push(member, score));
            members.check(copied)?;
        }
        self.store_members(self.args.at(1), members)
    }

    /// ZCOUNT key min max, ZLEXCOUNT key min max
    pub(super) fn zcount(&mut self, by: By) -> Planned {
        let span = Span::parse(by, Way::Ascending, self.args.at(2), self.args.at(3))?;
        let sorted_set = self.first_sorted_set()?;
        self.reply.count(sorted_set.map_or(0, |sorted_set| span.ranks(sorted_set, Way::Ascending).len()));
        Ok(())
    }

    /// ZREMRANGEBYRANK key start stop, ZREMRANGEBYSCORE key min max, ZREMRANGEBYLEX key min max
    pub(super) fn zremrange(&mut self, by: By) -> Planned {
        let span = Span::parse(by, Way::Ascending, self.args.at(2), self.args.at(3))?;
        let mut removed = 0;
        if let Some(sorted_set) = self.first_sorted_set()? {
            let ranks = span.ranks(sorted_set, Way::Ascending);
            removed = ranks.len();
            if removed == sorted_set.len() {
                self.edit_first(Change::Delete(Removal::Deleted));
            } else if removed > 0 {
                self.edit_first(Change::RemoveRanks { first: ranks.start as u64, count: removed as u64 });
            }
        }
        self.reply.count(removed);
        Ok(())
    }

    /// ZRANK key member [WITHSCORE], ZREVRANK key member [WITHSCORE]
    pub(super) fn zrank(&mut self, way: Way, name: &'static str) -> Planned {
        let with_score = match (self.args.get(3), self.args.len()) {
            (None, _) => false,
            (Some(word), 4) if word.eq_ignore_ascii_case(b"WITHSCORE") => true,
            (Some(_), 4) => return Err(Refused::Syntax),
            _ => return Err(Refused::Arity(name)),
        };
        let member = self.args.at(2);
        let found = self.first_sorted_set()?.and_then(|sorted_set| {
            let (rank, score) = sorted_set.rank(member)?;
            let rank = if way == Way::Descending { sorted_set.len() - 1 - rank } else { rank };
            Some((rank, score))
        });
        match found {
            Some((rank, score)) if with_score => {
                self.reply.array(2);
                self.reply.count(rank);
                self.reply.double(score);
            }
            Some((rank, _)) => self.reply.count(rank),
            None if with_score => self.reply.null_array(),
            None => self.reply.null(),
        }
        Ok(())
    }

    /// ZCARD key
    pub(super) fn zcard(&mut self) -> Planned {
        let sorted_set = self.first_sorted_set()?;
        self.reply.count(sorted_set.map_or(0, SortedSetRef::len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    /// A rig with the same six members in a packed sorted set and, beside many others, in a large one.
    fn rigs() -> [Rig; 2] {
        [false, true].map(|large| {
            let mut rig = Rig::new();
            rig.line("ZADD z 1 a 2 b 2 c 3 d 4 e inf f");
            rig.line("ZADD l 0 a 0 b 0 bb 0 c 0 d");
            if large {
                for key in ["z", "l"] {
                    let more = (0..200).map(|n| format!(" -1 {n}")).collect::<String>();
                    rig.line(&format!("ZADD {key}{more}"));
                    rig.line(&format!("ZREMRANGEBYSCORE {key} -inf (0"));
                    assert_eq!(rig.line(&format!("OBJECT ENCODING {key}")), "$8 skiplist");
                }
            }
            rig
        })
    }

    #[test]
    fn ranges_by_score_include_what_their_bounds_say() {
        for mut rig in rigs() {
            for (request, reply) in [
                ("ZRANGEBYSCORE z 2 3", "*3 $1 b $1 c $1 d"),
                ("ZRANGEBYSCORE z (2 3", "*1 $1 d"),
                ("ZRANGEBYSCORE z 2 (3", "*2 $1 b $1 c"),
                ("ZRANGEBYSCORE z (2 (2", "*0"),
                ("ZRANGEBYSCORE z 3 2", "*0"),
                ("ZREVRANGEBYSCORE z 3 2", "*3 $1 d $1 c $1 b"),
                ("ZRANGE z 3 2 BYSCORE REV LIMIT 1 1", "*1 $1 c"),
                ("ZRANGE z -inf +inf BYSCORE LIMIT 4 -1", "*2 $1 e $1 f"),
                ("ZRANGE z -inf inf BYSCORE LIMIT -1 2", "*0"),
                ("ZRANGE z -inf inf BYSCORE LIMIT 0 0", "*0"),
                ("ZCOUNT z 2 inf", ":5"),
                ("ZCOUNT z (2 (inf", ":2"),
                ("ZCOUNT z ( 1", ":1"),
                ("ZCOUNT z x 1", "-ERR min or max is not a float"),
            ] {
                assert_eq!(rig.line(request), reply, "{request}");
            }
        }
    }

    #[test]
    fn ranges_by_bytes_and_by_rank() {
        for mut rig in rigs() {
            for (request, reply) in [
                ("ZRANGEBYLEX l - +", "*5 $1 a $1 b $2 bb $1 c $1 d"),
                ("ZRANGEBYLEX l [b (c", "*2 $1 b $2 bb"),
                ("ZRANGEBYLEX l (b [c LIMIT 1 5", "*1 $1 c"),
                ("ZREVRANGEBYLEX l [c (a", "*3 $1 c $2 bb $1 b"),
                ("ZRANGEBYLEX l + -", "*0"),
                ("ZLEXCOUNT l [aa +", ":4"),
                ("ZLEXCOUNT l aa +", "-ERR min or max not valid string range item"),
                ("ZRANGE z 1 -3", "*3 $1 b $1 c $1 d"),
                ("ZRANGE z -100 100 REV", "*6 $1 f $1 e $1 d $1 c $1 b $1 a"),
                ("ZREVRANGE z 0 1 WITHSCORES", "*4 $1 f $3 inf $1 e $1 4"),
                ("ZRANGE z 4 3", "*0"),
                ("ZRANGE z 6 9", "*0"),
                ("ZRANGE z 0 -9223372036854775808", "*0"),
                ("ZRANGE z 0 9223372036854775807 LIMIT 0 -1", "*6 $1 a $1 b $1 c $1 d $1 e $1 f"),
                ("ZRANGE z 4 -1 LIMIT 1 -1", "*2 $1 e $1 f"),
                (
                    "ZRANGE z 4 -1 LIMIT 1 5",
                    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
                ),
                ("ZRANK z c", ":2"),
                ("ZREVRANK z c WITHSCORE", "*2 :3 $1 2"),
                ("ZRANK z x WITHSCORE", "*-1"),
                ("ZRANK z x", "$-1"),
                ("ZRANGESTORE s z 2 4 BYSCORE REV LIMIT 0 1", ":0"),
                ("ZRANGESTORE s z 4 2 BYSCORE REV LIMIT 0 2", ":2"),
                ("ZRANGE s 0 -1 WITHSCORES", "*4 $1 d $1 3 $1 e $1 4"),
                ("ZRANGESTORE s z 9 9", ":0"),
                ("EXISTS s", ":0"),
                ("ZREMRANGEBYRANK z 1 -2", ":4"),
                ("ZREMRANGEBYLEX l (b [d", ":3"),
                ("ZRANGE z 0 -1", "*2 $1 a $1 f"),
            ] {
                assert_eq!(rig.line(request), reply, "{request}");
            }
            rig.protocol = Protocol::Resp3;
            assert_eq!(rig.line("ZRANGE z 0 0 WITHSCORES"), "*1 *2 $1 a ,1");
            assert_eq!(rig.line("ZRANK z f WITHSCORE"), "*2 :1 ,inf");
        }
    }
}
