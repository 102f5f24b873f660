//! What commands that pick elements at random have in common (HRANDFIELD, SRANDMEMBER, SPOP, RANDOMKEY).

use std::ops::ControlFlow;

use super::parse::integer_argument;
use super::{Plan, Planned, Refused};
use crate::encoding::resp::Reply;

/// Generator that expands one random number into many (splitmix64).
#[derive(Clone, Copy)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Parses a count of elements: up to so many different ones if positive, exactly so many if negative, which may repeat.
pub(super) fn count_argument(bytes: &[u8]) -> Result<i64, Refused> {
    match integer_argument(bytes)? {
        i64::MIN => Err(Refused::Because(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}

const TOO_MANY: Refused = Refused::Because("ERR value is out of range");

/// Elements that may repeat while they are drawn into a reply. Their number is just a number in the request, but the
/// reply takes memory here, so its size is limited.
pub(super) struct Draws {
    left: u64,
    start: usize,
    limit: u64,
}

impl Draws {
    /// Begins to draw `count` elements into the plan's reply.
    ///
    /// # Errors
    /// If they would take too much memory however short they are.
    pub(super) fn begin(plan: &Plan<'_, '_, '_>, count: u64) -> Result<Self, Refused> {
        const SHORTEST: u64 = "$0\r\n\r\n".len() as u64;
        let limit = plan.context.max_string;
        if count.saturating_mul(SHORTEST) > limit {
            return Err(TOO_MANY);
        }
        Ok(Self { left: count, start: plan.reply.written(), limit })
    }

    /// Counts an element that has been written. Breaks with the last one, or when the reply has become too long.
    pub(super) fn count(&mut self, reply: &mut Reply<'_>) -> ControlFlow<Planned> {
        if (reply.written() - self.start) as u64 > self.limit {
            reply.take_back(self.start);
            return ControlFlow::Break(Err(TOO_MANY));
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
    }
}
