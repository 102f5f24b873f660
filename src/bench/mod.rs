//! The load generator.
//!
//! It sends RESP requests to any server that speaks the Redis protocol, with the same network ring as the server's own
//! ([`crate::runtime::ring`]), from cores of its own. The result is a [`result::Report`], which is printed, drawn,
//! written as JSON, and compared.
//!
//! Steps of a run: a [`plan`] is checked; [`run()`] connects, loads the records, and starts the threads; each thread
//! ([`driver`]) sends the requests of its [`workload`] on its [`connection`]s, as fast as possible or by a
//! [`schedule`], and records the latencies ([`recorder`]); the [`collector`] merges the threads' measurements, while
//! [`observe`] watches the server.
//!
//! | module | what it is |
//! |---|---|
//! | [`plan`], [`error`] | what a run shall do; why it failed |
//! | [`workload`], [`distribution`], [`values`], [`request`] | generating requests: operations, keys, values, bytes |
//! | [`schedule`], [`driver`], [`connection`], [`reply`] | sending requests in time, and parsing replies |
//! | [`recorder`], [`collector`] | histograms of one thread, and of all threads |
//! | [`client`], [`observe`], [`process`] | watching the server: `INFO`, its CPU and memory |
//! | [`ledger`] | acknowledged writes, and whether they are still there |
//! | [`mod@run`], [`phase`], [`sweep`], [`verify`] | a run as a whole, and its parts |
//! | [`result`] | the results of a run: the schema of `bench.json` |
//! | [`peers`] | comparison with other servers |
//! | [`report`] | output: tables, a page, logs for other tools, comparisons |

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
