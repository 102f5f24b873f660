//! Commands on several lists: LMOVE, RPOPLPUSH, LMPOP.

use super::lists::{TAKEN_FROM, element_at};
use super::parse::integer;
use super::registry::row::{PUT, key, lists};
use super::registry::{Flags, KeyFlags, KeySpec, Route, Spec};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, End};
use crate::encoding::slot::slot_of;
use crate::store::ListRef;

/// Argument 1 is a list that an element is taken from, and argument 2 the one that it is put into.
const MOVED: &[KeySpec] = &[TAKEN_FROM, key(2, KeyFlags::RW.and(KeyFlags::INSERT))];

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    lists("lmove", |p, s| p.lmove(s), 5, "source destination <LEFT|RIGHT> <LEFT|RIGHT>", PUT)
        .route(Route::OneCore)
        .keys(MOVED)
        .about("6.2.0", "O(1)", "Moves an element from one end of a list to one end of another"),
    lists("lmpop", |p, _| p.lmpop(), -4, "numkeys key ... <LEFT|RIGHT> [COUNT count]", Flags::WRITE)
        .route(Route::OneCore)
        .keys(&[KeySpec::counted(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .about(
            "7.0.0",
            "O(N + M), N being the number of keys, M of elements returned",
            "Takes elements from the first of several lists that is not empty",
        ),
    lists("rpoplpush", |p, s| p.move_element(s, End::Right, End::Left), 3, "source destination", PUT)
        .route(Route::OneCore)
        .keys(MOVED)
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .about("1.2.0", "O(1)", "Moves an element from the right end of a list to the left end of another"),
];

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// LMOVE source destination <LEFT|RIGHT> <LEFT|RIGHT>
    pub(super) fn lmove(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (from, to) = (end_of(self.args.at(3))?, end_of(self.args.at(4))?);
        self.move_element(scratch, from, to)
    }

    /// Moves an element between the lists in the first two arguments.
    pub(super) fn move_element(&mut self, scratch: &'a mut Scratch, from: End, to: End) -> Planned {
        let (source, target) = (self.args.at(1), self.args.at(2));
        let Some((_, list)) = self.first_with_elements([source].into_iter())? else {
            self.reply.null();
            return Ok(());
        };
        if source != target {
            self.list(target)?;
        }
        let element = element_at(list, from).unwrap_or_default();
        self.reply.bulk(element);
        if source == target && from == to {
            return Ok(());
        }
        scratch.clear();
        scratch.elements.push(element);
        // Put there first: a list of one element that is moved within it keeps its expiry.
        let change = Change::PushElements { end: to, elements: scratch.elements.elements() };
        self.edit(self.context.db, slot_of(target), target, change);
        if source == target {
            self.edit_first(Change::PopElements { end: from, count: 1 });
        } else {
            self.take(self.slot(), source, list, from, 1);
        }
        Ok(())
    }

    /// LMPOP numkeys key ... <LEFT|RIGHT> [COUNT count]
    pub(super) fn lmpop(&mut self) -> Planned {
        let positive = |word: &[u8]| integer(word).filter(|number| *number > 0).map(i64::unsigned_abs);
        let keys = positive(self.args.at(1)).ok_or(Refused::Because("ERR numkeys should be greater than 0"))?;
        let behind = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(2)).ok_or(Refused::Syntax)?;
        let end = end_of(self.args.get(behind).ok_or(Refused::Syntax)?)?;
        let (mut count, mut words) = (None, self.args.from(behind + 1));
        while let Some(word) = words.next() {
            match words.next() {
                Some(value) if count.is_none() && word.eq_ignore_ascii_case(b"COUNT") => {
                    count = Some(positive(value).ok_or(Refused::Because("ERR count should be greater than 0"))?);
                }
                _ => return Err(Refused::Syntax),
            }
        }
        let keys = self.args.from(2).take(behind - 2);
        match self.first_with_elements(keys)? {
            Some((key, list)) => {
                self.reply.array(2);
                self.reply.bulk(key);
                self.pop_several(slot_of(key), key, list, end, count.unwrap_or(1));
            }
            None => self.reply.null_array(),
        }
        Ok(())
    }

    /// The first of these keys that holds a list, with the list. `None` if nothing is there to be taken.
    fn first_with_elements(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<(&'a [u8], ListRef<'p>)>, Refused> {
        for key in keys {
            if let Some(list) = self.list(key)? {
                return Ok(Some((key, list)));
            }
        }
        Ok(None)
    }

    /// Looks up a key that must hold a list.
    fn list(&mut self, key: &'a [u8]) -> Result<Option<ListRef<'p>>, Refused> {
        super::list_in(self.find(slot_of(key), key))
    }
}

/// The end of a list that a word names.
fn end_of(word: &[u8]) -> Result<End, Refused> {
    match word {
        word if word.eq_ignore_ascii_case(b"LEFT") => Ok(End::Left),
        word if word.eq_ignore_ascii_case(b"RIGHT") => Ok(End::Right),
        _ => Err(Refused::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;

    #[test]
    fn an_element_moves_between_any_ends() {
        let mut rig = Rig::new();
        rig.line("RPUSH a 1 2 3");
        assert_eq!(rig.line("LMOVE a b left RIGHT"), "$1 1");
        assert_eq!(rig.line("RPOPLPUSH a b"), "$1 3");
        assert_eq!(rig.line("LRANGE b 0 -1"), "*2 $1 3 $1 1");
        assert_eq!(rig.line("LMOVE a b RIGHT RIGHT"), "$1 2");
        assert_eq!(rig.line("EXISTS a"), ":0");
        assert_eq!(rig.line("LMOVE a b RIGHT RIGHT"), "$-1");
        assert_eq!(rig.line("LMOVE b b LEFT RIGHT"), "$1 3");
        assert_eq!(rig.line("LMOVE b b LEFT LEFT"), "$1 1");
        assert_eq!(rig.line("LRANGE b 0 -1"), "*3 $1 1 $1 2 $1 3");
        rig.line("SET s 1");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!((rig.line("LMOVE b s LEFT LEFT"), rig.line("LMOVE s b LEFT LEFT")), (wrong.into(), wrong.into()));
        assert_eq!(rig.line("LMOVE none s LEFT LEFT"), "$-1");
        assert_eq!(rig.line("LMOVE b b LEFT UP"), "-ERR syntax error");
    }

    #[test]
    fn an_element_that_moves_within_its_list_keeps_the_expiry() {
        let mut rig = Rig::new();
        rig.line("RPUSH l only");
        rig.line("PEXPIRE l 5000");
        assert_eq!(rig.line("LMOVE l l LEFT RIGHT"), "$4 only");
        assert_eq!(rig.line("RPOPLPUSH l l"), "$4 only");
        assert_eq!((rig.line("PTTL l"), rig.line("LLEN l")), (":5000".into(), ":1".into()));
        rig.now += 5001;
        assert_eq!(rig.line("RPOPLPUSH l l"), "$-1");
    }

    #[test]
    fn the_first_list_that_there_is_gives_its_elements() {
        let mut rig = Rig::new();
        rig.line("RPUSH b 1 2 3 4");
        rig.line("SET s 1");
        for (request, reply) in [
            ("LMPOP 2 a b LEFT", "*2 $1 b *1 $1 1"),
            ("LMPOP 2 a b RIGHT COUNT 2", "*2 $1 b *2 $1 4 $1 3"),
            ("LMPOP 2 b s LEFT COUNT 0", "-ERR count should be greater than 0"),
            ("LMPOP 0 b LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP x b LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP 9 b LEFT", "-ERR syntax error"),
            ("LMPOP 1 b UP", "-ERR syntax error"),
            ("LMPOP 1 b LEFT COUNT", "-ERR syntax error"),
            ("LMPOP 1 b LEFT COUNT 1 COUNT 1", "-ERR syntax error"),
            ("LMPOP 1 b LEFT COUNT 0 COUNT 1", "-ERR count should be greater than 0"),
            ("LMPOP 2 s b LEFT", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LMPOP 1 b LEFT COUNT 9", "*2 $1 b *1 $1 2"),
            ("LMPOP 2 a b LEFT", "*-1"),
            ("EXISTS b", ":0"),
        ] {
            assert_eq!(rig.line(request), reply, "{request}");
        }
    }
}
