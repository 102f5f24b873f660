//! Commands on the members of sets: SADD and related ones.

use super::registry::row::{LOOKED_AT, PUT_FAST, READ, READ_FAST, READ_FROM, UNORDERED, WRITE_FAST, key, set, sets};
use super::registry::{KeyFlags, Route, Spec};
use super::seen::Seen;
use super::{Plan, Planned, Scratch};
use crate::encoding::edit::Change;
use crate::encoding::slot::slot_of;
use crate::store::{Member, SetRef};

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    set("sadd", |p, s| p.sadd(s), -3, "key member ...", PUT_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .about("1.0.0", "O(N), N being the number of members given", "Adds members and counts the new ones"),
    set("scard", |p, _| p.scard(), 2, "key", READ_FAST).keys(LOOKED_AT).about("1.0.0", "O(1)", "Counts the members"),
    set("sismember", |p, _| p.sismember(), 3, "key member", READ_FAST).keys(LOOKED_AT).about(
        "1.0.0",
        "O(1)",
        "Tells whether a set has a member",
    ),
    set("smembers", |p, _| p.smembers(), 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "1.0.0",
        "O(N), N being the number of members",
        "Tells all members",
    ),
    set("smismember", |p, _| p.smismember(), -3, "key member ...", READ_FAST).keys(READ_FROM).about(
        "6.2.0",
        "O(N), N being the number of members given",
        "Tells of several members whether a set has them",
    ),
    sets("smove", |p, s| p.smove(s), 4, "source destination member", WRITE_FAST)
        .route(Route::OneCore)
        .keys(&[
            key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            key(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ])
        .about("1.0.0", "O(1)", "Moves a member from one set to another"),
    set("srem", |p, s| p.srem(s), -3, "key member ...", WRITE_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::DELETE))])
        .about(
            "1.0.0",
            "O(N), N being the number of members given",
            "Removes members, and the key with the last of them",
        ),
];

impl<'a> Plan<'_, 'a, '_> {
    /// SADD key member ...
    pub(super) fn sadd(&mut self, scratch: &'a mut Scratch) -> Planned {
        let set = self.first_set()?;
        let added = self.gather(scratch, |member| set.is_none_or(|set| !set.contains(member)));
        if added > 0 {
            self.edit_first(Change::AddMembers(scratch.elements.elements()));
        }
        self.reply.count(added);
        Ok(())
    }

    /// SREM key member ...
    pub(super) fn srem(&mut self, scratch: &'a mut Scratch) -> Planned {
        let set = self.first_set()?;
        let removed = self.gather(scratch, |member| set.is_some_and(|set| set.contains(member)));
        if removed > 0 {
            self.edit_first(Change::RemoveMembers(scratch.elements.elements()));
        }
        self.reply.count(removed);
        Ok(())
    }

    /// Gathers in `scratch.elements` the members named from the second argument on that are `wanted`, each once.
    /// Returns their number.
    fn gather(&self, scratch: &mut Scratch, wanted: impl Fn(Member<'_>) -> bool) -> usize {
        scratch.clear();
        let (mut gathered, mut seen) = (0, Seen::default());
        let several = self.args.len() > 3;
        for member in self.args.from(2) {
            if wanted(Member::Bytes(member)) && (!several || seen.is_new(member, self.context.random)) {
                scratch.elements.push(member);
                gathered += 1;
            }
        }
        gathered
    }

    /// SMOVE source destination member
    pub(super) fn smove(&mut self, scratch: &'a mut Scratch) -> Planned {
        let (from, to, member) = (self.args.at(1), self.args.at(2), self.args.at(3));
        // A destination of another type is refused only if there is a source.
        let moved = match self.first_set()? {
            None => false,
            Some(source) if from == to => source.contains(Member::Bytes(member)),
            Some(source) => {
                let to_slot = slot_of(to);
                let destination = self.find_set(to_slot, to)?;
                let moves = source.contains(Member::Bytes(member));
                if moves {
                    scratch.clear();
                    scratch.elements.push(member);
                    let scratch: &'a Scratch = scratch;
                    self.edit_first(Change::RemoveMembers(scratch.elements.elements()));
                    if destination.is_none_or(|set| !set.contains(Member::Bytes(member))) {
                        self.edit(self.context.db, to_slot, to, Change::AddMembers(scratch.elements.elements()));
                    }
                }
                moves
            }
        };
        self.reply.int(moved.into());
        Ok(())
    }
}

impl Plan<'_, '_, '_> {
    /// SCARD key
    pub(super) fn scard(&mut self) -> Planned {
        let set = self.first_set()?;
        self.reply.count(set.map_or(0, SetRef::len));
        Ok(())
    }

    /// SISMEMBER key member
    pub(super) fn sismember(&mut self) -> Planned {
        let member = Member::Bytes(self.args.at(2));
        let found = self.first_set()?.is_some_and(|set| set.contains(member));
        self.reply.int(found.into());
        Ok(())
    }

    /// SMISMEMBER key member ...
    pub(super) fn smismember(&mut self) -> Planned {
        let set = self.first_set()?;
        let members = self.args.from(2);
        self.reply.array(members.len());
        for member in members {
            self.reply.int(set.is_some_and(|set| set.contains(Member::Bytes(member))).into());
        }
        Ok(())
    }

    /// SMEMBERS key
    pub(super) fn smembers(&mut self) -> Planned {
        let set = self.first_set()?;
        self.reply.set(set.map_or(0, SetRef::len));
        if let Some(set) = set {
            self.write_members(set);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::encoding::resp::Protocol;

    #[test]
    fn members_come_and_go_and_the_key_with_the_last() {
        let mut rig = Rig::new();
        assert_eq!(rig.line("SADD s a b a"), ":2");
        assert_eq!(rig.line("SADD s b"), ":0");
        assert!(rig.edits.is_empty());
        assert_eq!(rig.line("SADD s c b"), ":1");
        assert_eq!(rig.line("SMISMEMBER s a c d"), "*3 :1 :1 :0");
        assert_eq!(rig.line("SCARD s"), ":3");
        rig.protocol = Protocol::Resp3;
        assert_eq!(rig.line("SMEMBERS s"), "~3 $1 a $1 b $1 c");
        assert_eq!(rig.line("SMEMBERS none"), "~0");
        assert_eq!(rig.line("SREM s a x b c a"), ":3");
        assert_eq!(rig.line("EXISTS s"), ":0");
        assert_eq!(rig.line("SREM s a"), ":0");
        assert!(rig.edits.is_empty());
    }

    #[test]
    fn only_one_way_to_write_an_integer_is_an_integer() {
        let mut rig = Rig::new();
        rig.line("SADD s 1 -9223372036854775808 9223372036854775807 0");
        assert_eq!(rig.line("OBJECT ENCODING s"), "$6 intset");
        assert_eq!(rig.line("SISMEMBER s 9223372036854775807"), ":1");
        for other in ["+1", " 1", "1 ", "01", "-0", "", "9223372036854775808", "1.0"] {
            let words = [&b"SISMEMBER"[..], b"s", other.as_bytes()];
            assert_eq!(rig.run(&words), b":0\r\n", "{other:?}");
            rig.line("COPY s t REPLACE");
            assert_eq!(rig.run(&[b"SADD", b"t", other.as_bytes()]), b":1\r\n", "{other:?}");
            assert_eq!(rig.line("OBJECT ENCODING t"), "$8 listpack", "{other:?}");
            assert_eq!(rig.line("SMISMEMBER t 1 9223372036854775807 -9223372036854775808"), "*3 :1 :1 :1");
            assert_eq!(rig.run(&[b"SREM", b"t", other.as_bytes()]), b":1\r\n", "{other:?}");
        }
    }

    #[test]
    fn a_member_moves_whatever_its_new_set_holds() {
        let mut rig = Rig::new();
        rig.line("SADD a 1 2");
        rig.line("SADD b x 2");
        rig.line("SET string v");
        assert_eq!(rig.line("SMOVE a b 1"), ":1");
        assert_eq!(rig.line("SMOVE a b 3"), ":0");
        assert_eq!(rig.line("SMOVE a a 2"), ":1");
        assert!(rig.edits.is_empty());
        assert_eq!(rig.line("SMOVE a string 3"), "-WRONGTYPE Operation against a key holding the wrong kind of value");
        assert_eq!(rig.line("SMOVE none string 3"), ":0");
        assert_eq!(rig.line("SMOVE a b 2"), ":1");
        assert_eq!(rig.line("EXISTS a"), ":0");
        assert_eq!(rig.line("SMOVE b c x"), ":1");
        assert_eq!(rig.line("SMISMEMBER b 1 2 x"), "*3 :1 :1 :0");
        assert_eq!(rig.line("SMEMBERS c"), "*1 $1 x");
    }
}
