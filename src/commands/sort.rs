//! SORT and SORT_RO: the elements of a value in order of themselves, or of other keys that a pattern names.
//!
//! Operands are read through [`Plan::operand`]. Keys that a pattern names on another core are refused.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::parse::integer_argument;
use super::registry::row::{PUT, READ, generic, key};
use super::registry::{Categories, KeyFlags, KeySpec, Route, Spec};
use super::{MAX_CONTENT, Plan, Planned, Refused, Scratch, take_room};
use crate::encoding::edit::{Change, Removal};
use crate::encoding::resp::double;
use crate::store::{Member, Value};

/// Argument 1 is a key whose value is sorted. Keys that patterns name are in no specification.
const SORTED: KeySpec = key(1, KeyFlags::RO.and(KeyFlags::ACCESS));

/// Options that take arguments, besides STORE.
const OTHER_OPTIONS: &[(&str, u8)] = &[("BY", 1), ("GET", 1), ("LIMIT", 2)];

const CATEGORIES: Categories =
    Categories::SET.and(Categories::SORTEDSET).and(Categories::LIST).and(Categories::DANGEROUS);
const COST: &str = "O(N log N), N being the number of elements; O(N) if they are not sorted";

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    generic(
        "sort",
        |p, s| p.sort(s, true),
        -2,
        "key [BY by-pattern] [LIMIT offset count] [GET get-pattern ...] [ASC|DESC] [ALPHA] [STORE destination]",
    )
    .route(Route::OneCore)
    .keys(&[SORTED, KeySpec::option(&["STORE"], 2, OTHER_OPTIONS, KeyFlags::OW.and(KeyFlags::UPDATE))])
    .flags(PUT, CATEGORIES)
    .about("1.0.0", COST, "Tells the elements of a list, set or sorted set in order, or puts them into a list"),
    generic(
        "sort_ro",
        |p, s| p.sort(s, false),
        -2,
        "key [BY by-pattern] [LIMIT offset count] [GET get-pattern ...] [ASC|DESC] [ALPHA]",
    )
    .route(Route::OneCore)
    .keys(&[SORTED])
    .flags(READ, CATEGORIES)
    .about("7.0.0", COST, "Tells the elements of a list, set or sorted set in order"),
];

/// What a request asks for.
struct Options<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    offset: i64,
    count: i64,
    descending: bool,
    alphabetic: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(mut words: impl Iterator<Item = &'a [u8]>, may_store: bool) -> Result<Self, Refused> {
        let mut options =
            Self { by: None, get: Vec::new(), offset: 0, count: -1, descending: false, alphabetic: false, store: None };
        while let Some(word) = words.next() {
            let mut next = || words.next().ok_or(Refused::Syntax);
            match word.to_ascii_uppercase().as_slice() {
                b"ASC" => options.descending = false,
                b"DESC" => options.descending = true,
                b"ALPHA" => options.alphabetic = true,
                b"LIMIT" => {
                    let (offset, count) = (next()?, next()?);
                    (options.offset, options.count) = (integer_argument(offset)?, integer_argument(count)?);
                }
                b"BY" => options.by = Some(next()?),
                b"GET" => options.get.push(next()?),
                b"STORE" if may_store => options.store = Some(next()?),
                _ => return Err(Refused::Syntax),
            }
        }
        Ok(options)
    }

    /// Whether elements keep their order: the pattern is the same for all of them.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|by| !by.contains(&b'*'))
    }

    /// Range of the elements that are wanted, of `len`.
    fn limits(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset.max(0)).map_or(len, |offset| offset.min(len));
        let end = usize::try_from(self.count).map_or(len, |count| start.saturating_add(count).min(len));
        start..end
    }
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]
    pub(super) fn sort(&mut self, scratch: &'a mut Scratch, may_store: bool) -> Planned {
        let mut options = Options::parse(self.args.from(2), may_store)?;
        let value = self.first().map(|entry| entry.value);
        let elements = elements_of(value)?;
        let mut elements: Vec<&[u8]> = elements.iter().map(|element| &**element).collect();
        // The order of a set depends on chance; a list that is made of it must not.
        if options.store.is_some() && matches!(value, Some(Value::Set(_))) && options.keeps_order() {
            (options.by, options.alphabetic) = (None, true);
        }
        if !options.keeps_order() {
            elements = self.in_order(elements, &options)?;
        } else if options.descending && !matches!(value, Some(Value::Set(_))) {
            elements.reverse();
        }
        let wanted = options.limits(elements.len());
        let elements = &elements[wanted];
        if options.get.is_empty() {
            options.get.push(b"#");
        }
        match options.store {
            None => self.tell_sorted(elements, &options.get),
            Some(target) => self.store_sorted(scratch, elements, &options.get, target),
        }
    }

    /// Sorts elements by themselves or by the keys that the pattern names.
    fn in_order<'e>(&self, elements: Vec<&'e [u8]>, options: &Options<'_>) -> Result<Vec<&'e [u8]>, Refused>
    where
        'p: 'e,
    {
        let weight = |element: &'e [u8]| match options.by {
            None => Ok(Some(element)),
            Some(by) => self.operand(by, element),
        };
        let direct = |order: Ordering| if options.descending { order.reverse() } else { order };
        if options.alphabetic {
            let weighed = elements.into_iter().map(|element| Ok((weight(element)?, element)));
            let mut weighed = weighed.collect::<Result<Vec<_>, Refused>>()?;
            weighed.sort_by(|one, other| direct(one.0.cmp(&other.0)));
            return Ok(weighed.into_iter().map(|(_, element)| element).collect());
        }
        let number = |element| weight(element)?.map_or(Ok(0.0), number_in);
        let weighed = elements.into_iter().map(|element| Ok((number(element)?, element)));
        let mut weighed = weighed.collect::<Result<Vec<(f64, _)>, Refused>>()?;
        weighed.sort_by(|one, other| direct(one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1))));
        Ok(weighed.into_iter().map(|(_, element)| element).collect())
    }

    fn tell_sorted(&mut self, elements: &[&[u8]], get: &[&[u8]]) -> Planned {
        let start = self.reply.written();
        self.reply.array(elements.len() * get.len());
        for element in elements {
            for pattern in get {
                match self.operand(pattern, element) {
                    Ok(value) => self.reply.bulk_or_null(value),
                    Err(refused) => {
                        self.reply.take_back(start);
                        return Err(refused);
                    }
                }
            }
            if get.len() > 1 {
                self.bound_reply(start)?;
            }
        }
        Ok(())
    }

    fn store_sorted(
        &mut self,
        scratch: &'a mut Scratch,
        elements: &[&[u8]],
        get: &[&[u8]],
        target: &'a [u8],
    ) -> Planned {
        let slot = self.here(target)?;
        scratch.clear();
        let mut room = MAX_CONTENT;
        for element in elements {
            for pattern in get {
                let value = self.operand(pattern, element)?.unwrap_or_default();
                scratch.elements.push(value);
                if take_room(&mut room, value.len()).is_break() {
                    return Err(Refused::Because("ERR the sorted list would be too large"));
                }
            }
        }
        let count = elements.len() * get.len();
        let db = self.context.db;
        if count > 0 {
            let elements = scratch.elements.elements();
            self.edit(db, slot, target, Change::PutList { elements, expire_at: None });
        } else if self.peek(db, slot, target).is_some() {
            self.edit(db, slot, target, Change::Delete(Removal::Deleted));
        }
        self.reply.count(count);
        Ok(())
    }

    /// The value that a pattern names for an element: the element itself for `#`, else the string in the key that the
    /// pattern gives with the element in place of its first `*`, or with `->field` at the end that field of its hash.
    fn operand<'e>(&self, pattern: &[u8], element: &'e [u8]) -> Result<Option<&'e [u8]>, Refused>
    where
        'p: 'e,
    {
        if pattern == b"#" {
            return Ok(Some(element));
        }
        let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Ok(None) };
        let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = behind.windows(2).position(|two| two == b"->").filter(|at| at + 2 < behind.len());
        let (behind, field) = arrow.map_or((behind, None), |at| (&behind[..at], Some(&behind[at + 2..])));
        let key = [before, element, behind].concat();
        let slot = self.here(&key)?;
        let entry = self.store.get(self.context.db, slot, &key).filter(|entry| !self.is_over(entry));
        Ok(match (entry.map(|entry| entry.value), field) {
            (Some(Value::String(bytes)), None) => Some(bytes),
            (Some(Value::Hash(hash)), Some(field)) => hash.at(self.context.now).and_then(|hash| hash.get(field)),
            _ => None,
        })
    }
}

/// The elements of a value that can be sorted, in its own order.
fn elements_of(value: Option<Value<'_>>) -> Result<Vec<Cow<'_, [u8]>>, Refused> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::List(list)) => Ok(list.iter().map(Cow::Borrowed).collect()),
        Some(Value::Set(set)) => {
            let mut members = Vec::with_capacity(set.len());
            let _: ControlFlow<()> = set.for_each(|member| {
                members.push(match member {
                    Member::Bytes(bytes) => Cow::Borrowed(bytes),
                    Member::Integer(_) => Cow::Owned(member.with(<[u8]>::to_vec)),
                });
                ControlFlow::Continue(())
            });
            Ok(members)
        }
        Some(Value::SortedSet(sorted_set)) => {
            let mut members = Vec::with_capacity(sorted_set.len());
            let _: ControlFlow<()> = sorted_set.for_each(|member, _| {
                members.push(Cow::Borrowed(member));
                ControlFlow::Continue(())
            });
            Ok(members)
        }
        Some(Value::String(_) | Value::Hash(_) | Value::Stream(_)) => Err(Refused::WrongType),
    }
}

/// The number that a text says, as C's `strtod` reads it; nothing is 0.
fn number_in(text: &[u8]) -> Result<f64, Refused> {
    const NO_NUMBER: Refused = Refused::Because("ERR One or more scores can't be converted into double");
    if text.is_empty() { Ok(0.0) } else { double::parse(text.trim_ascii_start()).ok_or(NO_NUMBER) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REGISTRY, Rig, request};

    #[test]
    fn the_keys_of_a_request_are_those_that_it_reads_and_stores_in() {
        for (text, keys) in [
            ("SORT a", "a"),
            ("SORT a STORE b STORE c", "a c"),
            ("SORT a BY STORE GET STORE LIMIT 0 1 STORE d", "a d"),
            ("SORT a GET STORE", "a"),
            ("SORT_RO a BY STORE", "a"),
            ("GEORADIUS a 1 2 3 m STORE b COUNT 1 STORE c", "a c"),
            ("GEORADIUS a 1 2 3 m STORE b STOREDIST c ASC", "a c"),
            ("GEORADIUS a 1 2 3 m STOREDIST b STORE STORE", "a STORE"),
            ("GEORADIUSBYMEMBER a STORE 3 m STOREDIST c", "a c"),
            ("GEORADIUSBYMEMBER a STORE 3 m", "a"),
        ] {
            let keys: Vec<&[u8]> = keys.split(' ').map(str::as_bytes).collect();
            request(text, |args| {
                let found: Vec<&[u8]> = REGISTRY.resolve(args).unwrap().keys_of(args).collect();
                assert_eq!(found, keys, "{text}");
            });
        }
    }

    #[test]
    fn elements_are_sorted_by_themselves() {
        let mut rig = Rig::new();
        assert_eq!(rig.run(&[b"RPUSH", b"spaced", b" 1"]), b":1\r\n");
        assert_eq!(rig.line("SORT spaced"), "*1 $2  1");
        rig.line("RPUSH l 10 9 2 -1 1e1 3");
        for (request, reply) in [
            ("SORT l", "*6 $2 -1 $1 2 $1 3 $1 9 $2 10 $3 1e1"),
            ("SORT l DESC LIMIT 0 2", "*2 $3 1e1 $2 10"),
            ("SORT l ALPHA", "*6 $2 -1 $2 10 $3 1e1 $1 2 $1 3 $1 9"),
            ("SORT l ALPHA DESC LIMIT -1 1", "*1 $1 9"),
            ("SORT l LIMIT 4 10", "*2 $2 10 $3 1e1"),
            ("SORT l LIMIT 9 10", "*0"),
            ("SORT l LIMIT 1 0", "*0"),
            ("SORT_RO l BY nosort", "*6 $2 10 $1 9 $1 2 $2 -1 $3 1e1 $1 3"),
            ("SORT l BY nosort DESC LIMIT 0 2", "*2 $1 3 $3 1e1"),
            ("SORT none", "*0"),
            ("SORT l LIMIT 0", "-ERR syntax error"),
            ("SORT l LIMIT 0 x", "-ERR value is not an integer or out of range"),
            ("SORT_RO l STORE d", "-ERR syntax error"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
        rig.line("RPUSH l word");
        assert_eq!(rig.line("SORT l"), "-ERR One or more scores can't be converted into double");
        rig.line("SET s 1");
        assert_eq!(rig.line("SORT s"), "-WRONGTYPE Operation against a key holding the wrong kind of value");
    }

    #[test]
    fn other_keys_say_the_order_and_what_is_told() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a b c");
        rig.line("MSET w_a 3 w_b 1 n_a Anna n_b Bert");
        rig.line("HSET h_a age 30");
        rig.line("HSET h_c age 20");
        for (request, reply) in [
            ("SORT l BY w_*", "*3 $1 c $1 b $1 a"),
            ("SORT l BY w_* ALPHA DESC", "*3 $1 a $1 b $1 c"),
            ("SORT l BY h_*->age GET # GET n_* GET h_*->age", "*9 $1 b $4 Bert $-1 $1 c $-1 $2 20 $1 a $4 Anna $2 30"),
            ("SORT l BY nosort GET n_a", "*3 $-1 $-1 $-1"),
            ("SORT l BY n_*", "-ERR One or more scores can't be converted into double"),
            ("SORT l BY w_* GET n_* STORE d", ":3"),
            ("LRANGE d 0 -1", "*3 $0  $4 Bert $4 Anna"),
            ("SORT none STORE d", ":0"),
            ("EXISTS d", ":0"),
            ("SORT l BY w_* STORE l", ":3"),
            ("LRANGE l 0 -1", "*3 $1 c $1 b $1 a"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }

    #[test]
    fn sets_are_sorted_and_stored_in_an_order_that_does_not_depend_on_chance() {
        let mut rig = Rig::new();
        rig.line("SADD integers 3 10 1");
        rig.line("SADD mixed 3 b a 10");
        for (request, reply) in [
            ("SORT integers", "*3 $1 1 $1 3 $2 10"),
            ("SORT mixed ALPHA DESC", "*4 $1 b $1 a $1 3 $2 10"),
            ("SORT mixed BY nosort STORE d", ":4"),
            ("LRANGE d 0 -1", "*4 $2 10 $1 3 $1 a $1 b"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }

    #[test]
    fn sorted_sets_keep_their_order_unless_they_are_sorted() {
        let mut rig = Rig::new();
        rig.line("ZADD z 1 30 2 4 3 5");
        for (request, reply) in [
            ("SORT z", "*3 $1 4 $1 5 $2 30"),
            ("SORT z ALPHA", "*3 $2 30 $1 4 $1 5"),
            ("SORT z BY nosort", "*3 $2 30 $1 4 $1 5"),
            ("SORT z BY nosort DESC LIMIT 0 2", "*2 $1 5 $1 4"),
            ("SORT z BY nosort STORE d", ":3"),
            ("LRANGE d 0 -1", "*3 $2 30 $1 4 $1 5"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }

    #[test]
    fn many_patterns_make_no_reply_without_bounds() {
        let mut rig = Rig::new();
        rig.line("RPUSH l a b");
        rig.run(&[b"SET", b"large", &vec![b'x'; 100_000]]);
        let request = format!("SORT l ALPHA{}", " GET l*rge".repeat(20));
        assert!(rig.line(&request).starts_with("-ERR the reply would be longer"), "{}", rig.line("SORT l ALPHA"));
    }
}
