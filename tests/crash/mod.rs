//! Processes that are killed or fall asleep, at any moment and at each step.

mod any;
mod master;
mod node;
mod pause;
mod steps;
