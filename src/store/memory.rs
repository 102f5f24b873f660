//! Real size of an allocation: the size classes of mimalloc, this program's allocator.
//!
//! Up to 64 bytes there is a class every 16 bytes; then four classes per power of two; above 512 KiB whole pages.

const SMALL: usize = 64;
const LARGE: usize = 512 * 1024;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_allocator() {
        let classes = [(1, 16), (16, 16), (17, 32), (64, 64), (65, 80), (80, 80), (97, 112), (128, 128), (129, 160)];
        let larger = [(161, 192), (512, 512), (513, 640), (1168, 1280), (524_288, 524_288), (524_289, 528_384)];
        for (bytes, class) in classes.into_iter().chain(larger) {
            assert_eq!(allocated(bytes), class, "{bytes}");
        }
    }
}
