//! From files to a store.
use crate::storage::StorageError;
/// x
pub struct Recovered;
/// x
pub fn recover() -> Result<Recovered, StorageError> {
    Ok(Recovered)
}
