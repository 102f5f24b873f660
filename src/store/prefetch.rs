//! Hints to the CPU that memory is about to be used, so that several cache misses are waited for at once.

/// Size of a cache line in bytes.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Prefetches the cache line at `place`.
#[inline]
pub(super) fn line<T>(place: &T) {
    bytes(std::ptr::from_ref(place).cast(), 1);
}

/// Prefetches the cache lines of `count` bytes at `start`, which need not be a valid address.
#[inline]
pub(super) fn bytes(start: *const u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..count).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program could see and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, count);
}
