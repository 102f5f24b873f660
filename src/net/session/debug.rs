//! DEBUG: what tests look into and make happen. It is off unless `server.debug_command` allows it.
//!
//! DEBUG SLEEP ties up its own connection only: the core goes on serving all others, which in Redis wait, too.

use std::time::Duration;

use super::{Done, Outcome, Refusal, Row, Visit, row, shown};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::commands::{debug as on_keys, glob, parse};
use crate::config::DebugCommand;
use crate::encoding::resp::{Args, Reply};
use crate::engine::{Engine, Goal, Merge, Wish};
use crate::net::clients::Clients;

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[row(
    Spec::new(Group::Server, "debug", -2, "subcommand [argument ...]")
        .flags(ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT), Categories::NONE)
        .about("1.0.0", "Depends on the subcommand", "Looks into the server and its values, for tests"),
    debug,
)
.part(debug_here)];

const NOT_ALLOWED: Refusal = Refusal::Borrowed(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> ...]. Subcommands are:",
    "DIGEST",
    "    Tells a digest of all data.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Tells a digest of each value, which does not depend on its key.",
    "HELP",
    "    Lists the subcommands of DEBUG.",
    "OBJECT <key>",
    "    Tells how a value is kept.",
    "RELOAD",
    "    Writes all data as checkpoints have it, and loads it again as a restart does. Holds each core for that time.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Turns off, or on, the removal of expired keys that nobody looks at.",
    "SLEEP <seconds>",
    "    Lets this connection wait; the others go on.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Tells whether a text of so many letters \"a\" fits a pattern.",
];

/// Longest text of `DEBUG STRINGMATCH-LEN`, in bytes.
const LONGEST_TEXT: i64 = 1 << 20;

/// `DEBUG subcommand [argument ...]`
fn debug(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let is_local = || visit.connection.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_allowed = match visit.service.config.server.debug_command {
        DebugCommand::No => false,
        DebugCommand::Local => is_local(),
        DebugCommand::Yes => true,
    };
    if !is_allowed {
        return Err(NOT_ALLOWED);
    }
    match (args.at(1).to_ascii_uppercase().as_slice(), args.len()) {
        (b"DIGEST", 2) => Ok(Outcome::Everywhere(Merge::Digest)),
        (b"DIGEST-VALUE", 3..) => Ok(Outcome::OnData(&on_keys::DIGEST_VALUE)),
        (b"HELP", 2) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
            Ok(Outcome::Answered)
        }
        (b"OBJECT", 3) => Ok(Outcome::OnData(&on_keys::OBJECT)),
        (b"RELOAD", 2) => Ok(Outcome::Everywhere(Merge::Ok)),
        (b"RELOAD", _) => {
            Err("ERR DEBUG RELOAD takes no options: what it loads is always what it has just written".into())
        }
        (b"SET-ACTIVE-EXPIRE", 3) => Ok(Outcome::Everywhere(Merge::Ok)),
        (b"SLEEP", 3) => sleep(visit, args.at(2)),
        (b"STRINGMATCH-LEN", 4) => {
            let len = parse::integer(args.at(2)).filter(|len| (0..=LONGEST_TEXT).contains(len));
            let len = len.ok_or("ERR value is not an integer or out of range")?;
            reply.int(glob::matches(args.at(3), &vec![b'a'; len as usize]).into());
            Ok(Outcome::Answered)
        }
        _ => {
            let name = shown(args.at(1));
            Err(format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP.").into())
        }
    }
}

/// `DEBUG SLEEP seconds`
fn sleep(visit: &mut Visit<'_>, seconds: &[u8]) -> Done {
    let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok());
    let pause = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let deadline = pause.and_then(|pause| visit.now.checked_add(pause));
    let deadline = Some(deadline.ok_or("ERR value is not a valid float")?);
    let caller = visit.caller();
    let wish = Wish { goal: Goal::Elapsed, edits: Vec::new(), in_vain: true, deadline };
    Ok(Outcome::Awaited(Some(visit.engine.wait(caller, wish))))
}

/// This core's part of `DEBUG DIGEST`, `DEBUG RELOAD` and `DEBUG SET-ACTIVE-EXPIRE`.
fn debug_here(_: &mut Clients, engine: &mut Engine, _: u64, args: Args<'_>, reply: &mut Reply<'_>) {
    match (args.at(1).to_ascii_uppercase().as_slice(), args.get(2)) {
        (b"RELOAD", _) => match engine.reload() {
            Ok(()) => reply.ok(),
            Err(why) => reply.error(&format!("ERR the data was not loaded again: {why}")),
        },
        (_, None) => reply.simple(&on_keys::digest_text(engine.digest())),
        (_, Some(on)) => {
            engine.set_active_expiry(on != b"0");
            reply.ok();
        }
    }
}
