//! The load generator.
//!
//! It speaks RESP to any server of that kind, over the same network ring as the server's own ([`crate::net::ring`]), from cores of its
//! own. What it measured is a [`result::Report`]: that is what is printed, drawn, written as JSON, and compared.
//!
//! | module | what it is |
//! |---|---|
//! | [`result`] | what a run found: the schema of `bench.json` |
//! | [`peers`] | the same beside other servers |
//! | [`report`] | what is made of that: tables, a page, logs for other tools, comparisons |

pub mod peers;
pub mod report;
pub mod result;
