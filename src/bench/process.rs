//! Information about processes from `/proc`: CPU time, memory, and which one listens on a port; and about this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::result::Machine;

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// CPU time of a process at some moment.
#[derive(Clone, Debug, Default)]
pub struct CpuSample {
    /// CPU time per thread in nanoseconds: precise, but a thread's time disappears when it ends.
    threads: BTreeMap<u32, u64>,
    /// CPU time of the process in seconds, including ended threads; resolution about 1/100 s.
    seconds: f64,
}

impl CpuSample {
    /// CPU time that `pid` has used so far; `None` if there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses, which may contain anything.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        let seconds = ticks / rustix::param::clock_ticks_per_second() as f64;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let threads = tasks.filter_map(|task| {
            let path = task.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            let used = fs::read_to_string(path.join("schedstat")).ok()?;
            Some((id, used.split_whitespace().next()?.parse().ok()?))
        });
        Some(Self { threads: threads.collect(), seconds })
    }

    /// Seconds of CPU time used from `before` to now. Kernel threads that work for the process are not included.
    pub fn since(&self, before: &Self) -> f64 {
        let all_there = before.threads.keys().all(|id| self.threads.contains_key(id));
        if all_there && !before.threads.is_empty() {
            let sum = |sample: &Self| sample.threads.values().sum::<u64>() as f64 / SECOND;
            sum(self) - sum(before)
        } else {
            self.seconds - before.seconds
        }
    }
}

/// Seconds of CPU time that this process has used so far.
pub fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / SECOND
}

/// Resident memory of `pid` in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let pages: u64 = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Process id of the listener on a TCP port of this machine; `None` if it cannot be determined.
pub fn listener(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> =
        tables.iter().flat_map(|table| listening(table, port)).map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let descriptors = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"));
        descriptors
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
    };
    if inodes.is_empty() { None } else { pids.into_iter().find(holds) }
}

/// Inodes of the sockets that listen on `port`, according to one of the kernel's socket tables.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows
        .filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&suffix)) && fields.get(3) == Some(&LISTEN));
    ours.filter_map(|fields| fields.get(9)?.parse().ok()).collect()
}

/// Describes this machine.
pub fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kib = field(&meminfo, "MemTotal").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let system = rustix::system::uname();
    Machine {
        cpu: field(&cpuinfo, "model name").unwrap_or_else(|| system.machine().to_string_lossy().into_owned()),
        cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        memory_bytes: kib.unwrap_or(0) * 1024,
        kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_port_and_its_cpu_is_seen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = std::process::id();
        assert_eq!(listener(socket.local_addr().unwrap().port()), Some(own));
        let (before, own_before) = (CpuSample::of(own).unwrap(), own_cpu_seconds());
        let begin = std::time::Instant::now();
        while begin.elapsed() < std::time::Duration::from_millis(50) {}
        assert!(CpuSample::of(own).unwrap().since(&before) > 0.005);
        assert!(own_cpu_seconds() - own_before > 0.005);
        assert!(resident_bytes(own).unwrap() > 100_000);
        assert!(CpuSample::of(0).is_none());
    }

    #[test]
    fn only_listeners_on_the_port_itself_are_taken() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:18EC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 123 1 x\n\
            1: 0100007F:18EC 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 124 1 x\n\
            2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 125 1 x\n";
        assert_eq!(listening(table, 6380), [123]);
    }

    #[test]
    fn the_machine_is_described() {
        let machine = machine();
        assert!(machine.cpus > 0 && machine.memory_bytes > 1 << 20 && machine.kernel.starts_with("Linux"));
    }
}
