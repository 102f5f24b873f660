//! `rollbook bench`: what it measures, and how it reports.

mod report;
mod run;
