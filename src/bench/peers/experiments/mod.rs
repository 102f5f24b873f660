//! The experiments of a comparison.
//!
//! | module | experiments |
//! |---|---|
//! | [`load`] | CPU time per request and throughput, by workload |
//! | [`cores`] | the same on two cores, compared with one |
//! | [`recovery`] | start time: empty, from snapshots, from the log |
//! | [`memory`] | memory per key, and per element of collections |
//! | [`stalls`] | longest PING beside a command on a value of a million elements |
//! | [`checkpoint`] | latency during checkpoints, compared with no checkpoints |

pub mod checkpoint;
pub mod cores;
pub mod load;
pub mod memory;
pub mod recovery;
pub mod stalls;

use super::result::{Aim, Row, Subject, Unit};
use super::{Bench, PeersError};

/// An experiment, which can be run by itself.
#[derive(Debug)]
pub struct Experiment {
    /// Name on the command line.
    pub name: &'static str,
    /// Description of what is measured.
    pub about: &'static str,
    /// Function that runs the experiment.
    pub run: fn(&Bench<'_>) -> Result<Vec<Row>, PeersError>,
}

/// Experiments on a workload of collections: plain and in pipelines of 32, small and large.
macro_rules! collections {
    ($($name:literal),* $(,)?) => {
        &[$(
            Experiment {
                name: $name,
                about: concat!($name, " in small collections"),
                run: |bench| load::plain(bench, $name, 1, Some(1.0)),
            },
            Experiment {
                name: concat!($name, "32"),
                about: concat!($name, " in small collections, in pipelines of 32"),
                run: |bench| load::plain(bench, $name, 32, Some(0.5)),
            },
            Experiment {
                name: concat!($name, "-large"),
                about: concat!($name, " in one large collection"),
                run: |bench| load::plain(bench, concat!($name, "-large"), 1, Some(1.0)),
            },
            Experiment {
                name: concat!($name, "-large32"),
                about: concat!($name, " in one large collection, in pipelines of 32"),
                run: |bench| load::plain(bench, concat!($name, "-large"), 32, Some(0.5)),
            },
        )*]
    };
}

/// Experiments on collections, which are run only if they are named.
static COLLECTIONS: &[Experiment] = collections!(
    "hset",
    "hget",
    "hsetex",
    "sadd",
    "sismember",
    "zadd",
    "zrange",
    "zrank",
    "lpush",
    "lrange",
    "xadd",
    "xread"
);

/// Every experiment that is run unless others are named, in the order in which they are run.
pub static USUAL: [Experiment; 15] = [
    Experiment { name: "set", about: "SET over 50 connections", run: |bench| load::plain(bench, "set", 1, Some(0.9)) },
    Experiment {
        name: "set32",
        about: "SET in pipelines of 32",
        run: |bench| load::plain(bench, "set", 32, Some(0.4)),
    },
    Experiment { name: "get", about: "GET over 50 connections", run: |bench| load::plain(bench, "get", 1, Some(0.9)) },
    Experiment {
        name: "get32",
        about: "GET in pipelines of 32",
        run: |bench| load::plain(bench, "get", 32, Some(0.7)),
    },
    Experiment {
        name: "ycsb-a",
        about: "half reads, half updates",
        run: |bench| load::plain(bench, "ycsb-a", 1, None),
    },
    Experiment {
        name: "ycsb-b",
        about: "reads, one in twenty an update",
        run: |bench| load::plain(bench, "ycsb-b", 1, None),
    },
    Experiment {
        name: "metadata",
        about: "a file system's namespace",
        run: |bench| load::plain(bench, "metadata", 1, None),
    },
    Experiment { name: "sync", about: "SET, acknowledged when on disk", run: load::sync },
    Experiment { name: "cores", about: "SET on two cores, against one", run: |bench| cores::cores(bench, 1, 1.3) },
    Experiment { name: "cores32", about: "the same in pipelines of 32", run: |bench| cores::cores(bench, 32, 1.25) },
    Experiment { name: "start", about: "a start with no data", run: recovery::start },
    Experiment { name: "snapshots", about: "a start from snapshots", run: recovery::snapshots },
    Experiment { name: "log", about: "a start from the log", run: recovery::log },
    Experiment { name: "memory", about: "memory for each key", run: memory::memory },
    Experiment {
        name: "checkpoint",
        about: "latency beside checkpoints, against without",
        run: checkpoint::checkpoint,
    },
];

/// Further experiments that are run only if they are named.
static ON_DEMAND: [Experiment; 2] = [
    Experiment { name: "elements", about: "memory for each element of collections", run: memory::elements },
    Experiment { name: "stalls", about: "the longest PING beside commands on large values", run: stalls::stalls },
];

/// Every experiment.
pub fn all() -> impl Iterator<Item = &'static Experiment> {
    USUAL.iter().chain(COLLECTIONS).chain(&ON_DEMAND)
}

/// Finds an experiment by name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    all().find(|experiment| experiment.name == name)
}

impl Bench<'_> {
    /// Makes a row of this experiment.
    fn row(&self, what: impl Into<String>, unit: Unit, subjects: Vec<Subject>, aim: Option<Aim>) -> Row {
        Row { experiment: self.experiment.to_owned(), what: what.into(), unit, subjects, aim }
    }
}

/// Makes subjects from names and measurements, with `value` selecting the figure.
fn subjects<T>(names: &[String], measured: &[Vec<T>], value: impl Fn(&T) -> f64) -> Vec<Subject> {
    let values = measured.iter().map(|rounds| rounds.iter().map(&value).collect());
    names.iter().zip(values).map(|(name, values)| Subject { name: name.clone(), values }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experiments_are_found_by_their_names() {
        assert!(all().all(|experiment| find(experiment.name).is_some_and(|found| std::ptr::eq(found, experiment))));
        assert!(find("nothing").is_none());
    }
}
