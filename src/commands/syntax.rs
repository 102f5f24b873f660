//! Parses the grammar of a command's arguments, from the notation used in manuals to the tree that `COMMAND DOCS`
//! describes.
//!
//! | notation | meaning |
//! |---|---|
//! | `word` | an argument of this name; the name determines its type |
//! | `WORD` | a literal keyword, alone or before the arguments that it introduces |
//! | `[…]` | optional |
//! | `<…>` | grouping |
//! | `a \| b` | alternatives |
//! | `…` and three dots | one or more times |

/// An argument, or a group of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Name of the argument.
    pub name: String,
    /// Type of the argument.
    pub kind: Kind,
    /// Keyword before the argument, or the keyword that the argument is.
    pub token: Option<&'static str>,
    /// Whether the argument is optional.
    pub optional: bool,
    /// Whether the argument may be repeated.
    pub multiple: bool,
    /// Members, if the argument is a group.
    pub parts: Vec<Self>,
}

/// Type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// Name of the type in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    /// Type that arguments of this name have.
    fn of(name: &str) -> Self {
        match name {
            "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" | "sourcekey" => Self::Key,
            "pattern" | "by-pattern" | "get-pattern" => Self::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => Self::UnixTime,
            "client-id" | "count" | "cursor" | "db" | "decrement" | "destination-db" | "end" | "increment"
            | "index" | "index1" | "index2" | "len" | "limit" | "milliseconds" | "min-len" | "num-matches"
            | "numkeys" | "numlocal" | "numreplicas" | "offset" | "protover" | "rank" | "seconds" | "start"
            | "stop" | "timeout" => Self::Integer,
            _ => Self::String,
        }
    }
}

impl Argument {
    fn word(name: &str) -> Self {
        let (name, kind) = (name.to_owned(), Kind::of(name));
        Self { name, kind, token: None, optional: false, multiple: false, parts: Vec::new() }
    }

    fn token(token: &'static str) -> Self {
        let name = token.to_ascii_lowercase();
        Self { kind: Kind::PureToken, token: Some(token), ..Self::word(&name) }
    }

    /// Combines several arguments into one group; a single argument is returned as it is.
    fn of_parts(kind: Kind, mut parts: Vec<Self>) -> Self {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return only;
        }
        let name = parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("_");
        Self { kind, parts, ..Self::word(&name) }
    }
}

/// Parses a grammar into its arguments.
pub fn parse(syntax: &'static str) -> Vec<Argument> {
    let mut rest = syntax;
    sequence(&mut rest)
}

/// Parses elements up to the end, or up to a closing bracket or separator.
fn sequence(rest: &mut &'static str) -> Vec<Argument> {
    let mut elements: Vec<Argument> = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("...") {
            *rest = after;
            if let Some(last) = elements.last_mut() {
                last.multiple = true;
            }
            continue;
        }
        match rest.as_bytes().first() {
            Some(b'[' | b'<') => elements.push(group(rest)),
            Some(b']' | b'>' | b'|') | None => return elements,
            Some(_) => {
                let word = next_word(rest);
                elements.push(if is_token(word) { introduced(word, rest) } else { Argument::word(word) });
            }
        }
    }
}

/// Parses a group in brackets.
fn group(rest: &mut &'static str) -> Argument {
    let optional = rest.starts_with('[');
    let mut choices = Vec::new();
    loop {
        // Skips the opening bracket, or a bar.
        *rest = &rest[1..];
        choices.push(Argument::of_parts(Kind::Block, sequence(rest)));
        if !rest.starts_with('|') {
            break;
        }
    }
    *rest = rest.get(1..).unwrap_or_default();
    let mut argument = Argument::of_parts(Kind::OneOf, choices);
    argument.optional |= optional;
    argument
}

/// Parses a keyword with the arguments that it introduces.
fn introduced(token: &'static str, rest: &mut &'static str) -> Argument {
    let mut words = Vec::new();
    loop {
        let mut ahead = rest.trim_start();
        match ahead.as_bytes().first() {
            Some(b'<') => {
                words.push(group(&mut ahead));
                *rest = ahead;
            }
            Some(byte) if byte.is_ascii_lowercase() => {
                words.push(Argument::word(next_word(&mut ahead)));
                *rest = ahead;
            }
            _ => break,
        }
    }
    if words.is_empty() {
        return Argument::token(token);
    }
    Argument { token: Some(token), ..Argument::of_parts(Kind::Block, words) }
}

fn next_word(rest: &mut &'static str) -> &'static str {
    let end = rest.find([' ', '[', ']', '<', '>', '|']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

fn is_token(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::REGISTRY;

    /// Formats arguments as text, so that tests are easy to read.
    fn show(arguments: &[Argument]) -> String {
        let one = |a: &Argument| {
            let parts = if a.parts.is_empty() { String::new() } else { format!("({})", show(&a.parts)) };
            let marks = [(a.optional, "?"), (a.multiple, "+")].iter().filter(|m| m.0).map(|m| m.1).collect::<String>();
            format!("{}{}:{}{parts}{marks}", a.token.map_or(String::new(), |t| format!("{t} ")), a.name, a.kind.name())
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn grammars_become_trees() {
        assert_eq!(show(&parse("key ...")), "key:key+");
        assert_eq!(show(&parse("<key value> ...")), "key_value:block(key:key, value:string)+");
        assert_eq!(
            show(&parse("key [NX|XX] [EX seconds | PERSIST]")),
            "key:key, nx_xx:oneof(NX nx:pure-token, XX xx:pure-token)?, \
             seconds_persist:oneof(EX seconds:integer, PERSIST persist:pure-token)?"
        );
        assert_eq!(
            show(&parse("[protover [AUTH username password]]")),
            "protover_username_password:block(protover:integer, \
             AUTH username_password:block(username:string, password:string)?)?"
        );
        assert_eq!(show(&parse("[TYPE <A|B>]")), "TYPE a_b:oneof(A a:pure-token, B b:pure-token)?");
        assert_eq!(show(&parse("")), "");
    }

    #[test]
    fn every_grammar_has_as_many_keys_as_its_row_says() {
        fn keys(arguments: &[Argument]) -> usize {
            arguments.iter().map(|a| usize::from(a.kind == Kind::Key) + keys(&a.parts)).sum()
        }
        for spec in REGISTRY.all().chain(REGISTRY.all().flat_map(|spec| spec.subcommands)) {
            let named: i64 = spec.keys.iter().map(|keys| keys.named() * keys.described() as i64).sum();
            assert_eq!(keys(&parse(spec.syntax)) as i64, named, "{}", spec.name);
        }
    }
}
