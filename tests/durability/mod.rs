//! What each durability promises, and how the log is kept within bounds.

mod graceful;
mod log_bounds;
mod no_rollback_reads;
mod wait;
