//! Searches for places: GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.

use std::ops::ControlFlow;

use super::area::Area;
use super::cover;
use super::options::{Center, Form, GEORADIUS, GEORADIUSBYMEMBER, Options, Target};
use crate::commands::registry::row::{PUT, READ, READ_FROM, geo, key};
use crate::commands::registry::{KeyFlags, KeySpec, Route, Spec};
use crate::commands::sorted_set_algebra::Stored;
use crate::commands::sorted_set_spans::Way;
use crate::commands::{Plan, Planned, Refused, Scratch};
use crate::encoding::geohash::Place;
use crate::store::SortedSetRef;

const COST: &str = "O(log N + M), N being the number of members, M that of those in the cells that cover the area";
const SOURCE: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const TARGET: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

/// Registry rows of this family.
pub(in crate::commands) const ROWS: &[Spec] = &[
    geo(
        "georadius",
        |p, s| p.geosearch(s, GEORADIUS),
        -6,
        "key longitude latitude radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] \
         [STORE key|STOREDIST key]",
        PUT,
    )
    .route(Route::OneCore)
    .keys(&[key(1, SOURCE), KeySpec::option(&["STORE", "STOREDIST"], 6, &[], TARGET)])
    .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS`")
    .about("3.2.0", COST, "Tells or stores the members in a circle around a place"),
    geo(
        "georadius_ro",
        |p, s| p.geosearch(s, Form { target: Target::None, ..GEORADIUS }),
        -6,
        "key longitude latitude radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]",
        READ,
    )
    .keys(READ_FROM)
    .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS`")
    .about("3.2.10", COST, "Tells the members in a circle around a place"),
    geo(
        "georadiusbymember",
        |p, s| p.geosearch(s, GEORADIUSBYMEMBER),
        -5,
        "key member radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] \
         [STORE key|STOREDIST key]",
        PUT,
    )
    .route(Route::OneCore)
    .keys(&[key(1, SOURCE), KeySpec::option(&["STORE", "STOREDIST"], 5, &[], TARGET)])
    .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`")
    .about("3.2.0", COST, "Tells or stores the members in a circle around one of them"),
    geo(
        "georadiusbymember_ro",
        |p, s| p.geosearch(s, Form { target: Target::None, ..GEORADIUSBYMEMBER }),
        -5,
        "key member radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]",
        READ,
    )
    .keys(READ_FROM)
    .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`")
    .about("3.2.10", COST, "Tells the members in a circle around one of them"),
    geo(
        "geosearch",
        |p, s| p.geosearch(s, Form { center: Center::Option, target: Target::None }),
        -7,
        "key <FROMMEMBER member|FROMLONLAT longitude latitude> \
         <BYRADIUS radius <M|KM|FT|MI>|BYBOX width height <M|KM|FT|MI>> [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] \
         [WITHDIST] [WITHHASH]",
        READ,
    )
    .keys(READ_FROM)
    .about("6.2.0", COST, "Tells the members in a circle or a box"),
    geo(
        "geosearchstore",
        |p, s| p.geosearch(s, Form { center: Center::Option, target: Target::First }),
        -8,
        "destination source <FROMMEMBER member|FROMLONLAT longitude latitude> \
         <BYRADIUS radius <M|KM|FT|MI>|BYBOX width height <M|KM|FT|MI>> [ASC|DESC] [COUNT count [ANY]] [STOREDIST]",
        PUT,
    )
    .route(Route::OneCore)
    .keys(&[key(1, TARGET), key(2, SOURCE)])
    .about("6.2.0", COST, "Stores the members in a circle or a box"),
];

/// A member in the area.
struct Found<'p> {
    member: &'p [u8],
    score: f64,
    place: Place,
    /// Distance from the center in metres.
    distance: f64,
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// GEOSEARCH and related commands, see [`ROWS`].
    fn geosearch(&mut self, scratch: &'a mut Scratch, form: Form) -> Planned {
        let sorted_set = self.sorted_set_of(self.args.at(form.source()))?;
        let options = Options::parse(self.args, form, sorted_set)?;
        if options.target.is_some() && (options.with_distance || options.with_hash || options.with_place) {
            return Err(Refused::Because(match form.target {
                Target::First => "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                _ => "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            }));
        }
        if form.center == Center::Option {
            let needed = match (options.from_member || options.from_place, options.shape) {
                (false, _) => Some("FROMMEMBER or FROMLONLAT"),
                (true, None) => Some("BYRADIUS and BYBOX"),
                (true, Some(_)) => None,
            };
            if let Some(needed) = needed {
                let text = [b"ERR exactly one of ", needed.as_bytes(), b" can be specified for ", self.args.at(0)];
                self.reply.error_bytes(&text.concat());
                return Ok(());
            }
        }
        if options.any && options.count.is_none() {
            return Err(Refused::Because("ERR the ANY argument requires COUNT argument"));
        }
        let found = match (sorted_set, options.center, options.shape) {
            (Some(sorted_set), Some(center), Some(shape)) => found(sorted_set, &Area { center, shape }, &options),
            _ => Vec::new(),
        };
        match options.target {
            Some(target) => self.store_found(scratch, found, target, &options),
            None => {
                self.tell_found(&found, &options);
                Ok(())
            }
        }
    }

    fn tell_found(&mut self, found: &[Found<'_>], options: &Options<'_>) {
        let Options { with_distance, with_hash, with_place, unit, .. } = *options;
        let more = usize::from(with_distance) + usize::from(with_hash) + usize::from(with_place);
        self.reply.array(found.len());
        for found in found {
            if more > 0 {
                self.reply.array(1 + more);
            }
            self.reply.bulk(found.member);
            if with_distance {
                self.write_distance(found.distance / unit);
            }
            if with_hash {
                self.reply.int(found.score as i64);
            }
            if with_place {
                self.write_place(found.place);
            }
        }
    }

    /// Plans that a key holds exactly the members found, with their scores or with their distances as scores.
    fn store_found(
        &mut self,
        scratch: &'a mut Scratch,
        mut found: Vec<Found<'_>>,
        target: &'a [u8],
        options: &Options<'_>,
    ) -> Planned {
        if options.stores_distances {
            found.iter_mut().for_each(|found| found.score = found.distance / options.unit);
        }
        found.sort_unstable_by(|a, b| a.score.total_cmp(&b.score).then_with(|| a.member.cmp(b.member)));
        scratch.clear();
        let mut stored = Stored::new(scratch);
        let copied = found.iter().try_for_each(|found| stored.push(found.member, found.score));
        stored.check(copied)?;
        self.store_members(target, stored)
    }
}

/// Members in an area, in the order asked for.
fn found<'p>(sorted_set: SortedSetRef<'p>, area: &Area, options: &Options<'_>) -> Vec<Found<'p>> {
    let limit = if options.any { options.count } else { None };
    let mut found = Vec::new();
    let _ = cover::ranges(area).into_iter().try_for_each(|scores| {
        let first = sorted_set.below(|score| score < scores.start);
        sorted_set
            .walk(first..sorted_set.len(), false, |member, score| {
                if score >= scores.end {
                    // The end of this range.
                    return ControlFlow::Break(ControlFlow::Continue(()));
                }
                let place = Place::from_score(score);
                if let Some(distance) = area.distance_to(place) {
                    found.push(Found { member, score, place, distance });
                }
                if limit.is_some_and(|limit| found.len() >= limit) {
                    return ControlFlow::Break(ControlFlow::Break(()));
                }
                ControlFlow::Continue(())
            })
            .break_value()
            .unwrap_or(ControlFlow::Continue(()))
    });
    // Of a limited number, the nearest ones unless any will do.
    let order = options.order.or(if options.any { None } else { options.count.map(|_| Way::Ascending) });
    let Some(order) = order else { return found };
    let compare = |a: &Found<'_>, b: &Found<'_>| match order {
        Way::Ascending => a.distance.total_cmp(&b.distance),
        Way::Descending => b.distance.total_cmp(&a.distance),
    };
    if let Some(count) = options.count
        && count < found.len()
    {
        found.select_nth_unstable_by(count - 1, compare);
        found.truncate(count);
    }
    found.sort_by(compare);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::area::Shape;
    use super::*;
    use crate::commands::testing::Rig;
    use crate::encoding::resp::Protocol;

    fn rig() -> Rig {
        let mut rig = Rig::new();
        rig.line("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1");
        rig.line("GEOADD g 17.241510 38.788135 edge2");
        rig.line("SET s x");
        rig
    }

    #[test]
    fn places_are_told_as_redis_tells_them() {
        let mut rig = rig();
        for (request, reply) in [
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC", "*2 $7 Catania $7 Palermo"),
            ("GEOSEARCH g FROMMEMBER Palermo BYRADIUS 200 km DESC COUNT 2", "*2 $7 Catania $5 edge1"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km COUNT 1", "*1 $7 Catania"),
            ("GEORADIUS g 15 37 200 km WITHDIST ASC", "*2 *2 $7 Catania $7 56.4413 *2 $7 Palermo $8 190.4424"),
            ("GEORADIUS_RO g 15 37 100 km WITHHASH", "*1 *2 $7 Catania :3479447370796909"),
            (
                "GEORADIUSBYMEMBER g Catania 1 m WITHDIST WITHCOORD WITHHASH",
                "*1 *4 $7 Catania $6 0.0000 \
                :3479447370796909 *2 $18 15.087267458438873 $17 37.50266842333162",
            ),
            ("GEORADIUSBYMEMBER_RO g Palermo 100 mi ASC ANY COUNT 9", "*2 $7 Palermo $5 edge1"),
            ("GEOSEARCH none FROMMEMBER x BYRADIUS 200 km", "*0"),
            ("GEORADIUSBYMEMBER none x -1 nothing", "*0"),
            ("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 0 m", "*0"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.protocol = Protocol::Resp3;
        let reply = rig.line("GEORADIUS g 15 37 100 km WITHDIST WITHCOORD");
        assert_eq!(reply, "*1 *3 $7 Catania $7 56.4413 *2 ,15.087267458438873 ,37.50266842333162");
    }

    #[test]
    fn a_result_is_stored_with_its_scores_or_its_distances() {
        let mut rig = rig();
        for (request, reply) in [
            ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km", ":2"),
            ("ZRANGE d 0 -1 WITHSCORES", "*4 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909"),
            ("GEOSEARCHSTORE s g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST COUNT 1", ":1"),
            ("ZRANGE s 0 -1 WITHSCORES", "*2 $7 Catania $16 56.4412578701582"),
            ("GEORADIUS g 15 37 200 km STORE x STOREDIST d", ":2"),
            ("ZRANGE d 0 -1", "*2 $7 Catania $7 Palermo"),
            ("EXISTS x", ":0"),
            ("GEORADIUSBYMEMBER g Catania 1 m STORE g", ":1"),
            ("GEORADIUS g 0 0 1 m STORE d", ":0"),
            ("EXISTS d", ":0"),
            ("GEOSEARCHSTORE g none FROMMEMBER x BYRADIUS 1 m", ":0"),
            ("EXISTS g", ":0"),
            ("GEORADIUSBYMEMBER none x 1 m STORE s", ":0"),
            ("EXISTS s", ":0"),
            ("GEORADIUSBYMEMBER none x 1 m STORE s", ":0"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        assert!(rig.edits.is_empty());
    }

    #[test]
    fn requests_that_say_too_little_or_too_much_are_refused() {
        let mut rig = rig();
        const SYNTAX: &str = "-ERR syntax error";
        for (request, reply) in [
            ("GEOSEARCH s x x x x x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GEORADIUS g 1 200 x x", "-ERR invalid longitude,latitude pair 1.000000,200.000000"),
            ("GEORADIUS g 1 1 x x", "-ERR need numeric radius"),
            ("GEORADIUS g 1 1 -1 x", "-ERR radius cannot be negative"),
            ("GEORADIUS g 1 1 1 x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEORADIUS g 1 1 1 m STORE", SYNTAX),
            ("GEORADIUS g 1 1 1 m COUNT", SYNTAX),
            ("GEORADIUS g 1 1 1 m COUNT 0", "-ERR COUNT must be > 0"),
            ("GEORADIUS g 1 1 1 m COUNT x", "-ERR value is not an integer or out of range"),
            ("GEORADIUS g 1 1 1 m ANY", "-ERR the ANY argument requires COUNT argument"),
            ("GEORADIUS_RO g 1 1 1 m STORE d", SYNTAX),
            ("GEORADIUS g 1 1 1 m BYRADIUS 1 m", SYNTAX),
            (
                "GEORADIUS g 1 1 1 m STORE d WITHDIST",
                "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEOSEARCHSTORE d g FROMMEMBER x WITHHASH BYRADIUS 1 m", "-ERR could not decode requested zset member"),
            (
                "GEOSEARCHSTORE d g FROMMEMBER edge1 WITHHASH BYRADIUS 1 m",
                "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            (
                "GeoSearch none ASC ASC ASC ASC ASC",
                "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch",
            ),
            (
                "GEOSEARCHSTORE d none FROMMEMBER x ASC ASC ASC",
                "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCHSTORE",
            ),
            ("GEOSEARCH g FROMMEMBER edge1 FROMLONLAT 1 1 BYRADIUS 1 m", SYNTAX),
            ("GEOSEARCH g FROMMEMBER edge1 BYBOX 1 1 m BYRADIUS 1 m", SYNTAX),
            ("GEOSEARCH g FROMMEMBER edge1 BYRADIUS 1 m STOREDIST", SYNTAX),
            ("GEOSEARCH g FROMMEMBER edge1 BYBOX x 1 m", "-ERR need numeric width"),
            ("GEOSEARCH g FROMMEMBER edge1 BYBOX 1 x m", "-ERR need numeric height"),
            ("GEOSEARCH g FROMMEMBER edge1 BYBOX 1 -1 x", "-ERR height or width cannot be negative"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }

    #[test]
    fn what_lies_beyond_a_pole_or_the_date_line_is_found() {
        let mut rig = Rig::new();
        rig.line("GEOADD p 0 84 a 180 84 b 90 84 c -90 84 d");
        let reply = rig.line("GEOSEARCH p FROMLONLAT 0 84 BYRADIUS 2000 km ASC COUNT 9");
        assert_eq!(reply.matches('$').count(), 4, "{reply}");
        rig.line("GEOADD e 180 10 edge 179.99 10 west -179.99 10 east");
        for longitude in ["180", "-180", "179.99", "-179.99"] {
            let reply = rig.line(&format!("GEOSEARCH e FROMLONLAT {longitude} 10 BYRADIUS 10 km"));
            assert!(reply.starts_with("*3 "), "{longitude}: {reply}");
        }
    }

    #[test]
    fn a_search_finds_what_a_walk_over_all_members_does() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for count in [30, 2_000] {
            let mut rig = Rig::new();
            let mut places = Vec::new();
            for member in 0..count {
                let (longitude, latitude) = (random.f64() * 360.0 - 180.0, random.f64() * 170.0 - 85.0);
                rig.line(&format!("GEOADD g {longitude} {latitude} {member}"));
                places.push(Place::from_score(Place::new(longitude, latitude).unwrap().score()));
            }
            for _ in 0..300 {
                let member = random.usize(..places.len());
                let length = |random: &mut fastrand::Rng| 2e7 * random.f64().powi(4);
                let (width, height) = (length(&mut random), length(&mut random));
                let (shape, by) = match random.bool() {
                    true => (Shape::Circle { radius: width }, format!("BYRADIUS {width} m")),
                    false => (Shape::Box { width, height }, format!("BYBOX {width} {height} m")),
                };
                let area = Area { center: places[member], shape };
                let walked = (0..count).filter(|other| area.distance_to(places[*other]).is_some());
                let walked: BTreeSet<usize> = walked.collect();
                let reply = rig.line(&format!("GEOSEARCH g FROMMEMBER {member} {by}"));
                let words = reply.split(' ').skip(1).filter(|word| !word.starts_with('$'));
                let found: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
                assert_eq!(found.len(), walked.len(), "{area:?}");
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), walked, "{area:?}");
            }
        }
    }
}
