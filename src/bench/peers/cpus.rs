//! Lists of CPUs, such as `0-2,5`, and pinning of processes and threads to them.

use std::fmt;
use std::str::FromStr;

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::PeersError;

/// Niceness of processes that should yield to all others.
const LEAST_URGENT: i32 = 19;

/// A list of at least one CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

/// Error for a text that is not a list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of CPUs such as 0 or 0-2,5")]
pub struct NoCpus(String);

impl FromStr for CpuList {
    type Err = NoCpus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|cpu| *cpu < CpuSet::MAX_CPU);
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some(number(first)?..=number(last)?),
            None => number(part).map(|cpu| cpu..=cpu),
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let cpus: Vec<_> = ranges.unwrap_or_default().into_iter().flatten().collect();
        if cpus.is_empty() { Err(NoCpus(text.to_owned())) } else { Ok(Self(cpus)) }
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&cpus.join(","))
    }
}

impl CpuList {
    /// Divides the CPUs that this process may use: the first one for servers, the others for the generator. If there is
    /// only one, both share it.
    pub fn split_allowed() -> (Self, Self) {
        let allowed = sched_getaffinity(None)
            .map_or_else(|_| vec![0], |set| (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect());
        match allowed.split_first() {
            Some((first, [])) => (Self(vec![*first]), Self(vec![*first])),
            Some((first, others)) => (Self(vec![*first]), Self(others.to_vec())),
            None => (Self(vec![0]), Self(vec![0])),
        }
    }

    /// Union of both lists.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        let mut all = [&self.0[..], &others.0].concat();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// Number of CPUs.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Pins this thread, and the processes it starts from now on, to these CPUs.
    ///
    /// # Errors
    /// If the process may not use these CPUs.
    pub fn pin_this_thread(&self) -> Result<(), PeersError> {
        self.pin(None)
    }

    /// Pins all threads of a process to these CPUs at the lowest priority.
    ///
    /// # Errors
    /// If the process may not use these CPUs, or has ended.
    pub fn pin_process_behind(&self, pid: u32) -> Result<(), PeersError> {
        threads(pid)?.try_for_each(|thread| {
            setpriority_process(Some(thread), LEAST_URGENT)
                .map_err(|error| PeersError::system(format!("process {pid}"))(error.into()))?;
            self.pin(Some(thread))
        })
    }

    /// Pins all threads of a process to these CPUs.
    ///
    /// # Errors
    /// If the process may not use these CPUs, or has ended.
    pub fn pin_process(&self, pid: u32) -> Result<(), PeersError> {
        threads(pid)?.try_for_each(|thread| self.pin(Some(thread)))
    }

    fn pin(&self, thread: Option<Pid>) -> Result<(), PeersError> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|cpu| set.set(*cpu));
        sched_setaffinity(thread, &set)
            .map_err(|error| PeersError::system(format!("CPUs {self} cannot be used"))(error.into()))
    }
}

fn threads(pid: u32) -> Result<impl Iterator<Item = Pid>, PeersError> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(PeersError::system(format!("process {pid}")))?;
    Ok(tasks.filter_map(|task| Pid::from_raw(task.ok()?.file_name().to_str()?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        let read = |text: &str| text.parse::<CpuList>().map(|cpus| cpus.to_string());
        assert_eq!(read("3"), Ok("3".into()));
        assert_eq!(read("0-2,5"), Ok("0,1,2,5".into()));
        for wrong in ["", "a", "2-1", "1,", "-1", "99999"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(read("x").unwrap_err().to_string(), "\"x\" is no list of CPUs such as 0 or 0-2,5");
    }

    #[test]
    fn both_sides_together_are_each_cpu_once() {
        let (one, two): (CpuList, CpuList) = ("1,0".parse().unwrap(), "1-3".parse().unwrap());
        assert_eq!(one.with(&two).to_string(), "0,1,2,3");
    }

    #[test]
    fn a_thread_can_be_moved_to_where_it_may_be() {
        let (servers, clients) = CpuList::split_allowed();
        std::thread::spawn(move || servers.with(&clients).pin_this_thread().unwrap()).join().unwrap();
    }
}
