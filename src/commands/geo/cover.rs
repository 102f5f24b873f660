//! Cells of the grid that cover the area of a search, so that a search visits only what lies in them.
//!
//! A reply without ASC or DESC has the order in which places are found. It follows from the size of the cells and their
//! order, which are therefore Redis's. Redis looks at nine cells at most, and misses places where these do not suffice:
//! beyond a pole, in boxes that reach far towards one, and on the meridian of 180 degrees. Here further cells follow
//! until the area is covered.

use std::ops::{Range, RangeInclusive};

use smallvec::SmallVec;

use super::area::Area;
use crate::encoding::geohash::{Cell, FINEST};

/// Half the length of the equator on the map, in metres.
const HALF_EQUATOR: f64 = 20_037_726.37;
/// Degrees by which an area is taken to be larger than computed (less than a metre), against errors of rounding.
const SLACK: f64 = 1e-6;

/// Ranges of the scores that places in the area may have, each once.
pub(super) fn ranges(area: &Area) -> SmallVec<[Range<f64>; 9]> {
    let center = Cell::of(area.center, step(area));
    let (columns, rows) = (columns(area, center), rows(area, center));
    let mut ranges = SmallVec::new();
    let mut add = |column, row| center.beside(column, row).scores(|scores| ranges.push(scores));
    outwards(&rows).for_each(|row| add(0, row));
    for row in outwards(&rows) {
        outwards(&columns).filter(|column| *column != 0).for_each(|column| add(column, row));
    }
    ranges
}

/// The numbers of a range that includes 0: 0, 1, -1, 2, -2 …
fn outwards(range: &RangeInclusive<i32>) -> impl Iterator<Item = i32> + use<> {
    let range = range.clone();
    let farthest = (*range.end()).max(-range.start());
    let numbers = std::iter::once(0).chain((1..=farthest).flat_map(|far| [far, -far]));
    numbers.filter(move |number| range.contains(number))
}

/// Divisions of the map that make cells of the size that Redis takes.
fn step(area: &Area) -> u32 {
    let step = first_step(area.radius(), area.center.latitude);
    let center = Cell::of(area.center, step);
    let (longitude, latitude) = (area.center.longitude, area.center.latitude);
    let (east, north) = (area.widest(), area.latitudes());
    let is_enough = center.beside(0, 1).edges().north >= latitude + north
        && center.beside(0, -1).edges().south <= latitude - north
        && center.beside(1, 0).edges().east >= longitude + east
        && center.beside(-1, 0).edges().west <= longitude - east;
    if is_enough { step } else { (step - 1).max(1) }
}

/// Divisions that make cells about as wide as the area; fewer near the poles, where cells are narrow.
fn first_step(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return FINEST;
    }
    let (mut reach, mut step) = (radius, 1i32);
    while reach < HALF_EQUATOR {
        reach *= 2.0;
        step += 1;
    }
    step -= 2 + i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    step.clamp(1, FINEST as i32).cast_unsigned()
}

/// Columns that the area reaches into, counted from the center's.
fn columns(area: &Area, center: Cell) -> RangeInclusive<i32> {
    let edges = center.edges();
    let width = edges.east - edges.west;
    let reach = area.longitudes() + SLACK;
    let count = (360.0 / width).round() as i32;
    let first = ((area.center.longitude - reach - edges.west) / width).floor() as i32;
    let last = ((area.center.longitude + reach - edges.west) / width).floor() as i32;
    if last - first + 1 >= count { 1 - count / 2..=count / 2 } else { first..=last }
}

/// Rows that the area reaches into, counted from the center's.
fn rows(area: &Area, center: Cell) -> RangeInclusive<i32> {
    let edges = center.edges();
    let height = edges.north - edges.south;
    let reach = area.latitudes() + SLACK;
    let (south, north) = center.rows_beside();
    let first = ((area.center.latitude - reach - edges.south) / height).floor() as i32;
    let last = ((area.center.latitude + reach - edges.south) / height).floor() as i32;
    first.max(-south.cast_signed())..=last.min(north.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::super::area::Shape;
    use super::*;
    use crate::encoding::geohash::{MAX_LATITUDE, Place};

    /// A coordinate, often at the end of its range or near it.
    fn coordinate(random: &mut fastrand::Rng, most: f64) -> f64 {
        let side = if random.bool() { most } else { -most };
        match random.u32(..8) {
            0 => side,
            1 => side * (1.0 - random.f64() / 100.0),
            2 => 0.0,
            _ => side * random.f64(),
        }
    }

    fn place(random: &mut fastrand::Rng) -> Place {
        let place = Place::new(coordinate(random, 180.0), coordinate(random, MAX_LATITUDE)).unwrap();
        Place::from_score(place.score())
    }

    fn length(random: &mut fastrand::Rng) -> f64 {
        match random.u32(..20) {
            0 => 0.0,
            1 => f64::INFINITY,
            _ => 3e7 / 2f64.powf(random.f64() * 30.0),
        }
    }

    #[test]
    fn every_place_in_an_area_is_in_one_of_its_ranges() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut inside, mut most) = (0, 0);
        for _ in 0..20_000 {
            let shape = match random.bool() {
                true => Shape::Circle { radius: length(&mut random) },
                false => Shape::Box { width: length(&mut random), height: length(&mut random) },
            };
            let area = Area { center: place(&mut random), shape };
            let ranges = ranges(&area);
            most = most.max(ranges.len());
            let reach = area.latitudes().max(1e-9);
            for _ in 0..50 {
                let near = match random.bool() {
                    true => place(&mut random),
                    false => {
                        let turn = |random: &mut fastrand::Rng| (random.f64() * 2.0 - 1.0) * reach * 1.1;
                        let longitude = area.center.longitude + turn(&mut random) * 2.0;
                        let latitude = area.center.latitude + turn(&mut random);
                        let Some(near) = Place::new(longitude, latitude) else { continue };
                        near
                    }
                };
                let score = near.score();
                let near = Place::from_score(score);
                let found = ranges.iter().filter(|range| range.contains(&score)).count();
                assert!(found <= 1, "{area:?} {near:?}");
                if area.distance_to(near).is_some() {
                    assert_eq!(found, 1, "{area:?} {near:?}");
                    inside += 1;
                }
            }
        }
        assert!(inside > 100_000, "{inside}");
        assert!(most < 100, "{most}");
    }

    #[test]
    fn a_small_area_is_covered_by_nine_small_cells_at_most() {
        let area = |longitude, latitude, radius| Area {
            center: Place::new(longitude, latitude).unwrap(),
            shape: Shape::Circle { radius },
        };
        for (longitude, latitude) in [(13.4, 52.5), (0.0, 0.0), (-180.0, 10.0), (18.1, -33.9), (20.0, 70.0)] {
            let ranges = ranges(&area(longitude, latitude, 1000.0));
            assert!(ranges.len() <= 12, "{ranges:?}");
            // A thousandth of all numbers is far more than they need.
            let total: f64 = ranges.iter().map(|range| range.end - range.start).sum();
            assert!(total < (1u64 << 42) as f64, "{total}");
        }
    }
}
