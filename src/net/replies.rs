//! The replies of one connection that are not ready to leave, in the order of its requests.
//!
//! Most replies never get here: they go straight into the connection's output. A reply waits when somebody else has yet
//! to give it (another core, or whoever ends a client's wait), when the edit behind it is not yet as safe as the server
//! promises, or when one before it waits. Replies are given in any order and leave in that of their requests. The
//! output holds whole messages only, so what belongs to no request may go there between any two replies.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::ids::{Lsn, RequestId};

/// A connection's waiting replies.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    /// The request of the front of the queue.
    first: u64,
    queue: VecDeque<Queued>,
    bytes: usize,
    /// Replies in the queue that are under way.
    pending: usize,
}

/// A reply. Most are short: between replies of other cores there stands an `OK` or two.
type Bytes = SmallVec<[u8; 24]>;

#[derive(Debug)]
enum Queued {
    /// Complete; may leave once this core's edits are safe up to `gate`.
    Ready { bytes: Bytes, gate: Lsn },
    /// Under way: somebody else gives it. Meanwhile `kept` bytes of its parts are kept elsewhere; the client does not
    /// want it if it is `muted`.
    UnderWay { muted: bool, kept: usize },
}

impl ReplyQueue {
    /// Whether a reply that is ready may leave at once.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of replies that wait here or are kept elsewhere for this connection.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of replies that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether any reply is under way.
    pub const fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// The request whose reply is the next to be put here.
    pub fn next_request(&self) -> RequestId {
        RequestId(self.first + self.queue.len() as u64)
    }

    /// Puts a complete reply behind the others, to leave once this core's edits are safe up to `gate`.
    pub fn push(&mut self, reply: &[u8], gate: Lsn) {
        self.bytes += reply.len();
        // Replies with nothing between them leave together; whoever waits for the later edit has waited for the earlier
        // one.
        if let Some(Queued::Ready { bytes, gate: last }) = self.queue.back_mut()
            && bytes.len() < 64 * 1024
        {
            bytes.extend_from_slice(reply);
            *last = gate.max(*last);
        } else {
            self.queue.push_back(Queued::Ready { bytes: Bytes::from_slice(reply), gate });
        }
    }

    /// Keeps a place for the reply of [`Self::next_request`], which somebody else will give.
    pub fn expect(&mut self, muted: bool) -> RequestId {
        let request = self.next_request();
        self.queue.push_back(Queued::UnderWay { muted, kept: 0 });
        self.pending += 1;
        request
    }

    /// So many bytes more are kept elsewhere for a reply that is under way.
    pub fn keep(&mut self, request: RequestId, bytes: usize) {
        if let Some(Queued::UnderWay { kept, .. }) = self.queued(request) {
            *kept += bytes;
            self.bytes += bytes;
        }
    }

    /// Takes in a reply that was under way. Returns whether it was; one that nobody waits for is ignored. One whose
    /// turn it is goes to `out` at once.
    pub fn answer(&mut self, request: RequestId, reply: &[u8], out: &mut Vec<u8>) -> bool {
        let is_first = request.0 == self.first;
        let Some(queued) = self.queued(request) else { return false };
        let Queued::UnderWay { muted, kept } = *queued else { return false };
        let reply = if muted { &[][..] } else { reply };
        if is_first {
            self.queue.pop_front();
            self.first += 1;
            out.extend_from_slice(reply);
        } else {
            *queued = Queued::Ready { bytes: Bytes::from_slice(reply), gate: Lsn(0) };
            self.bytes += reply.len();
        }
        self.bytes -= kept;
        self.pending -= 1;
        true
    }

    /// Moves what may leave to `out`, edits being safe up to `safe`.
    pub fn release(&mut self, safe: Lsn, out: &mut Vec<u8>) {
        while let Some(Queued::Ready { bytes, gate }) = self.queue.front()
            && *gate <= safe
        {
            out.extend_from_slice(bytes);
            self.bytes -= bytes.len();
            self.queue.pop_front();
            self.first += 1;
        }
    }

    /// Whether the front reply waits for edits to become safe.
    pub fn is_gated(&self) -> bool {
        matches!(self.queue.front(), Some(Queued::Ready { .. }))
    }

    fn queued(&mut self, request: RequestId) -> Option<&mut Queued> {
        let index = request.0.checked_sub(self.first)?;
        self.queue.get_mut(usize::try_from(index).ok()?)
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
    fn replies_come_in_any_order_and_leave_in_that_of_their_requests() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        let one = queue.expect(false);
        queue.push(b"+B\r\n", Lsn(0));
        assert_eq!(queue.next_request(), RequestId(2));
        let two = queue.expect(false);
        queue.keep(two, 8);
        assert_eq!((two, queue.bytes()), (RequestId(2), 12), "what is kept elsewhere counts");
        assert!(queue.answer(two, b":3\r\n", &mut out));
        assert_eq!((released(&mut queue, 0), queue.bytes()), (String::new(), 8));
        assert!(queue.answer(one, b"+A\r\n", &mut out) && !queue.has_pending());
        assert_eq!(out, b"+A\r\n");
        assert_eq!(released(&mut queue, 0), "+B\r\n:3\r\n");
        assert!(queue.is_empty() && queue.bytes() == 0);
        assert!(!queue.answer(one, b"+late\r\n", &mut out));
    }

    #[test]
    fn a_reply_waits_until_its_edit_is_safe_and_so_do_those_behind_it() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        queue.push(b"+1\r\n", Lsn(5));
        let request = queue.expect(false);
        queue.answer(request, b"+2\r\n", &mut out);
        assert_eq!(released(&mut queue, 4), "");
        assert!(queue.is_gated());
        assert_eq!(released(&mut queue, 5), "+1\r\n+2\r\n");
    }

    #[test]
    fn a_muted_reply_is_awaited_and_not_sent() {
        let (mut queue, mut out) = (ReplyQueue::default(), vec![]);
        let request = queue.expect(true);
        queue.push(b"+shown\r\n", Lsn(0));
        assert_eq!(released(&mut queue, 0), "");
        queue.answer(request, b"+muted\r\n", &mut out);
        assert_eq!(released(&mut queue, 0), "+shown\r\n");
    }
}
