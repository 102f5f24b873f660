//! The load generator.
//!
//! It speaks RESP to any server of that kind, over the same network ring as the server's own ([`crate::runtime::ring`]), from cores of its
//! own. What it measured is a [`result::Report`]: that is what is printed, drawn, written as JSON, and compared.
//!
//! A run's way: a [`plan`] is checked; [`run()`] connects, loads the records, and starts the threads; each thread ([`driver`]) sends what its
//! [`workload`] asks for on its [`connection`]s, as soon as it can or by a [`schedule`], and records what comes of it ([`recorder`]);
//! the [`collector`] puts together what the threads hand on, while [`observe`] looks at the server.
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`], [`error`] | what is to be done; why it could not be |
//! | [`workload`], [`distribution`], [`values`], [`request`] | what is asked: operations, keys, values, bytes |
//! | [`schedule`], [`driver`], [`connection`], [`reply`] | when it is asked, how, and what is answered |
//! | [`recorder`], [`collector`] | histograms: of a thread, of all |
//! | [`client`], [`observe`], [`process`] | the server seen from outside: `INFO`, its CPU and memory |
//! | [`ledger`] | what was acknowledged, and whether it is still there |
//! | [`mod@run`], [`phase`], [`sweep`], [`verify`] | a run as a whole, and its parts |
//! | [`result`] | what a run found: the schema of `bench.json` |
//! | [`peers`] | the same beside other servers |
//! | [`report`] | what is made of that: tables, a page, logs for other tools, comparisons |

pub mod client;
pub mod collector;
pub mod connection;
pub mod distribution;
pub mod driver;
pub mod error;
pub mod ledger;
pub mod observe;
pub mod peers;
pub mod phase;
pub mod plan;
pub mod process;
pub mod recorder;
pub mod reply;
pub mod report;
pub mod request;
pub mod result;
pub mod run;
pub mod schedule;
pub mod sweep;
pub mod values;
pub mod verify;
pub mod workload;

pub use error::BenchError;
pub use plan::{Plan, Rate};
pub use run::{Outcome, Progress, run};
