//! The registers of a HyperLogLog: which one an element belongs to, and 16,384 of them, six bits each, in 12,288 bytes
//! (the dense form): each register follows the one before it from the lowest bit of a byte to the highest.

/// Number of registers, a power of two.
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// Number of bits of an element's hash that tell its register.
const INDEX_BITS: u32 = 14;
/// Highest value that an element gives to a register.
pub(super) const HIGHEST: u8 = (64 - INDEX_BITS + 1) as u8;
/// Bytes of the registers in dense form.
pub(super) const DENSE: usize = REGISTERS * 6 / 8;

/// Seed of the elements' hash, part of Redis's format.
const SEED: u64 = 0xadc8_3b19;

/// Index of the register of an element, and the value that the element gives to it: one more than the number of zeros
/// at the end of the rest of its hash.
pub(super) fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, SEED);
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (hash as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

/// Austin Appleby's MurmurHash64A, reading words as little-endian.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ word >> SHIFT).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// Number of registers with each value that six bits can express.
pub(super) type Histogram = [u32; 64];

/// All registers, a byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers(pub [u8; REGISTERS]);

impl Registers {
    /// Registers that are all zero.
    pub(super) const fn new() -> Self {
        Self([0; REGISTERS])
    }

    /// Raises the registers to those in dense form that are higher.
    pub(super) fn merge_dense(&mut self, dense: &[u8]) {
        for (own, others) in self.0.as_chunks_mut::<4>().0.iter_mut().zip(dense.as_chunks::<3>().0) {
            own.iter_mut().zip(unpack(*others)).for_each(|(own, other)| *own = (*own).max(other));
        }
    }

    /// Appends the registers in dense form.
    pub(super) fn write_dense(&self, out: &mut Vec<u8>) {
        let groups = self.0.as_chunks::<4>().0.iter();
        out.extend(groups.flat_map(|[a, b, c, d]| [a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2]));
    }

    /// Counts the registers with each value.
    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = [0; 64];
        self.0.iter().for_each(|value| histogram[usize::from(value & 63)] += 1);
        histogram
    }
}

/// Four registers, from the three bytes that they take in dense form.
const fn unpack([a, b, c]: [u8; 3]) -> [u8; 4] {
    [a & 63, (a >> 6 | b << 2) & 63, (b >> 4 | c << 4) & 63, c >> 2]
}

/// A register in dense form.
pub(super) fn dense_get(dense: &[u8], index: usize) -> u8 {
    let group = dense.as_chunks::<3>().0[index / 4];
    unpack(group)[index % 4]
}

/// Sets a register in dense form.
pub(super) fn dense_set(dense: &mut [u8], index: usize, value: u8) {
    let bit = index * 6;
    let (byte, shift) = (bit / 8, bit % 8);
    let mask = 63u16 << shift;
    let value = u16::from(value) << shift;
    dense[byte] = dense[byte] & !(mask as u8) | value as u8;
    if shift > 2 {
        dense[byte + 1] = dense[byte + 1] & !((mask >> 8) as u8) | (value >> 8) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_murmurhash64a() {
        // From the reference implementation, with seed 0.
        assert_eq!(murmur64a(b"", 0), 0);
        assert_eq!(murmur64a(b"hello", 0), 0x1e68_d17c_457b_f117);
    }

    #[test]
    fn dense_registers_are_independent() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut dense = vec![0; DENSE];
        let mut registers = Registers::new();
        for _ in 0..100_000 {
            let (index, value) = (random.usize(..REGISTERS), random.u8(..64));
            dense_set(&mut dense, index, value);
            registers.0[index] = value;
        }
        assert!((0..REGISTERS).all(|index| dense_get(&dense, index) == registers.0[index]), "seed {seed}");
        let mut written = Vec::new();
        registers.write_dense(&mut written);
        assert!(written == dense, "seed {seed}");
        let mut merged = Registers::new();
        merged.merge_dense(&dense);
        assert!(merged == registers, "seed {seed}");
    }
}
