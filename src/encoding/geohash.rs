//! Places on the earth as numbers: the 52 bits by which sorted sets order places, and the text form of a geohash.
//!
//! A geohash (<https://en.wikipedia.org/wiki/Geohash>) halves the ranges of longitude and latitude again and again, and
//! notes each time with one bit of either in which half the place lies. Places with a common prefix are near each
//! other, and all places in one cell of the grid are one range of numbers. As in Redis, the number has 26 bits of each,
//! the highest bit is one of the longitude, and latitudes end where the square map of the Mercator projection does
//! (EPSG:3857); text forms count latitudes up to the poles, as everybody's do.

use std::ops::Range;

/// Bits of each coordinate in a number.
const STEPS: u32 = 26;
/// Most divisions of the grid: a double that stands for a place on the eastern edge of the map, with its 54 bits, does
/// not tell the cells of one more.
pub const FINEST: u32 = STEPS - 1;
/// Longitudes that a place may have.
const LONGITUDES: Range<f64> = -180.0..180.0;
/// Latitudes that a place may have.
const LATITUDES: Range<f64> = -MAX_LATITUDE..MAX_LATITUDE;
/// Greatest latitude that a place may have, in degrees.
pub const MAX_LATITUDE: f64 = 85.051_128_78;
/// Latitudes that text forms count in.
const ALL_LATITUDES: Range<f64> = -90.0..90.0;
/// Digits of the text form.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Length of the text form. Its last digit is always 0, since 52 bits make ten digits.
const TEXT_LEN: usize = 11;

/// A place on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Degrees to the east.
    pub longitude: f64,
    /// Degrees to the north.
    pub latitude: f64,
}

impl Place {
    /// The place with these coordinates; `None` if they are out of range.
    pub fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let is_in = |value: f64, range: Range<f64>| value >= range.start && value <= range.end;
        (is_in(longitude, LONGITUDES) && is_in(latitude, LATITUDES)).then_some(Self { longitude, latitude })
    }

    /// The number that stands for the place, as a score.
    pub fn score(self) -> f64 {
        let x = position(self.longitude, LONGITUDES, STEPS);
        interleave(x, position(self.latitude, LATITUDES, STEPS)) as f64
    }

    /// The middle of the smallest cell that a score names. Any score names one, as it does in Redis on 64-bit x86.
    pub fn from_score(score: f64) -> Self {
        const HALF: f64 = (1u64 << 63) as f64;
        let bits = match score {
            low if low < HALF => (low as i64).cast_unsigned(),
            high if high < 2.0 * HALF => high as u64,
            _ => 0,
        };
        let middle = |at: u32, range: Range<f64>| {
            let edges = edge(f64::from(at), range.clone(), STEPS) + edge(f64::from(at) + 1.0, range.clone(), STEPS);
            (edges / 2.0).clamp(range.start, range.end)
        };
        Self { longitude: middle(even_bits(bits >> 1), LONGITUDES), latitude: middle(even_bits(bits), LATITUDES) }
    }

    /// The place as a geohash in its text form.
    pub fn text(self) -> [u8; TEXT_LEN] {
        let x = position(self.longitude, LONGITUDES, STEPS);
        let bits = interleave(x, position(self.latitude, ALL_LATITUDES, STEPS));
        let mut text = [DIGITS[0]; TEXT_LEN];
        for (at, digit) in text.iter_mut().take(TEXT_LEN - 1).enumerate() {
            *digit = DIGITS[(bits >> (2 * STEPS as usize - 5 * (at + 1)) & 0x1f) as usize];
        }
        text
    }
}

/// A cell of the grid that divides the map into 2^step columns and as many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    step: u32,
    x: u32,
    y: u32,
}

/// Edges of a cell, in degrees.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "their names say it")]
pub struct Edges {
    pub west: f64,
    pub east: f64,
    pub south: f64,
    pub north: f64,
}

impl Cell {
    /// The cell that a place is in. Those on the edge of the map are in its last column or row.
    pub fn of(place: Place, step: u32) -> Self {
        let last = (1 << step) - 1;
        let x = position(place.longitude, LONGITUDES, step).min(last);
        Self { step, x, y: position(place.latitude, LATITUDES, step).min(last) }
    }

    /// The cell so many columns to the east and rows to the north; beyond an edge of the map it goes on at the other.
    pub const fn beside(self, columns: i32, rows: i32) -> Self {
        let mask = (1 << self.step) - 1;
        let (x, y) = (self.x.wrapping_add_signed(columns) & mask, self.y.wrapping_add_signed(rows) & mask);
        Self { step: self.step, x, y }
    }

    /// Number of rows to the south and to the north of this one.
    pub const fn rows_beside(self) -> (u32, u32) {
        (self.y, (1 << self.step) - 1 - self.y)
    }

    /// Edges of the cell.
    pub fn edges(self) -> Edges {
        let (x, y) = (f64::from(self.x), f64::from(self.y));
        Edges {
            west: edge(x, LONGITUDES, self.step),
            east: edge(x + 1.0, LONGITUDES, self.step),
            south: edge(y, LATITUDES, self.step),
            north: edge(y + 1.0, LATITUDES, self.step),
        }
    }

    /// Calls `visit` with the ranges of the scores of all places in the cell. They are one range but on the eastern and
    /// the northern edge of the map, which have places beyond the last column and row.
    pub fn scores(self, mut visit: impl FnMut(Range<f64>)) {
        let last = (1 << self.step) - 1;
        for x in self.x..=self.x + u32::from(self.x == last) {
            for y in self.y..=self.y + u32::from(self.y == last) {
                let (bits, shift) = (interleave(x, y), 2 * (STEPS - self.step));
                visit((bits << shift) as f64..((bits + 1) << shift) as f64);
            }
        }
    }
}

/// Number of the column or row that a coordinate is in; at the end of the range, one more than there are.
fn position(value: f64, range: Range<f64>, step: u32) -> u32 {
    ((value - range.start) / (range.end - range.start) * f64::from(1 << step)) as u32
}

/// Coordinate at which a column or row begins.
fn edge(at: f64, range: Range<f64>, step: u32) -> f64 {
    range.start + at / f64::from(1 << step) * (range.end - range.start)
}

/// The bits of both numbers by turns; the lowest is of `y`.
fn interleave(x: u32, y: u32) -> u64 {
    spread(x) << 1 | spread(y)
}

/// Moves the bits of a number to the even places.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    for (shift, mask) in SPREADS {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// The number whose bits are at the even places of `bits`.
fn even_bits(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    for at in (0..SPREADS.len()).rev() {
        let wider = if at == 0 { u64::from(u32::MAX) } else { SPREADS[at - 1].1 };
        bits = (bits | bits >> SPREADS[at].0) & wider;
    }
    bits as u32
}

/// Steps that spread bits: how far each moves its upper half, and which bits it keeps
/// (<https://graphics.stanford.edu/~seander/bithacks.html#InterleaveBMN>).
const SPREADS: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_the_scores_and_texts_of_redis() {
        for (longitude, latitude, score, text) in [
            (13.361389, 38.115556, 3_479_099_956_230_698u64, "sqc8b49rny0"),
            (15.087269, 37.502669, 3_479_447_370_796_909, "sqdtr74hyu0"),
            (-180.0, -MAX_LATITUDE, 0, "00bh0hbj200"),
        ] {
            let place = Place::new(longitude, latitude).unwrap();
            assert_eq!(place.score(), score as f64);
            assert_eq!(Place::from_score(place.score()).text(), text.as_bytes());
        }
        let palermo = Place::from_score(3_479_099_956_230_698.0);
        assert_eq!(palermo, Place { longitude: 13.361389338970184, latitude: 38.1155563954963 });
    }

    #[test]
    fn every_score_names_a_place() {
        let place = |score| {
            let Place { longitude, latitude } = Place::from_score(score);
            (longitude, latitude)
        };
        let least = (-179.99999731779099, -85.05112751263943);
        for score in [f64::INFINITY, 1e30, 18_446_744_073_709_551_616.0, 0.0, 0.5] {
            assert_eq!(place(score), least, "{score}");
        }
        assert_eq!(place(-1.0), (180.0, MAX_LATITUDE));
        assert_eq!(place(f64::NEG_INFINITY), (180.0, -85.05112751263943));
        assert_eq!(place(4_503_599_627_370_496.0), (-179.99999731779099, MAX_LATITUDE));
    }

    #[test]
    fn coordinates_that_are_on_no_map_are_refused() {
        for (longitude, latitude) in [(180.1, 0.0), (-181.0, 0.0), (0.0, 85.06), (0.0, f64::NEG_INFINITY)] {
            assert_eq!(Place::new(longitude, latitude), None);
        }
        assert!(Place::new(180.0, -MAX_LATITUDE).is_some());
    }

    #[test]
    fn a_cell_has_the_scores_of_its_places() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut coordinate = |most: f64| match random.u32(..10) {
            0 => most,
            1 => -most,
            _ => (random.f64() * 2.0 - 1.0) * most,
        };
        for _ in 0..20_000 {
            let place = Place::new(coordinate(180.0), coordinate(MAX_LATITUDE)).unwrap();
            for step in 1..=FINEST {
                let cell = Cell::of(place, step);
                let has = |cell: Cell| {
                    let mut has = false;
                    cell.scores(|scores| has |= scores.contains(&place.score()));
                    has
                };
                assert!(has(cell), "{place:?} {step}");
                assert!(!has(cell.beside(1, 0)) && !has(cell.beside(0, 1)), "{place:?} {step}");
                let Edges { west, east, south, north } = cell.edges();
                assert!((west..=east).contains(&place.longitude) && (south..=north).contains(&place.latitude));
                assert_eq!(cell.beside(3, -2).beside(-3, 2), cell);
            }
        }
    }
}
