//! Commands that read hashes: HGET and related ones.

use std::ops::ControlFlow;

use super::random::{Draws, Random, drawn_arguments};
use super::registry::Spec;
use super::registry::row::{LOOKED_AT, READ, READ_FAST, READ_FROM, UNORDERED, VARIES, hash};
use super::{Plan, Planned};
use crate::encoding::resp::Protocol;
use crate::store::LiveHash;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    hash("hexists", |p, _| p.hexists(), 3, "key field", READ_FAST).keys(LOOKED_AT).about(
        "2.0.0",
        "O(1)",
        "Tells whether a hash has a field",
    ),
    hash("hget", |p, _| p.hget(), 3, "key field", READ_FAST).keys(READ_FROM).about(
        "2.0.0",
        "O(1)",
        "Tells the value of a field",
    ),
    hash("hgetall", |p, _| p.hgetall(), 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Tells all fields with their values",
    ),
    hash("hkeys", |p, _| p.hkeys(), 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Names all fields",
    ),
    hash("hlen", |p, _| p.hlen(), 2, "key", READ_FAST).keys(LOOKED_AT).about("2.0.0", "O(1)", "Counts the fields"),
    hash("hmget", |p, _| p.hmget(), -3, "key field ...", READ_FAST).keys(READ_FROM).about(
        "2.0.0",
        "O(N), N being the number of fields given",
        "Tells the values of several fields",
    ),
    hash("hrandfield", |p, _| p.hrandfield(), -2, "key [count [WITHVALUES]]", READ).keys(READ_FROM).tips(VARIES).about(
        "6.2.0",
        "O(N), N being the number of fields returned",
        "Names fields, chosen at random",
    ),
    hash("hstrlen", |p, _| p.hstrlen(), 3, "key field", READ_FAST).keys(LOOKED_AT).about(
        "3.2.0",
        "O(1)",
        "Tells the length of a field's value",
    ),
    hash("hvals", |p, _| p.hvals(), 2, "key", READ).keys(READ_FROM).tips(UNORDERED).about(
        "2.0.0",
        "O(N), N being the number of fields",
        "Tells the values of all fields",
    ),
];

impl Plan<'_, '_, '_> {
    /// HGET key field
    #[inline]
    pub(super) fn hget(&mut self) -> Planned {
        let field = self.args.at(2);
        let value = self.first_hash()?.and_then(|hash| hash.get(field));
        self.reply.bulk_or_null(value);
        Ok(())
    }

    /// HMGET key field ...
    pub(super) fn hmget(&mut self) -> Planned {
        let hash = self.first_hash()?;
        let fields = self.args.from(2);
        let start = self.reply.written();
        self.reply.array(fields.len());
        for field in fields {
            self.reply.bulk_or_null(hash.and_then(|hash| hash.get(field)));
            self.bound_reply(start)?;
        }
        Ok(())
    }

    /// HEXISTS key field
    pub(super) fn hexists(&mut self) -> Planned {
        let field = self.args.at(2);
        let found = self.first_hash()?.is_some_and(|hash| hash.get(field).is_some());
        self.reply.int(found.into());
        Ok(())
    }

    /// HSTRLEN key field
    pub(super) fn hstrlen(&mut self) -> Planned {
        let field = self.args.at(2);
        let value = self.first_hash()?.and_then(|hash| hash.get(field));
        self.reply.count(value.map_or(0, <[u8]>::len));
        Ok(())
    }

    /// HLEN key
    pub(super) fn hlen(&mut self) -> Planned {
        let hash = self.first_hash()?;
        self.reply.count(hash.map_or(0, LiveHash::len));
        Ok(())
    }

    /// HGETALL key
    pub(super) fn hgetall(&mut self) -> Planned {
        let hash = self.first_hash()?;
        self.reply.map(hash.map_or(0, LiveHash::len));
        self.write_fields(hash, true, true);
        Ok(())
    }

    /// HKEYS key
    pub(super) fn hkeys(&mut self) -> Planned {
        let hash = self.first_hash()?;
        self.reply.array(hash.map_or(0, LiveHash::len));
        self.write_fields(hash, true, false);
        Ok(())
    }

    /// HVALS key
    pub(super) fn hvals(&mut self) -> Planned {
        let hash = self.first_hash()?;
        self.reply.array(hash.map_or(0, LiveHash::len));
        self.write_fields(hash, false, true);
        Ok(())
    }

    fn write_fields(&mut self, hash: Option<LiveHash<'_>>, names: bool, values: bool) {
        let Some(hash) = hash else { return };
        let reply = &mut *self.reply;
        let _: ControlFlow<()> = hash.for_each(|name, value| {
            if names {
                reply.bulk(name);
            }
            if values {
                reply.bulk(value);
            }
            ControlFlow::Continue(())
        });
    }

    /// HRANDFIELD key [count [WITHVALUES]]
    pub(super) fn hrandfield(&mut self) -> Planned {
        let mut random = Random(self.context.random);
        let Some((count, with_values)) = drawn_arguments(self.args, b"WITHVALUES")? else {
            let field = self.first_hash()?.map(|hash| hash.random_field(|| random.next()).0);
            self.reply.bulk_or_null(field);
            return Ok(());
        };
        match self.first_hash()? {
            Some(hash) if count < 0 => return self.repeated_fields(hash, count.unsigned_abs(), with_values, random),
            Some(hash) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(hash.len());
                self.random_head(count, with_values);
                hash.distinct_fields(count, || random.next(), |field| self.random_field(field, with_values));
            }
            None => self.reply.array(0),
        }
        Ok(())
    }

    /// Appends `count` fields, each drawn from all fields, so that they may repeat.
    fn repeated_fields(&mut self, hash: LiveHash<'_>, count: u64, with_values: bool, mut random: Random) -> Planned {
        let mut draws = Draws::begin(self, count)?;
        self.random_head(usize::try_from(count).unwrap_or(usize::MAX), with_values);
        let drawn = hash.random_fields(
            || random.next(),
            |field| {
                self.random_field(field, with_values);
                draws.count(self.reply)
            },
        );
        drawn.break_value().unwrap_or(Ok(()))
    }

    /// Begins a reply of `count` fields. With values, they are pairs in RESP3 and a flat array in RESP2.
    fn random_head(&mut self, count: usize, with_values: bool) {
        let flat = with_values && self.reply.protocol() == Protocol::Resp2;
        self.reply.array(if flat { count.saturating_mul(2) } else { count });
    }

    fn random_field(&mut self, (name, value): (&[u8], &[u8]), with_values: bool) {
        if with_values && self.reply.protocol() == Protocol::Resp3 {
            self.reply.array(2);
        }
        self.reply.bulk(name);
        if with_values {
            self.reply.bulk(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use crate::config::Packing;
    use crate::encoding::resp::Protocol;

    #[test]
    fn any_threshold_is_taken_and_a_hash_is_packed_as_far_as_its_layout_goes() {
        let mut rig = Rig::new();
        let packing = Packing { hash_entries: i32::MAX as u32, hash_bytes: i32::MAX as u32, ..Packing::default() };
        rig.store.set_packing(packing);
        (0..600).for_each(|n| drop(rig.line(&format!("HSET h f{n} {n}"))));
        assert_eq!(rig.line("OBJECT ENCODING h"), "$8 listpack");
        rig.run(&[b"HSET", b"h", b"long", &[b'x'; 60_000]]);
        assert_eq!(rig.line("OBJECT ENCODING h"), "$8 listpack");
        rig.run(&[b"HSET", b"h", b"longer", &[b'x'; 70_000]]);
        assert_eq!(rig.line("OBJECT ENCODING h"), "$9 hashtable");
        assert_eq!(rig.line("HSTRLEN h longer"), ":70000");
        assert_eq!((rig.line("HLEN h"), rig.line("HGET h f599")), (":602".into(), "$3 599".into()));
    }

    #[test]
    fn random_fields_are_all_drawn_and_never_twice_unless_asked_for() {
        let mut rig = Rig::new();
        rig.line("HSET h a 1 b 2 c 3 d 4");
        let mut seen = [0; 4];
        for _ in 0..400 {
            let reply = rig.line("HRANDFIELD h 2");
            let drawn: Vec<usize> = (0..4).filter(|n| reply.contains([" a", " b", " c", " d"][*n])).collect();
            assert_eq!(drawn.len(), 2, "{reply}");
            drawn.iter().for_each(|n| seen[*n] += 1);
        }
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
        assert!(rig.line("HRANDFIELD h 9").starts_with("*4 "));
        assert!(rig.line("HRANDFIELD h -9").starts_with("*9 "));
        assert!(rig.line("HRANDFIELD h -2 WITHVALUES").starts_with("*4 "));
        rig.protocol = Protocol::Resp3;
        assert!(rig.line("HRANDFIELD h -2 WITHVALUES").starts_with("*2 *2 "));
    }

    #[test]
    fn no_count_makes_a_reply_without_bounds() {
        let mut rig = Rig::new();
        rig.max_string = 10_000;
        rig.line("HSET h field value");
        for count in ["-9223372036854775807", "-1700", "-1000"] {
            assert_eq!(rig.line(&format!("HRANDFIELD h {count}")), "-ERR value is out of range", "{count}");
        }
        assert!(rig.line("HRANDFIELD h 9223372036854775807").starts_with("*1 "));
    }
}
