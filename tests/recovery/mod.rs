//! Starts: what they hold, and when they refuse.

mod clock_jumps;
mod cores;
mod golden;
mod metadata;
mod renamed;
mod start_fails;
