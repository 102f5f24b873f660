//! Refusals: what a plan answers when it does nothing, in Redis's words.

use crate::encoding::resp::Reply;

/// Why a command does nothing. Clients compare these texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The key holds a value of another type.
    WrongType,
    /// Options that do not exist, or not together.
    Syntax,
    /// An argument or value that should be an integer.
    NotInteger,
    /// An argument or value that should be a number.
    NotFloat,
    /// A time to expire that is not positive or too far away, in the command of this name.
    ExpireTime(&'static str),
    /// The number of arguments, in the command of this name.
    Arity(&'static str),
    /// Anything else.
    Because(&'static str),
}

impl Refused {
    /// Answers the client.
    #[cold]
    pub fn reply(self, reply: &mut Reply<'_>) {
        match self {
            Self::WrongType => reply.error("WRONGTYPE Operation against a key holding the wrong kind of value"),
            Self::Syntax => reply.error("ERR syntax error"),
            Self::NotInteger => reply.error("ERR value is not an integer or out of range"),
            Self::NotFloat => reply.error("ERR value is not a valid float"),
            Self::ExpireTime(name) => reply.error(&format!("ERR invalid expire time in '{name}' command")),
            Self::Arity(name) => reply.error(&format!("ERR wrong number of arguments for '{name}' command")),
            Self::Because(text) => reply.error(text),
        }
    }
}
