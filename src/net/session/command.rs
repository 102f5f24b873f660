//! COMMAND: the registry, told to clients.

use super::{COMMANDS, Done, Outcome, Row, Visit, help, row};
use crate::commands::docs;
use crate::commands::registry::row::{ANY_TIME, UNORDERED};
use crate::commands::registry::{Categories, Group, Spec};
use crate::encoding::resp::{Args, Reply};

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[row(
    Spec::new(Group::Server, "command", -1, "").flags(ANY_TIME, Categories::CONNECTION).tips(UNORDERED).about(
        "2.8.13",
        "O(N), N being the number of commands",
        "Describes all commands",
    ),
    command,
)
.subcommands(SUBCOMMANDS)];

const SUBCOMMANDS: &[Row] = &[
    row(
        Spec::new(Group::Server, "command|count", 2, "").flags(ANY_TIME, Categories::CONNECTION).about(
            "2.8.13",
            "O(1)",
            "Counts the commands",
        ),
        count,
    ),
    row(
        Spec::new(Group::Server, "command|docs", -2, "[command-name ...]")
            .flags(ANY_TIME, Categories::CONNECTION)
            .tips(UNORDERED)
            .about("7.0.0", "O(N), N being the number of commands asked for", "Documents commands"),
        docs,
    ),
    row(
        Spec::new(Group::Server, "command|getkeys", -3, "command [arg ...]")
            .flags(ANY_TIME, Categories::CONNECTION)
            .about("2.8.13", "O(N), N being the number of arguments", "Tells which arguments of a request are keys"),
        getkeys,
    ),
    row(
        Spec::new(Group::Server, "command|getkeysandflags", -3, "command [arg ...]")
            .flags(ANY_TIME, Categories::CONNECTION)
            .about(
                "7.0.0",
                "O(N), N being the number of arguments",
                "Tells which arguments of a request are keys, and their use",
            ),
        getkeysandflags,
    ),
    help(Spec::new(Group::Server, "command|help", 2, "").flags(ANY_TIME, Categories::CONNECTION).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of COMMAND",
    )),
    row(
        Spec::new(Group::Server, "command|info", -2, "[command-name ...]")
            .flags(ANY_TIME, Categories::CONNECTION)
            .tips(UNORDERED)
            .about("2.8.13", "O(N), N being the number of commands asked for", "Describes commands"),
        info,
    ),
    row(
        Spec::new(
            Group::Server,
            "command|list",
            -2,
            "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        )
        .flags(ANY_TIME, Categories::CONNECTION)
        .tips(UNORDERED)
        .about(
            "7.0.0",
            "O(N), N being the number of commands",
            "Names all commands, or those that fit a filter",
        ),
        list,
    ),
];

/// `COMMAND`
fn command(_: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::command(&COMMANDS.registry, reply);
    Ok(Outcome::Answered)
}

/// `COMMAND COUNT`
fn count(_: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::count(&COMMANDS.registry, reply);
    Ok(Outcome::Answered)
}

/// `COMMAND INFO [command-name ...]`
fn info(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::info(&COMMANDS.registry, args, reply);
    Ok(Outcome::Answered)
}

/// `COMMAND DOCS [command-name ...]`
fn docs(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::docs(&COMMANDS.registry, args, reply);
    Ok(Outcome::Answered)
}

/// `COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]`
fn list(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::list(&COMMANDS.registry, args, reply);
    Ok(Outcome::Answered)
}

/// `COMMAND GETKEYS command [arg ...]`
fn getkeys(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::keys(&COMMANDS.registry, args, reply, false);
    Ok(Outcome::Answered)
}

/// `COMMAND GETKEYSANDFLAGS command [arg ...]`
fn getkeysandflags(_: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    docs::keys(&COMMANDS.registry, args, reply, true);
    Ok(Outcome::Answered)
}
