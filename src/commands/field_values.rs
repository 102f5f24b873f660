//! Commands that read or set fields of a hash and at the same time delete them or change when they expire: HGETDEL,
//! HGETEX, HSETEX.

use super::field_expiry::{NUMBER_OF_FIELDS, Planning, time};
use super::options::{Expiry, Term};
use super::parse::integer;
use super::registry::row::{CHANGED, PUT_FAST, READ_AND_CHANGED, WRITE_FAST, hash, key};
use super::registry::{KeyFlags, Spec};
use super::seen::Seen;
use super::{Plan, Planned, Refused, Scratch};
use crate::encoding::edit::Change;
use crate::store::LiveHash;
use crate::time::UnixMillis;

/// Registry rows of this family.
pub(super) const ROWS: &[Spec] = &[
    hash("hgetdel", |p, s| p.hgetdel(s), -5, "key FIELDS numfields <field ...>", WRITE_FAST)
        .keys(&[key(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))])
        .about("8.0.0", "O(N), N being the number of fields given", "Tells the values of fields and removes them"),
    hash(
        "hgetex",
        |p, s| p.hgetex(s),
        -5,
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST] FIELDS numfields <field ...>",
        WRITE_FAST,
    )
    .keys(READ_AND_CHANGED)
    .about("8.0.0", "O(N), N being the number of fields given", "Tells the values of fields and sets when they expire"),
    hash(
        "hsetex",
        |p, s| p.hsetex(s),
        -6,
        "key [FNX|FXX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL] FIELDS numfields <field value> ...",
        PUT_FAST,
    )
    .keys(CHANGED)
    .about("8.0.0", "O(N), N being the number of fields given", "Sets fields and when they expire"),
];

/// Condition on which HSETEX sets its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    /// `FNX`: none of them is there.
    Missing,
    /// `FXX`: all of them are there.
    Present,
}

/// Options of HSETEX.
struct Options {
    condition: Condition,
    expiry: FieldExpiry,
    /// Argument at which the fields begin.
    fields: usize,
}

/// When fields are to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldExpiry {
    /// No option about it: HGETEX leaves it as it is, HSETEX sets fields that do not expire.
    Unsaid,
    /// `KEEPTTL`: as before.
    Keep,
    /// `PERSIST`: never.
    Never,
    /// A time, in milliseconds.
    At(i64),
}

/// Why the options of HSETEX are no good.
enum OptionError<'a> {
    Refused(Refused),
    Unknown(&'a [u8]),
}

impl From<Refused> for OptionError<'_> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

const HSETEX: &str = "hsetex";
const HGETEX: &str = "hgetex";

impl<'a> Plan<'_, 'a, '_> {
    /// The time that an option gives (`EX 10` and its variants), which is argument `at`; `None` if it is no such
    /// option.
    fn field_term(&self, at: usize, name: &'static str) -> Result<Option<FieldExpiry>, Refused> {
        let Ok(Expiry::Given(Term { text, unit, relative })) =
            Expiry::Unsaid.then(self.args.at(at), self.args.get(at + 1))
        else {
            return Ok(None);
        };
        let base = if relative { self.context.now.get() as i64 } else { 0 };
        time(text, unit, base, name).map(FieldExpiry::At).map(Some)
    }

    /// Parses the options of HSETEX, and the number of fields that follows them.
    fn hsetex_options(&self) -> Result<Options, OptionError<'a>> {
        let mut options = Options { condition: Condition::Always, expiry: FieldExpiry::Unsaid, fields: 0 };
        let mut at = 2;
        while let Some(word) = self.args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"FIELDS") {
                let number = self.args.get(at + 1).ok_or(Refused::Arity(HSETEX))?;
                let number = integer(number).and_then(|number| i32::try_from(number).ok()).filter(|number| *number > 0);
                let number = number.ok_or(Refused::Because("ERR invalid number of fields"))?;
                options.fields = at + 2;
                let fits = (self.args.len() - options.fields) as i64 == 2 * i64::from(number);
                return if fits { Ok(options) } else { Err(Refused::Arity(HSETEX).into()) };
            }
            if is(b"FNX") || is(b"FXX") {
                if options.condition != Condition::Always {
                    return Err(Refused::Because("ERR Only one of FXX or FNX arguments can be specified").into());
                }
                options.condition = if is(b"FNX") { Condition::Missing } else { Condition::Present };
                at += 1;
                continue;
            }
            let keeps = is(b"KEEPTTL");
            if !keeps && ![&b"EX"[..], b"PX", b"EXAT", b"PXAT"].into_iter().any(is) {
                return Err(OptionError::Unknown(word));
            }
            if options.expiry != FieldExpiry::Unsaid {
                let text = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
                return Err(Refused::Because(text).into());
            }
            if keeps {
                options.expiry = FieldExpiry::Keep;
                at += 1;
            } else {
                options.expiry = self.field_term(at, HSETEX)?.ok_or(Refused::Arity(HSETEX))?;
                at += 2;
            }
        }
        Err(Refused::Arity(HSETEX).into())
    }

    /// HSETEX key [FNX|FXX] [EX seconds|…|KEEPTTL] FIELDS numfields field value ...
    pub(super) fn hsetex(&mut self, scratch: &'a mut Scratch) -> Planned {
        let options = match self.hsetex_options() {
            Ok(options) => options,
            Err(OptionError::Refused(refused)) => return Err(refused),
            Err(OptionError::Unknown(word)) => {
                self.reply.error_bytes(&[b"ERR unknown argument: ", word].concat());
                return Ok(());
            }
        };
        let hash = self.first_hash()?;
        let has = |name: &[u8]| hash.is_some_and(|hash| hash.get(name).is_some());
        let mut names = self.args.from(options.fields).step_by(2);
        let holds = match options.condition {
            Condition::Always => true,
            Condition::Missing => !names.any(has),
            Condition::Present => names.all(has),
        };
        self.reply.int(holds.into());
        if holds {
            self.set_fields_for(scratch, hash, &options);
        }
        Ok(())
    }

    /// Plans to set the fields that HSETEX names.
    fn set_fields_for(&mut self, scratch: &'a mut Scratch, hash: Option<LiveHash<'_>>, options: &Options) {
        scratch.clear();
        let expiry = |name: &[u8]| hash.and_then(|hash| hash.field(name)).and_then(|(_, expire_at)| expire_at);
        let mut words = self.args.from(options.fields);
        // A time that is over deletes the fields right after they are set.
        let is_over = self.is_over_at(options.expiry);
        let mut plain = true;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let expire_at = match options.expiry {
                _ if is_over => None,
                FieldExpiry::At(at) => Some(UnixMillis::new(at.unsigned_abs())),
                FieldExpiry::Keep => expiry(name),
                FieldExpiry::Unsaid | FieldExpiry::Never => None,
            };
            plain &= expire_at.is_none();
            if !is_over {
                scratch.expiring.push(name, value, expire_at);
            } else if hash.is_some_and(|hash| hash.get(name).is_some()) {
                scratch.fields.push(name, b"");
            }
        }
        if is_over {
            self.edit_fields(&scratch.fields, Change::ExpireFields);
        } else if plain {
            let Scratch { expiring, fields, .. } = scratch;
            expiring.fields().iter().for_each(|(name, value, _)| fields.push(name, value));
            self.edit_fields(fields, Change::SetFields);
        } else {
            self.edit_first(Change::SetExpiringFields(scratch.expiring.fields()));
        }
    }

    /// Whether a field with this expiry has expired already.
    fn is_over_at(&self, expiry: FieldExpiry) -> bool {
        matches!(expiry, FieldExpiry::At(at) if at <= self.context.now.get() as i64)
    }

    /// HGETEX key [EX seconds|…|PERSIST] FIELDS numfields field ...
    pub(super) fn hgetex(&mut self, scratch: &'a mut Scratch) -> Planned {
        let hash = self.first_hash()?;
        let (expiry, at) = if self.args.at(2).eq_ignore_ascii_case(b"PERSIST") {
            (FieldExpiry::Never, 3)
        } else {
            self.field_term(2, HGETEX)?.map_or((FieldExpiry::Unsaid, 2), |expiry| (expiry, 4))
        };
        if self.args.len() <= at + 1 {
            return Err(Refused::Arity(HGETEX));
        }
        let fields = self.named_fields(at, NUMBER_OF_FIELDS)?;
        let is_over = self.is_over_at(expiry);
        scratch.clear();
        let mut planning = Planning::of(fields.len(), self.context.random);
        let start = self.reply.written();
        self.reply.array(fields.len());
        for field in fields {
            let old = planning.expiry(hash, field);
            let value = old.and_then(|_| hash?.get(field));
            self.reply.bulk_or_null(value);
            self.bound_reply(start)?;
            match (expiry, old) {
                (_, None) | (FieldExpiry::Unsaid | FieldExpiry::Keep, _) | (FieldExpiry::Never, Some(None)) => continue,
                (FieldExpiry::Never, Some(Some(_))) => planning.set(field, None),
                (FieldExpiry::At(_), Some(_)) if is_over => planning.remove(field),
                (FieldExpiry::At(at), Some(_)) => planning.set(field, Some(UnixMillis::new(at.unsigned_abs()))),
            }
            scratch.fields.push(field, b"");
        }
        self.edit_fields(&scratch.fields, |fields| match expiry {
            FieldExpiry::At(_) if is_over => Change::ExpireFields(fields),
            FieldExpiry::At(at) => {
                Change::SetFieldExpiry { fields, expire_at: Some(UnixMillis::new(at.unsigned_abs())) }
            }
            FieldExpiry::Unsaid | FieldExpiry::Keep | FieldExpiry::Never => {
                Change::SetFieldExpiry { fields, expire_at: None }
            }
        });
        Ok(())
    }

    /// HGETDEL key FIELDS numfields field ...
    pub(super) fn hgetdel(&mut self, scratch: &'a mut Scratch) -> Planned {
        let hash = self.first_hash()?;
        let fields = self.named_fields(2, NUMBER_OF_FIELDS)?;
        scratch.clear();
        let mut seen = Seen::default();
        let start = self.reply.written();
        self.reply.array(fields.len());
        for field in fields {
            let value = hash.and_then(|hash| hash.get(field)).filter(|_| seen.is_new(field, self.context.random));
            self.reply.bulk_or_null(value);
            self.bound_reply(start)?;
            if value.is_some() {
                scratch.fields.push(field, b"");
            }
        }
        self.edit_fields(&scratch.fields, Change::RemoveFields);
        Ok(())
    }
}
