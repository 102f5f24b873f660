//! The registry of commands: the name of each, its number of arguments, the positions of its keys, its routing, and the
//! function that plans it.
//!
//! Rows are defined next to their functions, one file per family (`commands::*`, and `net::session` for commands that
//! touch no data). Every property of a command is in its row, so that routing, `COMMAND` and the plans cannot disagree.
//!
//! | file | what it is |
//! |---|---|
//! | `flags` | properties of commands and of their keys |
//! | `keys` | positions of keys among the arguments |
//! | `row` | building blocks shared by the rows of several families |
//! | `lookup` | [`Registry`]: finds the row of a request |

mod flags;
mod keys;
mod lookup;
pub mod row;

pub use flags::{Categories, Flags, KeyFlags};
pub use keys::{Begin, Find, KeySpec};
pub use lookup::{Refusal, Registry};

use super::{Plan, Planned, Scratch};
use crate::encoding::resp::Args;

/// Id of a command in its [`Registry`]: counted from 0, including subcommands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// Function that plans a command: it reads the store, writes the reply and puts the edits into the plan.
pub type PlanFn = for<'p, 'a, 'b> fn(&mut Plan<'p, 'a, 'b>, &'a mut Scratch) -> Planned;

/// Where a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The command runs on the core of the client's connection: it touches no data, and has no plan.
    Session,
    /// The command runs on the core that owns its only key.
    Key,
    /// The command runs on every core that owns some of its keys, each with its own keys only; the replies are merged.
    Scatter(Gather),
    /// The command runs on the core that owns all its keys; it is refused if they are on several cores.
    OneCore,
    /// The command runs on every core; the replies are merged.
    EveryCore(Gather),
    /// The command runs on every core; one of the replies is drawn at random (`RANDOMKEY`).
    Random,
    /// The command runs on the core that owns the slot of its cursor ([`super::scan::cursor_slot`]).
    Cursor,
}

/// How the replies of several cores are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Every core replies `+OK`, and so does the server.
    Ok,
    /// Integers: the sum is replied.
    Sum,
    /// Arrays: each element goes to the position that its key has in the request.
    ByKey,
    /// Arrays: they are concatenated.
    Concat,
}

/// The group under which a command is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Group {
    Connection,
    Server,
    Generic,
    String,
    Bitmap,
    HyperLogLog,
    Hash,
    Set,
    SortedSet,
    Geo,
    List,
    Stream,
}

impl Group {
    /// Name of the group in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// A row of the registry: a command, its properties and its plan. The fields that every request needs are in the first
/// cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Spec {
    /// Id of the command in its registry.
    pub id: CommandId,
    /// Number of arguments, including the name; a negative number means at least that many.
    pub arity: i16,
    /// Index of the first key if it has a fixed position, else 0.
    first_key: u8,
    /// Where the command is executed.
    pub route: Route,
    /// Flags of the command.
    pub flags: Flags,
    /// Function that plans the command; `None` if it touches no data ([`Route::Session`]).
    pub plan: Option<PlanFn>,
    /// Positions of the keys; empty if the command has none.
    pub keys: &'static [KeySpec],
    /// Subcommands that the first argument can name.
    pub subcommands: &'static [Self],
    /// Name in lower case; for a subcommand `parent|name`.
    pub name: &'static str,
    /// Access-control categories.
    pub categories: Categories,
    /// Grammar of the arguments, as [`super::syntax`] reads it.
    pub syntax: &'static str,
    /// Summary in one sentence.
    pub summary: &'static str,
    /// Cost in O notation.
    pub complexity: &'static str,
    /// Version of Redis (or Valkey) that introduced the command.
    pub since: &'static str,
    /// Group under which the command is documented.
    pub group: Group,
    /// Command tips for clients and proxies, as Redis defines them.
    pub tips: &'static [&'static str],
    /// If the command is deprecated: the version since which it is, and its replacement.
    pub deprecated: Option<(&'static str, &'static str)>,
}

impl Spec {
    /// Row of a command that touches no data; the builder functions below set the other properties.
    pub const fn new(group: Group, name: &'static str, arity: i16, syntax: &'static str) -> Self {
        Self {
            id: CommandId(0),
            arity,
            first_key: 0,
            route: Route::Session,
            flags: Flags::NONE,
            plan: None,
            keys: &[],
            name,
            categories: Categories::NONE,
            subcommands: &[],
            syntax,
            summary: "",
            complexity: "O(1)",
            since: "1.0.0",
            group,
            tips: &[],
            deprecated: None,
        }
    }

    /// Sets the function that plans the command.
    pub const fn plan(mut self, plan: PlanFn) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Sets where the command is executed.
    pub const fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Sets the flags, and the categories that do not follow from the flags.
    pub const fn flags(mut self, flags: Flags, categories: Categories) -> Self {
        self.flags = flags;
        self.categories = categories.with_implied(flags);
        self
    }

    /// Sets the positions of the keys.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        if let [KeySpec { begin: Begin::Index(at), find: Find::Range { .. }, .. }, ..] = keys {
            self.first_key = *at;
        }
        self
    }

    /// Sets the version that introduced the command, its cost and its summary.
    pub const fn about(mut self, since: &'static str, complexity: &'static str, summary: &'static str) -> Self {
        (self.since, self.complexity, self.summary) = (since, complexity, summary);
        self
    }

    /// Sets tips for clients and proxies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Marks the command as deprecated since a version, with its replacement.
    pub const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    /// Sets the subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether the command accepts a request of `len` arguments, including the name.
    #[inline]
    pub const fn takes(&self, len: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { len == arity } else { len >= arity }
    }

    /// Whether the command may change data.
    #[inline]
    pub const fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether only the rules for its keys tell where they are: for some of them, three numbers do not.
    pub fn has_movable_keys(&self) -> bool {
        let is_movable = |keys: &KeySpec| !matches!((keys.begin, keys.find), (Begin::Index(_), Find::Range { .. }));
        self.keys.iter().any(is_movable)
    }

    /// Indexes of the keys in a request whose number of arguments was checked.
    #[inline]
    pub fn key_indices(&self, args: Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let groups = self.keys.iter().map(|keys| keys.indices(args)).collect::<smallvec::SmallVec<[_; 2]>>();
        groups.into_iter().flatten()
    }

    /// Keys in a request whose number of arguments was checked.
    #[inline]
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.key_indices(args).map(move |index| args.at(index))
    }

    /// First key in a request whose number of arguments was checked; for [`Route::Key`] it is the only one.
    #[inline]
    pub fn first_key<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        match self.first_key {
            0 => self.keys_of(args).next(),
            at => args.get(at.into()),
        }
    }

    /// Finds the subcommand called `name`, in any letter case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|sub| sub.short_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Name of a subcommand without its parent's; of other commands the whole name.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit_once('|').map_or(self.name, |(_, own)| own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{REGISTRY, request};

    fn keys(text: &str) -> Vec<String> {
        request(text, |args| {
            let spec = REGISTRY.resolve(args).unwrap();
            spec.keys_of(args).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
        })
    }

    #[test]
    fn keys_are_found_where_the_rows_say() {
        assert_eq!(keys("GET a"), ["a"]);
        assert_eq!(keys("mset a 1 b 2"), ["a", "b"]);
        assert_eq!(keys("DEL a b c"), ["a", "b", "c"]);
        assert_eq!(keys("copy a b REPLACE"), ["a", "b"]);
        assert_eq!(keys("object encoding a"), ["a"]);
        assert_eq!(keys("sinterstore d a b"), ["d", "a", "b"]);
        assert_eq!(keys("sintercard 2 a b limit 1"), ["a", "b"]);
        assert_eq!(keys("dbsize"), [""; 0]);
    }

    #[test]
    fn every_row_is_complete() {
        for spec in REGISTRY.all().chain(REGISTRY.all().flat_map(|s| s.subcommands)) {
            assert!(!spec.summary.is_empty() && !spec.complexity.is_empty(), "{}", spec.name);
            let routed = matches!(spec.route, Route::Key | Route::Scatter(_) | Route::OneCore);
            assert_eq!(routed, !spec.keys.is_empty(), "{}", spec.name);
            assert_eq!(spec.plan.is_none(), spec.route == Route::Session, "{}", spec.name);
            if spec.route == Route::Key {
                assert!(spec.first_key > 0 && spec.keys.len() == 1, "{}", spec.name);
            }
        }
    }
}
