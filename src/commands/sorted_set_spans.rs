//! Ranges of a sorted set, by rank, score or member: how requests name them, and which ranks that are.

use std::ops::Range;

use super::Refused;
use super::parse::{integer_argument, score_bound};
use crate::encoding::resp::Args;
use crate::store::SortedSetRef;

/// What a range goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Ranks.
    Rank,
    /// Scores.
    Score,
    /// The bytes of members with equal scores.
    Lex,
}

/// Order in which members are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the least member on.
    Ascending,
    /// From the greatest member on.
    Descending,
}

/// A range of members.
pub(super) enum Span<'a> {
    /// From one rank to another, each counted from the end if negative.
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

/// End of a range of scores.
#[derive(Clone, Copy)]
pub(super) struct ScoreBound {
    score: f64,
    exclusive: bool,
}

/// End of a range of byte strings.
#[derive(Clone, Copy)]
pub(super) enum LexBound<'a> {
    /// Before every byte string.
    Least,
    /// After every byte string.
    Greatest,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<Self, Refused> {
        let (text, exclusive) = match text {
            [b'(', rest @ ..] => (rest, true),
            text => (text, false),
        };
        let score = score_bound(text).ok_or(Refused::Because("ERR min or max is not a float"))?;
        Ok(Self { score, exclusive })
    }

    /// Whether a score is too small for a range that begins here.
    fn is_above(self, score: f64) -> bool {
        score < self.score || self.exclusive && score == self.score
    }

    /// Whether a score is small enough for a range that ends here.
    fn reaches(self, score: f64) -> bool {
        score < self.score || !self.exclusive && score == self.score
    }
}

impl<'a> LexBound<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, Refused> {
        match text {
            b"-" => Ok(Self::Least),
            b"+" => Ok(Self::Greatest),
            [b'[', rest @ ..] => Ok(Self::Including(rest)),
            [b'(', rest @ ..] => Ok(Self::Excluding(rest)),
            _ => Err(Refused::Because("ERR min or max not valid string range item")),
        }
    }

    /// Whether a member lies before a range that begins here.
    fn is_above(self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Including(bound) => member < bound,
            Self::Excluding(bound) => member <= bound,
        }
    }

    /// Whether a member does not lie behind a range that ends here.
    fn reaches(self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Including(bound) => member <= bound,
            Self::Excluding(bound) => member < bound,
        }
    }
}

impl<'a> Span<'a> {
    /// Parses both ends of a range, the first one of the request first. Descending ranges by score and by bytes begin
    /// with the greater end.
    pub(super) fn parse(by: By, way: Way, first: &'a [u8], last: &'a [u8]) -> Result<Self, Refused> {
        let (min, max) = if way == Way::Descending && by != By::Rank { (last, first) } else { (first, last) };
        Ok(match by {
            By::Rank => Self::Rank(integer_argument(min)?, integer_argument(max)?),
            By::Score => Self::Score(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Lex => Self::Lex(LexBound::parse(min)?, LexBound::parse(max)?),
        })
    }

    /// Ranks of the members in the range, counted from the least.
    pub(super) fn ranks(&self, sorted_set: SortedSetRef<'_>, way: Way) -> Range<usize> {
        let len = sorted_set.len();
        let (start, end) = match *self {
            Self::Rank(start, end) => {
                let from_begin = |at: i64| if at < 0 { at.saturating_add_unsigned(len as u64) } else { at };
                let start = usize::try_from(from_begin(start)).unwrap_or(0).min(len);
                let end = usize::try_from(from_begin(end).saturating_add(1)).unwrap_or(0).clamp(start, len);
                return match way {
                    Way::Ascending => start..end,
                    Way::Descending => len - end..len - start,
                };
            }
            Self::Score(min, max) => {
                (sorted_set.below(|score| min.is_above(score)), sorted_set.below(|score| max.reaches(score)))
            }
            Self::Lex(min, max) => {
                (sorted_set.before(|member| min.is_above(member)), sorted_set.before(|member| max.reaches(member)))
            }
        };
        start..end.max(start)
    }
}

/// How a request asks for a range.
pub(super) struct Wanted<'a> {
    span: Span<'a>,
    pub(super) way: Way,
    /// Members to be skipped; if negative, all.
    offset: i64,
    /// Most members to be told; if negative, all.
    count: i64,
    pub(super) with_scores: bool,
}

impl<'a> Wanted<'a> {
    /// Parses both ends from argument `at` on, and the options after them. What `by` and `way` do not say already,
    /// options may say.
    pub(super) fn parse(
        args: Args<'a>,
        at: usize,
        by: Option<By>,
        way: Option<Way>,
        stores: bool,
    ) -> Result<Self, Refused> {
        let (mut told_by, mut told_way) = (by, way);
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut words = args.from(at + 2);
        while let Some(word) = words.next() {
            if !stores && word.eq_ignore_ascii_case(b"WITHSCORES") {
                with_scores = true;
            } else if word.eq_ignore_ascii_case(b"LIMIT") && words.len() >= 2 {
                offset = integer_argument(words.next().ok_or(Refused::Syntax)?)?;
                count = integer_argument(words.next().ok_or(Refused::Syntax)?)?;
            } else if way.is_none() && word.eq_ignore_ascii_case(b"REV") {
                told_way = Some(Way::Descending);
            } else if told_by.is_none() && word.eq_ignore_ascii_case(b"BYLEX") {
                told_by = Some(By::Lex);
            } else if told_by.is_none() && word.eq_ignore_ascii_case(b"BYSCORE") {
                told_by = Some(By::Score);
            } else {
                return Err(Refused::Syntax);
            }
        }
        let (by, way) = (told_by.unwrap_or(By::Rank), told_way.unwrap_or(Way::Ascending));
        if count != -1 && by == By::Rank {
            return Err(Refused::Because(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(Refused::Because("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let span = Span::parse(by, way, args.at(at), args.at(at + 1))?;
        // A limit of all members is accepted for ranks, and its offset is not looked at.
        let offset = if by == By::Rank { 0 } else { offset };
        Ok(Self { span, way, offset, count, with_scores })
    }

    /// Ranks of the members that are asked for, counted from the least.
    pub(super) fn ranks(&self, sorted_set: SortedSetRef<'_>) -> Range<usize> {
        let all = self.span.ranks(sorted_set, self.way);
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(all.len());
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(all.len() - skipped);
        match self.way {
            Way::Ascending => all.start + skipped..all.start + skipped + count,
            Way::Descending => all.end - skipped - count..all.end - skipped,
        }
    }
}
