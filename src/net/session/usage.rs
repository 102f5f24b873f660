//! What the process has taken of the machine, for `INFO`.

use std::mem::MaybeUninit;
use std::time::Duration;

/// Processor time and memory of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time spent in the program.
    pub user: Duration,
    /// Time spent in the kernel on its behalf.
    pub system: Duration,
    /// Time that ended children have spent, such as a checkpoint node that was restarted.
    pub user_children: Duration,
    /// Time spent in the kernel on their behalf.
    pub system_children: Duration,
    /// Bytes of memory that are resident; 0 if the system does not say.
    pub resident_bytes: u64,
}

impl Usage {
    /// Reads what the process has taken until now.
    pub(super) fn now() -> Self {
        let (user, system) = times(libc::RUSAGE_SELF);
        let (user_children, system_children) = times(libc::RUSAGE_CHILDREN);
        Self { user, system, user_children, system_children, resident_bytes: resident_bytes().unwrap_or(0) }
    }
}

/// Time in the program and in the kernel.
fn times(who: libc::c_int) -> (Duration, Duration) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for the write of one `rusage`, and nothing else has it.
    unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    // SAFETY: a `rusage` is made of integers, for which zeros are valid, so it is initialised even if the call has
    // failed.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (duration(usage.ru_utime), duration(usage.ru_stime))
}

fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_takes_time_and_memory() {
        let usage = Usage::now();
        assert!(usage.user + usage.system > Duration::ZERO);
        assert!(usage.resident_bytes > 100_000);
    }
}
