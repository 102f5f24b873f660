//! Ledger of writes and their acknowledgements, to be compared with what a server holds afterwards.
//!
//! Each connection keeps the ledger of its own cells (see [`values`](super::values)), which no other connection writes.
//! So the writes of a cell are numbered 1, 2, 3 … in the order in which the server receives them, and always
//! `acknowledged ≤ issued`.
//!
//! Write 0 stands for the initial state: nothing, or a value loaded together with other cells. If a cell holds write
//! `s`, every acknowledged write after `s` is lost. The verdicts:
//!
//! | held | verdict |
//! |---|---|
//! | an acknowledged `s`, no acknowledged write after it | correct |
//! | an unacknowledged `s` | allowed: the acknowledgement was lost, not the write |
//! | an `s` with acknowledged writes after it | *lost*; *excused* if those were acknowledged within the window before the server was lost |
//! | another cell's value, a write never issued, or a wrong checksum | *torn* |

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::result::Verification;
use super::values::read_stamp;

/// Maximum number of findings described in words.
const FINDINGS: usize = 20;

/// One write, identified by its cell and its number within the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The cell written.
    pub cell: u64,
    /// Number of the write within the cell, from 1 on.
    pub sequence: u32,
}

/// Ledger of one connection. Times are nanoseconds of the run's clock.
#[derive(Debug, Default)]
pub struct Ledger {
    cells: HashMap<u64, Cell>,
    /// Writes acknowledged within the window, the oldest first.
    recent: VecDeque<(u64, Write)>,
    window: u64,
    acknowledged: u64,
}

#[derive(Debug, Default)]
struct Cell {
    issued: u32,
    /// Number of the last acknowledged write.
    acknowledged: u32,
    /// Uncertainties; absent for most cells.
    doubts: Option<Box<Doubts>>,
}

/// Uncertainties about the content of a cell.
#[derive(Debug, Default)]
struct Doubts {
    /// Writes that were not acknowledged and never will be.
    unacknowledged: Vec<u32>,
    /// Ranges (from, to) of acknowledged writes that may be lost.
    excused: Vec<(u32, u32)>,
}

impl Ledger {
    /// Makes an empty ledger. Losses of writes acknowledged within `window` before the server was lost are excused.
    pub fn new(window: Duration) -> Self {
        Self { window: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX), ..Self::default() }
    }

    /// Records that the next write of `cell` is being sent.
    pub fn issue(&mut self, cell: u64) -> Write {
        let entry = self.cells.entry(cell).or_default();
        entry.issued += 1;
        Write { cell, sequence: entry.issued }
    }

    /// Records that a write was acknowledged.
    pub fn acknowledge(&mut self, write: Write, now: u64) {
        let Some(entry) = self.cells.get_mut(&write.cell) else { return };
        entry.acknowledged = entry.acknowledged.max(write.sequence);
        self.acknowledged += 1;
        if self.window > 0 {
            self.forget_before(now.saturating_sub(self.window));
            self.recent.push_back((now, write));
        }
    }

    /// Records that a write was refused, or that its reply will never come.
    pub fn give_up(&mut self, write: Write) {
        if let Some(entry) = self.cells.get_mut(&write.cell) {
            entry.doubts.get_or_insert_default().unacknowledged.push(write.sequence);
        }
    }

    /// Records that the server was lost: writes acknowledged within the window may be lost with it.
    pub fn excuse(&mut self, now: u64) {
        self.forget_before(now.saturating_sub(self.window));
        for (_, write) in self.recent.drain(..) {
            let Some(entry) = self.cells.get_mut(&write.cell) else { continue };
            let excused = &mut entry.doubts.get_or_insert_default().excused;
            match excused.last_mut() {
                // Writes are acknowledged in order; those skipped were never acknowledged.
                Some((_, to)) if *to < write.sequence => *to = write.sequence,
                _ => excused.push((write.sequence, write.sequence)),
            }
        }
    }

    fn forget_before(&mut self, instant: u64) {
        while self.recent.front().is_some_and(|(at, _)| *at < instant) {
            self.recent.pop_front();
        }
    }

    /// Every cell that was ever written.
    pub fn cells(&self) -> impl Iterator<Item = u64> {
        self.cells.keys().copied()
    }

    /// Adds the number of writes to `found`.
    pub fn count(&self, found: &mut Verification) {
        found.keys += self.cells.len() as u64;
        found.acknowledged += self.acknowledged;
        let doubts = self.cells.values().filter_map(|cell| cell.doubts.as_ref());
        found.unacknowledged += doubts.map(|doubts| doubts.unacknowledged.len() as u64).sum::<u64>();
    }

    /// Judges the value `held` by the server in `cell`; `name` is the cell's name for messages.
    pub fn judge(&self, cell: u64, name: &str, held: Option<&[u8]>, found: &mut Verification) {
        let Some(entry) = self.cells.get(&cell) else { return };
        let sequence = match held.map(read_stamp) {
            None => 0,
            Some(Some((of, sequence))) if of == cell && sequence <= entry.issued => sequence,
            Some(stamp) => {
                found.torn += 1;
                return note(found, || describe_torn(name, stamp, cell, entry.issued));
            }
        };
        let nothing = Doubts::default();
        let doubts = entry.doubts.as_deref().unwrap_or(&nothing);
        found.surprising += u64::from(doubts.unacknowledged.contains(&sequence));
        let gone = (sequence + 1..=entry.acknowledged).filter(|s| !doubts.unacknowledged.contains(s));
        let excused = |s: &u32| doubts.excused.iter().any(|(from, to)| (*from..=*to).contains(s));
        let (excused, unexcused): (Vec<_>, Vec<_>) = gone.partition(excused);
        found.lost += (excused.len() + unexcused.len()) as u64;
        found.excused += excused.len() as u64;
        if let Some(first) = unexcused.first() {
            let holds = match (sequence, held) {
                (0, None) => "nothing".to_owned(),
                (0, Some(_)) => "what was loaded".to_owned(),
                _ => format!("write {sequence}"),
            };
            let last = entry.acknowledged;
            note(found, || format!("{name} holds {holds}, but writes {first} to {last} of it were acknowledged"));
        }
    }
}

/// Sets the final verdict, after all cells have been judged.
pub fn conclude(found: &mut Verification) {
    found.passed = found.torn == 0 && found.lost == found.excused;
}

fn describe_torn(name: &str, stamp: Option<(u64, u32)>, cell: u64, issued: u32) -> String {
    match stamp {
        None => format!("{name} holds a value that is not whole"),
        Some((of, sequence)) if of == cell => {
            format!("{name} holds write {sequence}, but only {issued} were ever sent")
        }
        Some((of, _)) => format!("{name} (cell {cell}) holds a value of cell {of}"),
    }
}

fn note(found: &mut Verification, text: impl FnOnce() -> String) {
    if found.findings.len() < FINDINGS {
        found.findings.push(text());
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::stamp;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn judged(ledger: &Ledger, held: Option<&[u8]>) -> Verification {
        let mut found = Verification::default();
        ledger.judge(7, "key 7", held, &mut found);
        conclude(&mut found);
        found
    }

    /// Ledger with writes 1 to 5 of cell 7, of which 1, 2 and 4 were acknowledged, a second apart.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Duration::from_millis(1500));
        let writes: Vec<_> = (0..5).map(|_| ledger.issue(7)).collect();
        for (second, write) in [(1, 0), (2, 1), (3, 3)] {
            ledger.acknowledge(writes[write], second * SECOND);
        }
        ledger.give_up(writes[2]);
        ledger.give_up(writes[4]);
        ledger
    }

    #[test]
    fn a_server_that_holds_the_last_acknowledged_write_or_a_later_one_is_good() {
        let ledger = ledger();
        let good = judged(&ledger, Some(&stamp(7, 4, b"")));
        assert!(good.passed && good.surprising == 0);
        let later = judged(&ledger, Some(&stamp(7, 5, b"padding")));
        assert!(later.passed && later.surprising == 1);
        let mut counts = Verification::default();
        ledger.count(&mut counts);
        assert_eq!((counts.keys, counts.acknowledged, counts.unacknowledged), (1, 3, 2));
    }

    #[test]
    fn a_server_that_loses_is_found_out() {
        let ledger = ledger();
        let older = judged(&ledger, Some(&stamp(7, 1, b"")));
        assert!(!older.passed);
        // Write 3 was not acknowledged, so it is not missed.
        assert_eq!((older.lost, older.excused), (2, 0));
        assert_eq!(older.findings, ["key 7 holds write 1, but writes 2 to 4 of it were acknowledged"]);
        let nothing = judged(&ledger, None);
        assert_eq!((nothing.lost, nothing.passed), (3, false));
    }

    #[test]
    fn what_was_acknowledged_just_before_the_server_was_lost_is_excused_and_nothing_else() {
        let mut ledger = ledger();
        ledger.excuse(3 * SECOND + SECOND * 3 / 5);
        let excused = judged(&ledger, Some(&stamp(7, 2, b"")));
        assert_eq!((excused.lost, excused.excused, excused.passed), (1, 1, true));
        let too_much = judged(&ledger, Some(&stamp(7, 1, b"")));
        assert_eq!((too_much.lost, too_much.excused, too_much.passed), (2, 1, false));
        // A write acknowledged after that is not covered by it.
        let write = ledger.issue(7);
        ledger.acknowledge(write, 5 * SECOND);
        let again = judged(&ledger, Some(&stamp(7, 4, b"")));
        assert_eq!((again.lost, again.excused, again.passed), (1, 0, false));
    }

    #[test]
    fn a_server_that_reorders_is_found_out() {
        // The server applied write 2 after write 4, both acknowledged.
        assert!(!judged(&ledger(), Some(&stamp(7, 2, b""))).passed);
    }

    #[test]
    fn a_server_that_tears_or_mixes_up_is_found_out() {
        let ledger = ledger();
        let mut torn = stamp(7, 4, b"padding");
        torn.pop();
        let other = stamp(8, 4, b"");
        let future = stamp(7, 6, b"");
        for (held, why) in
            [(torn, "not whole"), (other, "cell 8"), (future, "only 5 were ever sent"), (Vec::new(), "not whole")]
        {
            let found = judged(&ledger, Some(&held));
            assert_eq!((found.torn, found.passed), (1, false));
            assert!(found.findings[0].contains(why), "{:?}", found.findings);
        }
    }
}
