//! CLIENT LIST and CLIENT KILL: about the connections of all cores.
//!
//! The core that is asked checks the arguments and sends them to every core; each looks through its own connections.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{Done, Outcome, Refusal, SYNTAX, Visit, shown};
use crate::commands::parse;
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::engine::{Engine, Merge};
use crate::net::clients::Clients;
use crate::net::connection::{Closing, Connection, Hold};
use crate::runtime::ring::Token;

/// Which connections `CLIENT LIST` or `CLIENT KILL` means.
#[derive(Debug, PartialEq, Eq)]
struct Filter<'a> {
    /// All, or those with these numbers.
    ids: Option<Vec<u64>>,
    /// Ordinary clients; no others connect to this port.
    normal: bool,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    /// The connection that asks is exempt.
    others: bool,
}

impl<'a> Filter<'a> {
    const ALL: Self = Self { ids: None, normal: true, address: None, local_address: None, others: false };

    /// `CLIENT LIST [TYPE <type>] [ID client-id ...]`
    fn of_list(args: Args<'a>) -> Result<Self, Refusal> {
        let option = |name: &[u8]| args.get(2).is_some_and(|word| word.eq_ignore_ascii_case(name));
        match args.len() {
            2 => Ok(Self::ALL),
            4 if option(b"TYPE") => Ok(Self { normal: is_normal(args.at(3))?, ..Self::ALL }),
            4.. if option(b"ID") => {
                let ids = args.from(3).map(parse::integer).collect::<Option<Vec<i64>>>();
                // Nobody has a negative number.
                let ids = ids.ok_or("ERR Invalid client ID")?.into_iter().filter_map(|id| u64::try_from(id).ok());
                Ok(Self { ids: Some(ids.collect()), ..Self::ALL })
            }
            _ => Err(SYNTAX),
        }
    }

    /// `CLIENT KILL ip:port`, or `CLIENT KILL option value [option value ...]`
    fn of_kill(args: Args<'a>) -> Result<Self, Refusal> {
        if is_old_form(args) {
            return Ok(Self { address: args.get(2), ..Self::ALL });
        }
        let mut filter = Self { others: true, ..Self::ALL };
        for at in (2..args.len()).step_by(2) {
            let (option, value) = (args.at(at), args.get(at + 1).ok_or(SYNTAX)?);
            match option.to_ascii_uppercase().as_slice() {
                b"ID" => {
                    let id = parse::integer(value).filter(|id| *id > 0);
                    filter.ids = Some(vec![id.ok_or("ERR client-id should be greater than 0")? as u64]);
                }
                b"TYPE" => filter.normal = is_normal(value)?,
                b"ADDR" => filter.address = Some(value),
                b"LADDR" => filter.local_address = Some(value),
                b"USER" if value == b"default" => {}
                b"USER" => return Err(format!("ERR No such user '{}'", shown(value)).into()),
                b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => filter.others = true,
                b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.others = false,
                _ => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: u64, address: &str, local_address: &str, asking: u64) -> bool {
        self.normal
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client))
            && self.address.is_none_or(|wanted| wanted == address.as_bytes())
            && self.local_address.is_none_or(|wanted| wanted == local_address.as_bytes())
            && !(self.others && client == asking)
    }

    fn fits_connection(&self, c: &Connection, asking: u64) -> bool {
        self.fits(c.client, &show(c.peer), &show(c.local), asking)
    }
}

fn is_old_form(args: Args<'_>) -> bool {
    args.len() == 3
}

/// Whether a type of clients is the ordinary one.
fn is_normal(name: &[u8]) -> Result<bool, Refusal> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"slave" | b"replica" | b"pubsub" => Ok(false),
        _ => Err(format!("ERR Unknown client type '{}'", shown(name)).into()),
    }
}

/// `CLIENT LIST`
pub(super) fn list(_: &mut Visit<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Done {
    Filter::of_list(args)?;
    Ok(Outcome::Everywhere(Merge::Text))
}

/// This core's lines of `CLIENT LIST`.
pub(super) fn list_here(clients: &mut Clients, _: &mut Engine, _: u64, args: Args<'_>, reply: &mut Reply<'_>) {
    match Filter::of_list(args) {
        Ok(filter) => {
            let mut fitting: Vec<&Connection> =
                clients.connections.iter().map(|(_, c)| c).filter(|c| filter.fits_connection(c, 0)).collect();
            fitting.sort_unstable_by_key(|c| c.client);
            reply.text(&fitting.iter().map(|c| describe(c, clients.now)).collect::<String>());
        }
        Err(why) => reply.error(&why),
    }
}

/// `CLIENT KILL`
pub(super) fn kill(_: &mut Visit<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Done {
    Filter::of_kill(args)?;
    let how = if is_old_form(args) { Merge::Found("ERR No such client") } else { Merge::Sum };
    Ok(Outcome::Everywhere(how))
}

/// Closes the connections of this core that `CLIENT KILL` means, and answers their number.
pub(super) fn kill_here(clients: &mut Clients, _: &mut Engine, asking: u64, args: Args<'_>, reply: &mut Reply<'_>) {
    let filter = match Filter::of_kill(args) {
        Ok(filter) => filter,
        Err(why) => return reply.error(&why),
    };
    let fitting = clients.connections.iter().filter(|(_, c)| filter.fits_connection(c, asking));
    let tokens: Vec<Token> = fitting.map(|(token, _)| token as Token).collect();
    for token in &tokens {
        match clients.connections.get_mut(*token as usize) {
            // The reply is still to reach it.
            Some(connection) if connection.client == asking => connection.close(Closing::AfterReplies),
            _ => clients.break_off(*token),
        }
    }
    reply.count(tokens.len());
}

/// A connection's line of `CLIENT LIST`.
pub(super) fn describe(c: &Connection, now: Instant) -> String {
    let session = &c.session;
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
    let mut flags = String::new();
    let marks = [
        (matches!(c.hold, Hold::Blocked(..)), 'b'),
        (c.closing == Closing::AfterReplies, 'c'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    flags.extend(marks.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter));
    if flags.is_empty() {
        flags.push('N');
    }
    let events = if c.sending.is_some() { "rw" } else { "r" };
    format!(
        "id={id} addr={peer} laddr={local} fd={fd} name={name} age={age} idle={idle} flags={flags} db={db} sub=0 psub=0 \
         ssub=0 multi=-1 qbuf={input} qbuf-free={free} argv-mem=0 multi-mem=0 rbs={room} rbp={room} obl={output} oll={waiting} \
         omem={held} tot-mem={total} events={events} cmd={command} user=default redir=-1 resp={resp} lib-name={library} \
         lib-ver={version}\n",
        id = c.client,
        peer = show(c.peer),
        local = show(c.local),
        fd = c.socket().as_raw_fd(),
        name = String::from_utf8_lossy(&session.name),
        age = seconds(session.connected),
        idle = seconds(session.last_request),
        db = session.db,
        input = c.input.len(),
        free = c.input.capacity() - c.input.len(),
        room = c.output.capacity(),
        output = c.output.len() + c.sending.unwrap_or(0),
        waiting = c.replies.len(),
        held = c.replies.bytes(),
        total = c.memory(),
        command = session.last_command,
        resp = if session.protocol == Protocol::Resp3 { 3 } else { 2 },
        library = String::from_utf8_lossy(&session.library_name),
        version = String::from_utf8_lossy(&session.library_version),
    )
}

fn show(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "?:0".into(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    const ME: (u64, &str, &str) = (3, "10.0.0.1:50", "10.0.0.9:6380");

    fn kills(text: &str) -> bool {
        request(text, |args| Filter::of_kill(args).unwrap().fits(ME.0, ME.1, ME.2, 3))
    }

    fn why(text: &str) -> String {
        let filter = |args: Args<'_>| match args.at(1) {
            b"LIST" => Filter::of_list(args).err(),
            _ => Filter::of_kill(args).err(),
        };
        request(text, |args| filter(args).unwrap_or_default().into_owned())
    }

    #[test]
    fn the_old_form_kills_by_address_whoever_asks() {
        assert!(kills("CLIENT KILL 10.0.0.1:50"));
        assert!(!kills("CLIENT KILL 10.0.0.1:5"));
        assert!(!kills("CLIENT KILL id"));
    }

    #[test]
    fn the_new_form_kills_what_fits_all_filters_and_spares_the_asking_one() {
        assert!(!kills("CLIENT KILL ID 3"));
        assert!(kills("CLIENT KILL ID 3 SKIPME no"));
        assert!(kills("CLIENT KILL skipme NO addr 10.0.0.1:50 LADDR 10.0.0.9:6380 type normal user default"));
        assert!(!kills("CLIENT KILL SKIPME no ADDR 10.0.0.1:50 LADDR 10.0.0.8:6380"));
        assert!(!kills("CLIENT KILL SKIPME no TYPE pubsub"));
        assert!(!kills("CLIENT KILL SKIPME no ID 4"));
    }

    #[test]
    fn wrong_filters_are_refused_in_redis_words() {
        for (text, expected) in [
            ("CLIENT KILL ID x", "ERR client-id should be greater than 0"),
            ("CLIENT KILL ID 0 SKIPME no", "ERR client-id should be greater than 0"),
            ("CLIENT KILL TYPE foo SKIPME no", "ERR Unknown client type 'foo'"),
            ("CLIENT KILL USER foo SKIPME no", "ERR No such user 'foo'"),
            ("CLIENT KILL SKIPME maybe ID 1", "ERR syntax error"),
            ("CLIENT KILL ID 1 ADDR", "ERR syntax error"),
            ("CLIENT LIST TYPE foo", "ERR Unknown client type 'foo'"),
            ("CLIENT LIST ID x", "ERR Invalid client ID"),
            ("CLIENT LIST ID", "ERR syntax error"),
            ("CLIENT LIST foo", "ERR syntax error"),
        ] {
            assert_eq!(why(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_by_type_or_by_numbers() {
        let fits = |text: &str| request(text, |args| Filter::of_list(args).unwrap().fits(ME.0, ME.1, ME.2, 0));
        assert!(fits("CLIENT LIST") && fits("CLIENT LIST TYPE Normal") && fits("CLIENT LIST ID 1 2 3"));
        assert!(!fits("CLIENT LIST TYPE replica") && !fits("CLIENT LIST ID 1 2"));
    }
}
