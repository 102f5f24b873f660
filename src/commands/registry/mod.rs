//! The registry of commands: what each is called, how many arguments it takes, where its keys stand, how it is routed, and which function
//! plans it.
//!
//! The rows stand with their functions, one family a file (`commands::*`, and `net::session` for commands that touch no data). What is
//! known of a command without running it is said in its row, so that routing, `COMMAND` and the plans cannot disagree.
//!
//! | file | what it is |
//! |---|---|
//! | `flags` | properties of commands and of their keys |
//! | `keys` | where keys stand among the arguments |
//! | `row` | what the rows of several families are made of |
//! | `lookup` | [`Registry`]: from a request's words to a row |

mod flags;
mod keys;
mod lookup;
pub mod row;

pub use flags::{Categories, Flags, KeyFlags};
pub use keys::{Begin, Find, KeySpec};
pub use lookup::{Refusal, Registry};

use super::{Plan, Planned, Scratch};
use crate::encoding::resp::Args;

/// Number of a command in its [`Registry`]: counted from 0, subcommands included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// The function that plans a command: it reads the store, writes the reply and leaves the edits in the plan.
pub type PlanFn = for<'p, 'a, 'b> fn(&mut Plan<'p, 'a, 'b>, &'a mut Scratch) -> Planned;

/// Where a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the core of its connection; it touches no data, and has no plan.
    Session,
    /// On the core of its only key.
    Key,
    /// On every core that has one of its keys, with these keys only; the replies are put together.
    Scatter(Gather),
    /// On the core of all its keys; refused if they are on several.
    OneCore,
    /// On every core; the replies are put together.
    EveryCore(Gather),
    /// On every core; one of the answers is drawn (`RANDOMKEY`).
    Random,
    /// On the core of its cursor's slot ([`super::scan::cursor_slot`]).
    Cursor,
}

/// How the replies of several cores become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// `+OK`, if all say so.
    Ok,
    /// Integers, added up.
    Sum,
    /// Arrays; the elements go to the places that their keys had in the request.
    ByKey,
    /// Arrays, one behind the other.
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
    Hash,
}

impl Group {
    /// Its name in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
        }
    }
}

/// A row of the registry: a command, its properties and its function. What every request needs is in the first cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Spec {
    /// Its number in the registry that it was taken from.
    pub id: CommandId,
    /// Number of arguments, the name included; if negative, at least that many.
    pub arity: i16,
    /// Index of its first key if that has a fixed place, else 0.
    first_key: u8,
    /// Where it is executed.
    pub route: Route,
    /// Properties.
    pub flags: Flags,
    /// What it does to the data; `None` if it touches none ([`Route::Session`]).
    pub plan: Option<PlanFn>,
    /// Where its keys stand; empty if it has none.
    pub keys: &'static [KeySpec],
    /// The commands that its first argument can name.
    pub subcommands: &'static [Self],
    /// Its name in small letters; a subcommand's is `parent|name`.
    pub name: &'static str,
    /// Access-control categories.
    pub categories: Categories,
    /// Its grammar, as [`super::syntax`] reads it.
    pub syntax: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// The version of Redis (or Valkey) whose command this is.
    pub since: &'static str,
    /// The group under which it is documented.
    pub group: Group,
    /// Hints for clients and proxies, as Redis defines them.
    pub tips: &'static [&'static str],
    /// If it is deprecated: since when, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
}

impl Spec {
    /// A row of a command that touches no data; the functions below fill in the rest.
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

    /// Says what it does to the data.
    pub const fn plan(mut self, plan: PlanFn) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Says where it is executed.
    pub const fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Says its flags, and those of its categories that do not follow from its flags.
    pub const fn flags(mut self, flags: Flags, categories: Categories) -> Self {
        self.flags = flags;
        self.categories = categories.with_implied(flags);
        self
    }

    /// Says where its keys stand.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        if let [KeySpec { begin: Begin::Index(at), find: Find::Range { .. }, .. }, ..] = keys {
            self.first_key = *at;
        }
        self
    }

    /// Says since which version of Redis there is such a command, what it costs and what it does.
    pub const fn about(mut self, since: &'static str, complexity: &'static str, summary: &'static str) -> Self {
        (self.since, self.complexity, self.summary) = (since, complexity, summary);
        self
    }

    /// Gives hints to clients and proxies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Says since when it is deprecated, and what to use instead.
    pub const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    /// Gives it subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether a request of `len` arguments, the name included, has as many as the command takes.
    #[inline]
    pub const fn takes(&self, len: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { len == arity } else { len >= arity }
    }

    /// Whether it can change data.
    #[inline]
    pub const fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// The indices of the keys in a request that the command takes.
    #[inline]
    pub fn key_indices(&self, args: Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let groups = self.keys.iter().map(|keys| keys.indices(args)).collect::<smallvec::SmallVec<[_; 2]>>();
        groups.into_iter().flatten()
    }

    /// The keys in a request that the command takes.
    #[inline]
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.key_indices(args).map(move |index| args.at(index))
    }

    /// The first key in a request that the command takes; all there is for [`Route::Key`].
    #[inline]
    pub fn first_key<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        match self.first_key {
            0 => self.keys_of(args).next(),
            at => args.get(at.into()),
        }
    }

    /// The subcommand called `name`, in any letter case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|sub| sub.short_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name without its parent's.
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
