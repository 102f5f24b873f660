//! Expiries in append-only files that must wait for the end of the commands.
//!
//! A command may set an expiry that has come by now, and a later one may extend it: Redis lets nothing expire while
//! it reads its files. So an expiry is sent as one far in the future, from which the real one can be told: that of a
//! key [`AGES`] later, if it has come or may come soon; that of a field [`FIELD_AGES`] later, always. When all commands
//! have been executed, what still has such an expiry gets the real one (`settle`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::encoding::rdb::payload::{Payload, seal};
use crate::encoding::rdb::{Limits, Object, expiring, read, types};
use crate::encoding::resp::Args;
use crate::time::{UnixMillis, unix_millis};

/// How much later the expiry of a key is that was put off, in milliseconds: some thirty thousand years, in whole
/// seconds.
const AGES: u64 = 1_000_000_000_000 * 1000;
/// Expiries of keys that come within this time, in milliseconds, are put off: a day.
const SOON: u64 = 24 * 3_600_000;
/// How much later the expiry of a field is, in milliseconds: some two thousand years, in whole seconds. A field can
/// expire up to the year 4199 only.
const FIELD_AGES: u64 = 60_000_000_000_000;
/// Expiries of fields from this time on, in milliseconds, are sent as they are: the year 2286.
const FIELDS_LATEST: u64 = 10_000_000_000_000;
/// How much of a hash is decoded: as much as any value of a file may hold.
const LIMITS: Limits = Limits { string: 512 << 20, value: 1 << 30 };

/// Databases and names of keys.
pub(super) type Names = BTreeSet<(u64, Vec<u8>)>;

/// What expiries were put off of. A key stays here when it is overwritten or deleted.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Whether commands are read or follow.
    is_on: bool,
    /// Keys that expire themselves.
    pub(super) keys: Names,
    /// Hashes some of whose fields expire.
    pub(super) hashes: Names,
}

/// The words of a command, some of which are others than in the file.
pub(super) type Rewritten<'a> = Vec<Cow<'a, [u8]>>;

/// The real expiry of a key with the expiry `shown`; `None` if that is the real one.
pub(super) fn real(shown: u64) -> Option<u64> {
    shown.checked_sub(AGES)
}

/// The real expiry of a field with the expiry `shown`; `None` if that is the real one.
pub(super) fn real_of_field(shown: u64) -> Option<u64> {
    shown.checked_sub(FIELD_AGES).filter(|at| *at < FIELDS_LATEST)
}

/// The expiry that the server is told for a field that expires at this time.
const fn delayed_for_field(at: u64) -> u64 {
    if at < FIELDS_LATEST { at + FIELD_AGES } else { at }
}

impl PutOff {
    /// Says that commands are read from now on, or will be.
    pub(super) const fn begin(&mut self) {
        self.is_on = true;
    }

    /// The time at which the server is told that the key expires.
    pub(super) fn delay(&mut self, db: u64, key: &[u8], at: UnixMillis) -> UnixMillis {
        if !self.is_on || at.get() > unix_millis().get() + SOON {
            return at;
        }
        self.keys.insert((db, key.to_vec()));
        UnixMillis::new(at.get() + AGES)
    }

    /// The value of a key, with the byte of its type, in a version of Redis's format, if it is a hash some of whose
    /// fields expire: the same with expiries that were put off, and its version. `None` if it can be sent as it is.
    pub(super) fn delay_fields(&mut self, db: u64, key: &[u8], value: &[u8], version: u16) -> Option<(Vec<u8>, u16)> {
        let may_expire = matches!(value.first()?, types::HASH_2..=types::HASH_LISTPACK_EX);
        let object = if self.is_on && may_expire { read(value, version, LIMITS).ok()? } else { return None };
        self.delayed_hash(db, key, &object)
    }

    fn delayed_hash(&mut self, db: u64, key: &[u8], object: &Object<'_>) -> Option<(Vec<u8>, u16)> {
        let Object::Hash { fields, expiries } = object else { return None };
        let delayed = |at: UnixMillis| UnixMillis::new(delayed_for_field(at.get()));
        let first = expiries.iter().map(|(_, at)| delayed(*at)).min()?;
        self.hashes.insert((db, key.to_vec()));
        let mut value = Vec::new();
        expiring::begin(&mut value, fields.len(), first);
        let mut times = expiries.iter().peekable();
        for (place, (name, content)) in fields.iter().enumerate() {
            let time = times.next_if(|(of, _)| *of == place);
            expiring::field(&mut value, name, content, time.map(|(_, at)| delayed(*at)), first);
        }
        Some((value, expiring::VERSION))
    }

    /// The command with expiries that were put off; `None` if it can be sent as it is.
    pub(super) fn rewritten<'a>(&mut self, db: u64, words: Args<'a>) -> Option<Rewritten<'a>> {
        let mut name = [0; 10];
        let name = name.get_mut(..words.at(0).len())?;
        name.copy_from_slice(words.at(0));
        name.make_ascii_uppercase();
        match &*name {
            // The condition held when the file was written; an expiry that was put off might decide otherwise.
            b"PEXPIREAT" => self.key_expiry(db, words, 2, 1, 3),
            b"EXPIREAT" => self.key_expiry(db, words, 2, 1000, 3),
            b"SET" => {
                let (option, unit) = option_of_time(words, 3..words.len())?;
                self.key_expiry(db, words, option + 1, unit, words.len())
            }
            b"RESTORE" => self.restore(db, words),
            // Conditions stay, for Valkey also writes fields for which they did not hold. They compare what was put off
            // alike.
            b"HPEXPIREAT" => self.field_expiry(db, words, 2, 1),
            b"HEXPIREAT" => self.field_expiry(db, words, 2, 1000),
            b"HSETEX" => {
                let fields = (2..words.len()).find(|at| words.at(*at).eq_ignore_ascii_case(b"FIELDS"))?;
                let (option, unit) = option_of_time(words, 2..fields)?;
                self.field_expiry(db, words, option + 1, unit)
            }
            _ => {
                self.follow_command(db, name, words);
                None
            }
        }
    }

    /// Notes what other names keys may have after a command.
    fn follow_command(&mut self, db: u64, name: &[u8], words: Args<'_>) -> Option<()> {
        let (key, to) = (words.get(1)?, words.get(2)?);
        match name {
            b"RENAME" | b"RENAMENX" => self.follow((db, key), (db, to)),
            b"MOVE" => self.follow((db, key), (number(to)?, key)),
            b"COPY" => {
                let option = (3..words.len()).find(|at| words.at(*at).eq_ignore_ascii_case(b"DB"));
                let to_db = option.map_or(Some(db), |at| number(words.get(at + 1)?))?;
                self.follow((db, key), (to_db, to));
            }
            b"SWAPDB" => self.swap(number(key)?, number(to)?),
            _ => {}
        }
        Some(())
    }

    /// The first `kept` words of a command by which a key expires at the time that stands at `place`.
    fn key_expiry<'a>(
        &mut self,
        db: u64,
        words: Args<'a>,
        place: usize,
        unit: u64,
        kept: usize,
    ) -> Option<Rewritten<'a>> {
        let at = UnixMillis::new(number(words.get(place)?)?.checked_mul(unit)?.max(1));
        let delayed = self.delay(db, words.get(1)?, at);
        if delayed == at && kept >= words.len() {
            return None;
        }
        let mut rewritten: Rewritten<'_> = words.from(0).take(kept).map(Cow::Borrowed).collect();
        rewritten[place] = Cow::Owned((delayed.get() / unit).to_string().into_bytes());
        Some(rewritten)
    }

    /// The words of a command by which fields expire at the time that stands at `place`.
    fn field_expiry<'a>(&mut self, db: u64, words: Args<'a>, place: usize, unit: u64) -> Option<Rewritten<'a>> {
        let at = number(words.get(place)?)?.checked_mul(unit)?;
        self.hashes.insert((db, words.get(1)?.to_vec()));
        let mut rewritten: Rewritten<'_> = words.from(0).map(Cow::Borrowed).collect();
        rewritten[place] = Cow::Owned((delayed_for_field(at) / unit).to_string().into_bytes());
        Some(rewritten)
    }

    /// RESTORE of a key that expires, or of a hash whose fields do.
    fn restore<'a>(&mut self, db: u64, words: Args<'a>) -> Option<Rewritten<'a>> {
        let (key, payload) = (words.get(1)?, words.get(3)?);
        let is_absolute = words.from(4).any(|word| word.eq_ignore_ascii_case(b"ABSTTL"));
        let expires = is_absolute && words.at(2) != b"0";
        let of_key = if expires { self.key_expiry(db, words, 2, 1, words.len()) } else { None };
        let object = Payload::check(payload).and_then(|payload| payload.read(LIMITS));
        let Some((mut payload, version)) = object.ok().and_then(|object| self.delayed_hash(db, key, &object)) else {
            return of_key;
        };
        seal(&mut payload, version);
        let mut rewritten = of_key.unwrap_or_else(|| words.from(0).map(Cow::Borrowed).collect());
        rewritten[3] = Cow::Owned(payload);
        Some(rewritten)
    }

    /// Notes that a key may be what another one was, which stays noted: the command may be refused.
    fn follow(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        let name = |(db, key): (u64, &[u8])| (db, key.to_vec());
        for names in [&mut self.keys, &mut self.hashes] {
            if names.contains(&name(from)) {
                names.insert(name(to));
            }
        }
    }

    /// Notes that the keys of two databases may be those of the other one.
    fn swap(&mut self, one: u64, other: u64) {
        for names in [&mut self.keys, &mut self.hashes] {
            let of_both = names.iter().filter(|(db, _)| [one, other].contains(db));
            let swapped: Vec<_> =
                of_both.map(|(db, key)| (if *db == one { other } else { one }, key.clone())).collect();
            names.extend(swapped);
        }
    }
}

/// Place of the option that gives a time, and the unit of the time in milliseconds.
fn option_of_time(words: Args<'_>, mut places: std::ops::Range<usize>) -> Option<(usize, u64)> {
    places.find_map(|at| {
        let is = |name: &[u8]| words.at(at).eq_ignore_ascii_case(name);
        if is(b"PXAT") { Some((at, 1)) } else { is(b"EXAT").then_some((at, 1000)) }
    })
}

fn number(word: &[u8]) -> Option<u64> {
    str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::resp::Span;

    /// The words as they are sent, in text.
    fn sent(put_off: &mut PutOff, db: u64, line: &str) -> String {
        let bytes: Vec<u8> = line.bytes().filter(|byte| *byte != b' ').collect();
        let mut spans: Vec<Span> = Vec::new();
        for word in line.split(' ') {
            let start = spans.last().map_or(0, |span| span.start + span.len);
            spans.push(Span { start, len: word.len() as u32 });
        }
        let rewritten = put_off.rewritten(db, Args::new(&bytes, &spans));
        let words: Option<Vec<_>> = rewritten
            .map(|words| words.into_iter().map(|word| String::from_utf8(word.into_owned()).unwrap()).collect());
        words.map_or_else(|| line.to_owned(), |words| words.join(" "))
    }

    fn begun() -> PutOff {
        let mut put_off = PutOff::default();
        put_off.begin();
        put_off
    }

    #[test]
    fn what_expires_soon_is_put_off_and_conditions_that_held_are_left_out() {
        let mut put_off = begun();
        for (line, expected) in [
            ("PEXPIREAT k 1000", "PEXPIREAT k 1000000000001000"),
            ("expireat k 5 GT", "expireat k 1000000000005"),
            ("PEXPIREAT k 9000000000000 LT", "PEXPIREAT k 9000000000000"),
            ("PEXPIREAT k 9000000000000", "PEXPIREAT k 9000000000000"),
            ("SET k v EXAT 7 GET", "SET k v EXAT 1000000000007 GET"),
            ("SET PXAT PXAT", "SET PXAT PXAT"),
            ("RESTORE k 9 x ABSTTL", "RESTORE k 1000000000000009 x ABSTTL"),
            ("RESTORE k 9 x", "RESTORE k 9 x"),
            ("HPEXPIREAT h 1000 GT FIELDS 1 f", "HPEXPIREAT h 60000000001000 GT FIELDS 1 f"),
            ("HEXPIREAT h 2000000000 FIELDS 1 f", "HEXPIREAT h 62000000000 FIELDS 1 f"),
            ("HPEXPIREAT h 10000000000000 FIELDS 1 f", "HPEXPIREAT h 10000000000000 FIELDS 1 f"),
            ("HSETEX h FNX PXAT 5 FIELDS 1 f EXAT", "HSETEX h FNX PXAT 60000000000005 FIELDS 1 f EXAT"),
            ("HSETEX h KEEPTTL FIELDS 1 PXAT 5", "HSETEX h KEEPTTL FIELDS 1 PXAT 5"),
        ] {
            assert_eq!(sent(&mut put_off, 0, line), expected);
        }
        assert_eq!(put_off.keys.len() + put_off.hashes.len(), 2);
    }

    #[test]
    fn keys_are_known_under_every_name_that_they_may_have() {
        let mut put_off = begun();
        for (db, line) in [
            (0, "PEXPIREAT a 1"),
            (0, "RENAME a b"),
            (0, "COPY b c DB 3 REPLACE"),
            (3, "SWAPDB 3 4"),
            (4, "MOVE c 5"),
            (5, "RENAMENX unknown d"),
            (1, "HPEXPIREAT h 1 FIELDS 1 f"),
            (1, "COPY h i"),
        ] {
            assert_eq!(sent(&mut put_off, db, line) == line, !line.contains("EXPIREAT"));
        }
        let names =
            |names: &Names| names.iter().map(|(db, key)| format!("{db}{}", key.escape_ascii())).collect::<Vec<_>>();
        assert_eq!(names(&put_off.keys), ["0a", "0b", "3c", "4c", "5c"]);
        assert_eq!(names(&put_off.hashes), ["1h", "1i"]);
    }

    #[test]
    fn each_field_of_a_hash_has_its_own_expiry_put_off() {
        let mut value = Vec::new();
        let at = UnixMillis::new;
        expiring::begin(&mut value, 3, at(5000));
        for (name, expire_at) in [(&b"a"[..], Some(at(7000))), (b"b", None), (b"c", Some(at(5000)))] {
            expiring::field(&mut value, name, b"v", expire_at, at(5000));
        }
        let mut put_off = PutOff::default();
        assert_eq!(put_off.delay_fields(2, b"h", &value, expiring::VERSION), None);
        put_off.begin();
        let (delayed, version) = put_off.delay_fields(2, b"h", &value, expiring::VERSION).unwrap();
        let Object::Hash { fields, expiries } = read(&delayed, version, LIMITS).unwrap() else { panic!("no hash") };
        assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(expiries, [(0, at(7000 + FIELD_AGES)), (2, at(5000 + FIELD_AGES))]);
        assert_eq!(put_off.hashes.len(), 1);
        assert_eq!(real_of_field(7000 + FIELD_AGES), Some(7000));
        assert_eq!(real_of_field((1 << 46) - 1), None);
    }
}
