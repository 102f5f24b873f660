//! The node's session: there is at most one at a time. Pure.
//!
//! A node that connects again (its former connection may be half open) replaces its own session; another node has to
//! wait until that session ends. Each connection names its session, and connections of a former session are refused, so
//! that a node that was frozen for a while cannot act in the present one.

/// Id of a session; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

/// A node gets no session, because another node has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The present session and the node that has it, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sessions {
    present: Option<(SessionId, u64)>,
}

impl Sessions {
    /// Opens a session for `node`, with the id `random`. Also returns the former session of the same node, which this
    /// ends.
    ///
    /// # Errors
    /// If another node has a session.
    pub fn open(&mut self, node: u64, random: u64) -> Result<(SessionId, Option<SessionId>), Busy> {
        let former = match self.present {
            Some((_, holder)) if holder != node => return Err(Busy),
            former => former.map(|(id, _)| id),
        };
        // The id is never 0, and never the former session's.
        let mut id = SessionId(random.max(1));
        if former == Some(id) {
            id = SessionId(random.wrapping_add(1).max(1));
        }
        self.present = Some((id, node));
        Ok((id, former))
    }

    /// Whether this is the present session.
    pub fn is_present(&self, session: SessionId) -> bool {
        self.present.is_some_and(|(id, _)| id == session)
    }

    /// Ends a session. Returns whether it was the present one.
    pub fn close(&mut self, session: SessionId) -> bool {
        let present = self.is_present(session);
        if present {
            self.present = None;
        }
        present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_at_a_time_and_the_latest_connection_of_it() {
        let mut sessions = Sessions::default();
        let (first, none) = sessions.open(7, 0).unwrap();
        assert_eq!((first, none), (SessionId(1), None));
        assert_eq!(sessions.open(8, 5), Err(Busy));
        let (second, former) = sessions.open(7, 1).unwrap();
        assert_eq!(former, Some(first));
        assert_ne!(second, first);
        assert!(sessions.is_present(second) && !sessions.is_present(first));
        assert!(!sessions.close(first), "its end comes too late to matter");
        assert!(sessions.is_present(second));
        assert!(sessions.close(second));
        assert!(sessions.open(8, 5).is_ok());
    }
}
