//! Commands on data: one file per family, with its grammar, plans and tests.
//!
//! A plan reads the store, writes the reply and returns the edits that the command requires; it changes nothing itself.
//! The caller applies and logs the edits. A refused command gets an error reply and produces no edits except deletions
//! of expired keys, which are valid in any case: every plan treats an expired key as missing, and the plan that finds
//! one puts its deletion before all other edits.
//! | file | commands |
//! |---|---|
//! | [`registry`] | properties of every command: name, arity, keys, routing, plan |
//! | `strings`, `ranges`, `numbers` | whole strings (SET, GET …); parts of strings; numeric strings (INCR …) |
//! | `options`, `conditions`, `increx` | expiry and conditions of writes; DIGEST and deletion on a condition; INCREX |
//! | `bits`, `bitop`, `bitfield` | bits of strings |
//! | `hyperloglog`, `lcs` | estimated counts of different elements; common subsequences |
//! | `hashes`, `hash_reads` | changes of hashes (HSET …); reads of hashes (HGET …) |
//! | `field_expiry`, `field_values` | expiry of fields (HEXPIRE …); fields read or set with a change of it (HGETEX …) |
//! | `sets`, `set_picks`, `set_algebra` | sets (SADD …); members at random (SPOP …); sets combined (SINTER …) |
//! | `sorted_sets`, `sorted_set_reads` | changes of sorted sets (ZADD …); reads of single members (ZSCORE …) |
//! | `sorted_set_ranges`, `sorted_set_spans` | commands on ranges of sorted sets (ZRANGE …); how they name ranges |
//! | `sorted_set_algebra` | unions, intersections and differences of sorted sets (ZUNION …) |
//! | `geo` | places in sorted sets (GEOADD, GEOSEARCH …) |
//! | `lists`, `list_reads`, `list_moves` | changes of one list (LPUSH …); reads of lists (LRANGE …); moves between lists |
//! | `streams`, `stream_trims` | changes of streams (XADD …); the options that trim them |
//! | `stream_reads`, `stream_ids` | reads of streams (XRANGE …); the ids in arguments |
//! | `stream_groups`, `stream_deliveries`, `stream_claims` | consumer groups (XGROUP …); XREADGROUP; pending entries (XCLAIM …) |
//! | `stream_info`, `stream_counts` | what streams and groups tell of themselves (XINFO …); how far groups have read |
//! | `keys`, `rename`, `expire`, `object`, `dump`, [`debug`] | keys of any type |
//! | `sort` | SORT, over lists, sets and sorted sets |
//! | `databases`, `scan` | whole databases; iteration over keys and fields |
//! | `random`, `seen` | picking elements at random; arguments that occur twice |
//! | `docs`, `syntax` | COMMAND and HELP; the grammar of arguments |

mod bitfield;
mod bitop;
mod bits;
mod conditions;
pub mod databases;
pub mod debug;
pub mod docs;
mod dump;
mod expire;
mod field_expiry;
#[cfg(test)]
mod field_tests;
mod field_values;
mod geo;
pub mod glob;
mod hash_reads;
mod hashes;
mod hyperloglog;
mod increx;
mod keys;
mod lcs;
mod list_moves;
mod list_reads;
mod lists;
mod numbers;
pub mod object;
mod options;
pub mod parse;
mod random;
mod ranges;
mod refused;
pub mod registry;
mod rename;
pub mod scan;
mod seen;
mod set_algebra;
mod set_picks;
mod sets;
mod sort;
mod sorted_set_algebra;
mod sorted_set_ranges;
mod sorted_set_reads;
mod sorted_set_spans;
mod sorted_sets;
mod stream_claims;
mod stream_counts;
mod stream_deliveries;
mod stream_groups;
mod stream_ids;
mod stream_info;
mod stream_reads;
mod stream_trims;
mod streams;
mod strings;
pub mod syntax;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

use crate::encoding::edit::{Change, Edit, ElementsBuffer, ExpiringFieldsBuffer, FieldsBuffer, Removal, ScoredBuffer};
use crate::encoding::resp::{Args, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, Partitions, Slot};
use crate::store::{Entry, ListRef, LiveHash, SetRef, SortedSetRef, Store, StreamRef, Value};
use crate::time::UnixMillis;

pub use refused::Refused;
pub use registry::{Registry, Spec};

/// Registry rows of all commands on data, by family. The rows of commands that touch no data are in `net`.
pub const FAMILIES: &[&[Spec]] = &[
    strings::ROWS,
    ranges::ROWS,
    numbers::ROWS,
    conditions::ROWS,
    increx::ROWS,
    lcs::ROWS,
    bits::ROWS,
    bitop::ROWS,
    bitfield::ROWS,
    hyperloglog::ROWS,
    hashes::ROWS,
    hash_reads::ROWS,
    field_expiry::ROWS,
    field_values::ROWS,
    sets::ROWS,
    set_picks::ROWS,
    set_algebra::ROWS,
    sorted_sets::ROWS,
    sorted_set_reads::ROWS,
    sorted_set_ranges::ROWS,
    sorted_set_algebra::ROWS,
    geo::ROWS,
    geo::SEARCH_ROWS,
    lists::ROWS,
    list_reads::ROWS,
    list_moves::ROWS,
    streams::ROWS,
    stream_reads::ROWS,
    stream_groups::ROWS,
    stream_deliveries::ROWS,
    stream_claims::ROWS,
    stream_info::ROWS,
    sort::ROWS,
    keys::ROWS,
    rename::ROWS,
    expire::ROWS,
    object::ROWS,
    dump::ROWS,
    scan::ROWS,
    databases::ROWS,
];

/// Input of a plan besides the store and the request.
#[derive(Clone, Debug)]
pub struct Context {
    /// Database selected by the client.
    pub db: Db,
    /// Slot of the command's first key (`slot_of`), which the caller has computed for routing; arbitrary if the command
    /// has no keys.
    pub slot: Slot,
    /// The time at which the command takes effect.
    pub now: UnixMillis,
    /// A uniform random number, drawn for this command alone.
    pub random: u64,
    /// Whether reading a key updates its time of last use (off after `CLIENT NO-TOUCH`).
    pub touch: bool,
    /// Maximum length of a string in bytes (`limits.bulk_bytes`).
    pub max_string: u64,
    /// Maximum length in bytes of a reply that may repeat the same value many times (`limits.output_buffer_bytes`).
    pub max_reply: usize,
    /// How the slots are divided into partitions.
    pub partitions: Partitions,
    /// The partitions that the store holds.
    pub owned: Range<u16>,
}

impl Context {
    /// The time in seconds, used as time of last use ([`Store::set_clock`]). Wraps in 2106; only differences matter.
    #[inline]
    pub const fn coarse_now(&self) -> u32 {
        (self.now.get() / 1000) as u32
    }
}

/// Buffers for bytes that a plan produces (a number's digits, a copied value) and that its edits borrow. It is reused
/// between commands, so that it seldom allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    fields: FieldsBuffer,
    expiring: ExpiringFieldsBuffer,
    elements: ElementsBuffer,
    scored: ScoredBuffer,
}

impl Scratch {
    /// Maximum capacity kept between commands; capacity for a rare larger value is freed.
    const KEPT_BYTES: usize = 1 << 20;

    fn clear(&mut self) {
        let Self { bytes, fields, expiring, elements, scored } = self;
        let fields = [fields.capacity(), expiring.capacity()];
        let capacities = [bytes.capacity(), elements.capacity(), scored.capacity()];
        if capacities.iter().chain(&fields).any(|capacity| *capacity > Self::KEPT_BYTES) {
            *self = Self::default();
        }
        self.bytes.clear();
        self.fields.clear();
        self.expiring.clear();
        self.elements.clear();
        self.scored.clear();
    }
}

/// Maximum size in bytes of the elements that a plan copies into one edit, including their lengths: an edit must stay
/// below 2 GiB. No request is as large, but values that several requests make can be.
const MAX_CONTENT: usize = 1 << 30;

/// Takes the room of an element of `len` bytes from what is left of [`MAX_CONTENT`]. Breaks if that is not enough.
fn take_room(room: &mut usize, len: usize) -> ControlFlow<()> {
    const LENGTHS: usize = 8;
    match room.checked_sub(len + LENGTHS) {
        Some(left) => {
            *room = left;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    }
}

/// Edits of one command: applied and logged as one atomic group.
pub type Edits<'a> = SmallVec<[Edit<'a>; 1]>;

/// Result of a plan.
#[derive(Debug, Default)]
pub struct Effects<'a> {
    /// Edits that the command requires.
    pub edits: Edits<'a>,
    /// Whether the command must wait: it has no reply yet, because its keys hold nothing for it. A client that may
    /// block waits until one of them does.
    pub waits: bool,
    /// Time of last use that the command's first key gets once the edits are applied, as a coarse clock in seconds;
    /// `None` leaves it at now.
    pub last_use: Option<u32>,
}

/// Reply to a write ([`registry::Flags::DENYOOM`]) while memory is used up (`memory.max_bytes`).
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Plans a command whose keys all belong to `store`. [`Registry::resolve`] has checked its arity.
///
/// The edits borrow from the arguments and from `scratch`, never from the store, because the caller changes the store
/// while it holds them.
///
/// Commands of [`registry::Route::Session`] have no plan; planning one gives an error reply.
#[inline]
pub fn plan<'a>(
    spec: &Spec,
    store: &Store,
    context: &Context,
    args: Args<'a>,
    scratch: &'a mut Scratch,
    reply: &mut Reply<'_>,
) -> Effects<'a> {
    let mut plan = Plan { store, context, args, reply, effects: Effects::default() };
    let refused = match spec.plan {
        Some(run) => run(&mut plan, scratch).err(),
        None => Some(Refused::Because("ERR this command touches no data")),
    };
    if let Some(refused) = refused {
        refused.reply(plan.reply);
    }
    plan.effects
}

/// Result of a command's plan function: its reply is written, or the refusal becomes the reply.
pub type Planned = Result<(), Refused>;

/// A string value and its expiry.
type Text<'p> = (&'p [u8], Option<UnixMillis>);

/// State of a plan while its function runs. A function must refuse before it writes any of its reply.
pub struct Plan<'p, 'a, 'b> {
    store: &'p Store,
    context: &'p Context,
    args: Args<'a>,
    reply: &'p mut Reply<'b>,
    effects: Effects<'a>,
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// Refuses if the reply has grown too long since `start`. A short request can name one large value a thousand
    /// times.
    #[inline]
    fn bound_reply(&mut self, start: usize) -> Planned {
        if self.reply.written() - start <= self.context.max_reply {
            return Ok(());
        }
        self.reply.take_back(start);
        Err(Refused::Because("ERR the reply would be longer than limits.output_buffer_bytes"))
    }

    /// The slot of the command's first key.
    #[inline]
    const fn slot(&self) -> Slot {
        self.context.slot
    }

    /// Looks up a key. If it has expired, returns `None` and plans an edit that deletes it.
    #[inline]
    fn peek(&mut self, db: Db, slot: Slot, key: &'a [u8]) -> Option<Entry<'p>> {
        let entry = self.store.get(db, slot, key)?;
        self.unless_over(db, slot, key, entry)
    }

    #[inline]
    fn unless_over(&mut self, db: Db, slot: Slot, key: &'a [u8], entry: Entry<'p>) -> Option<Entry<'p>> {
        if self.is_over(&entry) {
            self.edit(db, slot, key, Change::Delete(Removal::Expired));
            return None;
        }
        Some(entry)
    }

    /// Like [`Self::peek`] in the client's database, and updates the key's time of last use.
    #[inline]
    fn find(&mut self, slot: Slot, key: &'a [u8]) -> Option<Entry<'p>> {
        let db = self.context.db;
        if !self.context.touch {
            return self.peek(db, slot, key);
        }
        let entry = self.store.get_used(db, slot, key, self.context.coarse_now())?;
        self.unless_over(db, slot, key, entry)
    }

    /// Looks up the command's first key, which is its first argument.
    #[inline]
    fn first(&mut self) -> Option<Entry<'p>> {
        self.find(self.slot(), self.args.at(1))
    }

    /// Like [`Self::first`], for a key that must hold a string.
    #[inline]
    fn first_string(&mut self) -> Result<Option<Text<'p>>, Refused> {
        match self.first() {
            None => Ok(None),
            Some(Entry { value: Value::String(bytes), expire_at }) => Ok(Some((bytes, expire_at))),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Like [`Self::first`], for a key that must hold a hash. If all of its fields have expired, returns `None` and
    /// plans an edit that deletes the key.
    #[inline]
    fn first_hash(&mut self) -> Result<Option<LiveHash<'p>>, Refused> {
        match self.first() {
            None => Ok(None),
            Some(Entry { value: Value::Hash(hash), .. }) => {
                let live = hash.at(self.context.now);
                if live.is_none() {
                    self.edit_first(Change::Delete(Removal::Expired));
                }
                Ok(live)
            }
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Like [`Self::first`], for a key that must hold a sorted set.
    #[inline]
    fn first_sorted_set(&mut self) -> Result<Option<SortedSetRef<'p>>, Refused> {
        sorted_set_in(self.first())
    }

    /// Like [`Self::first`], for a key that must hold a list.
    #[inline]
    fn first_list(&mut self) -> Result<Option<ListRef<'p>>, Refused> {
        list_in(self.first())
    }

    /// Like [`Self::first`], for a key that must hold a stream.
    fn first_stream(&mut self) -> Result<Option<StreamRef<'p>>, Refused> {
        self.stream_at(self.slot(), self.args.at(1))
    }

    /// Like [`Self::find`], for a key that must hold a stream.
    fn stream_at(&mut self, slot: Slot, key: &'a [u8]) -> Result<Option<StreamRef<'p>>, Refused> {
        match self.find(slot, key) {
            None => Ok(None),
            Some(Entry { value: Value::Stream(stream), .. }) => Ok(Some(stream)),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Strings of the keys from argument `from` on; `None` for a missing key.
    fn strings_from(&mut self, from: usize) -> Result<Vec<Option<&'p [u8]>>, Refused> {
        let keys = self.args.from(from);
        keys.map(|key| match self.find(slot_of(key), key) {
            None => Ok(None),
            Some(Entry { value: Value::String(bytes), .. }) => Ok(Some(bytes)),
            Some(_) => Err(Refused::WrongType),
        })
        .collect()
    }

    /// Looks up a key that must hold a set, and updates its time of last use.
    #[inline]
    fn find_set(&mut self, slot: Slot, key: &'a [u8]) -> Result<Option<SetRef<'p>>, Refused> {
        match self.find(slot, key) {
            None => Ok(None),
            Some(Entry { value: Value::Set(set), .. }) => Ok(Some(set)),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Like [`Self::first`], for a key that must hold a set.
    #[inline]
    fn first_set(&mut self) -> Result<Option<SetRef<'p>>, Refused> {
        self.find_set(self.slot(), self.args.at(1))
    }

    /// Slot of a key that must be on this core, though no key specification may have said so.
    fn here(&self, key: &[u8]) -> Result<Slot, Refused> {
        let slot = slot_of(key);
        if self.context.owned.contains(&self.context.partitions.of(slot).0) {
            return Ok(slot);
        }
        Err(Refused::Because("CROSSSLOT Keys of this command live on different cores; give them a common {tag}"))
    }

    /// Whether an entry has expired.
    #[inline]
    fn is_over(&self, entry: &Entry<'_>) -> bool {
        entry.expire_at.is_some_and(|at| at < self.context.now)
    }

    /// Ends the plan without a reply, because the keys hold nothing for the command. The caller decides whether the
    /// client waits.
    pub fn wait(&mut self) -> Planned {
        self.effects.waits = true;
        Ok(())
    }

    /// Plans an edit of one key.
    #[inline]
    fn edit(&mut self, db: Db, slot: Slot, key: &'a [u8], change: Change<'a>) {
        self.effects.edits.push(Edit::Key { db, slot, key: Cow::Borrowed(key), change });
    }

    /// Plans an edit of the command's first key, which is its first argument.
    #[inline]
    fn edit_first(&mut self, change: Change<'a>) {
        self.edit(self.context.db, self.slot(), self.args.at(1), change);
    }

    /// Every `step`th argument as a key, each with its slot.
    #[inline]
    fn slots(&self, step: usize) -> impl Iterator<Item = (Slot, &'a [u8])> + use<'a> {
        let (first, args) = (self.slot(), self.args);
        let slot_at = move |at| if at == 1 { first } else { slot_of(args.at(at)) };
        (1..args.len()).step_by(step).map(move |at| (slot_at(at), args.at(at)))
    }
}

/// The sorted set in a key's content, which must be one.
#[inline]
fn sorted_set_in(entry: Option<Entry<'_>>) -> Result<Option<SortedSetRef<'_>>, Refused> {
    match entry {
        None => Ok(None),
        Some(Entry { value: Value::SortedSet(sorted_set), .. }) => Ok(Some(sorted_set)),
        Some(_) => Err(Refused::WrongType),
    }
}

/// The list in a key's content, which must be one.
#[inline]
fn list_in(entry: Option<Entry<'_>>) -> Result<Option<ListRef<'_>>, Refused> {
    match entry {
        None => Ok(None),
        Some(Entry { value: Value::List(list), .. }) => Ok(Some(list)),
        Some(_) => Err(Refused::WrongType),
    }
}
