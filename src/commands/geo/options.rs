//! Arguments of the commands that search for places.

use super::area::Shape;
use super::{place_argument, unit_argument};
use crate::commands::parse::{integer_argument, score_argument};
use crate::commands::sorted_set_spans::Way;
use crate::commands::{Planned, Refused};
use crate::encoding::geohash::Place;
use crate::encoding::resp::Args;
use crate::store::SortedSetRef;

/// How a command takes its arguments.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) center: Center,
    pub(super) target: Target,
}

/// Where a command is told the center of the area.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Center {
    /// As longitude and latitude behind the key; then follow a radius and a unit.
    Place,
    /// As a member behind the key; then follow a radius and a unit.
    Member,
    /// In options, as the form of the area is.
    Option,
}

/// Where a command is told a key that the result goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    None,
    /// In an option.
    Option,
    /// As its first argument.
    First,
}

pub(super) const GEORADIUS: Form = Form { center: Center::Place, target: Target::Option };
pub(super) const GEORADIUSBYMEMBER: Form = Form { center: Center::Member, target: Target::Option };

impl Form {
    /// Position of the key that is searched.
    pub(super) const fn source(self) -> usize {
        match self.target {
            Target::First => 2,
            Target::None | Target::Option => 1,
        }
    }
}

/// What a request asks for.
#[derive(Default)]
pub(super) struct Options<'a> {
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_place: bool,
    pub(super) order: Option<Way>,
    pub(super) count: Option<usize>,
    pub(super) any: bool,
    /// Key that the result goes to.
    pub(super) target: Option<&'a [u8]>,
    /// Whether distances become the scores of the result.
    pub(super) stores_distances: bool,
    /// Whether the center is given as a member, and as a place.
    pub(super) from_member: bool,
    pub(super) from_place: bool,
    /// `None` as long as it is not given, or it is a member of a key that is missing.
    pub(super) center: Option<Place>,
    pub(super) shape: Option<Shape>,
    /// Length in metres of the unit that the reply is in.
    pub(super) unit: f64,
}

impl<'a> Options<'a> {
    /// Parses all arguments behind the key that is searched, which holds `sorted_set`.
    pub(super) fn parse(args: Args<'a>, form: Form, sorted_set: Option<SortedSetRef<'_>>) -> Result<Self, Refused> {
        let mut options = Self { unit: 1.0, ..Self::default() };
        // As in Redis, not even the radius is read where the key of the member that is the center is missing.
        let is_unread = form.center == Center::Member && sorted_set.is_none();
        let first = form.source() + if is_unread { 4 } else { 1 };
        let mut words = Words { words: args.from(first), sorted_set };
        if form.target == Target::First {
            options.target = Some(args.at(1));
        }
        match form.center {
            Center::Place => {
                options.center = words.place()?;
                words.circle(&mut options)?;
            }
            Center::Member if !is_unread => {
                options.center = words.member()?;
                words.circle(&mut options)?;
            }
            Center::Member | Center::Option => {}
        }
        while words.words.len() > 0 {
            words.option(form, &mut options)?;
        }
        Ok(options)
    }
}

/// Words of a request that have not been parsed.
struct Words<'a, W> {
    words: W,
    sorted_set: Option<SortedSetRef<'a>>,
}

impl<'a, 'p, W: ExactSizeIterator<Item = &'a [u8]>> Words<'p, W> {
    fn next(&mut self) -> &'a [u8] {
        self.words.next().unwrap_or_default()
    }

    /// Parses a center that is a member.
    fn member(&mut self) -> Result<Option<Place>, Refused> {
        let member = self.next();
        let Some(sorted_set) = self.sorted_set else { return Ok(None) };
        let score = sorted_set.score(member);
        let score = score.ok_or(Refused::Because("ERR could not decode requested zset member"))?;
        Ok(Some(Place::from_score(score)))
    }

    /// Parses a center that is a place.
    fn place(&mut self) -> Result<Option<Place>, Refused> {
        place_argument(self.next(), self.next()).map(Some)
    }

    /// Parses a radius and its unit.
    fn circle(&mut self, options: &mut Options<'a>) -> Planned {
        let radius = length(self.next(), "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Refused::Because("ERR radius cannot be negative"));
        }
        options.unit = unit_argument(self.next())?;
        options.shape = Some(Shape::Circle { radius: radius * options.unit });
        Ok(())
    }

    /// Parses a width, a height and their unit.
    fn rectangle(&mut self, options: &mut Options<'a>) -> Planned {
        let width = length(self.next(), "ERR need numeric width")?;
        let height = length(self.next(), "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Refused::Because("ERR height or width cannot be negative"));
        }
        options.unit = unit_argument(self.next())?;
        options.shape = Some(Shape::Box { width: width * options.unit, height: height * options.unit });
        Ok(())
    }

    /// Parses one option.
    fn option(&mut self, form: Form, options: &mut Options<'a>) -> Planned {
        let is_free = form.center == Center::Option;
        let word = self.next().to_ascii_uppercase();
        match (word.as_slice(), self.words.len()) {
            (b"WITHDIST", _) => options.with_distance = true,
            (b"WITHHASH", _) => options.with_hash = true,
            (b"WITHCOORD", _) => options.with_place = true,
            (b"ANY", _) => options.any = true,
            (b"ASC", _) => options.order = Some(Way::Ascending),
            (b"DESC", _) => options.order = Some(Way::Descending),
            (b"COUNT", 1..) => {
                let count = integer_argument(self.next())?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                options.count = Some(count.ok_or(Refused::Because("ERR COUNT must be > 0"))?);
            }
            (b"STORE" | b"STOREDIST", 1..) if form.target == Target::Option => {
                options.target = Some(self.next());
                options.stores_distances = word == b"STOREDIST";
            }
            (b"STOREDIST", _) if form.target == Target::First => options.stores_distances = true,
            (b"FROMMEMBER", 1..) if is_free && !options.from_place => {
                options.center = self.member()?;
                options.from_member = true;
            }
            (b"FROMLONLAT", 2..) if is_free && !options.from_member => {
                options.center = self.place()?;
                options.from_place = true;
            }
            (b"BYRADIUS", 2..) if is_free && !matches!(options.shape, Some(Shape::Box { .. })) => {
                self.circle(options)?;
            }
            (b"BYBOX", 3..) if is_free && !matches!(options.shape, Some(Shape::Circle { .. })) => {
                self.rectangle(options)?;
            }
            _ => return Err(Refused::Syntax),
        }
        Ok(())
    }
}

fn length(word: &[u8], text: &'static str) -> Result<f64, Refused> {
    score_argument(word).map_err(|_| Refused::Because(text))
}
