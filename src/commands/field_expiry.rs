//! Commands on the expiry of fields of a hash: HEXPIRE, HTTL, HPERSIST and variants.

use hashbrown::HashMap;
use xxhash_rust::xxh3::Xxh3Builder;

use super::expire::{Conditions, Tell};
use super::parse::{integer, integer_argument};
use super::registry::Spec;
use super::registry::row::{CHANGED, READ_FAST, READ_FROM, VARIES, WRITE_FAST, hash};
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::{Change, Fields, FieldsBuffer};
use crate::store::LiveHash;
use crate::time::UnixMillis;

/// Cost of these commands.
const FEW: &str = "O(N), N being the number of fields given";

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    hash(
        "hexpire",
        |p, s| p.hexpire(s, 1000, true, "hexpire"),
        -6,
        "key seconds [NX|XX|GT|LT] FIELDS numfields <field ...>",
        WRITE_FAST,
    )
    .keys(CHANGED)
    .about("7.4.0", FEW, "Lets fields expire in so many seconds"),
    hash(
        "hexpireat",
        |p, s| p.hexpire(s, 1000, false, "hexpireat"),
        -6,
        "key unix-time-seconds [NX|XX|GT|LT] FIELDS numfields <field ...>",
        WRITE_FAST,
    )
    .keys(CHANGED)
    .about("7.4.0", FEW, "Lets fields expire at a time, in seconds"),
    hash("hexpiretime", |p, _| p.tell_field_expiry(Tell::AtSeconds), -5, "key FIELDS numfields <field ...>", READ_FAST)
        .keys(READ_FROM)
        .about("7.4.0", FEW, "Tells the times at which fields expire, in seconds"),
    hash("hpersist", |p, s| p.hpersist(s), -5, "key FIELDS numfields <field ...>", WRITE_FAST).keys(CHANGED).about(
        "7.4.0",
        FEW,
        "Keeps fields from expiring",
    ),
    hash(
        "hpexpire",
        |p, s| p.hexpire(s, 1, true, "hpexpire"),
        -6,
        "key milliseconds [NX|XX|GT|LT] FIELDS numfields <field ...>",
        WRITE_FAST,
    )
    .keys(CHANGED)
    .about("7.4.0", FEW, "Lets fields expire in so many milliseconds"),
    hash(
        "hpexpireat",
        |p, s| p.hexpire(s, 1, false, "hpexpireat"),
        -6,
        "key unix-time-milliseconds [NX|XX|GT|LT] FIELDS numfields <field ...>",
        WRITE_FAST,
    )
    .keys(CHANGED)
    .about("7.4.0", FEW, "Lets fields expire at a time, in milliseconds"),
    hash("hpexpiretime", |p, _| p.tell_field_expiry(Tell::AtMillis), -5, "key FIELDS numfields <field ...>", READ_FAST)
        .keys(READ_FROM)
        .about("7.4.0", FEW, "Tells the times at which fields expire, in milliseconds"),
    hash("hpttl", |p, _| p.tell_field_expiry(Tell::LeftMillis), -5, "key FIELDS numfields <field ...>", READ_FAST)
        .keys(READ_FROM)
        .tips(VARIES)
        .about("7.4.0", FEW, "Tells how many milliseconds fields have left"),
    hash("httl", |p, _| p.tell_field_expiry(Tell::LeftSeconds), -5, "key FIELDS numfields <field ...>", READ_FAST)
        .keys(READ_FROM)
        .tips(VARIES)
        .about("7.4.0", FEW, "Tells how many seconds fields have left"),
];

/// Error for a number of fields that is none.
pub(super) const NUMBER_OF_FIELDS: &str = "ERR Number of fields must be a positive integer";

/// Latest time at which a field may expire, as in Redis: 46 bits of milliseconds.
const MOST: i64 = (1 << 46) - 1;

/// Reply for a field that the hash does not have.
const NO_FIELD: i64 = -2;
/// Reply for a field without expiry.
const NO_EXPIRY: i64 = -1;

/// Time in the request: `number` in units of `unit` milliseconds, counted from `base`; the error names the command
/// `name`.
pub(super) fn time(number: &[u8], unit: i64, base: i64, name: &'static str) -> Result<i64, Refused> {
    let number = integer_argument(number)?;
    if number < 0 {
        return Err(Refused::Because("ERR invalid expire time, must be >= 0"));
    }
    let at = number.checked_mul(unit).and_then(|millis| millis.checked_add(base));
    at.filter(|at| *at <= MOST).ok_or(Refused::ExpireTime(name))
}

/// What a command on fields has planned for them so far: a request may name a field twice.
pub(super) struct Planning<'n> {
    /// Per field, what is planned for it. `None` if the request names a single field.
    planned: Option<HashMap<&'n [u8], Presence, Xxh3Builder>>,
}

/// Whether a field is there, and when it expires.
type Presence = Option<Option<UnixMillis>>;

impl<'n> Planning<'n> {
    /// Begins a request that names `count` fields; `seed` is a random number.
    pub(super) fn of(count: usize, seed: u64) -> Self {
        Self { planned: (count > 1).then(|| HashMap::with_hasher(Xxh3Builder::new().with_seed(seed))) }
    }

    /// The field as the command finds it: whether it is there, and when it expires.
    pub(super) fn expiry(&self, hash: Option<LiveHash<'_>>, name: &'n [u8]) -> Presence {
        match self.planned.as_ref().and_then(|planned| planned.get(name)) {
            Some(planned) => *planned,
            None => hash.and_then(|hash| hash.field(name)).map(|(_, expire_at)| expire_at),
        }
    }

    /// Notes that the field will have this expiry.
    pub(super) fn set(&mut self, name: &'n [u8], expire_at: Option<UnixMillis>) {
        self.note(name, Some(expire_at));
    }

    /// Notes that the field will be gone.
    pub(super) fn remove(&mut self, name: &'n [u8]) {
        self.note(name, None);
    }

    fn note(&mut self, name: &'n [u8], plan: Presence) {
        if let Some(planned) = &mut self.planned {
            planned.insert(name, plan);
        }
    }
}

impl<'a> Plan<'_, 'a, '_> {
    /// The fields that a request names after the word `FIELDS`, which is argument `at`, and their number.
    ///
    /// # Errors
    /// If the word is another one (`too_few` says what is wrong with a number below 1), or there are more or fewer
    /// fields.
    pub(super) fn named_fields(
        &self,
        at: usize,
        too_few: &'static str,
    ) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + use<'a>, Refused> {
        if !self.args.get(at).is_some_and(|word| word.eq_ignore_ascii_case(b"FIELDS")) {
            let text = "ERR Mandatory argument FIELDS is missing or not at the right position";
            return Err(Refused::Because(text));
        }
        let number = integer(self.args.get(at + 1).unwrap_or_default()).filter(|number| *number > 0);
        let number = number.ok_or(Refused::Because(too_few))?;
        let fields = self.args.from(at + 2);
        if usize::try_from(number) != Ok(fields.len()) {
            return Err(Refused::Because("ERR The `numfields` parameter must match the number of arguments"));
        }
        Ok(fields)
    }

    /// HEXPIRE key seconds [NX|XX|GT|LT] FIELDS numfields field ..., HPEXPIRE, HEXPIREAT, HPEXPIREAT
    pub(super) fn hexpire(
        &mut self,
        scratch: &'a mut Scratch,
        unit: i64,
        relative: bool,
        name: &'static str,
    ) -> Planned {
        let hash = self.first_hash()?;
        let now = self.context.now.get() as i64;
        let at = time(self.args.at(2), unit, if relative { now } else { 0 }, name)?;
        let conditions = Conditions::one(self.args.at(3));
        let at_fields = if conditions.is_some() { 4 } else { 3 };
        let fields = self.named_fields(at_fields, "ERR Parameter `numFields` should be greater than 0")?;
        let conditions = conditions.unwrap_or_default();
        let is_over = at <= now;
        let expire_at = UnixMillis::new(at.unsigned_abs());
        scratch.clear();
        let mut planning = Planning::of(fields.len(), self.context.random);
        self.reply.array(fields.len());
        for field in fields {
            let reply = match planning.expiry(hash, field) {
                None => NO_FIELD,
                Some(old) if !conditions.hold(old, at) => 0,
                Some(_) => {
                    scratch.fields.push(field, b"");
                    if is_over {
                        planning.remove(field);
                        2
                    } else {
                        planning.set(field, Some(expire_at));
                        1
                    }
                }
            };
            self.reply.int(reply);
        }
        self.edit_fields(&scratch.fields, |fields| {
            if is_over {
                Change::ExpireFields(fields)
            } else {
                Change::SetFieldExpiry { fields, expire_at: Some(expire_at) }
            }
        });
        Ok(())
    }

    /// Plans the change that `change` makes of these fields, if there are any.
    pub(super) fn edit_fields(&mut self, fields: &'a FieldsBuffer, change: impl FnOnce(Fields<'a>) -> Change<'a>) {
        let fields = fields.fields();
        if !fields.is_empty() {
            self.edit_first(change(fields));
        }
    }

    /// HTTL key FIELDS numfields field ..., HPTTL, HEXPIRETIME, HPEXPIRETIME
    pub(super) fn tell_field_expiry(&mut self, tell: Tell) -> Planned {
        let hash = self.first_hash()?;
        let fields = self.named_fields(2, NUMBER_OF_FIELDS)?;
        let now = self.context.now.get();
        self.reply.array(fields.len());
        for field in fields {
            let number = match hash.and_then(|hash| hash.field(field)) {
                None => NO_FIELD,
                Some((_, None)) => NO_EXPIRY,
                Some((_, Some(at))) => {
                    let number = match tell {
                        Tell::LeftSeconds => at.get().saturating_sub(now).div_ceil(1000),
                        Tell::LeftMillis => at.get().saturating_sub(now),
                        Tell::AtSeconds => at.get().div_ceil(1000),
                        Tell::AtMillis => at.get(),
                    };
                    i64::try_from(number).unwrap_or(i64::MAX)
                }
            };
            self.reply.int(number);
        }
        Ok(())
    }

    /// HPERSIST key FIELDS numfields field ...
    pub(super) fn hpersist(&mut self, scratch: &'a mut Scratch) -> Planned {
        let hash = self.first_hash()?;
        let fields = self.named_fields(2, NUMBER_OF_FIELDS)?;
        scratch.clear();
        let mut planning = Planning::of(fields.len(), self.context.random);
        self.reply.array(fields.len());
        for field in fields {
            let reply = match planning.expiry(hash, field) {
                None => NO_FIELD,
                Some(None) => NO_EXPIRY,
                Some(Some(_)) => {
                    scratch.fields.push(field, b"");
                    planning.set(field, None);
                    1
                }
            };
            self.reply.int(reply);
        }
        self.edit_fields(&scratch.fields, |fields| Change::SetFieldExpiry { fields, expire_at: None });
        Ok(())
    }
}
