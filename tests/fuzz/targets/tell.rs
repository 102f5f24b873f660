//! COMMAND's answers and HELP without a server: the rows of the registry that need a connection to be run are answered
//! from its data here.

use rollbook::commands::{Spec, docs};
use rollbook::encoding::resp::{Args, Reply};
use rollbook::net::COMMANDS;

/// Answers a command that asks about commands. Returns whether it is one; the others are left to the caller.
pub fn tell(spec: &Spec, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
    let registry = &COMMANDS.registry;
    match spec.name {
        "command" => docs::command(registry, reply),
        "command|count" => docs::count(registry, reply),
        "command|info" => docs::info(registry, args, reply),
        "command|docs" => docs::docs(registry, args, reply),
        "command|list" => docs::list(registry, args, reply),
        "command|getkeys" => docs::keys(registry, args, reply, false),
        "command|getkeysandflags" => docs::keys(registry, args, reply, true),
        name if name.ends_with("|help") => {
            docs::help(registry.lookup(args.at(0)).expect("its subcommand was found"), reply)
        }
        _ => return false,
    }
    true
}
