//! INFO: how the server is and what it has done, under Redis's names where Redis has one, so that existing exporters
//! work.
//!
//! Before it is answered all cores publish their counts, so that a client finds its own doings in it. Left out is what
//! nothing here counts or has: hits and misses of keys, eviction, scripts, publish and subscribe.

mod sections;

use std::fmt::{Display, Write as _};

use super::usage::Usage;
use super::{Done, Outcome, Row, Visit, row};
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Group, Spec};
use crate::config::{Config, Settings};
use crate::encoding::resp::{Args, Reply};
use crate::engine::Engine;
use crate::ids::{Epoch, Placement};
use crate::net::clients::Clients;
use crate::net::connection::ReplyMode;
use crate::net::counts::CoreCounts;
use crate::replication::master::Status;
use crate::time;

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[row(
    Spec::new(Group::Server, "info", -1, "[section ...]")
        .flags(ANY_TIME, Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .about("1.0.0", "O(1)", "Reports how the server is and what it has done"),
    info,
)
.part(publish_here)];

/// `INFO [section ...]`
fn info(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if !all_have_published(visit) {
        return Ok(Outcome::AfterCounts);
    }
    let service = visit.service;
    let checkpoints = service.checkpoints.status();
    let report = Report {
        run_id: &service.run_id,
        config: &service.config,
        epoch: service.cores.epoch,
        placement: service.cores.placement,
        clients: service.admission.clients(),
        settings: visit.settings,
        cores: &service.counts(),
        last_save: checkpoints.saved.unwrap_or(service.started_at).get() / 1000,
        checkpoints: &checkpoints,
        usage: Usage::now(),
        machine_bytes: machine_bytes(),
        now_us: time::unix_micros(),
        uptime_s: service.started.elapsed().as_secs(),
    };
    let wanted: Vec<&[u8]> = args.from(1).collect();
    reply.text(&report.text(&wanted));
    Ok(Outcome::Answered)
}

/// Whether all cores have published their counts for this request, so that a client finds its own doings in its reply.
/// If not, they are to be asked first ([`Outcome::AfterCounts`]).
pub(super) fn all_have_published(visit: &mut Visit<'_>) -> bool {
    let is_asked_for = std::mem::take(&mut visit.connection.counts_asked_for);
    let is_wanted = visit.connection.session.replies == ReplyMode::On;
    if !is_asked_for && is_wanted && visit.service.cores.placement.cores() > 1 {
        return false;
    }
    visit.service.publish(visit.engine.core(), visit.counts, visit.engine.counts());
    true
}

/// This core's part of `INFO`: publishes its counts.
pub(super) fn publish_here(clients: &mut Clients, engine: &mut Engine, _: u64, _: Args<'_>, reply: &mut Reply<'_>) {
    clients.publish(engine.counts());
    reply.ok();
}

/// State of the server at one moment, from which `INFO` is written.
struct Report<'a> {
    run_id: &'a str,
    config: &'a Config,
    epoch: Epoch,
    placement: Placement,
    /// Number of clients that are connected now.
    clients: u32,
    settings: &'a Settings,
    cores: &'a [CoreCounts],
    checkpoints: &'a Status,
    /// When everything that had changed last came to be in checkpoints, in Unix seconds; when the server started if it
    /// never did.
    last_save: u64,
    usage: Usage,
    /// Bytes of memory that the machine has.
    machine_bytes: u64,
    /// Wall-clock time in microseconds since 1970.
    now_us: u64,
    uptime_s: u64,
}

impl Report<'_> {
    /// The sections that are asked for, in their usual order. Unknown names mean nothing.
    fn text(&self, wanted: &[&[u8]]) -> String {
        let named = |name: &str| wanted.iter().any(|w| w.eq_ignore_ascii_case(name.as_bytes()));
        let all = named("all") || named("everything");
        let default = wanted.is_empty() || named("default");
        let mut lines = Lines::default();
        for section in sections::ALL {
            if all || (default && section.default) || named(section.name) {
                lines.begin(section.name);
                (section.write)(self, &mut lines);
            }
        }
        lines.0
    }

    /// A count, summed up over the cores.
    fn sum(&self, count: impl Fn(&CoreCounts) -> u64) -> u64 {
        self.cores.iter().map(count).sum()
    }
}

/// Lines of the reply, as far as they are written.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn begin(&mut self, section: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.0.push_str("# ");
        let mut letters = section.chars();
        self.0.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        self.0.push_str(letters.as_str());
        self.0.push_str("\r\n");
    }

    fn put(&mut self, name: &str, value: impl Display) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and the same for people.
    fn put_bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// Bytes with a unit, as Redis writes them.
fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power as usize - 1])
}

fn machine_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    machine.totalram as u64 * u64::from(machine.mem_unit)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::ids::{Lsn, Partitions};
    use crate::replication::master::{CheckpointStatus, NodeStatus};
    use crate::time::UnixMillis;

    fn text(wanted: &[&str]) -> String {
        let mut core = CoreCounts::default();
        (core.engine.appended, core.engine.synced) = (Lsn(12), Lsn(11));
        (core.engine.durable, core.engine.mirrored) = (Lsn(10), Lsn(9));
        core.engine.data_bytes = 1536;
        (core.engine.keys[3], core.engine.expiring[3]) = (5, 2);
        core.clients.note_command(crate::net::COMMANDS.registry.lookup(b"get"));
        core.engine.errors.note_reply(b"-WRONGTYPE no\r\n");
        let took = Duration::from_secs(3);
        let report = Report {
            run_id: "0123",
            config: &Config::default(),
            epoch: Epoch(7),
            placement: Placement::new(Partitions::new(256).unwrap(), 2).unwrap(),
            clients: 1,
            settings: &Settings::of(&Config::default()),
            cores: &[core.clone(), core],
            checkpoints: &Status {
                node: Some(NodeStatus {
                    address: Ipv4Addr::LOCALHOST.into(),
                    since: UnixMillis::new(1_600_000_000_000),
                }),
                unsaved_edits: 7,
                failing: 1,
                last: Some(CheckpointStatus { at: UnixMillis::new(1_699_999_991_000), took, bytes: 5 }),
                log_bytes: 8192,
                installed: 4,
                ..Status::default()
            },
            last_save: 1_700_000_000,
            usage: Usage::default(),
            machine_bytes: 1 << 34,
            now_us: 1_700_000_001_000_002,
            uptime_s: 90_000,
        };
        report.text(&wanted.iter().map(|w| w.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn every_line_is_a_heading_or_a_name_and_a_value() {
        for part in text(&["everything"]).split("\r\n\r\n") {
            let mut lines = part.trim_end().split("\r\n");
            assert!(lines.next().unwrap().starts_with("# "), "{part}");
            for line in lines {
                let (name, value) = line.split_once(':').unwrap();
                assert!(!name.is_empty() && !value.contains(['\r', '\n']), "{line}");
            }
        }
    }

    #[test]
    fn sections_come_in_their_order_and_only_if_asked_for() {
        let headings = |wanted: &[&str]| {
            let text = text(wanted);
            text.lines().filter_map(|l| l.strip_prefix("# ")).map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let default =
            "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster Keyspace Rollbook";
        assert_eq!(headings(&[]), default);
        assert_eq!(headings(&["default"]), default);
        assert_eq!(headings(&["keyspace", "foo", "Server"]), "Server Keyspace");
        assert_eq!(headings(&["foo"]), "");
        assert!(headings(&["all"]).contains("Commandstats"));
    }

    #[test]
    fn what_exporters_read_is_there() {
        let text = text(&["everything"]);
        for line in [
            "redis_mode:standalone",
            "uptime_in_days:1",
            "maxclients:10000",
            "used_memory:3072",
            "used_memory_human:3.00K",
            "maxmemory:0",
            "loading:0",
            "rdb_last_save_time:1700000000",
            "rdb_changes_since_last_save:7",
            "rdb_bgsave_in_progress:0",
            "rdb_last_bgsave_status:err",
            "rdb_last_bgsave_time_sec:3",
            "rdb_current_bgsave_time_sec:-1",
            "aof_current_size:8192",
            "mirror_lag_edits:6",
            "aof_enabled:1",
            "aof_last_write_status:ok",
            "total_commands_processed:2",
            "role:master",
            "connected_slaves:1",
            "cmdstat_get:calls=2,usec=0,usec_per_call=0.00",
            "errorstat_WRONGTYPE:count=2",
            "cluster_enabled:0",
            "db3:keys=10,expires=4,avg_ttl=0",
            "checkpoints_installed:4",
            "checkpoint_last_age_seconds:10",
            "node_address:127.0.0.1",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        assert!(
            text.contains("core1:requests=1,forwarded=0,stalls=0,edits=12,synced=7.11,durable=7.10,mirrored=7.9,"),
            "{text}"
        );
    }

    #[test]
    fn bytes_are_shown_as_redis_does() {
        for (bytes, shown) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (916_256, "894.78K"), (25_276_502_016, "23.54G")]
        {
            assert_eq!(human(bytes), shown);
        }
        assert!(human(u64::MAX).ends_with('P'));
    }
}
