//! The table of commands: what each is called, how many arguments it takes, where its keys stand and how it is routed.
//!
//! The rows are in `table/`, one file a group. Everything that is known of a command without running it is there, so that the
//! network layer (arity, routing), `COMMAND` (descriptions) and the plans cannot disagree.

mod connection;
mod flags;
mod hashes;
mod keys;
mod lookup;
mod server;
mod strings;

pub use flags::{Categories, Flags, KeyFlags};
pub use lookup::{Refusal, lookup, resolve};

use crate::encoding::resp::Args;

/// Every command and subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the rows of the table describe them")]
pub enum Command {
    // Connection.
    Auth,
    Client,
    ClientGetname,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientReply,
    ClientSetinfo,
    ClientSetname,
    Echo,
    Hello,
    Ping,
    Quit,
    Reset,
    Select,
    // Server.
    Bgsave,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetkeys,
    CommandGetkeysandflags,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
    ConfigResetstat,
    ConfigSet,
    Dbsize,
    Flushall,
    Flushdb,
    Info,
    Lastsave,
    Memory,
    MemoryHelp,
    MemoryUsage,
    Save,
    Shutdown,
    Swapdb,
    Time,
    // Keys.
    Copy,
    Del,
    Exists,
    Expire,
    Expireat,
    Expiretime,
    Keys,
    Move,
    Object,
    ObjectEncoding,
    ObjectFreq,
    ObjectHelp,
    ObjectIdletime,
    ObjectRefcount,
    Persist,
    Pexpire,
    Pexpireat,
    Pexpiretime,
    Pttl,
    Randomkey,
    Rename,
    Renamenx,
    Scan,
    Touch,
    Ttl,
    Type,
    Unlink,
    Wait,
    Waitaof,
    // Strings.
    Append,
    Decr,
    Decrby,
    Get,
    Getdel,
    Getex,
    Getrange,
    Getset,
    Incr,
    Incrby,
    Incrbyfloat,
    Mget,
    Mset,
    Msetnx,
    Psetex,
    Set,
    Setex,
    Setnx,
    Setrange,
    Strlen,
    Substr,
    // Hashes.
    Hdel,
    Hexists,
    Hget,
    Hgetall,
    Hincrby,
    Hincrbyfloat,
    Hkeys,
    Hlen,
    Hmget,
    Hmset,
    Hrandfield,
    Hscan,
    Hset,
    Hsetnx,
    Hstrlen,
    Hvals,
}

/// Where a command is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the core of its connection; it touches no data.
    Connection,
    /// On the core of its only key.
    Key,
    /// On every core that has one of its keys, with these keys only; the replies are put together.
    Scatter(Gather),
    /// On the core of all its keys; refused if they are on several.
    OneCore,
    /// On every core; the replies are put together.
    EveryCore(Gather),
    /// On every core; one of the keys that they draw is the reply (`RANDOMKEY`).
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

/// Where some of a command's keys stand among its arguments, and what is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Index of the first; the command's name has index 0.
    pub first: u8,
    /// Index of the last; -1 is the last argument.
    pub last: i8,
    /// From one to the next.
    pub step: u8,
    /// What the command does to them.
    pub flags: KeyFlags,
}

impl KeySpec {
    /// The indices of these keys in a request of `len` arguments, the name included.
    #[inline]
    pub fn indices(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last < 0 { len.wrapping_add_signed(self.last.into()) } else { self.last as usize };
        (usize::from(self.first)..len.min(last + 1)).step_by(self.step.into())
    }
}

/// A command, as far as it is known without running it. What every request needs is in the first cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Spec {
    /// Which one it is.
    pub command: Command,
    /// Number of arguments, the name included; if negative, at least that many.
    pub arity: i8,
    /// Where it is executed.
    pub route: Route,
    /// Properties.
    pub flags: Flags,
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
    /// A row; the functions below fill in the rest.
    const fn new(command: Command, group: Group, name: &'static str, arity: i8, syntax: &'static str) -> Self {
        Self {
            command,
            arity,
            route: Route::Connection,
            flags: Flags::NONE,
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

    const fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Its flags, and those of its categories that do not follow from its flags.
    const fn flags(mut self, flags: Flags, categories: Categories) -> Self {
        self.flags = flags;
        self.categories = categories.with_implied(flags);
        self
    }

    const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    const fn about(mut self, since: &'static str, complexity: &'static str, summary: &'static str) -> Self {
        (self.since, self.complexity, self.summary) = (since, complexity, summary);
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
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

    /// The indices of the keys in a request of `len` arguments (the name included) that the command takes.
    #[inline]
    pub fn key_indices(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        self.keys.iter().flat_map(move |keys| keys.indices(len))
    }

    /// The keys in a request that the command takes.
    #[inline]
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.key_indices(args.len()).map(move |index| args.at(index))
    }

    /// The first key in a request that the command takes; all there is for [`Route::Key`].
    #[inline]
    pub fn first_key<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        args.get(self.keys.first()?.first.into())
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

/// A single run of keys.
const fn run(first: u8, last: i8, step: u8, flags: KeyFlags) -> KeySpec {
    KeySpec { first, last, step, flags }
}

/// One key.
const fn key(at: u8, flags: KeyFlags) -> KeySpec {
    run(at, at as i8, 1, flags)
}

/// Every command that is not a subcommand, in the order of their groups.
pub fn all() -> impl Iterator<Item = &'static Spec> + Clone {
    lookup::SPECS.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::resp::Span;

    fn keys(request: &[&str]) -> Vec<String> {
        let text = request.concat();
        let mut start = 0;
        let spans: Vec<_> = request
            .iter()
            .map(|part| {
                let span = Span { start, len: part.len() as u32 };
                start += span.len;
                span
            })
            .collect();
        let args = Args::new(text.as_bytes(), &spans);
        let spec = resolve(args).unwrap();
        spec.keys_of(args).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn keys_are_found_where_the_table_says() {
        assert_eq!(keys(&["GET", "a"]), ["a"]);
        assert_eq!(keys(&["mset", "a", "1", "b", "2"]), ["a", "b"]);
        assert_eq!(keys(&["DEL", "a", "b", "c"]), ["a", "b", "c"]);
        assert_eq!(keys(&["copy", "a", "b", "REPLACE"]), ["a", "b"]);
        assert_eq!(keys(&["object", "encoding", "a"]), ["a"]);
        assert_eq!(keys(&["ping", "a"]), [""; 0]);
    }

    #[test]
    fn every_row_is_complete() {
        for spec in all().chain(all().flat_map(|s| s.subcommands)) {
            assert!(!spec.summary.is_empty() && !spec.complexity.is_empty(), "{}", spec.name);
            let routed = matches!(spec.route, Route::Key | Route::Scatter(_) | Route::OneCore);
            assert_eq!(routed, !spec.keys.is_empty(), "{}", spec.name);
            if spec.route == Route::Key {
                assert_eq!(spec.key_indices(spec.arity.unsigned_abs().into()).count(), 1, "{}", spec.name);
            }
        }
    }
}
