//! Values: their sizes and contents.
//!
//! Normally a value is a piece of a pool of random printable bytes, which is cheap and does not compress. For
//! `--verify` it identifies itself ([`stamp`]):
//!
//! ```text
//! 0        16           24            32
//! | cell   | sequence   | CRC32       | padding …
//! | 16 hex | 8 hex      | 8 hex: of all the rest |
//! ```
//!
//! A *cell* is whatever holds one value: a key, or a field of a key. From a value that was read back, one can tell
//! which write it came from, and that it is intact.

use std::fmt;
use std::str::FromStr;

use super::request;

/// Size of the smallest value that can identify itself, in bytes.
pub const STAMP: usize = 32;
/// Size of the largest value in bytes: a server's default limit.
pub const LARGEST: usize = 512 << 20;
/// Size of the pool beyond the largest value, in bytes: small enough to stay in the L1 cache.
const POOL: usize = 16 * 1024;

/// Distribution of value sizes, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Always this size.
    Fixed(usize),
    /// Uniformly distributed between these two sizes.
    Uniform(usize, usize),
    /// One of these sizes, with equal probability.
    List(Vec<usize>),
}

/// A text that means no sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} means no sizes of values: a number of bytes such as 100, a range such as 10..1000, or a list such as 64,256,4096"
)]
pub struct NoSizes(String);

impl FromStr for Sizes {
    type Err = NoSizes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NoSizes(text.to_owned());
        let size = |text: &str| text.trim().parse().ok().filter(|size| *size <= LARGEST).ok_or_else(bad);
        if let Some((from, to)) = text.split_once("..") {
            let (from, to) = (size(from)?, size(to)?);
            return if from <= to { Ok(Self::Uniform(from, to)) } else { Err(bad()) };
        }
        match text.split(',').map(size).collect::<Result<Vec<_>, _>>()?.as_slice() {
            [one] => Ok(Self::Fixed(*one)),
            several => Ok(Self::List(several.to_vec())),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Uniform(from, to) => write!(f, "{from}..{to}"),
            Self::List(sizes) => f.write_str(&sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Sizes {
    /// The largest size.
    pub fn largest(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Uniform(_, size) => *size,
            Self::List(sizes) => sizes.iter().copied().max().unwrap_or(0),
        }
    }

    /// The smallest size.
    pub fn smallest(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Uniform(size, _) => *size,
            Self::List(sizes) => sizes.iter().copied().min().unwrap_or(0),
        }
    }

    #[inline]
    fn draw(&self, random: &mut fastrand::Rng) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Uniform(from, to) => random.usize(*from..=*to),
            Self::List(sizes) => sizes[random.usize(..sizes.len())],
        }
    }
}

/// Generates the values of a run.
#[derive(Clone, Debug)]
pub struct Values {
    sizes: Sizes,
    pool: Vec<u8>,
    /// Header of each value as an argument, if all have the same size.
    head: Option<Vec<u8>>,
}

impl Values {
    /// Makes a generator for these sizes. The same seed gives the same values.
    pub fn new(sizes: Sizes, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let pool = (0..POOL + sizes.largest()).map(|_| random.alphanumeric() as u8).collect();
        let head = if let Sizes::Fixed(size) = sizes { Some(format!("${size}\r\n").into_bytes()) } else { None };
        Self { sizes, pool, head }
    }

    /// Appends a value as an argument.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, random: &mut fastrand::Rng) {
        let size = self.sizes.draw(random);
        let value = &self.pool[random.usize(..POOL)..][..size];
        match &self.head {
            Some(head) => {
                out.reserve(head.len() + size + 2);
                out.extend_from_slice(head);
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            None => request::argument(out, value),
        }
    }

    /// Appends, as an argument, a value that identifies itself as write `sequence` of `cell`.
    pub fn write_stamped(&self, out: &mut Vec<u8>, random: &mut fastrand::Rng, cell: u64, sequence: u32) {
        let padding = self.sizes.draw(random).max(STAMP) - STAMP;
        let value = stamp(cell, sequence, &self.pool[random.usize(..POOL)..][..padding]);
        request::argument(out, &value);
    }
}

/// Makes a value that identifies itself.
pub fn stamp(cell: u64, sequence: u32, padding: &[u8]) -> Vec<u8> {
    let mut value = format!("{cell:016x}{sequence:08x}").into_bytes();
    let crc = checksum(&value, padding);
    value.extend_from_slice(format!("{crc:08x}").as_bytes());
    value.extend_from_slice(padding);
    value
}

/// Cell and sequence number of a value; `None` if the value is not intact.
pub fn read_stamp(value: &[u8]) -> Option<(u64, u32)> {
    let (head, padding) = value.split_at_checked(STAMP)?;
    let text = std::str::from_utf8(head).ok()?;
    let number = |from: usize, to: usize| u64::from_str_radix(text.get(from..to)?, 16).ok();
    let (cell, sequence, crc) = (number(0, 16)?, number(16, 24)?, number(24, 32)?);
    (u64::from(checksum(&head[..24], padding)) == crc).then_some((cell, sequence as u32))
}

fn checksum(head: &[u8], padding: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(padding);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_number_a_range_or_a_list() {
        for (text, smallest, largest) in
            [("100", 100, 100), ("10..1000", 10, 1000), ("64,256,4096", 64, 4096), ("0", 0, 0)]
        {
            let sizes: Sizes = text.parse().unwrap();
            assert_eq!((sizes.smallest(), sizes.largest(), sizes.to_string().as_str()), (smallest, largest, text));
        }
        for text in ["", "x", "10..", "20..10", "1,,2", "-1", "999999999999"] {
            let wrong = text.parse::<Sizes>().unwrap_err().to_string();
            assert!(wrong.contains("means no sizes"), "{wrong}");
        }
    }

    #[test]
    fn drawn_sizes_are_the_ones_asked_for() {
        let mut random = fastrand::Rng::with_seed(3);
        let uniform = Sizes::Uniform(10, 19);
        let mut seen = [0u32; 10];
        (0..10_000).for_each(|_| seen[uniform.draw(&mut random) - 10] += 1);
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        let list = Sizes::List(vec![1, 5]);
        let small = (0..10_000).filter(|_| list.draw(&mut random) == 1).count();
        assert!((4500..5500).contains(&small), "{small}");
    }

    #[test]
    fn a_stamped_value_says_what_it_is_and_damage_shows() {
        let values = Values::new(Sizes::Fixed(100), 1);
        let mut out = Vec::new();
        values.write_stamped(&mut out, &mut fastrand::Rng::with_seed(1), 0xdead_beef_0000_0001, 77);
        let mut value = out[6..106].to_vec();
        assert_eq!(read_stamp(&value), Some((0xdead_beef_0000_0001, 77)));
        for at in 0..value.len() {
            value[at] ^= 1;
            assert_eq!(read_stamp(&value), None, "byte {at}");
            value[at] ^= 1;
        }
        assert_eq!(read_stamp(&value[..99]), None);
        assert_eq!(read_stamp(b"short"), None);
    }
}
