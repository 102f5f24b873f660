//! RESP, the Redis serialization protocol, versions 2 and 3: parsing requests and writing replies.

mod args;
pub mod double;
pub mod float;
pub mod inline;
mod reply;
mod requests;

pub use args::{Args, Span};
pub use reply::{Protocol, Reply};
pub use requests::{Limits, Partial, ProtocolError, Requests};
