//! What is promised in milliseconds. These tests have the machine for themselves, one after the other: in a theme of
//! their own, behind nearly all others in the order in which tests run, they hold up few that could run side by side.

mod bench;
mod prediction;
mod prompt;
