//! Rules for settings: ranges of single settings and relations between several.
//!
//! `check` does not stop at the first problem: it reports every broken rule, each under the key that is best changed.

use std::net::IpAddr;
use std::time::Duration;

use super::Config;

/// Block size of log writes in bytes; buffers and segments are multiples of it.
pub const BLOCK_BYTES: u64 = 4096;

/// Longest keepalive time that the kernel accepts (`MAX_TCP_KEEPIDLE`), in seconds.
pub const LONGEST_KEEPALIVE_S: u64 = 32_767;

/// A rule that a configuration breaks.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// The setting, as `table.key`.
    pub key: &'static str,
    /// What the rule requires.
    pub why: String,
}

/// Returns every rule that `config` breaks.
pub fn check(config: &Config) -> Vec<Broken> {
    let mut rules = Rules { broken: Vec::new() };
    server(config, &mut rules);
    log(config, &mut rules);
    checkpoint(config, &mut rules);
    limits(config, &mut rules);
    packing(config, &mut rules);
    rules.broken
}

struct Rules {
    broken: Vec<Broken>,
}

impl Rules {
    fn require(&mut self, holds: bool, key: &'static str, why: impl Into<String>) {
        if !holds {
            self.broken.push(Broken { key, why: why.into() });
        }
    }

    fn range(&mut self, key: &'static str, value: u64, least: u64, most: u64) {
        self.require((least..=most).contains(&value), key, format!("{value} is not from {least} to {most}"));
    }

    fn blocks(&mut self, key: &'static str, value: u64) {
        let why = format!("{value} is not a multiple of {BLOCK_BYTES}, the unit in which the log is written");
        self.require(value.is_multiple_of(BLOCK_BYTES), key, why);
    }
}

fn server(config: &Config, rules: &mut Rules) {
    let server = &config.server;
    rules.require(!server.bind.is_empty(), "server.bind", "names no address; \"127.0.0.1\" serves this machine alone");
    for (at, later) in server.bind.iter().enumerate() {
        if let Some(earlier) = server.bind[..at].iter().find(|earlier| overlap(**earlier, *later)) {
            let why = match earlier == later {
                true => format!("names {later} twice"),
                false => {
                    format!("{earlier} and {later} overlap: what listens on one of them has the other's port, too")
                }
            };
            rules.require(false, "server.bind", why);
        }
    }
    rules.range("server.port", server.port.into(), 1, u16::MAX.into());
    rules.range("server.tcp_keepalive_s", server.tcp_keepalive_s.unwrap_or(1), 1, LONGEST_KEEPALIVE_S);
    rules.range("server.max_clients", server.max_clients.into(), 1, 1 << 20);
    rules.range("server.admin_clients", server.admin_clients.into(), 0, 1024);
    rules.range("server.auth_attempts", server.auth_attempts.into(), 1, 1 << 20);
    rules.range("server.auth_timeout_s", server.auth_timeout_s.unwrap_or(1), 1, 3600);
    let (cores, partitions) = (server.cores.unwrap_or(1), config.data.partitions.count());
    let why = format!("{cores} cores, but data.partitions is {partitions}, and a core holds at least one partition");
    rules.require(cores <= partitions, "server.cores", why);
    // The maximum is a century: no timer overflows on it.
    let idle = server.idle_timeout_s.unwrap_or(1);
    rules.range("server.idle_timeout_s", idle, 1, Duration::from_secs(3_155_760_000).as_secs());
    rules.require(!config.data.dir.as_os_str().is_empty(), "data.dir", "names no directory");
}

/// Whether two listeners on the same port conflict: their addresses are equal, or one is the wildcard address of the
/// same family. Listeners on IPv6 addresses accept no IPv4 connections, so `0.0.0.0` and `::` do not conflict.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

fn log(config: &Config, rules: &mut Rules) {
    let log = &config.log;
    rules.range("log.flush_interval_ms", log.flush_interval_ms, 1, 60_000);
    rules.range("log.buffer_bytes", log.buffer_bytes as u64, 2 * BLOCK_BYTES, 64 << 20);
    rules.blocks("log.buffer_bytes", log.buffer_bytes as u64);
    rules.range("log.buffers", log.buffers as u64, 2, 1024);
    rules.range("log.segment_bytes", log.segment_bytes, 64 << 10, 64 << 30);
    rules.blocks("log.segment_bytes", log.segment_bytes);
    let holds = log.segment_bytes >= log.buffer_bytes as u64 + BLOCK_BYTES;
    let why = format!("{} bytes can't hold its header and one buffer (log.buffer_bytes)", log.segment_bytes);
    rules.require(holds, "log.segment_bytes", why);
    // If there is a core for each CPU, their number is known only at the start, which then raises the bound.
    let cores = config.server.cores.unwrap_or(1);
    let least = super::LEAST_SEGMENTS.saturating_mul(log.segment_bytes).saturating_mul(cores.into());
    let most = log.max_bytes.unwrap_or(least);
    let segments = super::LEAST_SEGMENTS;
    let why = format!(
        "{most} is less than {segments} segments (log.segment_bytes) for each of {cores} cores: at least {least}"
    );
    // The bound is raised at the start if it is the default, or if the number of cores depends on the machine.
    let is_default = log.max_bytes == Config::default().log.max_bytes;
    rules.require(most >= least || is_default, "log.max_bytes", why);
}

fn checkpoint(config: &Config, rules: &mut Rules) {
    use super::{Durability, NodeMode};
    let checkpoint = &config.checkpoint;
    rules.range("checkpoint.port", checkpoint.port.into(), 1, u16::MAX.into());
    let shares_address = config.server.bind.iter().any(|address| overlap(*address, checkpoint.bind));
    let clash = checkpoint.node != NodeMode::None && checkpoint.port == config.server.port && shares_address;
    rules.require(!clash, "checkpoint.port", format!("{} is server.port already", checkpoint.port));
    let nobody = checkpoint.node == NodeMode::None && config.log.durability == Durability::Mirrored;
    let why = "\"none\", but log.durability is \"mirrored\", which waits for a checkpoint node";
    rules.require(!nobody, "checkpoint.node", why);
    let port = checkpoint.master.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(0);
    rules.require(port != 0, "checkpoint.master", format!("{:?} is not host:port", checkpoint.master));
    rules.range("checkpoint.every_edits", checkpoint.every_edits, 1, 1 << 40);
    rules.range("checkpoint.every_seconds", checkpoint.every_seconds, 1, 31_557_600);
    let rate = checkpoint.upload_bytes_per_second.unwrap_or(u64::MAX);
    rules.range("checkpoint.upload_bytes_per_second", rate, 64 << 10, u64::MAX);
    rules.range("checkpoint.timeout_s", checkpoint.timeout_s, 2, 3600);
}

fn limits(config: &Config, rules: &mut Rules) {
    let limits = &config.limits;
    let bulk = limits.bulk_bytes as u64;
    // The maximum is what a record's length field can hold; the minimum keeps every command usable.
    rules.range("limits.bulk_bytes", bulk, 1 << 10, 512 << 20);
    rules.range("limits.args", limits.args as u64, 64, i32::MAX as u64);
    let buffers = [
        ("limits.query_buffer_bytes", limits.query_buffer_bytes),
        ("limits.output_buffer_bytes", limits.output_buffer_bytes),
    ];
    for (key, bytes) in buffers {
        let why = format!("{bytes} bytes can't hold one argument of limits.bulk_bytes ({bulk}) and 64 KiB around it");
        rules.require(bytes as u64 >= bulk + (64 << 10), key, why);
    }
    rules.range("limits.output_buffer_soft_s", limits.output_buffer_soft_s, 1, 86_400);
    let (soft, hard) = (limits.output_buffer_soft_bytes.unwrap_or(0), limits.output_buffer_bytes as u64);
    let why = format!("{soft} bytes are more than limits.output_buffer_bytes ({hard}), at which a client is gone");
    rules.require(soft <= hard, "limits.output_buffer_soft_bytes", why);
    let clients = config.memory.clients_max_bytes.unwrap_or(u64::MAX);
    let why = format!("{clients} bytes can't hold one argument of limits.bulk_bytes ({bulk}) and 64 KiB around it");
    rules.require(clients >= bulk + (64 << 10), "memory.clients_max_bytes", why);
}

/// Any size is taken: the packed forms have limits of their own, which keep a value that is rewritten with each change
/// from holding up its core.
fn packing(config: &Config, rules: &mut Rules) {
    let packing = &config.packing;
    let sizes = [
        ("packing.hash_entries", packing.hash_entries),
        ("packing.hash_bytes", packing.hash_bytes),
        ("packing.set_integers", packing.set_integers),
        ("packing.set_entries", packing.set_entries),
        ("packing.set_bytes", packing.set_bytes),
        ("packing.sorted_set_entries", packing.sorted_set_entries),
        ("packing.sorted_set_bytes", packing.sorted_set_bytes),
        ("packing.stream_block_bytes", packing.stream_block_bytes),
        ("packing.stream_block_entries", packing.stream_block_entries),
        ("packing.hyperloglog_bytes", packing.hyperloglog_bytes),
    ];
    for (key, value) in sizes {
        rules.range(key, value.into(), 0, i32::MAX as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(bind: &[&str], change: impl FnOnce(&mut Config)) -> Vec<(&'static str, String)> {
        let mut config = Config::default();
        config.server.bind = bind.iter().map(|address| address.parse().unwrap()).collect();
        change(&mut config);
        check(&config).into_iter().map(|broken| (broken.key, broken.why)).collect()
    }

    #[test]
    fn addresses_that_stand_side_by_side_are_good() {
        for bind in
            [&["127.0.0.1", "127.0.0.2", "::1"][..], &["0.0.0.0", "::"], &["0.0.0.0", "::1"], &["::", "10.1.2.3"]]
        {
            assert_eq!(broken(bind, |_| ()), [], "{bind:?}");
        }
    }

    #[test]
    fn an_address_that_another_one_takes_is_an_error_of_the_list() {
        for (bind, why) in [
            (&["127.0.0.1", "::1", "127.0.0.1"][..], "names 127.0.0.1 twice"),
            (&["::1", "0:0:0:0:0:0:0:1"], "names ::1 twice"),
            (&["0.0.0.0", "127.0.0.1"], "0.0.0.0 and 127.0.0.1 overlap"),
            (&["10.1.2.3", "::", "0.0.0.0"], "10.1.2.3 and 0.0.0.0 overlap"),
            (&["::1", "::"], "::1 and :: overlap"),
        ] {
            let found = broken(bind, |_| ());
            assert!(
                found.len() == 1 && found[0].0 == "server.bind" && found[0].1.starts_with(why),
                "{bind:?}: {found:?}"
            );
        }
    }

    #[test]
    fn both_ports_may_have_a_number_only_on_addresses_that_do_not_overlap() {
        let same_port = |config: &mut Config| config.checkpoint.port = config.server.port;
        for bind in ["127.0.0.1", "0.0.0.0"] {
            assert_eq!(broken(&[bind], same_port), [("checkpoint.port", "6380 is server.port already".to_owned())]);
        }
        assert_eq!(broken(&["10.1.2.3", "::"], same_port), []);
    }
}
