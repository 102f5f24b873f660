//! Ring of provided buffers that the kernel receives into (`io_uring_register_buf_ring(3)`).
//!
//! The kernel takes buffers from the head; the program returns them at the tail. One mapping holds the ring's entries,
//! another the buffers themselves. Both are deliberately leaked (a few MiB per core), because the kernel may write into
//! them as long as the ring exists.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Size of each buffer in bytes: room for a pipeline of dozens of small commands.
const BYTES: usize = 16 * 1024;

/// The receive buffers of one ring.
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    /// Number of buffers; a power of two.
    count: u16,
    tail: u16,
}

impl Buffers {
    /// Group number by which receive operations refer to these buffers.
    pub const GROUP: u16 = 0;

    /// Registers `count` buffers (a power of two) with `io`; all of them belong to the kernel at first.
    ///
    /// # Errors
    /// If there is not enough memory, or the kernel refuses.
    pub fn register(io: &IoUring, count: u16) -> io::Result<Self> {
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = map(usize::from(count) * BYTES)?;
        // SAFETY: the mapping has room for `count` entries, is aligned to a page, and is never unmapped.
        unsafe { io.submitter().register_buf_ring_with_flags(entries as u64, count, Self::GROUP, 0)? };
        let mut buffers = Self { entries, memory, count, tail: 0 };
        for buffer in 0..count {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that the kernel has filled and that has not been given back.
    pub fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < self.count && len <= BYTES, "the kernel names buffers that it was given");
        // SAFETY: in bounds by the assertion; the kernel does not write to a buffer between filling it and getting it
        // back, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(buffer) * BYTES), len) }
    }

    /// Returns a buffer to the kernel.
    pub fn give_back(&mut self, buffer: u16) {
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: `place` is below `count`, a power of two as the kernel has confirmed; the kernel reads an entry only
        // after the tail has passed it.
        let entry = unsafe { &mut *self.entries.add(place) };
        entry.set_addr(self.memory.wrapping_add(usize::from(buffer) * BYTES) as u64);
        entry.set_len(BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the ring's base; its tail is a field that kernel and program access atomically, inside
        // the mapping.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choosing touches nothing that exists.
    let start =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    Ok(start.cast())
}
