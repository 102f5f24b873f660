//! What commands do to the data: one family a file, with its grammar, its plan and its tests.
//!
//! A plan reads the store, writes the reply and returns the edits that the command stands for; it changes nothing. The caller
//! applies the edits and logs them. A refusal is an error reply and no edits.

use smallvec::SmallVec;

use crate::encoding::edit::{Edit, UnixMillis};
use crate::encoding::resp::{Args, Reply};
use crate::ids::Db;
use crate::store::Store;

/// What a plan needs to know of the outside.
pub struct Context {
    /// The client's database.
    pub db: Db,
    /// The time at which the command takes effect.
    pub now: UnixMillis,
    /// A uniform random number of this command's own.
    pub random: u64,
}

/// Edits of one command: applied and logged as one group, whole or not at all.
pub type Edits<'a> = SmallVec<[Edit<'a>; 1]>;

pub enum Command {}

/// The edits borrow from the arguments, never from the store: the caller changes the store while it holds them.
/// Plans a command whose keys all belong to `store`. Its arity has been checked.
pub fn plan<'a>(command: Command, store: &Store, context: &Context, args: Args<'a>, reply: &mut Reply<'_>) -> Edits<'a> {
    todo!()
}
