//! The replies of one connection that are not ready to leave, in the order of its requests.
//!
//! Most replies never get here: they go straight into the connection's output. A reply waits when another core has yet to give it,
//! when the edit behind it is not yet as safe as the server promises, or when one before it waits.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::merge::{Merge, merge};
use crate::encoding::resp::Protocol;
use crate::ids::Lsn;

/// Names a waiting reply of a connection. Tickets are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A connection's waiting replies.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    /// Ticket of the front slot.
    first: u64,
    slots: VecDeque<Slot>,
    bytes: usize,
    /// Slots whose parts are missing.
    pending: usize,
}

/// A reply. Most are short: between replies of other cores there stands an `OK` or two.
type Bytes = SmallVec<[u8; 24]>;

#[derive(Debug)]
enum Slot {
    /// Complete; may leave once this core's edits are safe up to `gate`.
    Ready { bytes: Bytes, gate: Lsn },
    /// The one part that it has is missing: by far the most frequent.
    Single { muted: bool },
    /// Parts are missing.
    Pending(Box<Pending>),
}

#[derive(Debug)]
struct Pending {
    how: Merge,
    protocol: Protocol,
    parts: Vec<Vec<u8>>,
    missing: usize,
    /// The client does not want this reply.
    muted: bool,
}

impl Pending {
    /// The reply that the parts come to.
    fn reply(&mut self) -> Bytes {
        let mut reply = Vec::new();
        if !self.muted {
            merge(&self.how, &self.parts, self.protocol, &mut reply);
        }
        reply.into()
    }
}

impl ReplyQueue {
    /// Whether a reply that is ready may leave at once.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of replies held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Requests whose replies wait.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether any reply lacks a part.
    pub const fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Whether this reply lacks a part.
    pub fn is_pending(&mut self, ticket: Ticket) -> bool {
        matches!(self.slot(ticket), Some(Slot::Single { .. } | Slot::Pending(_)))
    }

    /// Puts a complete reply behind the others, to leave once this core's edits are safe up to `gate`.
    pub fn push(&mut self, reply: &[u8], gate: Lsn) {
        self.bytes += reply.len();
        // Replies with nothing between them leave together; whoever waits for the later edit has waited for the earlier one.
        if let Some(Slot::Ready { bytes, gate: last }) = self.slots.back_mut()
            && bytes.len() < 64 * 1024
        {
            bytes.extend_from_slice(reply);
            *last = gate.max(*last);
        } else {
            self.slots.push_back(Slot::Ready { bytes: Bytes::from_slice(reply), gate });
        }
    }

    /// Keeps a place for a reply that will be made of `parts` parts.
    pub fn expect(&mut self, how: Merge, parts: usize, protocol: Protocol, muted: bool) -> Ticket {
        self.slots.push_back(if how == Merge::Only {
            Slot::Single { muted }
        } else {
            let pending = Pending { how, protocol, parts: vec![Vec::new(); parts], missing: parts, muted };
            Slot::Pending(Box::new(pending))
        });
        self.pending += 1;
        Ticket(self.first + self.slots.len() as u64 - 1)
    }

    /// Fills in a part. Returns whether the reply is now complete; a part that nobody waits for is ignored.
    /// A reply whose turn it is goes to `out` at once.
    pub fn answer(&mut self, ticket: Ticket, part: u16, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let is_first = ticket.0 == self.first;
        let reply = match self.slot(ticket) {
            Some(Slot::Single { muted }) if is_first => {
                if !*muted {
                    out.extend_from_slice(bytes);
                }
                self.slots.pop_front();
                self.first += 1;
                self.pending -= 1;
                return true;
            }
            Some(Slot::Single { muted }) => {
                if *muted {
                    Bytes::new()
                } else {
                    Bytes::from_slice(bytes)
                }
            }
            Some(Slot::Pending(pending)) => {
                let place = pending.parts.get_mut(usize::from(part)).filter(|p| p.is_empty());
                let Some(place) = place else { return false };
                *place = bytes.to_vec();
                pending.missing -= 1;
                let complete = pending.missing == 0;
                self.bytes += bytes.len();
                if !complete {
                    return false;
                }
                self.gather(ticket)
            }
            Some(Slot::Ready { .. }) | None => return false,
        };
        self.complete(ticket, reply);
        true
    }

    /// Makes the reply out of the parts that are there. Returns whether somebody waited for it.
    pub fn cut_short(&mut self, ticket: Ticket) -> bool {
        if !matches!(self.slot(ticket), Some(Slot::Pending(_))) {
            return false;
        }
        let reply = self.gather(ticket);
        self.complete(ticket, reply);
        true
    }

    /// Gives the whole reply, whatever parts are missing. Returns whether somebody waited for it.
    pub fn finish(&mut self, ticket: Ticket, reply: &[u8]) -> bool {
        let muted = match self.slot(ticket) {
            Some(Slot::Single { muted }) => *muted,
            Some(Slot::Pending(pending)) => pending.muted,
            Some(Slot::Ready { .. }) | None => return false,
        };
        self.gather(ticket);
        let reply = if muted { Bytes::new() } else { Bytes::from_slice(reply) };
        self.complete(ticket, reply);
        true
    }

    /// What the parts of a reply come to; they are gone then.
    fn gather(&mut self, ticket: Ticket) -> Bytes {
        let Some(Slot::Pending(pending)) = self.slot(ticket) else { return Bytes::new() };
        let reply = pending.reply();
        let held: usize = std::mem::take(&mut pending.parts).iter().map(Vec::len).sum();
        self.bytes -= held;
        reply
    }

    fn complete(&mut self, ticket: Ticket, bytes: Bytes) {
        let added = bytes.len();
        if let Some(slot) = self.slot(ticket) {
            *slot = Slot::Ready { bytes, gate: Lsn(0) };
            self.bytes += added;
            self.pending -= 1;
        }
    }

    /// Moves what may leave to `out`, edits being safe up to `safe`.
    pub fn release(&mut self, safe: Lsn, out: &mut Vec<u8>) {
        while let Some(Slot::Ready { bytes, gate }) = self.slots.front()
            && *gate <= safe
        {
            out.extend_from_slice(bytes);
            self.bytes -= bytes.len();
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Whether the front reply waits for edits to become safe.
    pub fn is_gated(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Ready { .. }))
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        let index = ticket.0.checked_sub(self.first)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(queue: &mut ReplyQueue, safe: u64) -> String {
        let mut out = vec![];
        queue.release(Lsn(safe), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        let one = queue.expect(Merge::Only, 1, Protocol::Resp2, false);
        queue.push(b"+B\r\n", Lsn(0));
        let two = queue.expect(Merge::Sum, 2, Protocol::Resp2, false);
        assert!(!queue.answer(two, 1, b":2\r\n", &mut out));
        assert!(queue.answer(two, 0, b":1\r\n", &mut out));
        assert_eq!(released(&mut queue, 0), "");
        assert!(queue.answer(one, 0, b"+A\r\n", &mut out));
        assert_eq!(out, b"+A\r\n");
        assert_eq!(released(&mut queue, 0), "+B\r\n:3\r\n");
        assert!(queue.is_empty() && queue.bytes() == 0);
        assert!(!queue.answer(one, 0, b"+late\r\n", &mut out));
    }

    #[test]
    fn a_reply_waits_until_its_edit_is_safe_and_so_do_those_behind_it() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        queue.push(b"+1\r\n", Lsn(5));
        let ticket = queue.expect(Merge::Only, 1, Protocol::Resp2, false);
        queue.answer(ticket, 0, b"+2\r\n", &mut out);
        assert_eq!(released(&mut queue, 4), "");
        assert!(queue.is_gated());
        assert_eq!(released(&mut queue, 5), "+1\r\n+2\r\n");
    }

    #[test]
    fn a_reply_that_is_cut_short_says_what_is_there() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        let wait = queue.expect(Merge::OnDisk { cores: 2 }, 3, Protocol::Resp2, false);
        assert!(queue.has_pending() && queue.is_pending(wait));
        assert!(!queue.answer(wait, 0, b":1\r\n", &mut out) && !queue.answer(wait, 1, b":1\r\n", &mut out));
        assert_eq!(queue.bytes(), 8, "parts count");
        assert!(queue.cut_short(wait) && !queue.cut_short(wait) && !queue.has_pending());
        assert!(!queue.answer(wait, 2, b":1\r\n", &mut out));
        assert_eq!(released(&mut queue, 0), "*2\r\n:1\r\n:0\r\n");
    }

    #[test]
    fn a_muted_reply_is_awaited_and_not_sent() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        let ticket = queue.expect(Merge::Only, 1, Protocol::Resp2, true);
        queue.push(b"+shown\r\n", Lsn(0));
        assert_eq!(released(&mut queue, 0), "");
        queue.answer(ticket, 0, b"+muted\r\n", &mut out);
        assert_eq!(released(&mut queue, 0), "+shown\r\n");
    }
}
