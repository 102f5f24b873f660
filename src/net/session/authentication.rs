//! AUTH, HELLO.

use super::{Done, Outcome, Refusal, Row, SYNTAX, Visit, client, ok, row, shown};
use crate::auth::guard::Attempt;
use crate::commands::parse;
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::config::Password;
use crate::encoding::resp::{Args, Protocol, Reply};

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

/// Name of the only user.
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
fn auth(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (user, password) = match args.len() {
        2 if visit.settings.password.is_none() => return Err(NO_PASSWORD),
        2 => (USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(SYNTAX),
    };
    match try_to_admit(visit, user, password) {
        Attempt::Wait(until) => Ok(Outcome::Wait(until)),
        Attempt::Right => ok(reply),
        Attempt::Wrong => answer_wrong(visit, reply),
    }
}

/// Lets a client in that knows the password, unless it has to wait.
fn try_to_admit(visit: &mut Visit<'_>, user: &[u8], password: &[u8]) -> Attempt {
    let connection = &mut *visit.connection;
    let expected = visit.settings.password.as_ref();
    let is_right = || is_known(expected, user, password);
    let attempt = match expected {
        None if is_right() => Attempt::Right,
        None => Attempt::Wrong,
        Some(_) => visit.service.guard.attempt(connection.peer.map(|peer| peer.ip()), visit.now, is_right),
    };
    match attempt {
        Attempt::Right => connection.session.admit(),
        Attempt::Wrong => {
            connection.session.failures += 1;
            visit.counts.auth_failures += 1;
        }
        Attempt::Wait(_) => {}
    }
    attempt
}

/// Answers a wrong password; closes the connection if it was not the first.
fn answer_wrong(visit: &Visit<'_>, reply: &mut Reply<'_>) -> Done {
    reply.error(&WRONG);
    let failures = visit.connection.session.failures;
    if failures < visit.settings.auth_attempts {
        return Ok(Outcome::Answered);
    }
    tracing::warn!(peer = ?visit.connection.peer, failures, "disconnected: wrong passwords");
    Ok(Outcome::Last)
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
fn hello(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let asked = Hello::parse(args)?;
    if let Some((user, password)) = asked.credentials {
        match try_to_admit(visit, user, password) {
            Attempt::Wait(until) => return Ok(Outcome::Wait(until)),
            Attempt::Wrong => return answer_wrong(visit, reply),
            Attempt::Right => {}
        }
    }
    let session = &mut visit.connection.session;
    if session.is_unauthenticated() {
        return Err(FIRST_AUTHENTICATE);
    }
    if let Some(name) = asked.name {
        session.name = name.to_vec();
    }
    session.protocol = asked.protocol.unwrap_or(session.protocol);
    reply.speak(session.protocol);
    describe(reply, visit.connection.client);
    Ok(Outcome::Answered)
}

fn describe(reply: &mut Reply<'_>, client: u64) {
    let protocol = reply.protocol();
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
