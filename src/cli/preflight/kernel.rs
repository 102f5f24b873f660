//! Checks of the kernel version, the process's limits, and CPUs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};

use super::Finding;
use crate::config::Config;
use crate::config::load::Loaded;

/// Oldest supported kernel: the first with `IORING_SETUP_DEFER_TASKRUN`; multishot receive came one version before.
const OLDEST: (u32, u32) = (6, 1);
/// Lockable memory in bytes below which glommio refuses to start, whatever the privileges.
const LOCKED_LEAST: u64 = 512 << 10;
/// Number of files that a core has open besides its clients' sockets: rings, eventfds, segments, snapshots being read.
const FILES_PER_CORE: u64 = 64;
/// Number of files that the rest of the process has open.
const FILES: u64 = 256;

/// Resources that a master may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The CPU of each core.
    pub cpus: Vec<usize>,
    /// Maximum number of clients: `server.max_clients`, or fewer if the process may not open as many files.
    pub max_clients: u32,
}

/// Raises the soft limits of open files and locked memory to the hard ones.
pub fn raise_limits() {
    for resource in [Resource::Nofile, Resource::Memlock] {
        let limit = getrlimit(resource);
        // If a limit cannot be raised, the checks report it where it matters.
        let _ = setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// The resources of this machine that a master with `config` uses.
pub(super) fn ready(config: &Config) -> Ready {
    let cpus = chosen(config, &allowed());
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let others = other_files(cpus.len()) + u64::from(config.server.admin_clients);
    let room = files.saturating_sub(others).max(1);
    Ready { cpus, max_clients: config.server.max_clients.min(u32::try_from(room).unwrap_or(u32::MAX)) }
}

/// The CPUs that this process may run on.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
    // If there are more CPUs than the set can hold, assume that they are numbered without gaps.
    let counted = || std::thread::available_parallelism().map_or(1, usize::from);
    if cpus.is_empty() { (0..counted()).collect() } else { cpus }
}

/// CPUs of the cores: as many as configured, or else as many as the process may use (respecting a container's quota),
/// but never more than there are partitions.
fn chosen(config: &Config, allowed: &[usize]) -> Vec<usize> {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usable.min(usize::from(config.data.partitions.count()));
    allowed.iter().copied().take(config.server.cores.map_or(most, usize::from)).collect()
}

fn other_files(cores: usize) -> u64 {
    FILES + FILES_PER_CORE * cores as u64
}

/// Checks that there is a CPU for each core.
pub(super) fn cores(loaded: &Loaded) -> Finding {
    let allowed = allowed();
    let wanted = loaded.config.server.cores.map_or(1, usize::from);
    if wanted > allowed.len() {
        let why =
            format!("{wanted} cores, but this process may run on {} CPUs; lower it, or set it to 0", allowed.len());
        return Finding::misconfigured(loaded, "server.cores", why);
    }
    let cpus = chosen(&loaded.config, &allowed);
    let list = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Finding::fine("cores", format!("{} of {} CPUs: {list}", cpus.len(), allowed.len()))
}

/// Checks that the kernel is recent enough.
pub(super) fn version() -> Finding {
    let name = rustix::system::uname();
    judge_version(&name.release().to_string_lossy())
}

fn judge_version(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => Finding::missing(
            "kernel",
            format!(
                "Linux {release} is too old: the network rings need {}.{} or newer; update the kernel of the host",
                OLDEST.0, OLDEST.1
            ),
        ),
        // Where the version is hidden, the io_uring check decides.
        _ => Finding::fine("kernel", format!("Linux {release}")),
    }
}

/// Checks that enough memory may be locked.
pub(super) fn locked_memory() -> Finding {
    let limit = getrlimit(Resource::Memlock);
    judge_locked(limit.maximum.unwrap_or(u64::MAX))
}

fn judge_locked(most: u64) -> Finding {
    if most < LOCKED_LEAST {
        let text = format!(
            "only {} KiB of memory may be locked, and the rings need {} KiB: raise it with `ulimit -l`, LimitMEMLOCK= \
             (systemd) or --ulimit memlock=-1 (docker)",
            most >> 10,
            LOCKED_LEAST >> 10
        );
        return Finding::missing("locked memory", text);
    }
    match most {
        u64::MAX => Finding::fine("locked memory", "no limit"),
        most => Finding::fine("locked memory", format!("{} KiB", most >> 10)),
    }
}

/// Checks that enough files may be open.
pub(super) fn open_files(config: &Config) -> Finding {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let others = other_files(chosen(config, &allowed()).len()) + u64::from(config.server.admin_clients);
    judge_files(most, config.server.max_clients, others)
}

fn judge_files(most: u64, clients: u32, others: u64) -> Finding {
    let wanted = u64::from(clients) + others;
    if most <= others {
        let text = format!("only {most} files may be open, and {wanted} are wanted: raise it with `ulimit -n`");
        Finding::missing("open files", text)
    } else if most < wanted {
        let text = format!(
            "only {most} files may be open, so at most {} clients are served instead of server.max_clients = {clients}: \
             raise it with `ulimit -n`, or lower server.max_clients",
            most - others
        );
        Finding::note("open files", text)
    } else {
        Finding::fine("open files", format!("{wanted} wanted, {most} allowed"))
    }
}

/// Checks that the machine has as much memory as the data may take.
pub(super) fn memory(config: &Config) -> Option<Finding> {
    let info = rustix::system::sysinfo();
    let total = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit.max(1)));
    let most = config.memory.max_bytes.filter(|most| *most > total)?;
    let text = format!("memory.max_bytes is {most}, but this machine has {total} bytes of memory");
    Some(Finding::note("memory", text))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn kernels_before_6_1_are_refused() {
        for (release, good) in [
            ("6.1.0-13-amd64", true),
            ("6.18.44", true),
            ("7.0-rc1", true),
            ("10.0", true),
            ("6.0.19", false),
            ("5.15.0-91-generic", false),
            ("unheard-of", true),
        ] {
            assert_eq!(judge_version(release).verdict == Verdict::Fine, good, "{release}");
        }
    }

    #[test]
    fn few_open_files_mean_few_clients_and_too_few_mean_none() {
        assert_eq!(judge_files(20_000, 10_000, 400).verdict, Verdict::Fine);
        assert_eq!(judge_files(1024, 10_000, 400).verdict, Verdict::Note);
        assert!(judge_files(1024, 10_000, 400).text.contains("624 clients"));
        assert!(matches!(judge_files(256, 10_000, 400).verdict, Verdict::Blocker(_)));
    }

    #[test]
    fn little_locked_memory_is_refused() {
        assert!(matches!(judge_locked(64 << 10).verdict, Verdict::Blocker(_)));
        assert_eq!(judge_locked(8 << 20).verdict, Verdict::Fine);
    }

    #[test]
    fn there_are_as_many_cores_as_configured_and_never_more_than_partitions() {
        let mut config = Config::default();
        let allowed: Vec<usize> = (4..200).collect();
        config.server.cores = Some(3);
        assert_eq!(chosen(&config, &allowed), [4, 5, 6]);
        config.server.cores = None;
        config.data.partitions = crate::ids::Partitions::new(1).unwrap();
        assert_eq!(chosen(&config, &allowed), [4]);
    }
}
