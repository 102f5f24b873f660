//! What clients may take of this core: bytes, time, places. What is beyond is answered with an error where one can
//! still be said, and ends the connection.
//!
//! | bound | until the password is given | after |
//! |---|---|---|
//! | a request | 10 arguments of 16 KiB, in the parser | `limits.args`, `limits.bulk_bytes`, in the parser |
//! | what was received and not executed | [`UNAUTHENTICATED_INPUT`] | `limits.query_buffer_bytes` |
//! | replies not taken | [`UNAUTHENTICATED_OUTPUT`] | `limits.output_buffer_bytes`, and a lower bound for some seconds |
//! | time | `server.auth_timeout_s` | `server.idle_timeout_s` |
//! | time without progress, once it will send no more | [`ALONE`] | [`ALONE`] |
//! | all clients together | `memory.clients_max_bytes` | `memory.clients_max_bytes` |
//!
//! The bounds of time and of all together are looked after by the clock, ten times a second; those of bytes where bytes
//! are added.

use std::time::{Duration, Instant};

use super::clients::Clients;
use super::connection::{Closing, Connection, Hold};
use crate::runtime::ring::Token;

/// Bytes of a held connection's input beyond which no more is received from it.
const HELD_INPUT: usize = 1 << 20;
/// Bytes that an unauthenticated client may have sent without being answered: ten arguments of 16 KiB, and what the
/// kernel had under way.
const UNAUTHENTICATED_INPUT: usize = 512 << 10;
/// Bytes of replies that an unauthenticated client may leave unread. Enough for any pipeline that gives the password
/// first.
const UNAUTHENTICATED_OUTPUT: usize = 16 << 10;
/// How long an unauthenticated client's last reply may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a client that will send no more may wait for anything: for room in the log, for the disk, the mirror or
/// another core, in `WAIT`. By then it is taken for gone: who closes the connection and who closes only its own half
/// look the same.
const ALONE: Duration = Duration::from_secs(1);

impl Clients {
    /// Most bytes of replies that a connection may leave unread.
    fn most_output(&self, connection: &Connection) -> usize {
        let usual = self.settings.limits.output_buffer_bytes;
        if connection.session.is_unauthenticated() { usual.min(UNAUTHENTICATED_OUTPUT) } else { usual }
    }

    /// Breaks with a connection that leaves too many replies unread.
    pub(super) fn bound_output(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token as usize) else { return };
        let bytes = connection.output_bytes();
        if bytes > self.most_output(connection) && connection.closing != Closing::Now {
            tracing::warn!(client = connection.client, bytes, "disconnected: it does not take its replies");
            self.counts.output_disconnections += 1;
            self.cut_off(token);
        }
    }

    /// Stops receiving from a connection that is held and has sent a lot, and parts with one whose request is too long.
    pub(super) fn bound_input(&mut self, token: Token) {
        let usual = self.settings.limits.query_buffer_bytes;
        let Some(connection) = self.connections.get_mut(token as usize) else { return };
        let (most, enough) = match connection.session.is_unauthenticated() {
            true => (usual.min(UNAUTHENTICATED_INPUT), UNAUTHENTICATED_OUTPUT),
            false => (usual, HELD_INPUT),
        };
        let held = connection.input.len();
        if held > most && connection.closing < Closing::AfterReplies {
            tracing::warn!(client = connection.client, bytes = held, "disconnected: its request is too long");
            connection.input = Vec::new();
            connection.partial = Default::default();
            connection.close_with_reset();
            self.counts.input_disconnections += 1;
            self.part_with(token, &format!("ERR a request may have {most} bytes at most (limits.query_buffer_bytes)"));
        } else if connection.hold != Hold::No && held > enough && connection.receiving && !connection.pausing {
            connection.pausing = true;
            self.lists.pause.push(token);
        }
    }

    /// Closes a connection whose client may be in the middle of sending.
    fn cut_off(&mut self, token: Token) {
        if let Some(connection) = self.connections.get(token as usize) {
            connection.close_with_reset();
        }
        self.break_off(token);
    }

    /// Says why, and closes the connection.
    pub(super) fn part_with(&mut self, token: Token, why: &str) {
        self.reply(token, |r| r.error(why));
        if let Some(connection) = self.connections.get_mut(token as usize) {
            connection.close(Closing::AfterReplies);
        }
    }

    /// What comes round by the clock: clients that are silent, gone, unauthenticated for too long, slow, or too many
    /// bytes together.
    pub(super) fn look_after(&mut self) {
        let (now, settings) = (self.now, std::sync::Arc::clone(&self.settings));
        let seconds = |since: Instant| now.saturating_duration_since(since);
        let longest = |limit: Option<u64>| limit.map_or(Duration::MAX, Duration::from_secs);
        let (idle, patience_to_authenticate) = (longest(settings.idle_timeout_s), longest(settings.auth_timeout_s));
        let soft = settings.limits.output_buffer_soft_bytes.unwrap_or(u64::MAX);
        let patience = Duration::from_secs(settings.limits.output_buffer_soft_s);
        let (mut gone, mut late, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for (token, c) in &mut self.connections {
            let session = &mut c.session;
            let token = token as Token;
            if session.is_unauthenticated() && seconds(session.unauthenticated_since) > patience_to_authenticate {
                if c.closing < Closing::AfterReplies {
                    late.push(token);
                } else if seconds(session.unauthenticated_since) - patience_to_authenticate > FAREWELL {
                    gone.push(token);
                }
            } else {
                let silent = c.hold == Hold::No && seconds(session.last_request) > idle;
                let left = c.sending.is_none() && c.alone_since.is_some_and(|since| seconds(since) > ALONE);
                if silent || left {
                    gone.push(token);
                }
            }
            if c.output_bytes() as u64 <= soft {
                c.session.slow_since = None;
            } else if seconds(*c.session.slow_since.get_or_insert(now)) > patience {
                slow.push(token);
            }
        }
        let why = format!("ERR no password was given within {} seconds", settings.auth_timeout_s.unwrap_or(0));
        late.into_iter().for_each(|token| self.part_with(token, &why));
        gone.into_iter().for_each(|token| self.break_off(token));
        for token in slow {
            tracing::warn!(token, "disconnected: it takes its replies too slowly");
            self.counts.output_disconnections += 1;
            self.cut_off(token);
        }
        self.bound_memory();
    }

    /// Breaks with the clients that take most, on whichever core they are, until all together take no more than they
    /// may.
    fn bound_memory(&mut self) {
        let Some(most) = self.settings.clients_max_bytes else { return };
        let held = self.connections.iter().filter(|(_, c)| c.closing != Closing::Now);
        let mut held: Vec<_> = held.map(|(token, c)| (c.memory() as u64, c.session.no_evict, token as Token)).collect();
        let mut total = held.iter().map(|(bytes, ..)| bytes).sum::<u64>();
        held.retain(|(_, exempt, _)| !exempt);
        held.sort_unstable_by(|a, b| b.cmp(a));
        let admission = &self.service.admission;
        admission.note_memory(self.core, total, held.first().map_or(0, |(bytes, ..)| *bytes));
        let all = admission.memory();
        // A larger one elsewhere is its own core's to end.
        let larger = admission.largest_elsewhere(self.core);
        let mut excess = all.saturating_sub(most);
        for (bytes, _, token) in held {
            if excess == 0 || bytes < larger {
                break;
            }
            tracing::warn!(token, bytes, "disconnected: all clients together hold more than they may");
            self.counts.evicted += 1;
            self.cut_off(token);
            excess = excess.saturating_sub(bytes);
            total -= bytes;
        }
        // So that the other cores do not end more clients for what is gone by now.
        self.service.admission.note_total(self.core, total);
    }
}
