//! One owner's store with its place in a log.
