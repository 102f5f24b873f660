//! WAIT and WAITAOF: a client waits until its own edits are at the checkpoint node, or on disk.
//!
//! An edit's place is known once its core has answered. So the request is first put off until no earlier reply of the
//! connection is under way; then the client waits ([`Engine::wait`](crate::engine::Engine::wait)) for the last edit
//! that it has caused on each core, or for its time-out, whichever comes first. That starts the commits at once.
//!
//! There is one checkpoint node, so at most one replica. It keeps edits in memory until its next snapshot, so `WAITAOF`
//! counts no replica.

use std::time::Duration;

use super::{Done, NOT_INTEGER, Outcome, Refusal, Row, Visit, row};
use crate::commands::registry::{Categories, Flags, Group};
use crate::commands::{Spec, parse};
use crate::encoding::resp::{Args, Reply};
use crate::engine::{Goal, Wish};
use crate::ids::{CoreId, Lsn};

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[
    row(
        Spec::new(Group::Generic, "wait", 3, "numreplicas timeout")
            .flags(Flags::NOSCRIPT, Categories::CONNECTION)
            .tips(&["request_policy:all_shards", "response_policy:agg_min"])
            .about("3.0.0", "O(1)", "Waits until the checkpoint node has this connection's writes"),
        wait,
    ),
    row(
        Spec::new(Group::Generic, "waitaof", 4, "numlocal numreplicas timeout")
            .flags(Flags::NOSCRIPT, Categories::CONNECTION)
            .tips(&["request_policy:all_shards", "response_policy:agg_min"])
            .about(
                "7.2.0",
                "O(1)",
                "Waits until this connection's writes are on disk, and the checkpoint node has them",
            ),
        waitaof,
    ),
];

/// Arguments of `WAIT` or `WAITAOF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    goal: Goal,
    /// The client does not wait: it asks how far its edits are.
    at_once: bool,
    /// The client asks for more replicas than there can be, so that only its time-out ends the wait.
    in_vain: bool,
    /// Time-out of the wait; `None` waits for ever.
    timeout: Option<Duration>,
}

impl Asked {
    /// `WAIT numreplicas timeout`
    fn of_wait(args: Args<'_>) -> Result<Self, Refusal> {
        let replicas = parse::integer(args.at(1)).ok_or(NOT_INTEGER)?;
        let timeout = timeout(args.at(2))?;
        Ok(Self { goal: Goal::Mirrored, at_once: replicas <= 0, in_vain: replicas > 1, timeout })
    }

    /// `WAITAOF numlocal numreplicas timeout`
    fn of_waitaof(args: Args<'_>) -> Result<Self, Refusal> {
        let local = parse::integer(args.at(1)).ok_or(NOT_INTEGER)?;
        if !(0..=1).contains(&local) {
            return Err("ERR value is out of range, value must between 0 and 1".into());
        }
        let replicas = parse::integer(args.at(2)).ok_or(NOT_INTEGER)?;
        if replicas < 0 {
            return Err("ERR value is out of range, must be positive".into());
        }
        let timeout = timeout(args.at(3))?;
        Ok(Self { goal: Goal::OnDisk, at_once: local == 0 && replicas == 0, in_vain: replicas > 0, timeout })
    }
}

fn timeout(text: &[u8]) -> Result<Option<Duration>, Refusal> {
    let millis = parse::integer(text).ok_or("ERR timeout is not an integer or out of range")?;
    let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
    Ok((millis > 0).then_some(Duration::from_millis(millis)))
}

/// `WAIT numreplicas timeout`
fn wait(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    fulfil(visit, Asked::of_wait(args)?, reply)
}

/// `WAITAOF numlocal numreplicas timeout`
fn waitaof(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    fulfil(visit, Asked::of_waitaof(args)?, reply)
}

fn fulfil(visit: &mut Visit<'_>, asked: Asked, reply: &mut Reply<'_>) -> Done {
    if visit.connection.replies.has_pending() {
        return Ok(Outcome::Settle);
    }
    let goal = asked.goal;
    let written = (0..).map(CoreId).zip(visit.connection.written.iter().copied());
    let edits: Vec<(CoreId, Lsn)> = written.filter(|(_, lsn)| lsn.0 > 0).collect();
    // A client that has written nothing waits for nothing; whether that has reached a node depends on whether there is
    // one.
    let is_nothing = goal == Goal::Mirrored && edits.is_empty() && visit.service.checkpoints.status().node.is_none();
    let is_reached = !is_nothing && visit.engine.is_reached(goal, &edits);
    if asked.at_once || is_nothing || (is_reached && !asked.in_vain) {
        goal.reply(is_reached, reply);
        return Ok(Outcome::Answered);
    }
    // A time-out beyond all time is none.
    let deadline = asked.timeout.and_then(|timeout| visit.now.checked_add(timeout));
    let wish = Wish { goal, edits, in_vain: asked.in_vain, deadline };
    let caller = visit.caller();
    Ok(Outcome::Awaited(Some(visit.engine.wait(caller, wish))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    fn asked(text: &str) -> Result<Asked, String> {
        request(text, |args| match args.at(0) {
            b"WAIT" => Asked::of_wait(args),
            _ => Asked::of_waitaof(args),
        })
        .map_err(Refusal::into_owned)
    }

    #[test]
    fn one_replica_can_be_waited_for_and_more_in_vain() {
        let mirrored = Asked { goal: Goal::Mirrored, at_once: false, in_vain: false, timeout: None };
        assert_eq!(asked("WAIT 1 0"), Ok(mirrored));
        assert_eq!(asked("WAIT 2 5"), Ok(Asked { in_vain: true, timeout: Some(Duration::from_millis(5)), ..mirrored }));
        assert_eq!(asked("WAIT 0 0"), Ok(Asked { at_once: true, ..mirrored }));
        assert_eq!(asked("WAIT -1 0"), asked("WAIT 0 0"));
        let on_disk = Asked { goal: Goal::OnDisk, ..mirrored };
        assert_eq!(asked("WAITAOF 1 0 0"), Ok(on_disk));
        assert_eq!(asked("WAITAOF 0 0 0"), Ok(Asked { at_once: true, ..on_disk }));
        assert_eq!(asked("WAITAOF 0 1 0"), Ok(Asked { in_vain: true, ..on_disk }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_redis_words() {
        for (text, why) in [
            ("WAIT a 1", "ERR value is not an integer or out of range"),
            ("WAIT 1 a", "ERR timeout is not an integer or out of range"),
            ("WAIT 1 -1", "ERR timeout is negative"),
            ("WAITAOF 2 0 0", "ERR value is out of range, value must between 0 and 1"),
            ("WAITAOF 1 -1 0", "ERR value is out of range, must be positive"),
            ("WAITAOF 1 0 x", "ERR timeout is not an integer or out of range"),
        ] {
            assert_eq!(asked(text), Err(why.into()), "{text}");
        }
    }
}
