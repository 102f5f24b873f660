//! Why a session with the master ended.

use super::NodeError;
use super::follow::FollowError;
use crate::replication::link::LinkError;
use crate::storage::StorageError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A stream.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The node's own directory.
    #[error(transparent)]
    Own(#[from] StorageError),
    /// The master's welcome contradicts itself.
    #[error("the master's welcome makes no sense: {0}")]
    Welcome(&'static str),
    /// It makes no sense to try again.
    #[error(transparent)]
    Final(NodeError),
}

impl From<NodeError> for SessionError {
    fn from(error: NodeError) -> Self {
        match error {
            // A disk may have room again.
            NodeError::Own(error) => Self::Own(error),
            error @ (NodeError::Foreign { .. } | NodeError::Refused(_)) => Self::Final(error),
        }
    }
}
