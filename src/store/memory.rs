//! Real size of an allocation: the size classes of mimalloc 2, this program's allocator.
//!
//! Up to 64 bytes there is a class every 16 bytes; then four classes per power of two; above 64 KiB whole pages.

const SMALL: usize = 64;
const LARGE: usize = 64 * 1024;
const PAGE: usize = 4096;

/// Bytes that the allocator sets aside for an allocation of `bytes`.
#[inline]
pub(super) const fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        0
    } else if bytes <= SMALL {
        bytes.next_multiple_of(16)
    } else if bytes <= LARGE {
        let words = (bytes - 1) / 8;
        let shift = words.ilog2() - 2;
        (((words >> shift) + 1) << shift) * 8
    } else {
        bytes.next_multiple_of(PAGE)
    }
}

/// Takes from `items` the room for more than `capacity` of them, if that frees memory.
///
/// `Vec::shrink_to` would free none: the allocator leaves a block where it is as long as half of it is used.
pub(super) fn shrink<T>(items: &mut Vec<T>, capacity: usize) {
    let capacity = capacity.max(items.len());
    if allocated(capacity * size_of::<T>()) < allocated(items.capacity() * size_of::<T>()) {
        let mut smaller = Vec::with_capacity(capacity);
        smaller.append(items);
        *items = smaller;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shrunk_keeps_its_items() {
        for capacity in [0, 3, 10, 40] {
            let mut items = Vec::with_capacity(100);
            items.extend(0..10u64);
            shrink(&mut items, capacity);
            assert_eq!((&*items, items.capacity()), (&*(0..10).collect::<Vec<_>>(), capacity.max(10)));
        }
    }
}
