//! Areas of searches, and distances. The earth is a sphere here, as it is in Redis: distances are those of the
//! haversine formula (<https://en.wikipedia.org/wiki/Haversine_formula>), up to 0.5 % off.

use crate::encoding::geohash::{MAX_LATITUDE, Place};

/// Radius of the earth in metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

const fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

/// Degrees of an angle. Divides, so that the last digit is Redis's.
const fn degrees(radians: f64) -> f64 {
    radians / RADIANS_PER_DEGREE
}

/// Distance between two places in metres.
pub(super) fn distance(one: Place, other: Place) -> f64 {
    let east = ((radians(other.longitude) - radians(one.longitude)) / 2.0).sin();
    if east == 0.0 {
        return distance_of_latitudes(one.latitude, other.latitude);
    }
    let (from, to) = (radians(one.latitude), radians(other.latitude));
    let north = ((to - from) / 2.0).sin();
    let haversine = north * north + from.cos() * to.cos() * east * east;
    2.0 * EARTH_RADIUS * haversine.sqrt().asin()
}

fn distance_of_latitudes(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (radians(other) - radians(one)).abs()
}

/// Form of an area; lengths are in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle {
        radius: f64,
    },
    /// A rectangle whose sides are meridians and parallels, as far as the sphere allows: half its width is the distance
    /// from the middle meridian on a place's own latitude.
    Box {
        width: f64,
        height: f64,
    },
}

/// Area that a search looks in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) center: Place,
    pub(super) shape: Shape,
}

impl Area {
    /// Distance of a place from the center in metres; `None` if the place is outside.
    pub(super) fn distance_to(&self, place: Place) -> Option<f64> {
        let center = self.center;
        match self.shape {
            Shape::Circle { radius } => Some(distance(center, place)).filter(|distance| *distance <= radius),
            Shape::Box { width, height } => {
                if distance_of_latitudes(place.latitude, center.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Place { longitude: center.longitude, latitude: place.latitude };
                if distance(place, beside) > width / 2.0 {
                    return None;
                }
                Some(distance(center, place))
            }
        }
    }

    /// Half the width and half the height of the area, in metres.
    fn halves(&self) -> (f64, f64) {
        match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        }
    }

    /// Distance from the center to the farthest point, in metres.
    pub(super) fn radius(&self) -> f64 {
        match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt(),
        }
    }

    /// Degrees that the area reaches to the north and to the south.
    pub(super) fn latitudes(&self) -> f64 {
        degrees(self.halves().1 / EARTH_RADIUS)
    }

    /// Degrees that the area reaches to the west and to the east; 180 if all longitudes are in it.
    pub(super) fn longitudes(&self) -> f64 {
        let (width, height) = self.halves();
        let latitude = self.center.latitude.abs();
        let reach = match self.shape {
            // Beyond the pole, all meridians are in the circle.
            Shape::Circle { .. } if latitude + degrees(height / EARTH_RADIUS) >= 90.0 => return 180.0,
            // Where a meridian touches the circle.
            Shape::Circle { radius } => ((radius / EARTH_RADIUS).sin() / radians(latitude).cos()).asin(),
            // On the latitude where meridians are nearest to each other.
            Shape::Box { .. } => {
                let latitude = (latitude + degrees(height / EARTH_RADIUS)).min(MAX_LATITUDE);
                let half = width / EARTH_RADIUS / 2.0;
                if half >= std::f64::consts::FRAC_PI_2 {
                    return 180.0;
                }
                2.0 * (half.sin() / radians(latitude).cos()).asin()
            }
        };
        if reach.is_nan() { 180.0 } else { degrees(reach) }
    }

    /// Degrees to the west and to the east by which Redis chooses the size of cells: the width of the area on its
    /// latitude that is farthest from the equator.
    pub(super) fn widest(&self) -> f64 {
        let latitude = self.center.latitude;
        let farthest = if latitude < 0.0 { latitude - self.latitudes() } else { latitude + self.latitudes() };
        degrees(self.halves().0 / EARTH_RADIUS / radians(farthest).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(longitude: f64, latitude: f64) -> Place {
        Place::new(longitude, latitude).unwrap()
    }

    #[test]
    fn distances_are_those_on_a_sphere() {
        let quarter = EARTH_RADIUS * std::f64::consts::FRAC_PI_2;
        assert!((distance(place(0.0, 0.0), place(90.0, 0.0)) - quarter).abs() < 1e-6);
        assert!((distance(place(10.0, -45.0), place(10.0, 45.0)) - quarter).abs() < 1e-6);
        assert!((distance(place(179.0, 0.0), place(-179.0, 0.0)) - quarter / 45.0).abs() < 1e-6);
    }

    #[test]
    fn an_area_ends_where_its_sides_are() {
        let circle = Area { center: place(0.0, 0.0), shape: Shape::Circle { radius: 111_300.0 } };
        assert!(circle.distance_to(place(0.0, 1.0)).is_some());
        assert!(circle.distance_to(place(0.8, 0.8)).is_none());
        let shape = Shape::Box { width: 222_600.0, height: 222_600.0 };
        let area = Area { center: place(0.0, 0.0), shape };
        assert!(area.distance_to(place(0.8, 0.8)).is_some());
        assert!(area.distance_to(place(0.0, 1.1)).is_none());
        // Meridians are nearer to each other in the north.
        assert!(Area { center: place(0.0, 60.0), shape }.distance_to(place(1.9, 60.0)).is_some());
    }
}
