//! Bytes that grow and shrink at both ends.

use crate::store::memory::{allocated, shrink};

/// A buffer whose bytes may be followed and preceded by room for more. Adding and removing bytes at either end costs,
/// on average, no more than these bytes.
#[derive(Default)]
pub(super) struct Ends {
    /// Room, then the bytes.
    buffer: Vec<u8>,
    start: usize,
}

impl Ends {
    /// Makes a buffer that has room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity), start: 0 }
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Number of bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes of memory that the buffer takes, including its room.
    pub const fn memory(&self) -> usize {
        allocated(self.buffer.capacity())
    }

    /// Adds bytes at the right end.
    #[inline]
    pub fn push_right(&mut self, more: &[u8]) {
        // Moving the bytes into room on the left is as good as growing once that room is as large as they are.
        if self.buffer.capacity() - self.buffer.len() < more.len() && self.start > 0 && self.start >= self.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(more);
    }

    /// Adds bytes at the left end.
    #[inline]
    pub fn push_left(&mut self, more: &[u8]) {
        if self.start < more.len() {
            self.make_room_left(more.len());
        }
        self.start -= more.len();
        self.buffer[self.start..][..more.len()].copy_from_slice(more);
    }

    /// Makes room for at least `needed` bytes on the left, and for as many as there are.
    #[cold]
    fn make_room_left(&mut self, needed: usize) {
        let start = needed.max(self.len());
        let mut buffer = Vec::with_capacity(start + self.len());
        buffer.resize(start, 0);
        buffer.extend_from_slice(self.bytes());
        *self = Self { buffer, start };
    }

    /// Removes `count` bytes from the left end.
    #[inline]
    pub fn pop_left(&mut self, count: usize) {
        self.start += count;
    }

    /// Removes `count` bytes from the right end.
    #[inline]
    pub fn pop_right(&mut self, count: usize) {
        self.buffer.truncate(self.buffer.len() - count);
    }

    /// Replaces `removed` bytes at `at` by `inserted`.
    pub fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) {
        let from = self.start + at;
        if removed == inserted.len() {
            self.buffer[from..][..removed].copy_from_slice(inserted);
        } else {
            self.buffer.splice(from..from + removed, inserted.iter().copied());
        }
    }

    /// Gives up all room.
    pub fn shrink(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        shrink(&mut self.buffer, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_and_go_at_both_ends() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..100 {
            let (mut ends, mut model) = (Ends::default(), std::collections::VecDeque::new());
            for step in 0..300u16 {
                let more = vec![step as u8; random.usize(..20)];
                let fewer = random.usize(..=model.len().min(20));
                match random.u8(..7) {
                    0 => {
                        ends.push_left(&more);
                        more.iter().for_each(|byte| model.push_front(*byte));
                    }
                    1 | 2 => {
                        ends.push_right(&more);
                        model.extend(&more);
                    }
                    3 => {
                        ends.pop_left(fewer);
                        model.drain(..fewer);
                    }
                    4 => {
                        ends.pop_right(fewer);
                        model.truncate(model.len() - fewer);
                    }
                    5 => {
                        let at = random.usize(..=model.len() - fewer);
                        ends.splice(at, fewer, &more);
                        let after = model.split_off(at + fewer);
                        model.truncate(at);
                        model.extend(more.iter().chain(&after));
                    }
                    _ => {
                        ends.shrink();
                        assert_eq!(ends.memory(), allocated(model.len()));
                    }
                }
                assert!(ends.bytes().iter().eq(&model), "step {step}");
                assert_eq!(ends.len(), model.len());
            }
        }
    }

    #[test]
    fn a_queue_takes_no_more_memory_than_what_waits_in_it() {
        for turned in [false, true] {
            let mut ends = Ends::default();
            for _ in 0..10_000 {
                if turned {
                    ends.push_left(&[7; 10])
                } else {
                    ends.push_right(&[7; 10])
                }
                if ends.len() > 100 {
                    if turned { ends.pop_right(10) } else { ends.pop_left(10) }
                }
                assert!(ends.memory() <= 512, "{} bytes", ends.memory());
            }
        }
    }
}
