//! What commands do to the data: one family a file, with its grammar, its plan and its tests.
//!
//! A plan reads the store, writes the reply and returns the edits that the command stands for; it changes nothing. The caller
//! applies the edits and logs them. A refusal is an error reply and no edits (but those of expiry, which hold in any case).

pub mod glob;
pub mod parse;
mod refused;
pub mod table;

use std::ops::Range;

use smallvec::SmallVec;

use crate::encoding::edit::{Edit, UnixMillis};
use crate::encoding::resp::{Args, Reply};
use crate::ids::{Db, Partitions, Slot};
use crate::store::Store;

pub use refused::Refused;
pub use table::{Command, Spec};

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
    /// How the slots are cut into partitions.
    pub partitions: Partitions,
    /// The partitions that the store has.
    pub owned: Range<u16>,
}

/// Bytes that a plan makes up (a number's digits, a copied value) and that its edits borrow. Kept, it allocates nothing once it
/// has grown.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    spans: Vec<u8>,
}

/// Edits of one command: applied and logged as one group, whole or not at all.
pub type Edits<'a> = SmallVec<[Edit<'a>; 1]>;

/// Plans a command whose keys all belong to `store`. [`table::resolve`] has checked its arity.
///
/// The edits borrow from the arguments and from `scratch`, never from the store: the caller changes the store while it holds them.
pub fn plan<'a>(
    command: Command,
    store: &Store,
    context: &Context,
    args: Args<'a>,
    scratch: &'a mut Scratch,
    reply: &mut Reply<'_>,
) -> Edits<'a> {
    scratch.bytes.clear();
    scratch.spans.clear();
    let _ = (command, store, context, args);
    reply.error("ERR not planned yet");
    Edits::new()
}

/// The answer to a write when memory is used up (`memory.max_bytes`).
pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// tmp
pub mod scan {
    use crate::ids::Slot;
    /// tmp
    pub fn cursor_slot(_c: &[u8]) -> Slot {
        Slot(0)
    }
}
/// tmp
pub mod docs {
    use super::Spec;
    use crate::encoding::resp::{Args, Reply};
    /// tmp
    pub fn answer(_spec: &Spec, _args: Args<'_>, _reply: &mut Reply<'_>) -> bool {
        false
    }
}
