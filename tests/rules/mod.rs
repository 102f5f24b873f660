//! The rules of the house, kept by tests.

mod catalogue;
mod circles;
mod schemas;
mod tidy;
