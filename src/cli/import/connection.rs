//! What is asked of either server, the one that gets the keys and the one that is copied.

use crate::bench::client::{Client, Value};
use crate::bench::error::BenchError;
use crate::cli::{Exit, Failure};

/// Number of databases that are looked at: something that takes every number for a database ends somewhere.
const MOST: u64 = 10_000;

/// The failure for an error of the connection.
pub(super) fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Lost { address, why } => {
            Failure::new(Exit::Unavailable, format_args!("the server at {address} closed the connection ({why})"))
        }
        other => Failure::new(Exit::Unavailable, other),
    }
}

/// The databases that hold keys, each with their number. The connection is in database `back` afterwards.
///
/// # Errors
/// If the connection is lost, or the server does not tell.
pub(super) fn databases(client: &mut Client, back: u64) -> Result<Vec<(u64, u64)>, Failure> {
    let mut found = Vec::new();
    for db in 0..MOST {
        if !select(client, db)? {
            break;
        }
        match client.call(&[b"DBSIZE"]).map_err(failure)? {
            Value::Text(digits) => {
                let keys = str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
                found.extend(keys.filter(|keys| *keys > 0).map(|keys| (db, keys)));
            }
            Value::Error(why) => {
                return Err(Failure::new(Exit::Unavailable, format_args!("DBSIZE was refused: {why}")));
            }
            Value::Null | Value::Many(_) => {}
        }
    }
    select(client, back)?;
    Ok(found)
}

/// Changes the database of the connection. Returns whether the server has it.
///
/// # Errors
/// If the connection is lost.
pub(super) fn select(client: &mut Client, db: u64) -> Result<bool, Failure> {
    let reply = client.call(&[b"SELECT", db.to_string().as_bytes()]).map_err(failure)?;
    Ok(!matches!(reply, Value::Error(_)))
}
