//! Replies, parsed far enough to compare them.

use std::io::{self, BufRead};

/// A reply in either version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Int(i64),
    Bool(bool),
    Simple(String),
    Error(String),
    Bulk(String),
    Double(String),
    Array(Vec<Self>),
    Map(Vec<Self>),
    Set(Vec<Self>),
}

impl Value {
    /// The elements of an array, map or set.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Array(all) | Self::Map(all) | Self::Set(all) => all,
            _ => &[],
        }
    }

    /// The number in it.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The text in it.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Simple(text) | Self::Bulk(text) => Some(text),
            _ => None,
        }
    }

    /// The same with every number in one spelling: Redis 7 prints more digits of a score than are needed.
    pub fn spelled(&self) -> Self {
        let spell =
            |text: &str| text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| format!("{:e}", number + 0.0));
        let all = |elements: &[Self]| elements.iter().map(Self::spelled).collect();
        match self {
            Self::Bulk(text) => Self::Bulk(spell(text)),
            Self::Double(text) => Self::Double(spell(text)),
            Self::Array(elements) => Self::Array(all(elements)),
            other => other.clone(),
        }
    }

    /// The same with its elements in order, in groups of `group`.
    pub fn sorted(&self, group: usize) -> Self {
        let mut groups: Vec<Vec<Self>> = self.elements().chunks(group).map(<[Self]>::to_vec).collect();
        groups.sort();
        let all = groups.concat();
        match self {
            Self::Array(_) => Self::Array(all),
            Self::Map(_) => Self::Map(all),
            Self::Set(_) => Self::Set(all),
            other => other.clone(),
        }
    }
}

/// Reads one reply.
pub fn read(from: &mut impl BufRead) -> io::Result<Value> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?.escape_ascii().to_string();
    let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = || rest.parse::<i64>().map_err(|_| io::Error::other(format!("a length in {line:?}")));
    let mut several = |count: i64| (0..count).map(|_| read(from)).collect::<io::Result<Vec<_>>>();
    Ok(match kind {
        "+" => Value::Simple(rest.to_owned()),
        "-" => Value::Error(rest.to_owned()),
        ":" => Value::Int(length()?),
        "_" => Value::Null,
        "," => Value::Double(rest.to_owned()),
        "#" => Value::Bool(rest == "t"),
        "$" | "*" if length()? < 0 => Value::Null,
        "*" => Value::Array(several(length()?)?),
        "~" => Value::Set(several(length()?)?),
        "%" => Value::Map(several(2 * length()?)?),
        "$" => {
            let mut bytes = vec![0; length()? as usize + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Value::Bulk(bytes.escape_ascii().to_string())
        }
        _ => return Err(io::Error::other(format!("a reply that begins with {line:?}"))),
    })
}
