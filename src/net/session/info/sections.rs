//! The sections of `INFO`.

use std::time::Duration;

use super::{Lines, Report};
use crate::config::Durability;
use crate::ids::{Db, Position};
use crate::net::session::COMMANDS;
use crate::net::session::authentication::REDIS_VERSION;
use crate::time::UnixMillis;

/// One section of `INFO`.
pub(super) struct Section {
    /// Its name in small letters, but for those that are written in capitals.
    pub name: &'static str,
    /// It is shown unless others are asked for.
    pub default: bool,
    /// Writes the lines of the section.
    pub write: fn(&Report<'_>, &mut Lines),
}

/// All of them, in the order in which they are shown.
pub(super) const ALL: &[Section] = &[
    Section { name: "server", default: true, write: server },
    Section { name: "clients", default: true, write: clients },
    Section { name: "memory", default: true, write: memory },
    Section { name: "persistence", default: true, write: persistence },
    Section { name: "stats", default: true, write: stats },
    Section { name: "replication", default: true, write: replication },
    Section { name: "CPU", default: true, write: cpu },
    Section { name: "modules", default: true, write: |_, _| {} },
    Section { name: "commandstats", default: false, write: commandstats },
    Section { name: "errorstats", default: true, write: errorstats },
    Section { name: "cluster", default: true, write: |_, out| out.put("cluster_enabled", 0) },
    Section { name: "keyspace", default: true, write: keyspace },
    Section { name: "rollbook", default: true, write: rollbook },
];

fn server(report: &Report<'_>, out: &mut Lines) {
    let system = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    out.put("redis_version", REDIS_VERSION);
    out.put("server_name", "rollbook");
    out.put("rollbook_version", env!("CARGO_PKG_VERSION"));
    out.put("redis_mode", "standalone");
    let os = format!("{} {} {}", part(system.sysname()), part(system.release()), part(system.machine()));
    out.put("os", os);
    out.put("arch_bits", usize::BITS);
    out.put("multiplexing_api", "io_uring");
    out.put("process_id", std::process::id());
    out.put("run_id", report.run_id);
    out.put("tcp_port", report.config.server.port);
    out.put("server_time_usec", report.now_us);
    out.put("uptime_in_seconds", report.uptime_s);
    out.put("uptime_in_days", report.uptime_s / 86_400);
    // Ten times a second each core does what comes round by the clock.
    out.put("hz", 10);
    out.put("configured_hz", 10);
    out.put("executable", std::env::current_exe().unwrap_or_default().display());
    out.put("io_threads_active", 0);
}

fn clients(report: &Report<'_>, out: &mut Lines) {
    out.put("connected_clients", report.clients);
    out.put("cluster_connections", 0);
    out.put("maxclients", report.settings.max_clients);
    out.put("blocked_clients", report.sum(|s| s.clients.blocked));
    out.put("tracking_clients", 0);
    out.put("pubsub_clients", 0);
}

fn memory(report: &Report<'_>, out: &mut Lines) {
    let used = report.sum(|s| s.engine.data_bytes);
    let peak = report.sum(|s| s.engine.peak_data_bytes).max(used);
    let resident = report.usage.resident_bytes;
    out.put_bytes("used_memory", used);
    out.put_bytes("used_memory_rss", resident);
    out.put_bytes("used_memory_peak", peak);
    out.put("used_memory_peak_perc", format_args!("{:.2}%", 100.0 * used as f64 / peak.max(1) as f64));
    out.put("used_memory_dataset", used);
    out.put_bytes("total_system_memory", report.machine_bytes);
    out.put_bytes("maxmemory", report.settings.max_memory.unwrap_or(0));
    out.put("maxmemory_policy", "noeviction");
    let ratio = if used == 0 { 0.0 } else { resident as f64 / used as f64 };
    out.put("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    out.put("mem_fragmentation_bytes", resident as i64 - used as i64);
    out.put("mem_clients_normal", report.sum(|s| s.clients.client_bytes));
    out.put("mem_aof_buffer", report.sum(|s| s.engine.unflushed_bytes));
    out.put("mem_allocator", "mimalloc");
    out.put("lazyfree_pending_objects", report.sum(|s| s.engine.unfreed));
}

/// Checkpoints under the names of Redis's snapshots (`rdb`), the edit log under those of its log of commands (`aof`). A
/// save is complete when everything that had changed when it began is in checkpoints, and has failed while the last
/// attempt of any partition has.
fn persistence(report: &Report<'_>, out: &mut Lines) {
    let checkpoints = report.checkpoints;
    let failed = report.cores.iter().any(|s| s.engine.poisoned.is_some());
    out.put("loading", 0);
    out.put("async_loading", 0);
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let seconds = |time: Option<Duration>| time.map_or(-1, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    out.put("rdb_changes_since_last_save", checkpoints.unsaved_edits);
    out.put("rdb_bgsave_in_progress", u8::from(checkpoints.under_way.is_some()));
    out.put("rdb_last_save_time", report.last_save);
    out.put("rdb_last_bgsave_status", status(checkpoints.failing > 0));
    out.put("rdb_last_bgsave_time_sec", seconds(checkpoints.last.map(|last| last.took)));
    out.put("rdb_current_bgsave_time_sec", seconds(checkpoints.under_way));
    out.put("aof_enabled", 1);
    out.put("aof_rewrite_in_progress", 0);
    out.put("aof_rewrite_scheduled", 0);
    out.put("aof_last_rewrite_time_sec", -1);
    out.put("aof_current_rewrite_time_sec", -1);
    out.put("aof_last_bgrewrite_status", "ok");
    out.put("aof_last_write_status", status(failed));
    out.put("aof_last_cow_size", 0);
    out.put("aof_current_size", checkpoints.log_bytes);
    out.put("aof_buffer_length", report.sum(|s| s.engine.unflushed_bytes));
}

fn stats(report: &Report<'_>, out: &mut Lines) {
    let rate = |which: usize| report.sum(|s| s.clients.rates.mean()[which]);
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    out.put("total_connections_received", report.sum(|s| s.clients.accepted));
    out.put("total_commands_processed", report.sum(|s| s.clients.commands));
    out.put("instantaneous_ops_per_sec", rate(0));
    out.put("total_net_input_bytes", report.sum(|s| s.clients.received_bytes));
    out.put("total_net_output_bytes", report.sum(|s| s.clients.sent_bytes));
    out.put("instantaneous_input_kbps", kilobytes(rate(1)));
    out.put("instantaneous_output_kbps", kilobytes(rate(2)));
    out.put("rejected_connections", report.sum(|s| s.clients.rejected));
    out.put("accept_exhausted", report.sum(|s| s.clients.exhausted));
    out.put("expired_subkeys", report.sum(|s| s.engine.expired_fields));
    out.put("expired_keys", report.sum(|s| s.engine.expired));
    out.put("evicted_keys", 0);
    out.put("evicted_clients", report.sum(|s| s.clients.evicted));
    out.put("client_query_buffer_limit_disconnections", report.sum(|s| s.clients.input_disconnections));
    out.put("client_output_buffer_limit_disconnections", report.sum(|s| s.clients.output_disconnections));
    out.put("acl_access_denied_auth", report.sum(|s| s.clients.auth_failures));
    out.put("total_forks", 0);
    out.put("total_error_replies", report.sum(|s| s.clients.errors.all + s.engine.errors.all));
}

/// The checkpoint node is the one replica.
fn replication(report: &Report<'_>, out: &mut Lines) {
    out.put("role", "master");
    out.put("connected_slaves", u8::from(report.checkpoints.node.is_some()));
    out.put("master_failover_state", "no-failover");
    out.put("master_replid", report.run_id);
    out.put("master_replid2", "0".repeat(40));
    out.put("master_repl_offset", report.sum(|s| s.engine.appended.0));
    out.put("second_repl_offset", -1);
    out.put("repl_backlog_active", 0);
}

fn cpu(report: &Report<'_>, out: &mut Lines) {
    let usage = &report.usage;
    for (name, time) in [
        ("used_cpu_sys", usage.system),
        ("used_cpu_user", usage.user),
        ("used_cpu_sys_children", usage.system_children),
        ("used_cpu_user_children", usage.user_children),
    ] {
        out.put(name, format_args!("{:.6}", time.as_secs_f64()));
    }
}

/// Calls are counted but not timed: reading the clock twice would cost as much as many a command. The names stay for
/// those who parse the lines.
fn commandstats(report: &Report<'_>, out: &mut Lines) {
    for spec in COMMANDS.registry.all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
        let calls = report.sum(|s| s.clients.calls.of(spec.id));
        if calls > 0 {
            out.put(&format!("cmdstat_{}", spec.name), format_args!("calls={calls},usec=0,usec_per_call=0.00"));
        }
    }
}

fn errorstats(report: &Report<'_>, out: &mut Lines) {
    let mut kinds = std::collections::BTreeMap::new();
    for (kind, count) in report.cores.iter().flat_map(|s| s.clients.errors.kinds.iter().chain(&s.engine.errors.kinds)) {
        // A kind is a client's words if the command's error repeats them; it must not break the line.
        let name: String = kind.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, ':' | ',' | '=')).collect();
        *kinds.entry(name).or_insert(0) += count;
    }
    for (kind, count) in kinds {
        out.put(&format!("errorstat_{kind}"), format_args!("count={count}"));
    }
}

fn keyspace(report: &Report<'_>, out: &mut Lines) {
    for db in Db::all() {
        let at = usize::from(db.0);
        let keys = report.sum(|s| s.engine.keys[at]);
        if keys > 0 {
            let expiring = report.sum(|s| s.engine.expiring[at]);
            out.put(&format!("db{db}"), format_args!("keys={keys},expires={expiring},avg_ttl=0"));
        }
    }
}

fn rollbook(report: &Report<'_>, out: &mut Lines) {
    let durability = match report.settings.durability {
        Durability::Async => "async",
        Durability::Sync => "sync",
        Durability::Mirrored => "mirrored",
    };
    out.put("epoch", report.epoch);
    out.put("cores", report.placement.cores());
    out.put("partitions", report.placement.partitions().count());
    out.put("durability", durability);
    out.put("flush_interval_ms", report.config.log.flush_interval_ms);
    for (core, s) in report.cores.iter().enumerate() {
        let position = |lsn| Position::new(report.epoch, lsn);
        out.put(
            &format!("core{core}"),
            format_args!(
                "requests={},forwarded={},stalls={},edits={},synced={},durable={},mirrored={},unflushed_bytes={},commits={},log_bytes={},\
                 commit_p50_us={},commit_p99_us={},commit_max_us={},loop_max_us={},connections={},data_bytes={}",
                s.clients.commands,
                s.engine.forwarded,
                s.clients.stalls,
                s.engine.appended,
                position(s.engine.synced),
                position(s.engine.durable),
                position(s.engine.mirrored),
                s.engine.unflushed_bytes,
                s.engine.log.commits,
                s.engine.log.bytes,
                s.engine.log.commit_p50_us,
                s.engine.log.commit_p99_us,
                s.engine.log.commit_max_us,
                s.clients.loop_max.as_micros(),
                s.clients.connections,
                s.engine.data_bytes,
            ),
        );
        if let Some(why) = &s.engine.poisoned {
            out.put(&format!("core{core}_log_failed"), why.replace(['\r', '\n'], " "));
        }
    }
    out.put("mirror_lag_edits", report.sum(|s| s.engine.appended.0.saturating_sub(s.engine.mirrored.0)));
    out.put("self_checkpoint_slices", report.sum(|s| s.engine.capture_slices));
    out.put("self_checkpoint_slice_max_us", report.cores.iter().map(|s| s.engine.capture_max_us).max().unwrap_or(0));
    checkpoints(report, out);
}

/// The checkpoint node, the checkpoints, and the log that they keep short.
fn checkpoints(report: &Report<'_>, out: &mut Lines) {
    let status = report.checkpoints;
    let failure = status.node_failure.as_deref();
    let last = status.last;
    let age_s = |at: UnixMillis| (report.now_us / 1_000_000).saturating_sub(at.get() / 1000);
    out.put("node_connected", u8::from(status.node.is_some()));
    out.put("node_address", status.node.as_ref().map(|n| n.address.to_string()).unwrap_or_default());
    out.put("node_delivers", u8::from(status.node.is_some() && failure.is_none()));
    out.put("node_failure", failure.unwrap_or_default().replace(['\r', '\n'], " "));
    out.put("node_pid", status.child.and_then(|child| child.pid).unwrap_or(0));
    out.put("node_restarts", status.child.map_or(0, |child| child.restarts));
    out.put("node_sessions", status.sessions);
    out.put("checkpoints_installed", status.installed);
    out.put("checkpoints_failed", status.failed);
    out.put("checkpoints_pending", status.pending);
    out.put("checkpoint_bytes", status.bytes);
    out.put("checkpoint_last_age_seconds", last.map_or(-1, |last| i64::try_from(age_s(last.at)).unwrap_or(i64::MAX)));
    out.put("checkpoint_last_duration_ms", last.map_or(0, |last| last.took.as_millis()));
    out.put("checkpoint_last_bytes", last.map_or(0, |last| last.bytes));
    out.put("partitions_failing", status.failing);
    out.put("partitions_dirty", status.dirty);
    out.put("partitions_diverged", status.diverged);
    let slots: Vec<String> = status.diverged_slots.iter().map(ToString::to_string).collect();
    out.put("slots_diverged", slots.join(","));
    out.put("digests_compared", status.compared.0);
    out.put("digests_differed", status.compared.1);
    out.put("self_checkpoints_installed", status.self_installed);
    out.put("recovery_ms", status.recovered_in.as_millis());
    out.put("recovery_predicted_ms", status.predicted.as_millis());
    out.put("log_dropped_bytes", status.dropped_bytes);
    out.put("log_bytes", status.log_bytes);
    out.put("log_max_bytes", status.max_log_bytes.unwrap_or(0));
    out.put("log_stage", status.stage.name());
}
