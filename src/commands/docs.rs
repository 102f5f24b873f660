//! COMMAND, its subcommands, and HELP: replies that describe the registry.

use super::registry::{Begin, Categories, Find, KeyFlags, KeySpec, Refusal, Registry, Spec};
use super::syntax::{self, Argument, Kind};
use super::{Refused, glob};
use crate::encoding::resp::{Args, Reply};

/// Maximum number of commands in one request for details: the description of a command is far longer than its name.
const MOST_NAMES: usize = 1024;
const TOO_MANY: Refused = Refused::Because("ERR more names than there are commands");

/// `COMMAND`: describes every command.
pub fn command(registry: &Registry, reply: &mut Reply<'_>) {
    infos(registry.all(), reply);
}

/// `COMMAND COUNT`: counts the commands.
pub fn count(registry: &Registry, reply: &mut Reply<'_>) {
    reply.count(registry.all().count());
}

/// `COMMAND INFO [command-name ...]`: describes commands.
pub fn info(registry: &Registry, args: Args<'_>, reply: &mut Reply<'_>) {
    match args.len() {
        ..=2 => infos(registry.all(), reply),
        3..=MOST_NAMES => {
            reply.array(args.len() - 2);
            for name in args.from(2) {
                match named(registry, name) {
                    Some(spec) => info_of(spec, reply),
                    None => reply.null_array(),
                }
            }
        }
        _ => TOO_MANY.reply(reply),
    }
}

/// `COMMAND DOCS [command-name ...]`: documents commands.
pub fn docs(registry: &Registry, args: Args<'_>, reply: &mut Reply<'_>) {
    match args.len() {
        ..=2 => docs_of(registry.all(), reply),
        3..=MOST_NAMES => {
            let specs: Vec<_> = args.from(2).filter_map(|name| named(registry, name)).collect();
            docs_of(specs.into_iter(), reply);
        }
        _ => TOO_MANY.reply(reply),
    }
}

/// Finds a command by name, or a subcommand by `parent|name`.
fn named(registry: &Registry, name: &[u8]) -> Option<&'static Spec> {
    match memchr::memchr(b'|', name) {
        None => registry.lookup(name),
        Some(bar) => registry.lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

fn statuses<'t>(names: impl Iterator<Item = &'t str> + Clone, prefix: &str, reply: &mut Reply<'_>) {
    reply.set(names.clone().count());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn infos(specs: impl Iterator<Item = &'static Spec>, reply: &mut Reply<'_>) {
    reply.array_of(|reply| specs.map(|spec| info_of(spec, reply)).count());
}

/// Appends the `COMMAND INFO` description of one command.
fn info_of(spec: &Spec, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.int(spec.arity.into());
    let movable = spec.has_movable_keys().then_some("movablekeys");
    statuses(spec.flags.names().chain(movable), "", reply);
    let (first, last, step) = positions(spec);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    statuses(spec.categories.names(), "@", reply);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.iter().map(KeySpec::described).sum());
    spec.keys.iter().for_each(|keys| key_spec(keys, reply));
    reply.set(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| info_of(sub, reply));
}

/// First key, last key and step, for clients that do not understand key specifications: they cover all key groups at
/// fixed positions.
fn positions(spec: &Spec) -> (i64, i64, i64) {
    let fixed = spec.keys.iter().filter_map(|keys| match (keys.begin, keys.find) {
        (Begin::Index(first), Find::Range { last, step, .. }) => {
            let first = i64::from(first);
            Some((first, if last < 0 { last.into() } else { first + i64::from(last) }, i64::from(step)))
        }
        _ => None,
    });
    let (mut first, mut last, mut step) = (0, 0, 0);
    for (n, (one, end, by)) in fixed.enumerate() {
        if n == 0 {
            (first, step) = (one, by);
        }
        last = end;
    }
    (first, last, step)
}

fn key_spec(keys: &KeySpec, reply: &mut Reply<'_>) {
    if let Begin::Option { names, from, others: [] } = keys.begin {
        let of = |word| KeySpec { begin: Begin::Keyword { word, from: from.cast_signed() }, ..*keys };
        return names.iter().for_each(|word| key_spec(&of(word), reply));
    }
    reply.map(3);
    reply.bulk(b"flags");
    statuses(keys.flags.names(), "", reply);
    reply.bulk(b"begin_search");
    match keys.begin {
        Begin::Index(index) => numbers("index", &[("index", index.into())], reply),
        Begin::Keyword { word, from } => {
            reply.map(2);
            reply.bulk(b"type");
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.int(from.into());
        }
        // Only what reads the options finds them: clients ask COMMAND GETKEYS.
        Begin::Option { .. } => numbers("unknown", &[], reply),
    }
    reply.bulk(b"find_keys");
    match keys.find {
        _ if matches!(keys.begin, Begin::Option { .. }) => numbers("unknown", &[], reply),
        Find::Range { last, step, limit } => {
            let parts = [("lastkey", last.into()), ("keystep", step.into()), ("limit", limit.into())];
            numbers("range", &parts, reply);
        }
        Find::Count { at, first, step } => {
            let parts = [("keynumidx", at.into()), ("firstkey", first.into()), ("keystep", step.into())];
            numbers("keynum", &parts, reply);
        }
    }
}

/// Appends one part of a key specification: its type and numeric parameters.
fn numbers(kind: &str, parts: &[(&str, i64)], reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(parts.len());
    for (name, number) in parts {
        reply.bulk(name.as_bytes());
        reply.int(*number);
    }
}

fn docs_of(specs: impl Iterator<Item = &'static Spec> + Clone, reply: &mut Reply<'_>) {
    reply.map(specs.clone().count());
    specs.for_each(|spec| doc(spec, reply));
}

/// Appends a command's name and its `COMMAND DOCS` description.
fn doc(spec: &Spec, reply: &mut Reply<'_>) {
    let arguments = syntax::parse(spec.syntax);
    reply.bulk(spec.name.as_bytes());
    let deprecation = if spec.deprecated.is_some() { 3 } else { 0 };
    reply.map(4 + deprecation + usize::from(!arguments.is_empty()) + usize::from(!spec.subcommands.is_empty()));
    let group = spec.group.name();
    for (name, text) in
        [("summary", spec.summary), ("since", spec.since), ("group", group), ("complexity", spec.complexity)]
    {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some((since, instead)) = spec.deprecated {
        reply.bulk(b"doc_flags");
        statuses(std::iter::once("deprecated"), "", reply);
        for (name, text) in [("deprecated_since", since), ("replaced_by", instead)] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        let mut key_index = 0;
        argument_list(&arguments, spec, &mut key_index, reply);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        docs_of(spec.subcommands.iter(), reply);
    }
}

fn argument_list(arguments: &[Argument], spec: &Spec, key_index: &mut i64, reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let floats = spec.name.ends_with("incrbyfloat");
        let kind = if floats && argument.kind == Kind::Integer { Kind::Double } else { argument.kind };
        let is_key = kind == Kind::Key;
        let flags = [("optional", argument.optional), ("multiple", argument.multiple)];
        let flags = flags.into_iter().filter(|flag| flag.1).map(|flag| flag.0);
        let has_flags = argument.optional || argument.multiple;
        let optional_parts = [is_key, argument.token.is_some(), has_flags, !argument.parts.is_empty()];
        reply.map(2 + optional_parts.into_iter().filter(|there| *there).count());
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(kind.name().as_bytes());
        if is_key {
            reply.bulk(b"key_spec_index");
            reply.int(group_of(spec.keys, *key_index));
            *key_index += 1;
        }
        if let Some(token) = argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if has_flags {
            reply.bulk(b"flags");
            statuses(flags, "", reply);
        }
        if !argument.parts.is_empty() {
            reply.bulk(b"arguments");
            argument_list(&argument.parts, spec, key_index, reply);
        }
    }
}

/// Index of the group that has the key with this number in the grammar.
fn group_of(groups: &[KeySpec], mut key: i64) -> i64 {
    groups
        .iter()
        .flat_map(|group| std::iter::repeat_n(group.named(), group.described()))
        .take_while(|named| {
            key -= named;
            key >= 0
        })
        .count() as i64
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`: names commands.
pub fn list(registry: &Registry, args: Args<'_>, reply: &mut Reply<'_>) {
    let everything = || registry.all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    let mut names = |fits: &dyn Fn(&Spec) -> bool| {
        reply.array_of(|reply| {
            everything().filter(|spec| fits(spec)).map(|spec| reply.bulk(spec.name.as_bytes())).count()
        });
    };
    let is = |index: usize, word: &[u8]| args.get(index).is_some_and(|own| own.eq_ignore_ascii_case(word));
    match args.get(4) {
        None if args.len() == 2 => names(&|_| true),
        Some(_) if args.len() != 5 || !is(2, b"FILTERBY") => Refused::Syntax.reply(reply),
        Some(_) if is(3, b"MODULE") => names(&|_| false),
        Some(name) if is(3, b"ACLCAT") => {
            let category = Categories::named(name);
            names(&|spec| category.is_some_and(|category| spec.categories.contains(category)));
        }
        Some(pattern) if is(3, b"PATTERN") => names(&|spec| glob::matches(pattern, spec.name.as_bytes())),
        _ => Refused::Syntax.reply(reply),
    }
}

/// `COMMAND GETKEYS command [arg ...]` and `COMMAND GETKEYSANDFLAGS command [arg ...]`: tells which arguments of a
/// request are keys.
pub fn keys(registry: &Registry, args: Args<'_>, reply: &mut Reply<'_>, with_flags: bool) {
    let args = args.skip(2);
    let spec = match registry.resolve(args) {
        Ok(spec) if spec.keys.is_empty() => return reply.error("ERR The command has no key arguments"),
        Ok(spec) => spec,
        Err(Refusal::WrongArity(spec)) if spec.keys.is_empty() => {
            return reply.error("ERR The command has no key arguments");
        }
        Err(Refusal::WrongArity(_)) => {
            return reply.error("ERR Invalid number of arguments specified for command");
        }
        Err(_) => return reply.error("ERR Invalid command specified"),
    };
    let lacks = |keys: &KeySpec| matches!(keys.begin, Begin::Index(_)) && keys.indices(args).len() == 0;
    if spec.keys.iter().any(lacks) || spec.key_indices(args).next().is_none() {
        return reply.error("ERR Invalid arguments specified for command");
    }
    reply.array_of(|reply| {
        let mut count = 0;
        for keys in spec.keys {
            for index in keys.indices(args) {
                if with_flags {
                    reply.array(2);
                }
                reply.bulk(args.at(index));
                if with_flags {
                    statuses(flags_in(spec, keys.flags, args).names(), "", reply);
                }
                count += 1;
            }
        }
        count
    });
}

/// Key flags for a concrete request, where they depend on its arguments.
fn flags_in(spec: &Spec, flags: KeyFlags, args: Args<'_>) -> KeyFlags {
    let has = |names: &[&[u8]]| args.from(3).any(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)));
    match spec.name {
        _ if !flags.contains(KeyFlags::VARIABLE) => flags,
        "bitfield" if only_reads(args) => KeyFlags::RO.and(KeyFlags::ACCESS),
        "delex" if args.len() == 2 => KeyFlags::RM.and(KeyFlags::DELETE),
        "delex" => KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE),
        "set" if !has(&[b"GET", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"]) => KeyFlags::OW.and(KeyFlags::UPDATE),
        _ => KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
    }
}

/// Whether a request of BITFIELD has nothing but GET and OVERFLOW.
fn only_reads(args: Args<'_>) -> bool {
    let mut words = args.from(2);
    while let Some(word) = words.next() {
        let skipped = if word.eq_ignore_ascii_case(b"GET") { 2 } else { 1 };
        let is_read = skipped == 2 || word.eq_ignore_ascii_case(b"OVERFLOW");
        if !is_read || words.len() < skipped {
            return false;
        }
        words.nth(skipped - 1);
    }
    true
}

/// `parent HELP`: lists the subcommands of a command.
pub fn help(parent: &Spec, reply: &mut Reply<'_>) {
    reply.array(1 + 2 * parent.subcommands.len());
    reply.simple(&format!("{} <subcommand> [<arg> ...]. Subcommands are:", parent.name.to_ascii_uppercase()));
    for sub in parent.subcommands {
        reply.simple(format!("{} {}", sub.short_name().to_ascii_uppercase(), sub.syntax).trim_end());
        reply.simple(&format!("    {}.", sub.summary));
    }
}
