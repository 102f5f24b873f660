//! The sparse form of a HyperLogLog's registers: runs of registers with the same value.
//!
//! | bytes | run |
//! |---|---|
//! | `00nnnnnn` | n + 1 registers that are zero |
//! | `01nnnnnn nnnnnnnn` | n + 1 registers that are zero; high bits first |
//! | `1vvvvvnn` | n + 1 registers whose value is v + 1 |

use smallvec::SmallVec;

use super::registers::{REGISTERS, Registers};

/// Longest run of zeros in one byte.
const SHORT_ZEROS: usize = 64;
/// Longest run of equal values.
const LONGEST_RUN: usize = 4;
/// Highest value that the sparse form can express.
pub(super) const HIGHEST: u8 = 32;

/// A run of registers with the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Value of the registers.
    pub value: u8,
    /// Number of registers.
    pub len: usize,
    /// Bytes that the run takes.
    size: usize,
}

impl Run {
    /// Whether it is written in two bytes, as a long run of zeros.
    pub(super) const fn is_long(self) -> bool {
        self.size == 2
    }
}

/// The run at the start of `bytes`; `None` at the end, or if the run is cut off.
fn first_run(bytes: &[u8]) -> Option<Run> {
    let run = match *bytes {
        [head @ 0x80..=0xff, ..] => Run { value: (head >> 2 & 31) + 1, len: usize::from(head & 3) + 1, size: 1 },
        [head @ 0..=0x3f, ..] => Run { value: 0, len: usize::from(head) + 1, size: 1 },
        [head, low, ..] => Run { value: 0, len: usize::from(head & 63) << 8 | usize::from(low), size: 2 },
        _ => return None,
    };
    Some(if run.is_long() { Run { len: run.len + 1, ..run } } else { run })
}

/// The runs, up to the end or to one that is cut off.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run> {
    std::iter::from_fn(move || {
        let run = first_run(bytes)?;
        bytes = &bytes[run.size..];
        Some(run)
    })
}

/// Whether the bytes are whole runs of exactly as many registers as there are.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let (mut registers, mut read) = (0, 0);
    for run in runs(bytes) {
        (registers, read) = (registers + run.len, read + run.size);
        if registers > REGISTERS {
            return false;
        }
    }
    registers == REGISTERS && read == bytes.len()
}

/// Raises registers to those in whole sparse form that are higher.
pub(super) fn merge(registers: &mut Registers, sparse: &[u8]) {
    let mut rest = &mut registers.0[..];
    for run in runs(sparse) {
        let (own, after) = std::mem::take(&mut rest).split_at_mut(run.len);
        if run.value > 0 {
            own.iter_mut().for_each(|own| *own = (*own).max(run.value));
        }
        rest = after;
    }
}

/// Appends registers in sparse form, in as few runs as possible; `None` if a value is too high for it.
pub(super) fn write(registers: &Registers, out: &mut Vec<u8>) -> Option<()> {
    let mut runs = SmallVec::<[u8; 5]>::new();
    for equal in registers.0.chunk_by(|a, b| a == b) {
        let value = equal[0];
        if value > HIGHEST {
            return None;
        }
        let longest = if value == 0 { REGISTERS } else { LONGEST_RUN };
        for run in equal.chunks(longest) {
            push(&mut runs, value, run.len());
            out.extend_from_slice(&runs);
            runs.clear();
        }
    }
    Some(())
}

/// Appends a run, unless it is empty.
fn push(out: &mut SmallVec<[u8; 5]>, value: u8, len: usize) {
    let Some(n) = len.checked_sub(1) else { return };
    match value {
        1.. => out.push(0x80 | (value - 1) << 2 | n as u8),
        0 if len <= SHORT_ZEROS => out.push(n as u8),
        0 => out.extend([0x40 | (n >> 8) as u8, n as u8]),
    }
}

/// What became of a register that was to be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It has the value.
    Yes,
    /// Nothing has changed: the sparse form would be too long, or cannot express the value.
    TooLarge,
}

/// Raises a register in whole sparse form, which begins at `start` of `bytes`; `most` limits the length of `bytes`.
///
/// The runs that result are those that Redis makes, so that the same elements give the same bytes.
pub(super) fn raise(bytes: &mut Vec<u8>, start: usize, index: usize, value: u8, most: usize) -> Raised {
    if value > HIGHEST {
        return Raised::TooLarge;
    }
    let (mut at, mut before, mut first) = (start, start, 0);
    let run = loop {
        let Some(run) = first_run(&bytes[at..]) else { return Raised::No };
        if index < first + run.len {
            break run;
        }
        (before, at, first) = (at, at + run.size, first + run.len);
    };
    if run.value >= value {
        return Raised::No;
    }
    let mut split = SmallVec::new();
    push(&mut split, run.value, index - first);
    push(&mut split, value, 1);
    push(&mut split, run.value, first + run.len - 1 - index);
    if split.len() > run.size && bytes.len() + split.len() - run.size > most {
        return Raised::TooLarge;
    }
    bytes.splice(at..at + run.size, split);
    join(bytes, before);
    Raised::Yes
}

/// Joins runs of the same value, in five steps from the run at `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some(run) = first_run(&bytes[at..]) else { return };
        let next = first_run(&bytes[at + run.size..]);
        match next {
            Some(next) if run.value > 0 && next.value == run.value && run.len + next.len <= LONGEST_RUN => {
                let mut joined = SmallVec::new();
                push(&mut joined, run.value, run.len + next.len);
                bytes.splice(at..at + 2, joined);
            }
            _ => at += run.size,
        }
    }
}
