//! Places in sorted sets: GEOADD, GEOPOS, GEODIST, GEOHASH, and searches (GEOSEARCH …).
//!
//! A place is a member whose score is its geohash ([`crate::encoding::geohash`]), so that every command on sorted sets
//! works on places, too.
//!
//! | file | what it is |
//! |---|---|
//! | this one | adding places, and telling those of members |
//! | `search`, `options` | the commands that search; their arguments |
//! | `area` | circles and boxes on the earth; distances |
//! | `cover` | which ranges of scores cover an area |

mod area;
mod cover;
mod options;
mod search;

use super::registry::Spec;
use super::registry::row::{CHANGED, PUT, READ, READ_FROM, geo};
use super::sorted_sets::Options;
use super::{Plan, Planned, Refused, Scratch, parse};
use crate::encoding::geohash::Place;

pub(super) use search::ROWS as SEARCH_ROWS;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    geo("geoadd", |p, s| p.geoadd(s), -5, "key [NX|XX] [CH] <longitude latitude member> ...", PUT).keys(CHANGED).about(
        "3.2.0",
        "O(log N) for each member given, N being the number of members",
        "Adds members with places, or changes the places of members",
    ),
    geo("geodist", |p, _| p.geodist(), -4, "key member1 member2 [M|KM|FT|MI]", READ).keys(READ_FROM).about(
        "3.2.0",
        "O(1)",
        "Tells the distance between two members",
    ),
    geo("geohash", |p, _| p.geohash(), -2, "key [member ...]", READ).keys(READ_FROM).about(
        "3.2.0",
        "O(N), N being the number of members given",
        "Tells the places of members as geohashes",
    ),
    geo("geopos", |p, _| p.geopos(), -2, "key [member ...]", READ).keys(READ_FROM).about(
        "3.2.0",
        "O(N), N being the number of members given",
        "Tells the longitudes and latitudes of members",
    ),
];

/// Digits of a distance behind the point.
const DISTANCE_SCALE: f64 = 10_000.0;

/// Parses a place from a longitude and a latitude.
fn place_argument(longitude: &[u8], latitude: &[u8]) -> Result<Place, Refused> {
    let (longitude, latitude) = (parse::score_argument(longitude)?, parse::score_argument(latitude)?);
    Place::new(longitude, latitude).ok_or(Refused::NoPlace { longitude, latitude })
}

/// Parses a unit of length. Returns its length in metres.
fn unit_argument(word: &[u8]) -> Result<f64, Refused> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(Refused::Because("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

impl<'a> Plan<'_, 'a, '_> {
    /// GEOADD key [NX | XX] [CH] longitude latitude member ...
    fn geoadd(&mut self, scratch: &'a mut Scratch) -> Planned {
        let mut options = Options::default();
        let mut at = 2;
        for word in self.args.from(2) {
            match () {
                () if word.eq_ignore_ascii_case(b"NX") => options.nx = true,
                () if word.eq_ignore_ascii_case(b"XX") => options.xx = true,
                () if word.eq_ignore_ascii_case(b"CH") => options.ch = true,
                () => break,
            }
            at += 1;
        }
        let words = self.args.len() - at;
        if words == 0 || !words.is_multiple_of(3) || options.nx && options.xx {
            return Err(Refused::Syntax);
        }
        let args = self.args;
        let places = (at..args.len()).step_by(3).map(|at| place_argument(args.at(at), args.at(at + 1)));
        let scores = places.map(|place| place.map(Place::score)).collect::<Result<_, _>>()?;
        let added = self.add(scratch, options, scores, args.from(at + 2).step_by(3))?;
        self.reply.count(added.counted(options));
        Ok(())
    }

    /// GEODIST key member1 member2 [M | KM | FT | MI]
    fn geodist(&mut self) -> Planned {
        let unit = match (self.args.get(4), self.args.len()) {
            (None, _) => 1.0,
            (Some(unit), 5) => unit_argument(unit)?,
            _ => return Err(Refused::Syntax),
        };
        let sorted_set = self.first_sorted_set()?;
        let place = |at| sorted_set?.score(self.args.at(at)).map(Place::from_score);
        match (place(2), place(3)) {
            (Some(one), Some(other)) => self.write_distance(area::distance(one, other) / unit),
            _ => self.reply.null(),
        }
        Ok(())
    }

    /// GEOHASH key [member ...]
    fn geohash(&mut self) -> Planned {
        self.each_place(|plan, place| plan.reply.bulk_or_null(place.map(Place::text).as_ref().map(|text| &text[..])))
    }

    /// GEOPOS key [member ...]
    fn geopos(&mut self) -> Planned {
        self.each_place(|plan, place| match place {
            Some(place) => plan.write_place(place),
            None => plan.reply.null_array(),
        })
    }

    /// Replies an array of what `write` writes for the place of each member given.
    fn each_place(&mut self, mut write: impl FnMut(&mut Self, Option<Place>)) -> Planned {
        let sorted_set = self.first_sorted_set()?;
        let members = self.args.from(2);
        self.reply.array(members.len());
        for member in members {
            write(self, sorted_set.and_then(|sorted_set| sorted_set.score(member)).map(Place::from_score));
        }
        Ok(())
    }

    fn write_place(&mut self, place: Place) {
        self.reply.array(2);
        self.reply.double(place.longitude);
        self.reply.double(place.latitude);
    }

    /// Appends a distance with four digits behind the point: a string in both versions of the protocol.
    fn write_distance(&mut self, distance: f64) {
        let scaled = (distance * DISTANCE_SCALE).round_ties_even() as u64;
        let scale = DISTANCE_SCALE as u64;
        self.reply.bulk(format!("{}.{:04}", scaled / scale, scaled % scale).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    #[test]
    fn members_get_places_and_tell_them() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"), ":2");
        for (request, reply) in [
            ("GEOADD g NX CH 1 1 Palermo", ":0"),
            ("GEOADD g XX CH 1 1 Roma", ":0"),
            ("GEOADD g CH 13.361389 38.115556 Palermo", ":0"),
            ("ZSCORE g Palermo", "$16 3479099956230698"),
            ("GEODIST g Palermo Catania", "$11 166274.1516"),
            ("GEODIST g Palermo Catania km", "$8 166.2742"),
            ("GEODIST g Palermo Catania FT", "$11 545518.8700"),
            ("GEODIST g Palermo Catania mi", "$8 103.3182"),
            ("GEODIST g Palermo Palermo", "$6 0.0000"),
            ("GEODIST g Palermo Roma", "$-1"),
            ("GEODIST none Palermo Catania", "$-1"),
            ("GEOHASH g Palermo Roma Catania", "*3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0"),
            ("GEOPOS g Palermo Roma", "*2 *2 $18 13.361389338970184 $16 38.1155563954963 *-1"),
            ("GEOPOS none a", "*1 *-1"),
            ("GEOPOS g", "*0"),
            ("GEOADD g CH 1 1 Palermo 1 1 Palermo 2 2 Roma", ":2"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("GEOPOS g Roma x"), "*2 *2 ,2.0000025629997253 ,2.000000185646549 _");
        assert_eq!(rig.line("GEODIST g Palermo Roma km"), "$8 157.2701");
    }

    #[test]
    fn what_is_no_place_is_refused_with_redis_s_words() {
        let mut rig = Rig::new();
        rig.line("SET s x");
        for (request, reply) in [
            ("GEOADD g 200 10 a", "-ERR invalid longitude,latitude pair 200.000000,10.000000"),
            ("GEOADD g inf -1e15 a", "-ERR invalid longitude,latitude pair inf,-1000000000000000.000000"),
            ("GEOADD g x 10 a", "-ERR value is not a valid float"),
            ("GEOADD g NX XX CH", "-ERR syntax error"),
            ("GEOADD g NX CH CH", "-ERR syntax error"),
            ("GEOADD g NX XX 1 1 a", "-ERR syntax error"),
            ("GEOADD g 1 1 a 2", "-ERR syntax error"),
            ("GEOADD s 1 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GEOADD s 1 100 a", "-ERR invalid longitude,latitude pair 1.000000,100.000000"),
            ("GEODIST s a b xm", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEODIST s a b m m", "-ERR syntax error"),
            ("GEODIST s a b m", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        assert_eq!(rig.line("EXISTS g"), ":0");
    }
}
