//! Refusals: the error replies of plans that do nothing, in Redis's wording.

use crate::encoding::resp::Reply;

/// Reason why a command was refused. Clients compare the texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refused {
    /// The key holds a value of another type.
    WrongType,
    /// Unknown options, or options that exclude each other.
    Syntax,
    /// An argument or value is not an integer.
    NotInteger,
    /// An argument or value is not a number.
    NotFloat,
    /// The expiry given to the named command is not positive or too far away.
    ExpireTime(&'static str),
    /// Wrong number of arguments for the named command.
    Arity(&'static str),
    /// The named command needs operands.
    NoOperands(&'static str),
    /// There is no such place on the map.
    NoPlace {
        /// The longitude given, in degrees.
        longitude: f64,
        /// The latitude given, in degrees.
        latitude: f64,
    },
    /// Any other reason, with the full error text.
    Because(&'static str),
}

impl Refused {
    /// Writes the refusal as an error reply.
    #[cold]
    pub fn reply(self, reply: &mut Reply<'_>) {
        match self {
            Self::WrongType => reply.error("WRONGTYPE Operation against a key holding the wrong kind of value"),
            Self::Syntax => reply.error("ERR syntax error"),
            Self::NotInteger => reply.error("ERR value is not an integer or out of range"),
            Self::NotFloat => reply.error("ERR value is not a valid float"),
            Self::ExpireTime(name) => reply.error(&format!("ERR invalid expire time in '{name}' command")),
            Self::Arity(name) => reply.error(&format!("ERR wrong number of arguments for '{name}' command")),
            Self::NoOperands(name) => {
                reply.error(&format!("ERR at least 1 input key is needed for '{name}' command"));
            }
            Self::NoPlace { longitude, latitude } => {
                reply.error(&format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"));
            }
            Self::Because(text) => reply.error(text),
        }
    }
}
