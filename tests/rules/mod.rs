//! The rules of the house, kept by tests.

mod catalogue;
mod schemas;
mod tidy;
