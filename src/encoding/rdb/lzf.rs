//! Decompression of strings in the LZF format.
//!
//! | first byte | what follows |
//! |---|---|
//! | `000nnnnn` | `n` + 1 bytes as they are |
//! | `111ooooo` | a byte `m` and a byte `p`: `m` + 9 bytes again that stand `o` × 256 + `p` + 1 bytes before |
//! | `nnnooooo` | a byte `p`: `n` + 2 bytes again that stand `o` × 256 + `p` + 1 bytes before |

/// Highest number of bytes that one repetition, of 3 bytes at most, stands for.
const LONGEST: usize = 264;

/// The bytes; `None` if `compressed` is malformed or stands for another number of bytes than `length`. Allocates at
/// most 264 times the size of `compressed`.
pub(super) fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > compressed.len().saturating_mul(LONGEST) {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = compressed;
    while let Some((&first, after)) = rest.split_first() {
        let low = usize::from(first & 0x1f);
        rest = match first >> 5 {
            0 => {
                let (literal, after) = after.split_at_checked(low + 1)?;
                out.extend_from_slice(literal);
                after
            }
            7 => {
                let ([more, back], after) = after.split_first_chunk()?;
                repeat(&mut out, low << 8 | usize::from(*back), 9 + usize::from(*more))?;
                after
            }
            count => {
                let (back, after) = after.split_first()?;
                repeat(&mut out, low << 8 | usize::from(*back), 2 + usize::from(count))?;
                after
            }
        };
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

/// Appends `count` bytes, the first of which is the one `back` before the last. Source and target may overlap.
fn repeat(out: &mut Vec<u8>, back: usize, count: usize) -> Option<()> {
    let start = out.len().checked_sub(back + 1)?;
    for at in start..start + count {
        out.push(out[at]);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repetitions_short_and_long() {
        assert_eq!(decompress(&[], 0).unwrap(), b"");
        assert_eq!(decompress(&[1, b'a', b'b', 0x20, 1], 5).unwrap(), b"ababa");
        assert_eq!(decompress(&[0, b'x', 0xe0, 255, 0], 265).unwrap(), [b'x'; 265]);
        let mut far = vec![31];
        far.extend_from_slice(&[7; 32]);
        far.extend((0..20).flat_map(|_| std::iter::once(31).chain([8; 32])));
        far.extend_from_slice(&[0x20 | 2, 159]);
        let bytes = decompress(&far, 675).unwrap();
        assert_eq!((&bytes[..32], &bytes[672..]), (&[7; 32][..], &[7; 3][..]));
    }

    #[test]
    fn nothing_before_the_beginning_and_no_other_length() {
        for (compressed, length) in [
            (&[0x20, 0][..], 3),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0x20], 4),
            (&[0, b'a', 0xe0, 1], 11),
            (&[3, b'a'], 4),
            (&[0, b'a'], 2),
            (&[1, b'a', b'b'], 1),
            (&[], 1),
            (&[0, b'a'], usize::MAX),
        ] {
            assert_eq!(decompress(compressed, length), None, "{compressed:?} to {length}");
        }
    }
}
