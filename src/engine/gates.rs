//! Answers that wait on the core that gives them until the edits that they tell of are as safe as the server promises.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::mail::Origin;
use crate::ids::{CoreId, Lsn};

/// An answer to a command that has been executed.
#[derive(Debug)]
pub(super) struct Answer {
    /// The core that asked; this one for a command of its own client.
    pub to: CoreId,
    /// Where the answer belongs on that core.
    pub origin: Origin,
    /// The last edit that it stands for, or 0.
    pub wrote: Lsn,
    /// The encoded reply, or a part of it.
    pub bytes: Vec<u8>,
}

/// Answers behind their gates, the lowest gate first.
#[derive(Debug, Default)]
pub(super) struct Held {
    answers: BinaryHeap<Reverse<Gated>>,
    bytes: usize,
}

#[derive(Debug)]
struct Gated {
    gate: Lsn,
    answer: Answer,
}

impl Held {
    /// Keeps an answer until this core's edits are safe up to `gate`.
    pub(super) fn push(&mut self, gate: Lsn, answer: Answer) {
        self.bytes += answer.bytes.len();
        self.answers.push(Reverse(Gated { gate, answer }));
    }

    /// Takes an answer whose gate is not above `safe`.
    pub(super) fn pop(&mut self, safe: Lsn) -> Option<Answer> {
        let next = self.answers.peek().is_some_and(|Reverse(next)| next.gate <= safe);
        let Reverse(Gated { answer, .. }) = next.then(|| self.answers.pop())??;
        self.bytes -= answer.bytes.len();
        Some(answer)
    }

    /// Takes all answers whose gates are above `durable`, where the log has ended.
    pub(super) fn take_beyond(&mut self, durable: Lsn) -> Vec<Answer> {
        let all = std::mem::take(self);
        let (mut beyond, mut rest) = (Vec::new(), Self::default());
        for Reverse(Gated { gate, answer }) in all.answers {
            if gate > durable {
                beyond.push(answer);
            } else {
                rest.push(gate, answer);
            }
        }
        *self = rest;
        beyond
    }

    /// Bytes of all answers that are held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no answer is held.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

impl PartialEq for Gated {
    fn eq(&self, other: &Self) -> bool {
        self.gate == other.gate
    }
}

impl Eq for Gated {}

impl PartialOrd for Gated {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Gated {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.gate.cmp(&other.gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Caller, RequestId};

    fn answer(request: u64) -> Answer {
        let caller = Caller { connection: 0, client: 1, request: RequestId(request) };
        let origin = Origin { caller, part: None };
        Answer { to: CoreId(0), origin, wrote: Lsn(0), bytes: vec![0; 10] }
    }

    fn requests(answers: impl IntoIterator<Item = Answer>) -> Vec<u64> {
        let mut requests: Vec<_> = answers.into_iter().map(|answer| answer.origin.caller.request.0).collect();
        requests.sort_unstable();
        requests
    }

    #[test]
    fn answers_leave_when_their_gates_are_reached_in_whatever_order_they_came() {
        let mut held = Held::default();
        for (gate, request) in [(7, 1), (3, 2), (9, 3), (3, 4)] {
            held.push(Lsn(gate), answer(request));
        }
        assert_eq!(held.bytes(), 40);
        assert!(held.pop(Lsn(2)).is_none());
        assert_eq!(requests(std::iter::from_fn(|| held.pop(Lsn(8)))), [1, 2, 4]);
        assert_eq!(held.bytes(), 10);
        assert_eq!(requests(held.pop(Lsn(9))), [3]);
        assert!(held.is_empty() && held.bytes() == 0);
    }

    #[test]
    fn when_the_log_has_ended_those_beyond_its_end_are_told_apart() {
        let mut held = Held::default();
        for (gate, request) in [(7, 1), (3, 2), (9, 3)] {
            held.push(Lsn(gate), answer(request));
        }
        assert_eq!(requests(held.take_beyond(Lsn(6))), [1, 3]);
        assert_eq!((held.bytes(), requests(held.pop(Lsn(6)))), (10, vec![2]));
    }
}
