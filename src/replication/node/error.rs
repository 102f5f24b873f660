//! Why a session with the master ended.

use super::NodeError;
use super::follow::FollowError;
use crate::replication::link::LinkError;
use crate::storage::StorageError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A connection failed, or the master refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A stream could not be followed any further.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The node's own directory could not be read or written.
    #[error(transparent)]
    Own(#[from] StorageError),
    /// The master's welcome contradicts itself.
    #[error("the master's welcome makes no sense: {0}")]
    Welcome(&'static str),
    /// Trying again would not help.
    #[error(transparent)]
    Final(NodeError),
}

impl From<NodeError> for SessionError {
    fn from(error: NodeError) -> Self {
        match error {
            // The disk may have room again at the next attempt.
            NodeError::Own(error) => Self::Own(error),
            error @ (NodeError::Foreign { .. } | NodeError::Refused(_)) => Self::Final(error),
        }
    }
}
