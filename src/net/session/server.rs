//! TIME, LASTSAVE, SAVE, BGSAVE, SHUTDOWN.

use super::{Done, Outcome, Refusal, Row, SYNTAX, Visit, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::encoding::resp::{Args, Reply};
use crate::time;

const OPERATOR: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT);
const NOBODY_SAVES: Refusal = Refusal::Borrowed("ERR nobody can write a checkpoint, so nothing can be saved");
const SAVES: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[
    row(
        Spec::new(Group::Server, "time", 1, "")
            .flags(ANY_TIME.and(Flags::FAST), Categories::NONE)
            .tips(&["nondeterministic_output"])
            .about("2.6.0", "O(1)", "Tells the server's time: seconds and microseconds"),
        time,
    ),
    row(
        Spec::new(Group::Server, "lastsave", 1, "")
            .flags(ANY_TIME.and(Flags::FAST), Categories::ADMIN.and(Categories::DANGEROUS))
            .tips(&["nondeterministic_output"])
            .about("1.0.0", "O(1)", "Tells when the last checkpoint was completed, as a Unix time"),
        lastsave,
    ),
    row(
        Spec::new(Group::Server, "save", 1, "").flags(SAVES.and(Flags::NO_MULTI), Categories::NONE).about(
            "1.0.0",
            "O(N), N being the number of keys",
            "Asks for a checkpoint of all partitions and waits for it",
        ),
        save,
    ),
    row(
        Spec::new(Group::Server, "bgsave", -1, "[SCHEDULE]").flags(SAVES, Categories::NONE).about(
            "1.0.0",
            "O(1)",
            "Asks for a checkpoint of all partitions, without waiting for it",
        ),
        bgsave,
    ),
    row(
        Spec::new(Group::Server, "shutdown", -1, "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]")
            .flags(OPERATOR.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), Categories::NONE)
            .about(
                "1.0.0",
                "O(N), N being the bytes of the log not yet on disk",
                "Brings the log to disk and ends the server",
            ),
        shutdown,
    ),
];

/// `TIME`
fn time(_: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let now = time::unix_micros();
    reply.array(2);
    reply.bulk((now / 1_000_000).to_string().as_bytes());
    reply.bulk((now % 1_000_000).to_string().as_bytes());
    Ok(Outcome::Answered)
}

/// `LASTSAVE`
fn lastsave(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let saved = visit.service.checkpoints.status().saved.unwrap_or(visit.service.started_at);
    reply.int((saved.get() / 1000) as i64);
    Ok(Outcome::Answered)
}

/// `SAVE`: answered when everything that has changed is checkpointed.
fn save(visit: &mut Visit<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Done {
    let saver = Some((visit.engine.core(), visit.caller()));
    visit.service.checkpoints.request_checkpoint(saver).ok_or(NOBODY_SAVES)?;
    Ok(Outcome::Awaited(None))
}

/// `BGSAVE [SCHEDULE]`
fn bgsave(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let schedule = args.get(1).is_none_or(|word| word.eq_ignore_ascii_case(b"SCHEDULE"));
    if args.len() > 2 || !schedule {
        return Err(SYNTAX);
    }
    visit.service.checkpoints.request_checkpoint(None).ok_or(NOBODY_SAVES)?;
    reply.simple("Background saving started");
    Ok(Outcome::Answered)
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`: not answered; the connection closes when the server ends.
fn shutdown(visit: &mut Visit<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Done {
    may_shut_down(args)?;
    visit.service.shut_down();
    Ok(Outcome::Ending)
}

/// Whether the server is to end. It always brings its log to disk first and needs no snapshot for that, so that the
/// options that choose a way make no difference.
fn may_shut_down(args: Args<'_>) -> Result<(), Refusal> {
    let (mut save, mut no_save, mut abort) = (false, false, false);
    for option in args.from(1) {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => no_save = true,
            b"ABORT" => abort = true,
            b"NOW" | b"FORCE" => {}
            _ => return Err(SYNTAX),
        }
    }
    match abort {
        true if args.len() > 2 => Err(SYNTAX),
        true => Err("ERR No shutdown in progress.".into()),
        false if save && no_save => Err(SYNTAX),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    #[test]
    fn shutdown_takes_the_options_of_redis() {
        let outcome = |text: &str| request(text, |args| may_shut_down(args).err().unwrap_or_default().into_owned());
        for text in ["SHUTDOWN", "SHUTDOWN nosave", "SHUTDOWN SAVE NOW", "SHUTDOWN now force"] {
            assert_eq!(outcome(text), "", "{text}");
        }
        for text in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN foo", "SHUTDOWN NOW ABORT"] {
            assert_eq!(outcome(text), "ERR syntax error", "{text}");
        }
        assert_eq!(outcome("SHUTDOWN abort"), "ERR No shutdown in progress.");
    }
}
