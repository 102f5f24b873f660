//! Values, read into the same form whichever of Redis's encodings they are in.

use std::borrow::Cow;
use std::collections::HashSet;

use super::input::Input;
use super::listpack::Listpack;
use super::packed::{Item, Ziplist, Zipmap, intset};
use super::stream;
use super::{Limits, ModuleName, RdbError, VALKEY, types};
use crate::encoding::edit::{Elements, Fields, Scored};
use crate::time::UnixMillis;

/// A value. Lists, sets, sorted sets and hashes have at least one element.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    /// A string.
    String(Cow<'a, [u8]>),
    /// A list's elements.
    List(Elements<'static>),
    /// A set's members, each once.
    Set(Elements<'static>),
    /// A sorted set's members, each once, in any order, with their scores.
    SortedSet(Scored<'static>),
    /// A hash.
    Hash {
        /// Names, each once, and values.
        fields: Fields<'static>,
        /// Times at which fields expire, each with the field's position among `fields`, ascending.
        expiries: Vec<(usize, UnixMillis)>,
    },
    /// A stream, as the payload of a snapshot entry ([`EntryStream`](crate::encoding::entry::EntryStream)).
    Stream(Vec<u8>),
}

/// Reads a value, which must take all of `bytes`, in this version of the format.
///
/// # Errors
/// If the bytes are not a value that is known and within the limits.
pub fn read(bytes: &[u8], version: u16, limits: Limits) -> Result<Object<'_>, RdbError> {
    let mut input = Input::new(bytes, limits);
    let kind = input.byte()?;
    let object = match kind {
        types::STRING => string(&mut input)?,
        types::LIST | types::LIST_ZIPLIST | types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => list(kind, &mut input)?,
        types::SET | types::SET_INTSET | types::SET_LISTPACK => set(kind, &mut input)?,
        types::ZSET | types::ZSET_2 | types::ZSET_ZIPLIST | types::ZSET_LISTPACK => sorted_set(kind, &mut input)?,
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            Object::Stream(stream::read(kind, &mut input)?)
        }
        types::MODULE_2 => return Err(RdbError::Module(ModuleName(input.number()?))),
        _ => hash(kind, version, &mut input)?,
    };
    if input.left() > 0 {
        return Err(RdbError::Malformed("bytes after the value"));
    }
    Ok(object)
}

fn string<'a>(input: &mut Input<'a>) -> Result<Object<'a>, RdbError> {
    let value = input.string()?;
    input.spend(value.len())?;
    Ok(Object::String(value))
}

/// Adds an element.
fn push(elements: &mut Elements<'static>, element: &[u8], input: &mut Input<'_>) -> Result<(), RdbError> {
    input.spend(element.len())?;
    elements.push(element);
    Ok(())
}

/// Adds elements of a packed value.
fn extend<'p>(
    elements: &mut Elements<'static>,
    items: impl Iterator<Item = Result<Item<'p>, RdbError>>,
    input: &mut Input<'_>,
) -> Result<(), RdbError> {
    let mut digits = itoa::Buffer::new();
    for item in items {
        push(elements, item?.text(&mut digits), input)?;
    }
    Ok(())
}

fn list(kind: u8, input: &mut Input<'_>) -> Result<Object<'static>, RdbError> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    let mut elements = Elements::default();
    match kind {
        types::LIST => {
            for _ in 0..input.count(1)? {
                let element = input.string()?;
                push(&mut elements, &element, input)?;
            }
        }
        types::LIST_ZIPLIST => {
            let ziplist = input.string()?;
            extend(&mut elements, Ziplist::new(&ziplist)?, input)?;
        }
        _ => {
            for _ in 0..input.count(1)? {
                let container = if kind == types::LIST_QUICKLIST_2 { input.number()? } else { PACKED };
                let node = input.string()?;
                match container {
                    PACKED if kind == types::LIST_QUICKLIST => extend(&mut elements, Ziplist::new(&node)?, input)?,
                    PACKED => extend(&mut elements, Listpack::new(&node)?, input)?,
                    PLAIN if !node.is_empty() => push(&mut elements, &node, input)?,
                    _ => return Err(RdbError::Malformed("an unknown part of a list")),
                }
            }
        }
    }
    if elements.is_empty() { Err(RdbError::Empty) } else { Ok(Object::List(elements)) }
}

fn set(kind: u8, input: &mut Input<'_>) -> Result<Object<'static>, RdbError> {
    let mut members = Elements::default();
    match kind {
        types::SET => {
            for _ in 0..input.count(1)? {
                let member = input.string()?;
                push(&mut members, &member, input)?;
            }
        }
        types::SET_INTSET => {
            let integers = input.string()?;
            extend(&mut members, intset(&integers)?.map(|number| Ok(Item::Integer(number))), input)?;
        }
        _ => {
            let listpack = input.string()?;
            extend(&mut members, Listpack::new(&listpack)?, input)?;
        }
    }
    check_unique(members.iter())?;
    Ok(Object::Set(members))
}

fn sorted_set(kind: u8, input: &mut Input<'_>) -> Result<Object<'static>, RdbError> {
    let mut members = Scored::default();
    match kind {
        types::ZSET | types::ZSET_2 => {
            for _ in 0..input.count(2)? {
                let member = input.string()?;
                input.spend(member.len())?;
                let score =
                    if kind == types::ZSET_2 { input.array().map(f64::from_le_bytes) } else { text_score(input) };
                members.push(&member, checked(score?)?);
            }
        }
        types::ZSET_ZIPLIST => {
            let ziplist = input.string()?;
            extend_scored(&mut members, Ziplist::new(&ziplist)?, input)?;
        }
        _ => {
            let listpack = input.string()?;
            extend_scored(&mut members, Listpack::new(&listpack)?, input)?;
        }
    }
    check_unique(members.iter().map(|(member, _)| member))?;
    Ok(Object::SortedSet(members))
}

/// Adds members and scores, which follow each other in turn.
fn extend_scored<'p>(
    members: &mut Scored<'static>,
    mut items: impl Iterator<Item = Result<Item<'p>, RdbError>>,
    input: &mut Input<'_>,
) -> Result<(), RdbError> {
    let mut digits = itoa::Buffer::new();
    while let Some(member) = items.next() {
        let member = member?;
        let member = member.text(&mut digits);
        input.spend(member.len())?;
        let score = match items.next().ok_or(UNPAIRED)?? {
            Item::Integer(number) => number as f64,
            Item::Text(text) => parse_score(text)?,
        };
        members.push(member, checked(score)?);
    }
    Ok(())
}

const UNPAIRED: RdbError = RdbError::Malformed("an element without its counterpart");
const NO_SCORE: RdbError = RdbError::Malformed("a score that is no number");

/// A score in the oldest form: its length and its text; or 253 for NaN, 254 and 255 for the infinities.
fn text_score(input: &mut Input<'_>) -> Result<f64, RdbError> {
    match input.byte()? {
        253 => Err(NO_SCORE),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        length => parse_score(input.take(length.into())?),
    }
}

fn parse_score(text: &[u8]) -> Result<f64, RdbError> {
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NO_SCORE)
}

/// The score, with 0 for -0.
fn checked(score: f64) -> Result<f64, RdbError> {
    if score.is_nan() { Err(NO_SCORE) } else { Ok(score + 0.0) }
}

/// Fields of a hash while they are read.
#[derive(Default)]
struct HashFields {
    fields: Fields<'static>,
    expiries: Vec<(usize, UnixMillis)>,
}

impl HashFields {
    fn push(
        &mut self,
        name: &[u8],
        value: &[u8],
        expire_at: Option<u64>,
        input: &mut Input<'_>,
    ) -> Result<(), RdbError> {
        input.spend(name.len())?;
        input.spend(value.len())?;
        // Offsets may add up to a time that has no signed form, which is the only one that can be written.
        if expire_at.is_some_and(|at| i64::try_from(at).is_err()) {
            return Err(RdbError::Malformed("a time too far ahead"));
        }
        if let Some(expire_at) = expire_at.and_then(UnixMillis::option_from_raw) {
            self.expiries.push((self.fields.len(), expire_at));
        }
        self.fields.push(name, value);
        Ok(())
    }

    /// Adds names and values that follow each other in turn, each with a time (0: none) if the fields may expire.
    fn extend<'p>(
        &mut self,
        mut items: impl Iterator<Item = Result<Item<'p>, RdbError>>,
        may_expire: bool,
        input: &mut Input<'_>,
    ) -> Result<(), RdbError> {
        let (mut name_digits, mut value_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        while let Some(name) = items.next() {
            let (name, value) = (name?, items.next().ok_or(UNPAIRED)??);
            let expire_at = if may_expire { Some(time(items.next().ok_or(UNPAIRED)??.integer()?)?) } else { None };
            self.push(name.text(&mut name_digits), value.text(&mut value_digits), expire_at, input)?;
        }
        Ok(())
    }
}

fn time(millis: i64) -> Result<u64, RdbError> {
    u64::try_from(millis).map_err(|_| RdbError::Malformed("a time before 1970"))
}

fn hash(kind: u8, version: u16, input: &mut Input<'_>) -> Result<Object<'static>, RdbError> {
    let mut hash = HashFields::default();
    match kind {
        types::HASH => {
            for _ in 0..input.count(2)? {
                let (name, value) = (input.string()?, input.string()?);
                hash.push(&name, &value, None, input)?;
            }
        }
        types::HASH_2 if version == VALKEY => {
            for _ in 0..input.count(10)? {
                let (name, value, millis) = (input.string()?, input.string()?, input.millis()?);
                let expire_at = if millis == -1 { None } else { Some(time(millis)?) };
                hash.push(&name, &value, expire_at, input)?;
            }
        }
        types::HASH_2 | types::HASH_METADATA => {
            // Times are counted from the first one of all, minus 1, so that 0 means none.
            let first = if kind == types::HASH_METADATA { time(input.millis()?)?.saturating_sub(1) } else { 0 };
            for _ in 0..input.count(3)? {
                let (offset, name, value) = (input.number()?, input.string()?, input.string()?);
                let expire_at = if offset == 0 { None } else { Some(first.saturating_add(offset)) };
                hash.push(&name, &value, expire_at, input)?;
            }
        }
        types::HASH_ZIPMAP => {
            let zipmap = input.string()?;
            hash.extend(Zipmap::new(&zipmap)?, false, input)?;
        }
        types::HASH_ZIPLIST => {
            let ziplist = input.string()?;
            hash.extend(Ziplist::new(&ziplist)?, false, input)?;
        }
        types::HASH_LISTPACK | types::HASH_LISTPACK_EX_PRE_GA | types::HASH_LISTPACK_EX => {
            if kind == types::HASH_LISTPACK_EX {
                let _first = input.millis()?;
            }
            let listpack = input.string()?;
            hash.extend(Listpack::new(&listpack)?, kind != types::HASH_LISTPACK, input)?;
        }
        _ => return Err(RdbError::UnknownType(kind)),
    }
    check_unique(hash.fields.iter().map(|(name, _)| name))?;
    Ok(Object::Hash { fields: hash.fields, expiries: hash.expiries })
}

/// Checks that there are names, and that none occurs twice.
fn check_unique<'n>(mut names: impl Iterator<Item = &'n [u8]>) -> Result<(), RdbError> {
    let mut seen = HashSet::new();
    if !names.all(|name| seen.insert(name)) {
        return Err(RdbError::Malformed("an element that occurs twice"));
    }
    if seen.is_empty() { Err(RdbError::Empty) } else { Ok(()) }
}
