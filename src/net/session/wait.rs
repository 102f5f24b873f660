//! WAIT and WAITAOF: a client waits until its own edits are at the checkpoint node, or on disk.
//!
//! An edit's place is known once its core has answered. So the request is first put off until no earlier reply of the connection lacks
//! a part; then each core on which the client has written is asked to tell when the client's last edit there is safe. That starts the
//! commit at once. The client waits for all answers or for its time-out, whichever comes first.
//!
//! There is one checkpoint node, so at most one replica. It keeps edits in memory until its next snapshot, so `WAITAOF` counts no
//! replica.

use std::time::{Duration, Instant};

use super::{NOT_INTEGER, Refusal};
use super::{Row, row};
use crate::commands::registry::{Categories, Flags, Group};
use crate::commands::{Spec, parse};
use crate::encoding::resp::Args;
use crate::ids::{CoreId, Lsn};
use crate::net::connection::{Closing, Hold};
use crate::net::execute::Flow;
use crate::net::merge::Merge;
use crate::net::message::{Origin, Task};
use crate::net::replies::Ticket;
use crate::net::worker::{Gate, Worker};
use crate::runtime::ring::Token;

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

/// How often a timer looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(250);

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    OnDisk,
    Mirrored,
}

/// How a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    goal: Goal,
    /// It only asks how far things are.
    at_once: bool,
    /// It wants more than there ever is, so that only its time-out ends the wait.
    in_vain: bool,
    /// `None`: for ever.
    timeout: Option<Duration>,
}

impl Wish {
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

    const fn how(&self, cores: u16) -> Merge {
        match self.goal {
            Goal::OnDisk => Merge::OnDisk { cores },
            Goal::Mirrored => Merge::Mirrored { cores },
        }
    }
}

fn timeout(text: &[u8]) -> Result<Option<Duration>, Refusal> {
    let millis = parse::integer(text).ok_or("ERR timeout is not an integer or out of range")?;
    let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
    Ok((millis > 0).then_some(Duration::from_millis(millis)))
}

/// `WAIT numreplicas timeout`
fn wait(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    fulfil(worker, token, spec, Wish::of_wait(args))
}

/// `WAITAOF numlocal numreplicas timeout`
fn waitaof(worker: &mut Worker, token: Token, spec: &'static Spec, args: Args<'_>) -> Flow {
    fulfil(worker, token, spec, Wish::of_waitaof(args))
}

fn fulfil(worker: &mut Worker, token: Token, spec: &'static Spec, wish: Result<Wish, Refusal>) -> Flow {
    let wish = match wish {
        Ok(wish) => wish,
        Err(why) => return super::answer(worker, token, Err(why)),
    };
    let Some(connection) = worker.connections.get(token as usize) else { return Flow::Stop };
    if connection.replies.has_pending() {
        return worker.put_off(token, Hold::Settling);
    }
    let client = connection.client;
    let written: Vec<(CoreId, Lsn)> =
        (0..).map(CoreId).zip(connection.written.iter().copied()).filter(|(_, lsn)| lsn.0 > 0).collect();
    if written.iter().any(|(core, _)| !worker.has_room(spec, *core)) {
        return worker.stall(token);
    }
    // A client that has written nothing waits for nothing; whether that has reached a node depends on whether there is one.
    let nothing_to_reach =
        wish.goal == Goal::Mirrored && written.is_empty() && !(worker.shared.process.checkpoints)(()).node_connected;
    let cores = written.len() as u16 + u16::from(nothing_to_reach);
    // One more part, which nobody gives, if the reply is to come by the time-out or by what is said below.
    let parts = usize::from(cores) + 1;
    let Some(ticket) = worker.expect(token, wish.how(cores), parts) else { return Flow::Stop };
    let origin = |part| Origin { connection: token, client, ticket, part };
    if wish.at_once || nothing_to_reach {
        for (part, (core, lsn)) in (0..).zip(&written) {
            if has_reached(worker, wish.goal, *core, *lsn) {
                give(worker, origin(part));
            }
        }
        finish_now(worker, token, ticket);
        return Flow::Next;
    }
    for (part, (core, lsn)) in (0..).zip(&written) {
        ask(worker, origin(part), wish.goal, *core, *lsn);
    }
    if !wish.in_vain {
        give(worker, origin(cores));
    }
    let Some(connection) = worker.connections.get_mut(token as usize) else { return Flow::Stop };
    if !connection.replies.is_pending(ticket) {
        return Flow::Next;
    }
    connection.hold = Hold::Blocked(ticket);
    set_timer(worker, token, client, ticket, wish.timeout);
    Flow::Stop
}

/// Asks a core to tell when its edits up to `lsn` are safe.
fn ask(worker: &mut Worker, origin: Origin, goal: Goal, core: CoreId, lsn: Lsn) {
    let (task, gate) = match goal {
        Goal::OnDisk => (Task::Durable(lsn), Gate::Durable(lsn)),
        Goal::Mirrored => (Task::Mirrored(lsn), Gate::Mirrored(lsn)),
    };
    if core == worker.core() {
        worker.await_edits(core, origin, gate);
    } else {
        worker.outbox[usize::from(core.0)].push(origin, task, std::iter::empty());
        worker.outstanding[usize::from(core.0)] += 1;
        worker.stats.forwarded += 1;
    }
}

/// Gives a part of a reply of this core's own.
fn give(worker: &mut Worker, origin: Origin) {
    if let Some(connection) = worker.connections.get_mut(origin.connection as usize)
        && connection.replies.answer(origin.ticket, origin.part, b":1\r\n", &mut connection.output)
    {
        worker.unblock(origin.connection, origin.ticket);
    }
}

/// Whether a core's edits up to `lsn` are safe.
fn has_reached(worker: &Worker, goal: Goal, core: CoreId, lsn: Lsn) -> bool {
    let marks = &worker.shared.streams[usize::from(core.0)];
    lsn <= if goal == Goal::OnDisk { marks.durable() } else { marks.mirrored() }
}

/// Answers with what has been reached.
fn finish_now(worker: &mut Worker, token: Token, ticket: Ticket) {
    if let Some(connection) = worker.connections.get_mut(token as usize)
        && connection.replies.cut_short(ticket)
    {
        worker.unblock(token, ticket);
    }
}

/// Ends the wait at its time-out.
fn set_timer(worker: &Worker, token: Token, client: u64, ticket: Ticket, timeout: Option<Duration>) {
    let myself = worker.myself.clone();
    // A time-out beyond all time is none.
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let timer = async move {
        loop {
            let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
            // In steps, so that the timer does not long outlive its client.
            glommio::timer::sleep(left.min(LOOK)).await;
            let Some(worker) = myself.upgrade() else { return };
            let worker = &mut *worker.borrow_mut();
            worker.begin_turn();
            let Some(connection) = worker.connections.get(token as usize) else { return };
            if connection.client != client || connection.hold != Hold::Blocked(ticket) {
                return;
            }
            // The server ends and lets its clients go.
            let ending = connection.closing == Closing::AfterReplies;
            if ending || end.is_some_and(|end| end <= worker.now) {
                finish_now(worker, token, ticket);
                worker.endpoint.bell().ring();
                return;
            }
        }
    };
    glommio::spawn_local(timer).detach();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    fn wish(text: &str) -> Result<Wish, String> {
        request(text, |args| match args.at(0) {
            b"WAIT" => Wish::of_wait(args),
            _ => Wish::of_waitaof(args),
        })
        .map_err(Refusal::into_owned)
    }

    #[test]
    fn one_replica_can_be_waited_for_and_more_in_vain() {
        let mirrored = Wish { goal: Goal::Mirrored, at_once: false, in_vain: false, timeout: None };
        assert_eq!(wish("WAIT 1 0"), Ok(mirrored));
        assert_eq!(wish("WAIT 2 5"), Ok(Wish { in_vain: true, timeout: Some(Duration::from_millis(5)), ..mirrored }));
        assert_eq!(wish("WAIT 0 0"), Ok(Wish { at_once: true, ..mirrored }));
        assert_eq!(wish("WAIT -1 0"), wish("WAIT 0 0"));
        let on_disk = Wish { goal: Goal::OnDisk, ..mirrored };
        assert_eq!(wish("WAITAOF 1 0 0"), Ok(on_disk));
        assert_eq!(wish("WAITAOF 0 0 0"), Ok(Wish { at_once: true, ..on_disk }));
        assert_eq!(wish("WAITAOF 0 1 0"), Ok(Wish { in_vain: true, ..on_disk }));
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
            assert_eq!(wish(text), Err(why.into()), "{text}");
        }
    }
}
