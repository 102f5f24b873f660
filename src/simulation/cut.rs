//! Simulates streams that depend on each other, although there are no transactions yet: edits become durable some time
//! after they are synced, and a start cuts a stream off at a random group after its last durable edit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::oracle::Ledger;
use crate::ids::{Lsn, StreamId};
use crate::partition::cut::Tail;
use crate::storage::Log;
use crate::storage::model::Process;

/// Makes synced edits of a log become durable late, as if a part of a transaction stood there that another stream had
/// not synced yet.
pub(super) fn settle_late(process: &Process, log: &Log<Process>, stream: StreamId, oracle: &Ledger) {
    let certain = Rc::new(Cell::new(Lsn(0)));
    log.settle_by({
        let certain = certain.clone();
        Rc::new(move |_| certain.get())
    });
    let (log, oracle, world) = (log.clone(), oracle.clone(), process.world().clone());
    process.spawn(async move {
        loop {
            let pause = world.draw(|random| if random.u8(..) < 20 { random.u64(50..400) } else { random.u64(1..15) });
            world.sleep(Duration::from_millis(pause)).await;
            let (before, synced) = (certain.get(), log.synced());
            let groups = oracle.borrow().groups(stream, before, synced);
            let within = world.draw(|random| groups.get(random.usize(0..2 * groups.len() + 1)).copied());
            certain.set(within.unwrap_or(synced));
            log.settle();
        }
    });
}

/// A rule for recovery's cut: cuts each stream off at its end, or after a random group of edits that was not durable.
pub(super) fn anywhere(tails: &[Tail], process: &Process, oracle: &Ledger) -> Vec<Lsn> {
    let oracle = oracle.borrow();
    let cut = |tail: &Tail| {
        let from = tail.durable.max(oracle.settled(tail.stream));
        let groups = oracle.groups(tail.stream, Lsn(from.0.saturating_sub(1)), tail.end);
        let last = process.world().draw(|random| groups.get(random.usize(0..2 * groups.len() + 1)).copied());
        // A tail that ends before what the oracle knows to be durable is kept to its end: the oracle then reports the
        // loss.
        last.unwrap_or(tail.end).clamp(tail.durable, tail.end)
    };
    let lasts: Vec<Lsn> = tails.iter().map(cut).collect();
    process.world().note(|| format!("of {tails:?}, {lasts:?} are kept"));
    lasts
}
