//! Starts: what they hold, how long they take, and when they refuse.

mod clock_jumps;
mod cores;
mod golden;
mod metadata;
mod prediction;
mod renamed;
mod start_fails;
