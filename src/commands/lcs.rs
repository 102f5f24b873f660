//! LCS: the longest common subsequence of two strings.
//!
//! With `L(i, j)` the length for the first `i` bytes of one string and the first `j` of the other, a row `i` of that
//! table grows by 0 or 1 with each `j`. So a row is a bit per `j`, and the next row follows from it by a few operations
//! on words of 64 bits (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004). These bits are all that is
//! needed to walk back through the table.

use std::ops::RangeInclusive;

use super::parse::integer_argument;
use super::registry::row::{READ, run, strings};
use super::registry::{KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused};
use crate::encoding::slot::slot_of;
use crate::store::{Entry, Value};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] =
    &[strings("lcs", |p, _| p.lcs(), -3, "key1 key2 [LEN] [IDX] [MINMATCHLEN min-len] [WITHMATCHLEN]", READ)
        .route(Route::OneCore)
        .keys(&[run(1, 1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .about(
            "7.0.0",
            "O(N*M), N and M being the lengths of the strings",
            "Finds the longest common subsequence of two strings",
        )];

/// Options of LCS.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    len: bool,
    idx: bool,
    min_match: i64,
    with_match_len: bool,
}

impl Options {
    fn parse<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Result<Self, Refused> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            match word.to_ascii_uppercase().as_slice() {
                b"LEN" => options.len = true,
                b"IDX" => options.idx = true,
                b"WITHMATCHLEN" => options.with_match_len = true,
                b"MINMATCHLEN" => options.min_match = integer_argument(words.next().ok_or(Refused::Syntax)?)?,
                _ => return Err(Refused::Syntax),
            }
        }
        if options.len && options.idx {
            let text = "ERR If you want both the length and indexes, please just use IDX.";
            return Err(Refused::Because(text));
        }
        Ok(options)
    }
}

/// A run of bytes that both strings have, where it is in each.
type Match = (RangeInclusive<usize>, RangeInclusive<usize>);

/// What is needed of the table of lengths.
struct Table<'s> {
    a: &'s [u8],
    b: &'s [u8],
    /// Words of a row.
    width: usize,
    /// The rows from the first byte of `a` on: bit `j` is clear where the length grows with byte `j` of `b`.
    rows: Vec<u64>,
}

impl<'s> Table<'s> {
    /// Computes the rows; only the last one is kept unless all are wanted.
    fn new(a: &'s [u8], b: &'s [u8], all: bool) -> Self {
        let width = b.len().div_ceil(64);
        let mut table = Self { a, b, width, rows: vec![u64::MAX; if all { a.len() * width } else { width }] };
        if width == 0 {
            return table;
        }
        let mut positions: [Option<Box<[u64]>>; 256] = [const { None }; 256];
        let mut last = vec![u64::MAX; width];
        for (number, byte) in a.iter().enumerate() {
            let positions = positions[usize::from(*byte)].get_or_insert_with(|| positions_of(*byte, b, width));
            let mut carry = false;
            for (row, positions) in last.iter_mut().zip(positions) {
                let matches = *row & *positions;
                let (sum, over) = row.overflowing_add(matches);
                let (sum, over_again) = sum.overflowing_add(carry.into());
                carry = over | over_again;
                *row = sum | (*row & !*positions);
            }
            if all {
                table.rows[number * width..][..width].copy_from_slice(&last);
            }
        }
        if !all {
            table.rows = last;
        }
        table
    }

    /// Length of the longest common subsequence.
    fn len(&self) -> usize {
        let Some(last) = self.rows.len().checked_sub(self.width) else { return 0 };
        // The bits behind the string's end never change.
        self.rows[last..].iter().map(|word| word.count_zeros() as usize).sum()
    }

    /// Whether the length for the first `i` bytes of `a` grows with byte `j` of `b`.
    fn grows(&self, i: usize, j: usize) -> bool {
        self.rows[(i - 1) * self.width + j / 64] >> (j % 64) & 1 == 0
    }

    /// Walks back through the table, which must have all rows, and calls `found` with each run of bytes of the
    /// subsequence, the last one first. Where there is a choice, it goes the way that Redis goes.
    fn walk(&self, mut found: impl FnMut(Match)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        // The current run, from its first byte; it ends with its last.
        let mut run: Option<(usize, usize, usize)> = None;
        let mut end = |run: &mut Option<(usize, usize, usize)>| {
            if let Some((a, b, len)) = run.take() {
                found((a..=a + len - 1, b..=b + len - 1));
            }
        };
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match &mut run {
                    Some((a, b, len)) => (*a, *b, *len) = (i, j, *len + 1),
                    None => run = Some((i, j, 1)),
                }
            } else {
                end(&mut run);
                if self.grows(i, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        end(&mut run);
    }
}

/// Positions of a byte in `b`, as bits.
fn positions_of(byte: u8, b: &[u8], width: usize) -> Box<[u64]> {
    let mut positions = vec![0; width];
    b.iter().enumerate().filter(|(_, own)| **own == byte).for_each(|(at, _)| positions[at / 64] |= 1 << (at % 64));
    positions.into()
}

impl<'p> Plan<'p, '_, '_> {
    /// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-len] [WITHMATCHLEN]
    pub(super) fn lcs(&mut self) -> Planned {
        let (a, b) = (self.lcs_operand(1)?, self.lcs_operand(2)?);
        let options = Options::parse(self.args.from(3))?;
        self.check_table(a.len(), b.len())?;
        let table = Table::new(a, b, !options.len);
        if options.len {
            self.reply.count(table.len());
        } else if options.idx {
            self.reply_matches(&table, options);
        } else {
            let mut parts = Vec::new();
            table.walk(|(a, _)| parts.push(a));
            let subsequence: Vec<u8> = parts.into_iter().rev().flat_map(|part| &a[part]).copied().collect();
            self.reply.bulk(&subsequence);
        }
        Ok(())
    }

    fn reply_matches(&mut self, table: &Table<'_>, options: Options) {
        self.reply.map(2);
        self.reply.bulk(b"matches");
        self.reply.array_of(|reply| {
            let mut matches = 0;
            table.walk(|(a, b)| {
                let len = a.end() - a.start() + 1;
                if len as i64 >= options.min_match {
                    matches += 1;
                    reply.array(2 + usize::from(options.with_match_len));
                    for range in [a, b] {
                        reply.array(2);
                        reply.count(*range.start());
                        reply.count(*range.end());
                    }
                    if options.with_match_len {
                        reply.count(len);
                    }
                }
            });
            matches
        });
        self.reply.bulk(b"len");
        self.reply.count(table.len());
    }

    /// Looks up the key in argument `index`, a missing key being an empty string.
    fn lcs_operand(&mut self, index: usize) -> Result<&'p [u8], Refused> {
        let key = self.args.at(index);
        match self.find(slot_of(key), key) {
            None => Ok(&[]),
            Some(Entry { value: Value::String(bytes), .. }) => Ok(bytes),
            Some(_) => Err(Refused::Because("ERR The specified keys must contain string values")),
        }
    }

    /// Refuses strings for which Redis would need more memory than the longest string may have: four bytes for each
    /// pair of positions. That bounds the time, too.
    fn check_table(&self, a: usize, b: usize) -> Planned {
        let bytes = (a as u128 + 1) * (b as u128 + 1) * 4;
        if bytes <= self.context.max_string.into() {
            return Ok(());
        }
        Err(Refused::Because("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    /// The table of lengths, by its definition, and the way back through it that Redis takes.
    fn slowly(a: &[u8], b: &[u8]) -> (usize, Vec<u8>) {
        let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                lengths[i][j] = if a[i - 1] == b[j - 1] {
                    lengths[i - 1][j - 1] + 1
                } else {
                    lengths[i - 1][j].max(lengths[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut bytes) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                bytes.insert(0, a[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if lengths[i - 1][j] > lengths[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        (lengths[a.len()][b.len()], bytes)
    }

    #[test]
    fn words_of_bits_say_what_the_table_says() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..400 {
            let letters = random.u8(1..5);
            let mut string = |most: usize| -> Vec<u8> {
                let len = random.usize(..most);
                std::iter::repeat_with(|| b'a' + random.u8(..letters)).take(len).collect()
            };
            let (a, b) = (string(80), string(200));
            let (len, bytes) = slowly(&a, &b);
            let table = Table::new(&a, &b, true);
            let mut parts = Vec::new();
            table.walk(|(in_a, in_b)| {
                assert_eq!(a[in_a.clone()], b[in_b], "seed {seed}");
                parts.push(in_a);
            });
            let found: Vec<u8> = parts.into_iter().rev().flat_map(|part| &a[part]).copied().collect();
            assert_eq!((table.len(), found), (len, bytes), "seed {seed}");
            assert_eq!(Table::new(&a, &b, false).len(), len, "seed {seed}");
        }
    }

    #[test]
    fn replies_are_those_of_redis() {
        let mut rig = Rig::new();
        rig.line("MSET {t}a ohmytext {t}b mynewtext {t}n 0");
        for (request, reply) in [
            ("LCS {t}a {t}b", "$6 mytext"),
            ("LCS {t}a {t}b len", ":6"),
            ("LCS {t}a {t}b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
            ("LCS {t}a {t}b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"),
            ("LCS {t}a {t}none", "$0"),
            ("LCS {t}a {t}none IDX", "*4 $7 matches *0 $3 len :0"),
            ("LCS {t}a {t}b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS {t}a {t}b MINMATCHLEN", "-ERR syntax error"),
            ("LCS {t}a {t}b LENGTH", "-ERR syntax error"),
        ] {
            assert_eq!(rig.line(request).trim_end(), reply, "{request}");
        }
        rig.line("HSET {t}h f v");
        assert_eq!(rig.line("LCS {t}a {t}h"), "-ERR The specified keys must contain string values");
        rig.max_string = 300;
        assert!(rig.line("LCS {t}a {t}b").starts_with("-ERR Insufficient memory"));
        assert_eq!(rig.line("LCS {t}a {t}n LEN"), ":0");
    }
}
