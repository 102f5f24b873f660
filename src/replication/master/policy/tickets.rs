//! Requests for checkpoints (SAVE, BGSAVE), and which snapshots each waits for. Part of the policy.

use std::collections::BTreeMap;

use crate::ids::{PartitionId, Position};

/// Id of a request for a checkpoint. Requests are decided in no particular order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// The outcome of a request for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything written before the request is in installed snapshots.
    Done,
    /// Some of it is not in snapshots, for this reason.
    Failed(String),
}

/// How many outcomes are kept for those who have not asked for them yet.
const REMEMBERED: usize = 1024;

#[derive(Debug, Default)]
/// All requests: undecided ones, and the latest outcomes.
pub(super) struct Tickets {
    issued: u64,
    /// Undecided requests: the partitions that each still waits for, with the position that the snapshot must reach.
    open: BTreeMap<Ticket, BTreeMap<PartitionId, Position>>,
    decided: BTreeMap<Ticket, Outcome>,
}

impl Tickets {
    /// Issues a ticket that waits for snapshots of these partitions at or after these positions.
    pub(super) fn issue(&mut self, waiting: Vec<(PartitionId, Position)>) -> Ticket {
        self.issued += 1;
        let ticket = Ticket(self.issued);
        if waiting.is_empty() {
            self.decide(ticket, Outcome::Done);
        } else {
            self.open.insert(ticket, waiting.into_iter().collect());
        }
        ticket
    }

    /// Takes in an installed snapshot, and decides the tickets that wait for nothing else.
    pub(super) fn installed(&mut self, partition: PartitionId, position: Position) {
        for waiting in self.open.values_mut() {
            if waiting.get(&partition).is_some_and(|at| *at <= position) {
                waiting.remove(&partition);
            }
        }
        self.decide_all(|waiting| waiting.is_empty().then_some(Outcome::Done));
    }

    /// Fails the tickets that wait for this partition.
    pub(super) fn failed(&mut self, partition: PartitionId, why: &str) {
        self.decide_all(|waiting| waiting.contains_key(&partition).then(|| Outcome::Failed(why.to_owned())));
    }

    /// Fails all undecided tickets.
    pub(super) fn fail_all(&mut self, why: &str) {
        self.decide_all(|_| Some(Outcome::Failed(why.to_owned())));
    }

    /// The outcome of a ticket; `None` while it is not decided.
    pub(super) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        match self.decided.get(&ticket) {
            None if self.open.contains_key(&ticket) => None,
            None => Some(Outcome::Failed("its outcome is not kept any more".to_owned())),
            decided => decided.cloned(),
        }
    }

    fn decide_all(&mut self, outcome: impl Fn(&BTreeMap<PartitionId, Position>) -> Option<Outcome>) {
        let decided: Vec<_> = self.open.iter().filter_map(|(t, waiting)| Some((*t, outcome(waiting)?))).collect();
        for (ticket, outcome) in decided {
            self.open.remove(&ticket);
            self.decide(ticket, outcome);
        }
    }

    fn decide(&mut self, ticket: Ticket, outcome: Outcome) {
        self.decided.insert(ticket, outcome);
        while self.decided.len() > REMEMBERED {
            self.decided.pop_first();
        }
    }
}
