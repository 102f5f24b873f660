//! COMMAND and its subcommands, and HELP of all commands that have it: the table, told to clients.

use super::syntax::{self, Argument, Kind};
use super::table::{Categories, Command, KeyFlags, KeySpec, Refusal, Spec, all, lookup, resolve};
use super::{Refused, glob};
use crate::encoding::resp::{Args, Reply};

/// Most commands that can be asked about at once.
const MOST_NAMES: usize = 1024;

/// Answers a command that is about commands. Returns false if it is none of these: COMMAND and its subcommands, and every HELP.
pub fn answer(spec: &Spec, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
    match spec.command {
        // What is said of a command is far longer than its name.
        Command::CommandInfo | Command::CommandDocs if args.len() > MOST_NAMES => {
            reply.error("ERR more names than there are commands");
        }
        Command::Command => infos(all(), reply),
        Command::CommandCount => reply.count(all().count()),
        Command::CommandInfo if args.len() == 2 => infos(all(), reply),
        Command::CommandInfo => {
            reply.array(args.len() - 2);
            for name in args.from(2) {
                match named(name) {
                    Some(spec) => info(spec, reply),
                    None => reply.null_array(),
                }
            }
        }
        Command::CommandDocs if args.len() == 2 => docs(all(), reply),
        Command::CommandDocs => docs(args.from(2).filter_map(named).collect::<Vec<_>>().into_iter(), reply),
        Command::CommandList => list(args, reply),
        Command::CommandGetkeys => keys(args.skip(2), reply, false),
        Command::CommandGetkeysandflags => keys(args.skip(2), reply, true),
        Command::ClientHelp => help("client", reply),
        Command::CommandHelp => help("command", reply),
        Command::ConfigHelp => help("config", reply),
        Command::MemoryHelp => help("memory", reply),
        Command::ObjectHelp => help("object", reply),
        _ => return false,
    }
    true
}

/// The command, or the subcommand in the form `parent|name`.
fn named(name: &[u8]) -> Option<&'static Spec> {
    match memchr::memchr(b'|', name) {
        None => lookup(name),
        Some(bar) => lookup(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

fn statuses<'t>(names: impl Iterator<Item = &'t str> + Clone, prefix: &str, reply: &mut Reply<'_>) {
    reply.set(names.clone().count());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn infos(specs: impl Iterator<Item = &'static Spec>, reply: &mut Reply<'_>) {
    reply.array_of(|reply| specs.map(|spec| info(spec, reply)).count());
}

/// What `COMMAND INFO` tells of one command.
fn info(spec: &Spec, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.int(spec.arity.into());
    statuses(spec.flags.names(), "", reply);
    let first = spec.keys.first();
    reply.int(first.map_or(0, |keys| keys.first.into()));
    reply.int(spec.keys.last().map_or(0, |keys| keys.last.into()));
    reply.int(first.map_or(0, |keys| keys.step.into()));
    statuses(spec.categories.names(), "@", reply);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| key_spec(keys, reply));
    reply.set(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| info(sub, reply));
}

fn key_spec(keys: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    statuses(keys.flags.names(), "", reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.int(keys.first.into());
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    reply.bulk(b"lastkey");
    // Counted from the first key, unless it is counted from the end.
    let last = if keys.last < 0 { keys.last.into() } else { i64::from(keys.last) - i64::from(keys.first) };
    reply.int(last);
    reply.bulk(b"keystep");
    reply.int(keys.step.into());
    reply.bulk(b"limit");
    reply.int(0);
}

fn docs(specs: impl Iterator<Item = &'static Spec> + Clone, reply: &mut Reply<'_>) {
    reply.map(specs.clone().count());
    specs.for_each(|spec| doc(spec, reply));
}

/// A name and what `COMMAND DOCS` tells of it.
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
        docs(spec.subcommands.iter(), reply);
    }
}

fn argument_list(arguments: &[Argument], spec: &Spec, key_index: &mut i64, reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let floats = matches!(spec.command, Command::Incrbyfloat | Command::Hincrbyfloat);
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
            reply.int(*key_index);
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

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
fn list(args: Args<'_>, reply: &mut Reply<'_>) {
    let everything = || all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
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

/// COMMAND GETKEYS and GETKEYSANDFLAGS of the request `args`.
fn keys(args: Args<'_>, reply: &mut Reply<'_>, with_flags: bool) {
    let spec = match resolve(args) {
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
    reply.array_of(|reply| {
        let mut count = 0;
        for keys in spec.keys {
            for index in keys.indices(args.len()) {
                if with_flags {
                    reply.array(2);
                }
                reply.bulk(args.at(index));
                if with_flags {
                    statuses(flags_in(keys.flags, args).names(), "", reply);
                }
                count += 1;
            }
        }
        count
    });
}

/// What a request does to its keys, where that depends on its arguments: SET reads the old value only if it is to tell it.
fn flags_in(flags: KeyFlags, args: Args<'_>) -> KeyFlags {
    let reads = args.from(3).any(|word| word.eq_ignore_ascii_case(b"GET"));
    match flags.contains(KeyFlags::VARIABLE) {
        true if reads => KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
        true => KeyFlags::OW.and(KeyFlags::UPDATE),
        false => flags,
    }
}

/// What `parent HELP` tells.
fn help(parent: &str, reply: &mut Reply<'_>) {
    let subcommands = lookup(parent.as_bytes()).map_or(&[][..], |spec| spec.subcommands);
    reply.array(1 + 2 * subcommands.len());
    reply.simple(&format!("{} <subcommand> [<arg> ...]. Subcommands are:", parent.to_ascii_uppercase()));
    for sub in subcommands {
        reply.simple(format!("{} {}", sub.short_name().to_ascii_uppercase(), sub.syntax).trim_end());
        reply.simple(&format!("    {}.", sub.summary));
    }
}
