//! AUTH, HELLO.

use super::{Refusal, SYNTAX, answer, client, shown};
use super::{Row, row};
use crate::auth::guard::Attempt;
use crate::commands::parse;
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::config::Password;
use crate::encoding::resp::{Args, Protocol, Reply};
use crate::net::connection::Closing;
use crate::net::execute::Flow;
use crate::net::worker::Worker;
use crate::runtime::ring::Token;

const CATEGORY: Categories = Categories::CONNECTION;
/// Allowed before authentication.
const EARLY: Flags = ANY_TIME.and(Flags::NOSCRIPT).and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[
    row(
        Spec::new(Group::Connection, "auth", -2, "[username] password").flags(EARLY, CATEGORY).about(
            "1.0.0",
            "O(N), N being the number of passwords",
            "Proves that the client knows the password",
        ),
        auth,
    ),
    row(
        Spec::new(Group::Connection, "hello", -1, "[protover [AUTH username password] [SETNAME clientname]]")
            .flags(EARLY, CATEGORY)
            .about("6.0.0", "O(1)", "Agrees on the version of the protocol and describes the server"),
        hello,
    ),
];

/// The only user.
const USER: &[u8] = b"default";
/// The version of Redis whose commands and words clients may expect.
pub(super) const REDIS_VERSION: &str = "7.2.0";

const WRONG: Refusal = Refusal::Borrowed("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Refusal = Refusal::Borrowed(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);
const FIRST_AUTHENTICATE: Refusal = Refusal::Borrowed(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be \
      used to authenticate the client and select the RESP protocol version at the same time",
);

/// `AUTH [username] password`
fn auth(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    let (user, password) = match args.len() {
        2 if worker.settings.password.is_none() => return answer(worker, token, Err(NO_PASSWORD)),
        2 => (USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return answer(worker, token, Err(SYNTAX)),
    };
    match try_to_admit(worker, token, user, password) {
        Attempt::Wait(until) => worker.await_turn(token, until),
        Attempt::Right => answer(worker, token, Ok(())),
        Attempt::Wrong => answer_wrong(worker, token),
    }
}

/// Lets a client in that knows the password, unless it has to wait.
fn try_to_admit(worker: &mut Worker, token: Token, user: &[u8], password: &[u8]) -> Attempt {
    let Some(connection) = worker.connections.get_mut(token as usize) else { return Attempt::Wrong };
    let expected = worker.settings.password.as_ref();
    let is_right = || is_known(expected, user, password);
    let attempt = match expected {
        None if is_right() => Attempt::Right,
        None => Attempt::Wrong,
        Some(_) => worker.shared.process.guard.attempt(connection.peer.map(|peer| peer.ip()), worker.now, is_right),
    };
    match attempt {
        Attempt::Right => connection.session.admit(),
        Attempt::Wrong => {
            connection.session.failures += 1;
            worker.stats.auth_failures += 1;
        }
        Attempt::Wait(_) => {}
    }
    attempt
}

/// Answers a wrong password; closes the connection if it was not the first.
fn answer_wrong(worker: &mut Worker, token: Token) -> Flow {
    answer(worker, token, Err(WRONG));
    let most = worker.settings.auth_attempts;
    match worker.connections.get_mut(token as usize) {
        Some(connection) if connection.session.failures >= most => {
            tracing::warn!(peer = ?connection.peer, failures = most, "disconnected: wrong passwords");
            connection.close(Closing::AfterReplies);
            Flow::Stop
        }
        _ => Flow::Next,
    }
}

fn is_known(expected: Option<&Password>, user: &[u8], password: &[u8]) -> bool {
    user == USER && expected.is_none_or(|expected| expected.matches(password))
}

/// What `HELLO` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        if let Some(version) = args.get(1) {
            asked.protocol = Some(match parse::integer(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err("NOPROTO unsupported protocol version".into()),
                None => return Err("ERR Protocol version is not an integer or out of range".into()),
            });
        }
        let mut at = 2;
        while let Some(option) = args.get(at) {
            if option.eq_ignore_ascii_case(b"AUTH")
                && let (Some(user), Some(password)) = (args.get(at + 1), args.get(at + 2))
            {
                asked.credentials = Some((user, password));
                at += 3;
            } else if option.eq_ignore_ascii_case(b"SETNAME")
                && let Some(name) = args.get(at + 1)
            {
                client::check_name(name)?;
                asked.name = Some(name);
                at += 2;
            } else {
                return Err(format!("ERR Syntax error in HELLO option '{}'", shown(option)).into());
            }
        }
        Ok(asked)
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
fn hello(worker: &mut Worker, token: Token, _: &'static Spec, args: Args<'_>) -> Flow {
    let asked = match Hello::parse(args) {
        Ok(asked) => asked,
        Err(why) => return answer(worker, token, Err(why)),
    };
    if let Some((user, password)) = asked.credentials {
        match try_to_admit(worker, token, user, password) {
            Attempt::Wait(until) => return worker.await_turn(token, until),
            Attempt::Wrong => return answer_wrong(worker, token),
            Attempt::Right => {}
        }
    }
    match agree(worker, token, &asked) {
        Ok((client, protocol)) => worker.reply_unless_muted(token, |r| describe(r, client, protocol)),
        Err(why) => worker.reply_unless_muted(token, |r| r.error(&why)),
    }
    Flow::Next
}

/// Does what a `HELLO` asks for; returns the client's number and the protocol that it now speaks.
fn agree(worker: &mut Worker, token: Token, asked: &Hello<'_>) -> Result<(u64, Protocol), Refusal> {
    let connection = worker.connections.get_mut(token as usize).ok_or(SYNTAX)?;
    let session = &mut connection.session;
    if session.is_stranger() {
        return Err(FIRST_AUTHENTICATE);
    }
    if let Some(name) = asked.name {
        session.name = name.to_vec();
    }
    session.protocol = asked.protocol.unwrap_or(session.protocol);
    Ok((connection.client, session.protocol))
}

fn describe(reply: &mut Reply<'_>, client: u64, protocol: Protocol) {
    reply.map(7);
    let mut entry = |name: &str, value: &dyn Fn(&mut Reply<'_>)| {
        reply.bulk(name.as_bytes());
        value(reply);
    };
    // Libraries look at these two to learn what they may ask for.
    entry("server", &|r| r.bulk(b"redis"));
    entry("version", &|r| r.bulk(REDIS_VERSION.as_bytes()));
    entry("proto", &|r| r.int(if protocol == Protocol::Resp3 { 3 } else { 2 }));
    entry("id", &|r| r.int(client as i64));
    entry("mode", &|r| r.bulk(b"standalone"));
    entry("role", &|r| r.bulk(b"master"));
    entry("modules", &|r| r.array(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;

    #[test]
    fn only_the_default_user_with_the_password_is_let_in() {
        let password = Password::new("secret");
        assert!(is_known(Some(&password), b"default", b"secret"));
        assert!(!is_known(Some(&password), b"default", b"Secret"));
        assert!(!is_known(Some(&password), b"Default", b"secret"));
        assert!(is_known(None, b"default", b"anything"));
        assert!(!is_known(None, b"other", b"anything"));
    }

    #[test]
    fn hello_takes_its_options_in_any_order_and_names_the_wrong_one() {
        let parse = |text: &str| request(text, |args| format!("{:?}", Hello::parse(args)));
        let all = "Ok(Hello { protocol: Some(Resp3), credentials: Some(([117], [112])), name: Some([110]) })";
        assert_eq!(parse("HELLO 3 AUTH u p SETNAME n"), all);
        assert_eq!(parse("HELLO 3 setname n auth u p"), all);
        for (text, why) in [
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO two", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 2 AUTH u", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 2 what", "ERR Syntax error in HELLO option 'what'"),
            ("HELLO 2 SETNAME a\u{1}b", "ERR Client names cannot contain spaces, newlines or special characters."),
        ] {
            assert_eq!(parse(text), format!("Err({why:?})"), "{text}");
        }
    }
}
