//! CONFIG GET and CONFIG SET.
//!
//! Every setting has two kinds of names: its own (`log.flush_interval_ms`), and Redis's (`maxmemory`) where Redis has
//! the like. Most settings are fixed while the server runs; what can change is [`Settings`], and a change lasts until
//! the server ends.

mod changes;
mod names;
mod number;
mod packing;

use self::changes::Change;
use super::{Done, Outcome, Refusal, Row, SYNTAX, Visit, help, ok, parent, row, shown};
use crate::commands::glob;
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::config::{Config, Settings, check};
use crate::encoding::resp::{Args, Reply};
use crate::engine::{Engine, Merge};
use crate::net::clients::Clients;

const OPERATOR: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT);

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[parent(
    Spec::new(Group::Server, "config", -2, "").flags(Flags::NONE, Categories::NONE).about(
        "2.0.0",
        "Depends on the subcommand",
        "Looks at settings and changes them",
    ),
    SUBCOMMANDS,
)];

const SUBCOMMANDS: &[Row] = &[
    row(
        Spec::new(Group::Server, "config|get", -3, "parameter ...").flags(OPERATOR, Categories::NONE).about(
            "2.0.0",
            "O(N), N being the number of settings",
            "Tells the values of settings whose names fit the patterns",
        ),
        get,
    ),
    help(Spec::new(Group::Server, "config|help", 2, "").flags(ANY_TIME, Categories::NONE).about(
        "5.0.0",
        "O(1)",
        "Lists the subcommands of CONFIG",
    )),
    row(
        Spec::new(Group::Server, "config|resetstat", 2, "")
            .flags(OPERATOR, Categories::NONE)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .about("2.0.0", "O(1)", "Starts the counters of INFO again from zero"),
        resetstat,
    )
    .part(resetstat_here),
    row(
        Spec::new(Group::Server, "config|set", -4, "<parameter value> ...")
            .flags(OPERATOR, Categories::NONE)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .about("2.0.0", "O(N), N being the number of settings given", "Changes settings until the server ends"),
        set,
    ),
];

/// `CONFIG GET parameter ...`
fn get(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let config = current(&visit.service.config, visit.settings);
    let patterns: Vec<_> = args.from(2).map(<[u8]>::to_ascii_lowercase).collect();
    let mut found = names::values(&config);
    found.retain(|(name, _)| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes())));
    reply.map(found.len());
    for (name, value) in &found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(Outcome::Answered)
}

/// `CONFIG SET parameter value ...`: all of them, or none.
fn set(visit: &mut Visit<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let changes = changes_of(args, &visit.service.config, visit.settings)?;
    // The other cores, and clients that wait, follow with the next turn; this client's next command goes by it already.
    *visit.settings = visit.service.change_settings(|settings| {
        changes.into_iter().for_each(|change| change.apply(settings));
    });
    ok(reply)
}

/// The configuration as it is in force.
fn current(config: &Config, settings: &Settings) -> Config {
    let mut config = config.clone();
    config.server.password.clone_from(&settings.password);
    config.server.max_clients = settings.max_clients;
    config.server.admin_clients = settings.admin_clients;
    config.server.auth_timeout_s = settings.auth_timeout_s;
    config.server.auth_attempts = settings.auth_attempts;
    config.memory.clients_max_bytes = settings.clients_max_bytes;
    config.limits.clone_from(&settings.limits);
    config.packing = settings.packing;
    config.server.idle_timeout_s = settings.idle_timeout_s;
    config.logging.level = settings.log_level;
    config.server.tcp_keepalive_s = settings.tcp_keepalive_s;
    config.log.durability = settings.durability;
    config.memory.max_bytes = settings.max_memory;
    config
}

/// What a `CONFIG SET` changes.
fn changes_of(args: Args<'_>, config: &Config, settings: &Settings) -> Result<Vec<Change>, Refusal> {
    if !args.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let failed =
        |name: &str, why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into();
    let unknown =
        |name: &[u8]| format!("ERR Unknown option or number of arguments for CONFIG SET - '{}'", shown(name)).into();
    let known = names::values(config);
    let mut settings = settings.clone();
    let mut changes: Vec<Change> = Vec::new();
    for at in (2..args.len()).step_by(2) {
        let name = String::from_utf8_lossy(args.at(at)).to_ascii_lowercase();
        if !known.iter().any(|(own, _)| *own == name) {
            return Err(unknown(args.at(at)));
        }
        let change = Change::parse(&name, args.at(at + 1), config).map_err(|why| failed(&name, &why))?;
        if changes.iter().any(|other| other.is_of_same(&change)) {
            return Err(failed(&name, "duplicate parameter"));
        }
        change.clone().apply(&mut settings);
        if let Some(broken) = check::check(&current(config, &settings)).first() {
            return Err(failed(&name, &broken.why));
        }
        changes.push(change);
    }
    Ok(changes)
}

/// `CONFIG RESETSTAT`
fn resetstat(_: &mut Visit<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Done {
    Ok(Outcome::Everywhere(Merge::Ok))
}

/// This core's part of `CONFIG RESETSTAT`.
fn resetstat_here(clients: &mut Clients, engine: &mut Engine, _: u64, _: Args<'_>, reply: &mut Reply<'_>) {
    clients.counts.reset();
    engine.reset_counts();
    clients.publish(engine.counts());
    reply.ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::request;
    use crate::config::{Durability, NodeMode, Password};

    fn set_in(config: &Config, text: &str) -> Result<Settings, String> {
        let before = Settings::of(config);
        request(text, |args| {
            let mut after = before.clone();
            let changes = changes_of(args, config, &before).map_err(Refusal::into_owned)?;
            changes.into_iter().for_each(|change| change.apply(&mut after));
            Ok(after)
        })
    }

    fn set(text: &str) -> Result<Settings, String> {
        set_in(&Config::default(), text)
    }

    fn get(patterns: &[&str]) -> Vec<(String, String)> {
        let mut all = names::values(&Config::default());
        all.retain(|(name, _)| patterns.iter().any(|p| glob::matches(p.as_bytes(), name.as_bytes())));
        all
    }

    #[test]
    fn settings_have_redis_names_and_their_own() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(get(&["maxmemory", "save"]), [pair("maxmemory", "0"), pair("save", "300 1 1 250000")]);
        assert_eq!(get(&["append*"]), [pair("appendfsync", "everysec"), pair("appendonly", "yes")]);
        assert_eq!(get(&["log.flush*"]), [pair("log.flush_interval_ms", "10")]);
        assert_eq!(get(&["server.bind", "bind"]), [pair("bind", "127.0.0.1"), pair("server.bind", "127.0.0.1")]);
        assert_eq!(get(&["checkpoint.dir"]), [pair("checkpoint.dir", "")]);
        assert_eq!(get(&["nothing"]), []);
        let all = get(&["*"]);
        let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn changes_are_made_under_either_name() {
        let settings =
            set("CONFIG SET maxmemory 100mb TIMEOUT 3 requirepass x appendfsync always maxclients 20").unwrap();
        assert_eq!(settings.max_memory, Some(100 << 20));
        assert_eq!((settings.idle_timeout_s, settings.max_clients), (Some(3), 20));
        assert_eq!((settings.password, settings.durability), (Some(Password::new("x")), Durability::Sync));
        assert_eq!(set("CONFIG SET tcp-keepalive 60").unwrap().tcp_keepalive_s, Some(60));
        assert_eq!(set("CONFIG SET server.tcp_keepalive_s 0").unwrap().tcp_keepalive_s, None);
        let settings = set("CONFIG SET memory.max_bytes 1MiB log.durability mirrored server.idle_timeout_s 7").unwrap();
        assert_eq!((settings.max_memory, settings.idle_timeout_s), (Some(1 << 20), Some(7)));
        assert_eq!(settings.durability, Durability::Mirrored);
        assert_eq!(set("CONFIG SET maxmemory 0 timeout 0 requirepass ").unwrap(), Settings::of(&Config::default()));
    }

    #[test]
    fn sizes_of_packed_values_are_taken_as_redis_takes_them() {
        let packing = |text: &str| set(text).map(|settings| settings.packing);
        let large = packing("CONFIG SET hash-max-ziplist-entries 1000000000 hash-max-listpack-value 1gb").unwrap();
        assert_eq!((large.hash_entries, large.hash_bytes), (1_000_000_000, 1 << 30));
        assert_eq!(packing("CONFIG SET packing.set_entries 2147483647").unwrap().set_entries, i32::MAX as u32);
        for size in [i32::MIN, -6, -1, 0, 1, 70_000, i32::MAX] {
            assert_eq!(packing(&format!("CONFIG SET list-max-listpack-size {size}")).unwrap().list_chunk, size);
        }
        assert_eq!(packing("CONFIG SET list-compress-depth 3").unwrap().list_compress_depth, 3);
        let failed = |name, why| Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"));
        for (name, value, why) in [
            ("zset-max-listpack-entries", "-1", "argument must be between 0 and 2147483647 inclusive"),
            ("zset-max-listpack-entries", "1kb", "argument couldn't be parsed into an integer"),
            ("hll-sparse-max-bytes", "-1", "argument must be a memory value"),
            ("hll-sparse-max-bytes", "2gb", "argument must be between 0 and 2147483647 inclusive"),
            ("list-compress-depth", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ] {
            assert_eq!(packing(&format!("CONFIG SET {name} {value}")), failed(name, why));
        }
    }

    #[test]
    fn what_is_set_of_packed_values_is_told_again() {
        let mut settings = Settings::of(&Config::default());
        settings.packing = set("CONFIG SET list-compress-depth 3 hash-max-listpack-value 1kb").unwrap().packing;
        let values = names::values(&current(&Config::default(), &settings));
        let value = |name| values.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        assert_eq!(value("list-compress-depth"), Some("3"));
        assert_eq!(value("hash-max-ziplist-value"), Some("1024"));
        assert_eq!(value("packing.hash_bytes"), Some("1024"));
        assert_eq!(value("packing.list_compress_depth"), None, "no configuration file has it");
    }

    #[test]
    fn save_takes_what_asks_for_nothing_new() {
        let before = Settings::of(&Config::default());
        assert_eq!(set_words(&["save", ""]), Ok(before.clone()));
        assert_eq!(set_words(&["save", "300 1 1 250000"]), Ok(before));
        for other in ["300 1", "60 1000", "x"] {
            let why = set_words(&["save", other]).unwrap_err();
            assert!(why.ends_with("checkpoint.every_edits say when checkpoints are made, from the start on"), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_redis_words() {
        let failed = |name, why| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
        let range = |to: &str| format!("argument must be between {to} inclusive");
        let hash = "what follows \"sha256:\" is not a hash of 64 hexadecimal digits";
        let words = "Wrong number of arguments in buffer limit configuration.";
        let fsync = "argument(s) must be one of the following: everysec, always, no";
        for (text, why) in [
            ("CONFIG SET port 1", failed("port", "can't set immutable config")),
            ("CONFIG SET data.dir x", failed("data.dir", "can't set immutable config")),
            ("CONFIG SET maxmemory foo", failed("maxmemory", "argument must be a memory value")),
            ("CONFIG SET maxmemory -1", failed("maxmemory", "argument must be a memory value")),
            ("CONFIG SET maxmemory 1 MAXMEMORY 2", failed("maxmemory", "duplicate parameter")),
            ("CONFIG SET maxmemory 1 memory.max_bytes 2", failed("memory.max_bytes", "duplicate parameter")),
            ("CONFIG SET timeout foo", failed("timeout", "argument couldn't be parsed into an integer")),
            ("CONFIG SET timeout -1", failed("timeout", &range("0 and 2147483647"))),
            ("CONFIG SET tcp-keepalive 32768", failed("tcp-keepalive", &range("0 and 32767"))),
            ("CONFIG SET maxclients 0", failed("maxclients", &range("1 and 4294967295"))),
            ("CONFIG SET appendfsync foo", failed("appendfsync", fsync)),
            ("CONFIG SET requirepass sha256:12", failed("requirepass", hash)),
            ("CONFIG SET proto-max-bulk-len x", failed("proto-max-bulk-len", "argument must be a memory value")),
            ("CONFIG SET client-output-buffer-limit x", failed("client-output-buffer-limit", words)),
            ("CONFIG SET maxmemory 1 timeout", "ERR syntax error".to_owned()),
            ("CONFIG SET foo 1", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned()),
        ] {
            assert_eq!(set(text), Err(why), "{text}");
        }
    }

    #[test]
    fn limits_can_be_changed_one_by_one() {
        let settings =
            set("CONFIG SET proto-max-bulk-len 1mb client-query-buffer-limit 2mb maxmemory-clients 1gb").unwrap();
        assert_eq!((settings.limits.bulk_bytes, settings.limits.query_buffer_bytes), (1 << 20, 2 << 20));
        assert_eq!(settings.clients_max_bytes, Some(1 << 30));
        let settings = set("CONFIG SET limits.bulk_bytes 1MiB limits.output_buffer_bytes 2MiB limits.args 64").unwrap();
        assert_eq!((settings.limits.output_buffer_bytes, settings.limits.args), (2 << 20, 64));
        let settings = set("CONFIG SET limits.output_buffer_soft_bytes 3MiB server.auth_attempts 7").unwrap();
        assert_eq!((settings.limits.output_buffer_soft_bytes, settings.auth_attempts), (Some(3 << 20), 7));
        let why = set("CONFIG SET client-query-buffer-limit 1mb").unwrap_err();
        assert!(why.contains("can't hold one argument of limits.bulk_bytes"), "{why}");
    }

    /// Settings after CONFIG SET of these names and values, which may have blanks in them.
    fn set_words(words: &[&str]) -> Result<Settings, String> {
        let request = [&["CONFIG", "SET"], words].concat();
        let spans = request.iter().scan(0, |start, word| {
            let span = crate::encoding::resp::Span { start: *start, len: word.len() as u32 };
            *start += span.len;
            Some(span)
        });
        let (spans, text): (Vec<_>, _) = (spans.collect(), request.concat());
        let mut settings = Settings::of(&Config::default());
        let changes = changes_of(Args::new(text.as_bytes(), &spans), &Config::default(), &settings);
        changes.map_err(Refusal::into_owned)?.into_iter().for_each(|change| change.apply(&mut settings));
        Ok(settings)
    }

    #[test]
    fn redis_names_the_classes_of_clients_that_output_is_kept_for() {
        let output = |value: &str| {
            let limits = set_words(&["client-output-buffer-limit", value])?.limits;
            Ok::<_, String>((limits.output_buffer_bytes, limits.output_buffer_soft_bytes, limits.output_buffer_soft_s))
        };
        assert_eq!(output("normal 2gb 1gb 30"), Ok((2 << 30, Some(1 << 30), 30)));
        assert_eq!(output("replica 1 1 1 normal 2gb 0 0"), Ok((2 << 30, None, 60)));
        assert_eq!(output("pubsub 1 1 1"), Ok((1 << 30, None, 60)));
        for wrong in ["", "normal 1 2", "other 1 1 1", "normal x 1 1", "normal 1gb 1gb -1", "normal 1mb 0 0"] {
            assert!(output(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_change_is_checked_against_the_other_settings() {
        let mut config = Config::default();
        config.checkpoint.node = NodeMode::None;
        let why = set_in(&config, "CONFIG SET log.durability mirrored").unwrap_err();
        assert!(why.contains("'log.durability'") && why.contains("waits for a checkpoint node"), "{why}");
    }
}
