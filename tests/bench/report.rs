//! `rollbook bench compare` and `bench peers`: what they print and write, and one clear sentence where they cannot.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use rollbook::bench::report::json;
use rollbook::bench::result::{Latency, Report, SCHEMA, Totals};

use crate::harness::{beside_others, run};

fn bench(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    command.current_dir(dir).arg("bench").args(arguments).output().expect("the program starts")
}

/// Fails unless it ended with `code` and this single line on standard error.
#[track_caller]
fn refused(output: &Output, code: i32, line: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{said}");
    assert!(said.starts_with(&format!("rollbook: {line}")), "{said}");
}

/// Writes the report of a run whose latencies are all `micros`.
fn report(path: &Path, micros: u64) {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    histogram.record_n(micros * 1000, 10_000).unwrap();
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let exact = micros as f64;
    let latency =
        Latency { count: 10_000, p50: exact, p99: exact, histogram: STANDARD.encode(bytes), ..Latency::default() };
    let totals = Totals { requests: 10_000, rate: 1e6 / exact, seconds: 1.0, ..Totals::default() };
    let report = Report { schema: SCHEMA, latency, totals, ..Report::default() };
    std::fs::write(path, json::write(&report).unwrap()).unwrap();
}

#[test]
fn two_reports_are_compared_in_a_table_and_on_a_page() {
    let dir = tempfile::tempdir().unwrap();
    report(&dir.path().join("a.json"), 100);
    report(&dir.path().join("b.json"), 50);
    let output = bench(dir.path(), &["compare", "a.json", "b.json", "--html", "c.html"]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let p99: Vec<_> =
        table.lines().find(|line| line.trim_start().starts_with("p99 ")).unwrap().split_whitespace().collect();
    assert_eq!(p99, ["p99", "100", "µs", "50.0", "µs", "0.50"]);
    let page = std::fs::read_to_string(dir.path().join("c.html")).unwrap();
    assert!(page.contains("b.json compared with a.json") && page.contains("<svg"));
}

#[test]
fn what_cannot_be_compared_is_said_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    report(&dir.path().join("a.json"), 100);
    std::fs::write(dir.path().join("none.json"), "{}").unwrap();
    std::fs::write(dir.path().join("later.json"), r#"{"schema": 99}"#).unwrap();
    let compare = |b: &str, more: &[&str]| bench(dir.path(), &[&["compare", "a.json", b], more].concat());
    refused(&compare("missing.json", &[]), 65, "missing.json: No such file or directory");
    refused(&compare("none.json", &[]), 65, "none.json: not a report of `rollbook bench`: missing field `schema`");
    refused(&compare("later.json", &[]), 65, "later.json: a report of schema 99, and this rollbook reads schema 1");
    refused(&compare("a.json", &["--html", "/dev/full"]), 74, "/dev/full: No space left on device");
    let mut damaged = json::read(&std::fs::read_to_string(dir.path().join("a.json")).unwrap()).unwrap();
    damaged.latency.histogram.truncate(8);
    std::fs::write(dir.path().join("damaged.json"), json::write(&damaged).unwrap()).unwrap();
    refused(&compare("damaged.json", &["--html", "c.html"]), 65, "the histogram of damaged.json is damaged");
}

#[test]
fn peers_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let peers = |arguments: &[&str]| bench(dir.path(), &[&["peers"], arguments].concat());
    refused(&peers(&["--only", "sett"]), 64, "there is no experiment \"sett\": set, ");
    refused(&peers(&["--against", "nginx"]), 69, "nginx: no server that is known: redis-server, ");
    refused(&peers(&["--against", "/nowhere/redis-server"]), 69, "/nowhere/redis-server: No such file or directory");
    refused(&peers(&["--dir", "/nowhere"]), 69, "cannot keep files in /nowhere: No such file or directory");
    assert_eq!(peers(&["--server-cpus", "x"]).status.code(), Some(64));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    let listed = String::from_utf8(peers(&["--only", "help"]).stdout).unwrap();
    assert!(listed.lines().any(|line| line.starts_with("checkpoint ")), "{listed}");
}

#[test]
fn a_peer_that_does_not_serve_is_said_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("script"), dir.path().join("redis-server"));
    let script =
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.0.0 sha=0' || { echo 'out of luck'; exit 1; }\n";
    std::fs::write(&source, script).unwrap();
    // Written by a process of its own: what this one has open for writing, a child of another test may still hold, and
    // then it does not run.
    run("install", &["-m755".as_ref(), source.as_os_str(), program.as_os_str()]).unwrap();
    let arguments = ["peers", "--quick", "--only", "memory", "--against", program.to_str().unwrap()];
    let output = bench(dir.path(), &arguments);
    let why = "memory was not measured: redis-server 7.0.0: ended instead of serving: out of luck";
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().next_back(), Some(format!("rollbook: {why}").as_str()));
    let page = std::fs::read_to_string(dir.path().join("peers.html")).unwrap();
    assert!(page.contains(why));
}

#[test]
fn another_build_of_rollbook_is_a_peer_whatever_its_file_is_called() {
    let _share = beside_others();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let other = dir.path().join("before");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rollbook"), &other).unwrap();
    // By a path from the current directory, though servers are started in others.
    let output = bench(dir.path(), &["peers", "--quick", "--only", "start", "--against", "./before"]);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("peers.json")).unwrap()).unwrap();
    let name = concat!("rollbook ", env!("CARGO_PKG_VERSION"));
    let names = [name.to_owned(), format!("{name} ({})", other.display())];
    assert_eq!(json["programs"], serde_json::json!(names));
    let subjects = json["rows"][0]["subjects"].as_array().unwrap();
    assert_eq!(subjects.iter().map(|subject| subject["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert!(subjects.iter().all(|subject| subject["values"].as_array().unwrap().len() >= 2));
}

#[test]
fn rollbook_and_redis_take_turns() {
    let _share = beside_others();
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(parent).unwrap();
    let arguments = ["peers", "--quick", "--only", "start,set32", "--against", "redis-server"];
    let output = bench(dir.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    for what in ["start without data", "SET, pipeline of 32: server CPU a request", "SET, pipeline of 32: rate"] {
        assert!(table.lines().any(|line| line.contains(what) && line.contains("redis-server 7")), "{what}:\n{table}");
    }
    let steps = String::from_utf8(output.stderr).unwrap();
    let turns: Vec<_> = steps.lines().filter_map(|line| line.strip_prefix("set32: ")?.split_once(": round ")).collect();
    assert_eq!(turns.len(), 4);
    assert!(turns.windows(2).all(|pair| pair[0].0 != pair[1].0), "A B A B: {turns:?}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["peers.html", "peers.json"]);
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("peers.json")).unwrap()).unwrap();
    assert_eq!((json["schema"].as_u64(), json["rows"].as_array().map(Vec::len)), (Some(1), Some(3)));
    assert_eq!(json["rows"][1]["subjects"][0]["values"].as_array().map(Vec::len), Some(2));
}
