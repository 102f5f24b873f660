//! In which ways a schema may change, so that what was written with the older one is read with the newer one.

use std::fmt::Display;

use super::parse::{Field, Schema, Type};

/// What of `newer` breaks what was written with `older`.
pub fn violations(older: &Schema, newer: &Schema) -> Vec<String> {
    let mut violations = Vec::new();
    if older.root != newer.root {
        violations.push(format!("the root was {}, and is {}", older.root, newer.root));
    }
    for (name, was) in &older.types {
        let of_type = match (was, newer.types.get(name)) {
            (_, None) => vec!["it is gone".to_owned()],
            (Type::Table(was), Some(Type::Table(is))) => tables(was, is),
            (Type::Struct(was), Some(Type::Struct(is))) if was == is => Vec::new(),
            // Its bytes lie one behind the other, without a word about which they are.
            (Type::Struct(_), Some(Type::Struct(_))) => vec!["a struct never changes".to_owned()],
            (Type::Enum(was, members), Some(Type::Enum(is, others))) => {
                let of = (was != is).then(|| format!("it was of {was}, and is of {is}"));
                of.into_iter().chain(beginnings("member", 0, members, others, |was, is| was == is, numbered)).collect()
            }
            (Type::Union(was), Some(Type::Union(is))) => {
                beginnings("member", 1, was, is, |was, is| was == is, ToString::to_string)
            }
            (was, Some(is)) => vec![format!("it was {}, and is {}", kind(was), kind(is))],
        };
        violations.extend(of_type.into_iter().map(|what| format!("{name}: {what}")));
    }
    violations
}

/// Fields are found by their place: those that were there stay where they are, and what comes after them was never
/// written.
fn tables(was: &[Field], is: &[Field]) -> Vec<String> {
    let stays = |was: &Field, is: &Field| {
        let given_up = is.deprecated && !was.required;
        let same = (&was.name, &was.of, &was.default, was.required) == (&is.name, &is.of, &is.default, is.required);
        same && (was.deprecated == is.deprecated || given_up)
    };
    let mut violations = beginnings("field", 0, was, is, stays, described);
    let new = is.iter().skip(was.len()).filter(|field| field.required);
    violations.extend(new.map(|field| format!("{} is required, and older data lack it", field.name)));
    violations
}

/// What differs in the part of `is` that is as long as `was`.
fn beginnings<T, D: Display>(
    what: &str,
    first: usize,
    was: &[T],
    is: &[T],
    stays: impl Fn(&T, &T) -> bool,
    describe: impl Fn(&T) -> D,
) -> Vec<String> {
    let differing = was.iter().enumerate().filter(|(at, was)| !is.get(*at).is_some_and(|is| stays(was, is)));
    let now = |at: usize| is.get(at).map_or("gone".to_owned(), |is| describe(is).to_string());
    differing.map(|(at, was)| format!("{what} {} was {}, and is {}", at + first, describe(was), now(at))).collect()
}

fn numbered((name, number): &(String, i64)) -> String {
    format!("{name} = {number}")
}

fn described(field: &Field) -> String {
    let default = field.default.as_ref().map_or(String::new(), |default| format!(" = {default}"));
    let attributes = [(field.required, " (required)"), (field.deprecated, " (deprecated)")];
    let attributes: String = attributes.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    format!("{}: {}{default}{attributes}", field.name, field.of)
}

fn kind(of: &Type) -> &'static str {
    match of {
        Type::Table(_) => "a table",
        Type::Struct(_) => "a struct",
        Type::Enum(..) => "an enum",
        Type::Union(_) => "a union",
    }
}
