//! Commands that read members of sorted sets: ZSCORE, ZMSCORE, ZRANDMEMBER, ZSCAN.

use std::ops::ControlFlow;

use super::random::{Draws, Random, drawn_arguments};
use super::registry::Spec;
use super::registry::row::{READ, READ_FAST, READ_FROM, VARIES, sorted_set};
use super::{Plan, Planned, scan};
use crate::encoding::resp::{Reply, double};
use crate::store::{SortedSetRef, below};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    sorted_set("zmscore", |p, _| p.zmscore(), -3, "key member ...", READ_FAST).keys(READ_FROM).about(
        "6.2.0",
        "O(N), N being the number of members given",
        "Tells the scores of several members",
    ),
    sorted_set("zrandmember", |p, _| p.zrandmember(), -2, "key [count [WITHSCORES]]", READ)
        .keys(READ_FROM)
        .tips(VARIES)
        .about(
            "6.2.0",
            "O(M log N), N being the number of members, M that of members returned",
            "Tells members, chosen at random",
        ),
    sorted_set("zscan", |p, _| p.zscan(), -3, "key cursor [MATCH pattern] [COUNT count]", READ)
        .keys(READ_FROM)
        .tips(VARIES)
        .about(
            "2.8.0",
            "O(1) a call, O(N) for all N members",
            "Tells some members with their scores, and where to go on",
        ),
    sorted_set("zscore", |p, _| p.zscore(), 3, "key member", READ_FAST).keys(READ_FROM).about(
        "1.2.0",
        "O(1)",
        "Tells the score of a member",
    ),
];

impl Plan<'_, '_, '_> {
    /// ZSCORE key member
    #[inline]
    pub(super) fn zscore(&mut self) -> Planned {
        let member = self.args.at(2);
        let sorted_set = self.first_sorted_set()?;
        self.write_score(sorted_set, member);
        Ok(())
    }

    /// ZMSCORE key member ...
    pub(super) fn zmscore(&mut self) -> Planned {
        let sorted_set = self.first_sorted_set()?;
        let members = self.args.from(2);
        self.reply.array(members.len());
        members.for_each(|member| self.write_score(sorted_set, member));
        Ok(())
    }

    fn write_score(&mut self, sorted_set: Option<SortedSetRef<'_>>, member: &[u8]) {
        match sorted_set.and_then(|sorted_set| sorted_set.score(member)) {
            Some(score) => self.reply.double(score),
            None => self.reply.null(),
        }
    }

    /// ZRANDMEMBER key [count [WITHSCORES]]
    pub(super) fn zrandmember(&mut self) -> Planned {
        let mut random = Random(self.context.random);
        let Some((count, with_scores)) = drawn_arguments(self.args, b"WITHSCORES")? else {
            let sorted_set = self.first_sorted_set()?;
            let drawn = sorted_set.and_then(|set| set.at(below(random.next(), set.len())));
            self.reply.bulk_or_null(drawn.map(|(member, _)| member));
            return Ok(());
        };
        match self.first_sorted_set()? {
            Some(sorted_set) if count < 0 => {
                return self.repeated_scored(sorted_set, count.unsigned_abs(), with_scores, random);
            }
            Some(sorted_set) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(sorted_set.len());
                let nested = self.begin_members(count, with_scores);
                sorted_set.distinct_members(
                    count,
                    || random.next(),
                    |member, score| self.write_member(member, with_scores.then_some(score), nested),
                );
            }
            None => self.reply.array(0),
        }
        Ok(())
    }

    /// Appends `count` members, each drawn from all, so that they may repeat.
    fn repeated_scored(
        &mut self,
        sorted_set: SortedSetRef<'_>,
        count: u64,
        with_scores: bool,
        mut random: Random,
    ) -> Planned {
        let mut draws = Draws::begin(self, count)?;
        let nested = self.begin_members(usize::try_from(count).unwrap_or(usize::MAX), with_scores);
        loop {
            let (member, score) = sorted_set.at(below(random.next(), sorted_set.len())).unwrap_or_default();
            self.write_member(member, with_scores.then_some(score), nested);
            if let ControlFlow::Break(drawn) = draws.count(self.reply) {
                return drawn;
            }
        }
    }

    /// ZSCAN key cursor [MATCH pattern] [COUNT count]
    pub(super) fn zscan(&mut self) -> Planned {
        let cursor = scan::cursor_argument(self.args.at(2))?;
        let Some(sorted_set) = self.first_sorted_set()? else {
            return self.scanned(0, 0, b"");
        };
        let options = scan::Options::parse(self.args.from(3), scan::Of::Other)?;
        let (mut bytes, mut score_text, mut found) = (Vec::new(), Vec::new(), 0);
        let mut elements = Reply::new(&mut bytes, self.reply.protocol());
        let next = sorted_set.scan(cursor, options.count, |member, score| {
            if options.fits(member) {
                score_text.clear();
                double::format(score, &mut score_text);
                elements.bulk(member);
                elements.bulk(&score_text);
                found += 2;
            }
        });
        self.scanned(next, found, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    /// Members in the reply to ZRANDMEMBER with a count.
    fn drawn(reply: &str) -> Vec<u32> {
        reply.split(' ').skip(1).filter(|word| !word.starts_with('$')).map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn members_at_random_are_all_drawn_and_never_twice_unless_asked_for() {
        for (len, counts) in [(5u32, [1, 3, 5]), (300, [2, 80, 290])] {
            let mut rig = Rig::new();
            let members = (0..len).map(|n| format!(" {n} {n}")).collect::<String>();
            rig.line(&format!("ZADD z{members}"));
            for count in counts {
                let (mut seen, times) = (vec![0; len as usize], 40 * len / count);
                for _ in 0..times {
                    let members = drawn(&rig.line(&format!("ZRANDMEMBER z {count}")));
                    assert_eq!(members.len(), count as usize);
                    assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), count as usize);
                    members.iter().for_each(|n| seen[*n as usize] += 1);
                }
                // 40 on average.
                assert!(seen.iter().all(|times| (10..90).contains(times)), "{count} of {len}: {seen:?}");
            }
            assert_eq!(drawn(&rig.line(&format!("ZRANDMEMBER z {}", len + 7))).len(), len as usize);
            assert_eq!(drawn(&rig.line("ZRANDMEMBER z -700")).len(), 700);
            assert!(rig.line("ZRANDMEMBER z -2 WITHSCORES").starts_with("*4 "));
            assert_eq!(rig.line("ZRANDMEMBER z 0"), "*0");
            rig.protocol = Protocol::Resp3;
            assert!(rig.line("ZRANDMEMBER z 2 WITHSCORES").starts_with("*2 *2 "));
        }
    }

    #[test]
    fn no_count_makes_a_reply_without_bounds() {
        let mut rig = Rig::new();
        rig.max_string = 10_000;
        rig.line("ZADD z 1 member");
        for count in ["-9223372036854775807", "-1700", "-1000"] {
            assert_eq!(rig.line(&format!("ZRANDMEMBER z {count}")), "-ERR value is out of range", "{count}");
        }
    }

    #[test]
    fn a_scan_tells_members_with_their_scores() {
        let mut rig = Rig::new();
        rig.line("ZADD z 0.1 a 2 b 3 ab");
        assert_eq!(rig.line("ZSCAN z 0 MATCH a*"), "*2 $1 0 *4 $1 a $3 0.1 $2 ab $1 3");
        assert_eq!(rig.line("ZSCAN none 0"), "*2 $1 0 *0");
        assert_eq!(rig.line("ZSCAN z x"), "-ERR invalid cursor");
        assert_eq!(rig.line("ZMSCORE z b x"), "*2 $1 2 $-1");
        assert_eq!(rig.line("SCAN 0 COUNT 100000 TYPE zset"), "*2 $1 0 *1 $1 z");
    }
}
