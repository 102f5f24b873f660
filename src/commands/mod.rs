//! What commands do to the data: one family a file, with its grammar, its plan and its tests.
//!
//! A plan reads the store, writes the reply and returns the edits that the command stands for; it changes nothing. The caller
//! applies the edits and logs them. A refusal is an error reply and no edits but those of expiry, which hold in any case: a key
//! whose time has come is missing for every plan, and the plan that meets it says so in an edit before all others.
//!
//! | file | commands |
//! |---|---|
//! | [`registry`] | what there is to know of each without running it |
//! | `strings`, `ranges`, `numbers` | SET, GET and their kin; parts of strings; INCR and its kin |
//! | `hashes`, `hash_reads` | HSET and its kin; HGET and its kin |
//! | `keys`, `rename`, `expire`, `object` | keys of any type |
//! | `databases`, `scan` | whole databases; walks through keys and fields |
//! | `docs`, `syntax` | COMMAND and the HELP of all |

pub mod databases;
pub mod docs;
mod expire;
pub mod glob;
mod hash_reads;
mod hashes;
mod keys;
mod numbers;
mod object;
pub mod parse;
mod ranges;
mod refused;
pub mod registry;
mod rename;
pub mod scan;
mod seen;
mod strings;
pub mod syntax;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use crate::encoding::edit::{Change, Edit, FieldsBuffer, Removal};
use crate::encoding::resp::{Args, Reply};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, Partitions, Slot};
use crate::store::{Entry, HashRef, Store, Value};
use crate::time::UnixMillis;

pub use refused::Refused;
pub use registry::{Registry, Spec};

/// The rows of all commands that touch data, by family. Those that touch none are `net`'s.
pub const FAMILIES: &[&[Spec]] = &[
    strings::ROWS,
    ranges::ROWS,
    numbers::ROWS,
    hashes::ROWS,
    hash_reads::ROWS,
    keys::ROWS,
    rename::ROWS,
    expire::ROWS,
    object::ROWS,
    scan::ROWS,
    databases::ROWS,
];

/// What a plan needs to know of the outside.
#[derive(Clone, Debug)]
pub struct Context {
    /// The client's database.
    pub db: Db,
    /// The slot of the command's first key (`slot_of`), which the caller has computed to route it; any if it has no keys.
    pub slot: Slot,
    /// The time at which the command takes effect.
    pub now: UnixMillis,
    /// A uniform random number of this command's own.
    pub random: u64,
    /// Whether using a key counts as a use of it (`CLIENT NO-TOUCH`).
    pub touch: bool,
    /// The longest string, in bytes (`limits.bulk_bytes`).
    pub max_string: u64,
    /// The longest reply, in bytes, of a command that may name the same value again and again (`limits.output_buffer_bytes`).
    pub max_reply: usize,
    /// How the slots are cut into partitions.
    pub partitions: Partitions,
    /// The partitions that the store has.
    pub owned: Range<u16>,
}

impl Context {
    /// The time in seconds, for the times at which keys are used ([`Store::set_clock`]). Wraps in 2106; only differences matter.
    #[inline]
    pub const fn coarse_now(&self) -> u32 {
        (self.now.get() / 1000) as u32
    }
}

/// Bytes that a plan makes up (a number's digits, a copied value) and that its edits borrow. Kept, it allocates nothing once it
/// has grown.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    fields: FieldsBuffer,
}

impl Scratch {
    /// Room that is kept; what a rare large value needed beyond it is given back.
    const KEPT_BYTES: usize = 1 << 20;

    fn clear(&mut self) {
        if self.bytes.capacity() > Self::KEPT_BYTES || self.fields.capacity() > Self::KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.fields.clear();
    }
}

/// Edits of one command: applied and logged as one group, whole or not at all.
pub type Edits<'a> = SmallVec<[Edit<'a>; 1]>;

/// What a plan comes to.
#[derive(Debug, Default)]
pub struct Effects<'a> {
    /// What the command changes.
    pub edits: Edits<'a>,
    /// There is no reply yet: the command's keys hold nothing for it, and a client that may wait waits until one of them does.
    pub waits: bool,
}

/// The answer to a write ([`registry::Flags::DENYOOM`]) when memory is used up (`memory.max_bytes`).
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Plans a command whose keys all belong to `store`. [`Registry::resolve`] has checked its arity.
///
/// The edits borrow from the arguments and from `scratch`, never from the store: the caller changes the store while it holds them.
///
/// Commands of [`registry::Route::Session`] have no plan; what is asked for such a one is an error reply.
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

/// What a family's function returns: its reply is written, or will be this refusal.
pub type Planned = Result<(), Refused>;

/// A string and when it expires.
type Text<'p> = (&'p [u8], Option<UnixMillis>);

/// A plan under way. A function refuses before it writes any of its reply.
pub struct Plan<'p, 'a, 'b> {
    store: &'p Store,
    context: &'p Context,
    args: Args<'a>,
    reply: &'p mut Reply<'b>,
    effects: Effects<'a>,
}

impl<'p, 'a> Plan<'p, 'a, '_> {
    /// Refuses a reply that has become too long since `start`. A request that names one value a thousand times is short.
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

    /// A key's content, unless its time has come; then an edit says that it is gone.
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

    /// As [`Self::peek`] in the client's database; counts as a use of the key.
    #[inline]
    fn find(&mut self, slot: Slot, key: &'a [u8]) -> Option<Entry<'p>> {
        let db = self.context.db;
        if !self.context.touch {
            return self.peek(db, slot, key);
        }
        let entry = self.store.get_used(db, slot, key, self.context.coarse_now())?;
        self.unless_over(db, slot, key, entry)
    }

    /// The content of the command's first key, which is its first argument.
    #[inline]
    fn first(&mut self) -> Option<Entry<'p>> {
        self.find(self.slot(), self.args.at(1))
    }

    /// As [`Self::first`], of a string.
    #[inline]
    fn first_string(&mut self) -> Result<Option<Text<'p>>, Refused> {
        match self.first() {
            None => Ok(None),
            Some(Entry { value: Value::String(bytes), expire_at }) => Ok(Some((bytes, expire_at))),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// As [`Self::first`], of a hash.
    #[inline]
    fn first_hash(&mut self) -> Result<Option<HashRef<'p>>, Refused> {
        match self.first() {
            None => Ok(None),
            Some(Entry { value: Value::Hash(hash), .. }) => Ok(Some(hash)),
            Some(_) => Err(Refused::WrongType),
        }
    }

    /// Whether a key's time has come.
    #[inline]
    fn is_over(&self, entry: &Entry<'_>) -> bool {
        entry.expire_at.is_some_and(|at| at < self.context.now)
    }

    /// Leaves the command without a reply: its keys hold nothing for it, and what comes of that is for its caller to say.
    pub fn wait(&mut self) -> Planned {
        self.effects.waits = true;
        Ok(())
    }

    /// Plans an edit.
    #[inline]
    fn edit(&mut self, db: Db, slot: Slot, key: &'a [u8], change: Change<'a>) {
        self.effects.edits.push(Edit::Key { db, slot, key: Cow::Borrowed(key), change });
    }

    /// Plans an edit of the command's first key, which is its first argument.
    #[inline]
    fn edit_first(&mut self, change: Change<'a>) {
        self.edit(self.context.db, self.slot(), self.args.at(1), change);
    }

    /// The keys at every `step`th argument, each with its slot.
    #[inline]
    fn slots(&self, step: usize) -> impl Iterator<Item = (Slot, &'a [u8])> + use<'a> {
        let (first, args) = (self.slot(), self.args);
        let slot_at = move |at| if at == 1 { first } else { slot_of(args.at(at)) };
        (1..args.len()).step_by(step).map(move |at| (slot_at(at), args.at(at)))
    }
}
