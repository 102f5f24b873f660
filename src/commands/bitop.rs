//! BITOP: combines the bits of several strings.

use std::borrow::Cow;

use super::registry::row::{PUT, bitmap, key, run};
use super::registry::{KeyFlags, Route, Spec};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, Removal};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[bitmap(
    "bitop",
    |p, s| p.bitop(s),
    -4,
    "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key ...",
    PUT,
)
.route(Route::OneCore)
.keys(&[key(2, KeyFlags::OW.and(KeyFlags::UPDATE)), run(3, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))])
.about("2.6.0", "O(N), N being the bytes of all operands", "Combines the bits of strings and stores the result")];

/// Bytes that are combined at a time, few enough that they stay in the CPU's nearest cache.
const PIECE: usize = 4096;

/// Operation of BITOP, on a first operand X and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// Bits set in every operand.
    And,
    /// Bits set in any operand.
    Or,
    /// Bits set in an odd number of operands.
    Xor,
    /// Bits not set in X, the only operand.
    Not,
    /// Bits set in X and in none of the others.
    Diff,
    /// Bits set in any of the others and not in X.
    Diff1,
    /// Bits set in X and in any of the others.
    AndOr,
    /// Bits set in exactly one operand.
    One,
}

impl Operation {
    fn named(name: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 8] = [
            (b"AND", Self::And),
            (b"OR", Self::Or),
            (b"XOR", Self::Xor),
            (b"NOT", Self::Not),
            (b"DIFF", Self::Diff),
            (b"DIFF1", Self::Diff1),
            (b"ANDOR", Self::AndOr),
            (b"ONE", Self::One),
        ];
        names.into_iter().find(|(own, _)| name.eq_ignore_ascii_case(own)).map(|(_, operation)| operation)
    }

    /// Refuses a number of operands that the operation has no meaning for.
    fn check(self, operands: usize) -> Planned {
        let needs_two = match self {
            Self::Not if operands != 1 => {
                return Err(Refused::Because("ERR BITOP NOT must be called with a single source key."));
            }
            Self::Diff => "ERR BITOP DIFF must be called with at least two source keys.",
            Self::Diff1 => "ERR BITOP DIFF1 must be called with at least two source keys.",
            Self::AndOr => "ERR BITOP ANDOR must be called with at least two source keys.",
            _ => return Ok(()),
        };
        if operands < 2 { Err(Refused::Because(needs_two)) } else { Ok(()) }
    }

    /// Appends the combination of the operands to `out`. It is as long as the longest of them; the others count as
    /// continued with zeros.
    fn combine(self, operands: &[&[u8]], out: &mut Vec<u8>) {
        let len = operands.iter().map(|operand| operand.len()).max().unwrap_or(0);
        let start = out.len();
        out.resize(start + len, 0);
        // Bits set in more than one operand.
        let mut more = [0; PIECE];
        for (number, piece) in out[start..].chunks_mut(PIECE).enumerate() {
            let parts = operands.iter().map(|operand| {
                let rest = operand.get(number * PIECE..).unwrap_or_default();
                &rest[..rest.len().min(PIECE)]
            });
            self.combine_piece(parts, piece, &mut more);
        }
    }

    /// Combines parts of the operands into `piece`, which is zero and at least as long as each part.
    fn combine_piece<'p>(self, mut parts: impl Iterator<Item = &'p [u8]>, piece: &mut [u8], more: &mut [u8; PIECE]) {
        let first = parts.next().unwrap_or_default();
        match self {
            Self::And => {
                piece[..first.len()].copy_from_slice(first);
                parts.for_each(|part| {
                    merge(piece, part, |own, other| own & other);
                    piece[part.len()..].fill(0);
                });
            }
            Self::Or | Self::Xor | Self::Not => {
                piece[..first.len()].copy_from_slice(first);
                match self {
                    Self::Or => parts.for_each(|part| merge(piece, part, |own, other| own | other)),
                    Self::Xor => parts.for_each(|part| merge(piece, part, |own, other| own ^ other)),
                    _ => piece.iter_mut().for_each(|byte| *byte = !*byte),
                }
            }
            Self::Diff | Self::Diff1 | Self::AndOr => {
                parts.for_each(|part| merge(piece, part, |own, other| own | other));
                let (shared, beyond) = piece.split_at_mut(first.len());
                match self {
                    Self::Diff => {
                        merge(shared, first, |others, own| own & !others);
                        beyond.fill(0);
                    }
                    Self::Diff1 => merge(shared, first, |others, own| others & !own),
                    _ => {
                        merge(shared, first, |others, own| own & others);
                        beyond.fill(0);
                    }
                }
            }
            Self::One => {
                let more = &mut more[..piece.len()];
                more.fill(0);
                for part in std::iter::once(first).chain(parts) {
                    for ((any, more), byte) in piece.iter_mut().zip(more.iter_mut()).zip(part) {
                        *more |= *any & byte;
                        *any |= byte;
                    }
                }
                merge(piece, more, |any, more| any & !more);
            }
        }
    }
}

/// Combines each byte of `part` into the byte at its position. The compiler makes it a loop over vectors of bytes.
#[inline]
fn merge(piece: &mut [u8], part: &[u8], combine: impl Fn(u8, u8) -> u8) {
    piece.iter_mut().zip(part).for_each(|(own, other)| *own = combine(*own, *other));
}

impl<'a> Plan<'_, 'a, '_> {
    /// BITOP operation destkey key ...
    pub(super) fn bitop(&mut self, scratch: &'a mut Scratch) -> Planned {
        let operation = Operation::named(self.args.at(1)).ok_or(Refused::Syntax)?;
        operation.check(self.args.len() - 3)?;
        let operands: Vec<&[u8]> = self.strings_from(3)?.into_iter().map(Option::unwrap_or_default).collect();
        scratch.clear();
        operation.combine(&operands, &mut scratch.bytes);
        let (db, slot, destination) = (self.context.db, self.slot(), self.args.at(2));
        let value: &'a [u8] = &scratch.bytes;
        if !value.is_empty() {
            self.edit(db, slot, destination, Change::PutString { value: Cow::Borrowed(value), expire_at: None });
        } else if self.peek(db, slot, destination).is_some() {
            self.edit(db, slot, destination, Change::Delete(Removal::Deleted));
        }
        self.reply.count(value.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    /// The combination, byte by byte from its definition.
    fn slowly(operation: Operation, operands: &[&[u8]]) -> Vec<u8> {
        let len = operands.iter().map(|operand| operand.len()).max().unwrap_or(0);
        let byte = |at: usize| {
            let bytes: Vec<u8> = operands.iter().map(|operand| operand.get(at).copied().unwrap_or(0)).collect();
            let bit = |mask: u8| {
                let ones = bytes.iter().filter(|byte| **byte & mask != 0).count();
                let x = usize::from(bytes[0] & mask != 0);
                let others = ones - x;
                match operation {
                    Operation::And => ones == bytes.len(),
                    Operation::Or => ones > 0,
                    Operation::Xor => ones % 2 == 1,
                    Operation::Not => x == 0,
                    Operation::Diff => x == 1 && others == 0,
                    Operation::Diff1 => x == 0 && others > 0,
                    Operation::AndOr => x == 1 && others > 0,
                    Operation::One => ones == 1,
                }
            };
            (0..8).map(|n| 1 << n).filter(|mask| bit(*mask)).sum()
        };
        (0..len).map(byte).collect()
    }

    #[test]
    fn operations_mean_what_they_say_of_each_bit() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..30 {
            let strings: Vec<Vec<u8>> = (0..random.usize(2..6))
                .map(|_| {
                    let len = random.choice([0, 1, 40, PIECE - 1, PIECE, PIECE + 9, 2 * PIECE + 3]).unwrap_or(0);
                    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
                })
                .collect();
            let operands: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            for name in ["AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"] {
                let operation = Operation::named(name.as_bytes()).unwrap();
                let operands = if operation == Operation::Not { &operands[..1] } else { &operands };
                let mut out = Vec::new();
                operation.combine(operands, &mut out);
                assert!(out == slowly(operation, operands), "seed {seed}: {name}");
            }
        }
    }

    #[test]
    fn the_result_replaces_whatever_the_destination_held() {
        let mut rig = Rig::new();
        rig.line("HSET {t}d f v");
        rig.line("SET {t}a abc");
        rig.line("EXPIRE {t}a 100");
        assert_eq!(rig.line("BITOP OR {t}d {t}a {t}none"), ":3");
        assert_eq!(rig.line("GET {t}d"), "$3 abc");
        assert_eq!(rig.line("BITOP xor {t}a {t}a {t}a"), ":3");
        assert_eq!(rig.line("TTL {t}a"), ":-1");
        assert_eq!(rig.line("BITOP NOT {t}d {t}none"), ":0");
        assert_eq!(rig.line("EXISTS {t}d"), ":0");
        assert_eq!(rig.line("BITOP AND {t}d {t}none {t}none"), ":0");
        assert!(rig.edits.is_empty(), "{:?}", rig.edits);
        for (request, reply) in [
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key."),
            ("BITOP DIFF d a", "-ERR BITOP DIFF must be called with at least two source keys."),
            ("BITOP andor d a", "-ERR BITOP ANDOR must be called with at least two source keys."),
            ("BITOP NAND d a b", "-ERR syntax error"),
            ("BITOP ONE d a", ":0"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.line("HSET {t}h f v");
        assert!(rig.line("BITOP OR {t}d {t}a {t}h").starts_with("-WRONGTYPE"));
    }
}
