//! Tests of properties that every workload has.

use std::time::Duration;

use super::*;
use crate::bench::reply::{Answer, Replies};
use crate::encoding::slot::slot_of;

fn ingredients(about: &About, seed: u64, connections: u64) -> Ingredients {
    Ingredients { keys: 1000, distribution: about.distribution, values: Sizes::Uniform(32, 64), seed, connections }
}

/// The first requests of a connection, including those that load records.
fn requests(about: &About, seed: u64, connection: u64, ledger: Option<&mut Ledger>) -> (Vec<u8>, Vec<Issued>) {
    let workload = Workload::new(about.name, &ingredients(about, seed, 4)).unwrap();
    let mut stream = workload.stream(connection);
    let (mut out, mut issued) = (Vec::new(), Vec::new());
    let mut sheet = Sheet { out: &mut out, ledger };
    issued.extend(std::iter::from_fn(|| workload.load_next(&mut stream, &mut sheet)));
    issued.extend((0..2000).map(|_| workload.next(&mut stream, &mut sheet)));
    (out, issued)
}

/// Parses requests into lists of arguments.
fn parse(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut replies = Replies::default();
    let mut count = 0;
    replies.feed(bytes, |answer| count += if let Answer::Good(good) = answer { good } else { 0 }).unwrap();
    assert!(replies.is_between(), "the last request is not whole");
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let requests = std::iter::from_fn(|| {
        let arguments = lines.next()?.strip_prefix('*')?.parse::<usize>().unwrap();
        let argument = |_| {
            let length: usize = lines.next().unwrap()[1..].parse().unwrap();
            let argument = lines.next().unwrap();
            assert_eq!(argument.len(), length);
            argument.to_owned()
        };
        Some((0..arguments).map(argument).collect::<Vec<_>>())
    });
    let requests: Vec<_> = requests.collect();
    assert_eq!(requests.len(), count as usize);
    requests
}

#[test]
fn the_same_seed_asks_for_the_same_and_another_for_something_else() {
    for about in all() {
        let first = requests(&about, 7, 2, None).0;
        assert_eq!(first, requests(&about, 7, 2, None).0, "{}", about.name);
        assert_ne!(first, requests(&about, 8, 2, None).0, "{}", about.name);
        assert_ne!(first, requests(&about, 7, 3, None).0, "{}", about.name);
    }
}

#[test]
fn a_request_is_as_many_commands_as_it_says() {
    for about in all() {
        let (out, issued) = requests(&about, 1, 0, None);
        let commands: usize = issued.iter().map(|issued| usize::from(issued.commands)).sum();
        assert_eq!(parse(&out).len(), commands, "{}", about.name);
        assert!(issued.iter().all(|issued| usize::from(issued.operation) < about.operations.len()));
    }
}

#[test]
fn all_connections_together_load_every_record_once() {
    for about in all() {
        let workload = Workload::new(about.name, &ingredients(&about, 1, 4)).unwrap();
        let mut loaded = 0;
        for connection in 0..4 {
            let (mut stream, mut out) = (workload.stream(connection), Vec::new());
            let mut sheet = Sheet { out: &mut out, ledger: None };
            loaded += std::iter::from_fn(|| workload.load_next(&mut stream, &mut sheet)).count() as u64;
        }
        assert_eq!(loaded, workload.records(), "{}", about.name);
    }
}

#[test]
fn proportions_are_the_published_ones() {
    let share = |name: &str, operation: u8| {
        let about = find(name).unwrap();
        let (_, issued) = requests(&about, 3, 0, None);
        let measured = &issued[issued.len() - 2000..];
        measured.iter().filter(|issued| issued.operation == operation).count() as f64 / 2000.0
    };
    for (name, operation, expected) in [
        ("ycsb-a", 0, 0.5),
        ("ycsb-b", 1, 0.05),
        ("ycsb-d", 2, 0.05),
        ("ycsb-e", 3, 0.95),
        ("ycsb-f", 4, 0.5),
        ("metadata", 0, 0.6873),
        ("metadata", 2, 0.0901),
        ("scheduler", 3, 0.6),
    ] {
        let seen = share(name, operation);
        assert!((seen - expected).abs() < 0.04, "{name}, operation {operation}: {seen}");
    }
}

#[test]
fn a_run_that_is_to_be_verified_writes_each_cell_on_one_connection_only() {
    for about in all().into_iter().filter(|about| about.verifiable) {
        let ledgers = (0..4).map(|connection| {
            let mut ledger = Ledger::new(Duration::ZERO);
            requests(&about, 1, connection, Some(&mut ledger));
            ledger
        });
        let mut cells: Vec<u64> = ledgers.flat_map(|ledger| ledger.cells().collect::<Vec<_>>()).collect();
        let all = cells.len();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(cells.len(), all, "{}", about.name);
    }
}

#[test]
fn what_is_written_can_be_read_back_under_its_name() {
    for name in ["set", "ycsb-a"] {
        let about = find(name).unwrap();
        let workload = Workload::new(name, &ingredients(&about, 1, 4)).unwrap();
        let mut ledger = Ledger::new(Duration::ZERO);
        let written = parse(&requests(&about, 1, 0, Some(&mut ledger)).0);
        for cell in ledger.cells() {
            let mut out = Vec::new();
            workload.read_back(cell, &mut out);
            let read = &parse(&out)[0];
            let same_place =
                |request: &Vec<String>| request[1..].starts_with(&read[1..]) && request.len() == read.len() + 1;
            assert!(written.iter().any(same_place), "{read:?}");
        }
    }
}

#[test]
fn files_and_their_directory_have_one_slot_and_only_what_exists_is_renamed_or_deleted() {
    let (out, _) = requests(&metadata::ABOUT, 5, 1, None);
    let mut files = std::collections::HashSet::new();
    for request in parse(&out) {
        match request[0].as_str() {
            "HSET" if request[2] == "id" => drop(files.insert(request[1].clone())),
            "RENAME" => {
                assert_eq!(slot_of(request[1].as_bytes()), slot_of(request[2].as_bytes()));
                assert!(files.remove(&request[1]), "{} does not exist", request[1]);
                assert!(files.insert(request[2].clone()));
            }
            "DEL" => assert!(files.remove(&request[1]), "{} does not exist", request[1]),
            "HDEL" => assert_eq!(slot_of(request[1].as_bytes()), slot_of(format!("{}/x", request[1]).as_bytes())),
            _ => {}
        }
    }
}

#[test]
fn tasks_live_in_order_enqueued_claimed_attended_finished() {
    let (out, _) = requests(&scheduler::ABOUT, 5, 1, None);
    let mut state = std::collections::HashMap::new();
    for request in parse(&out) {
        let of = |key: &str| key.split_once(':').unwrap().1.to_owned();
        match (request[0].as_str(), request.get(3).map(String::as_str)) {
            ("HSET", Some("queued")) => assert_eq!(state.insert(of(&request[1]), "queued"), None),
            ("HSET", Some("running")) => assert_eq!(state.insert(of(&request[1]), "running"), Some("queued")),
            ("HSET", Some("finished")) => assert_eq!(state.insert(of(&request[1]), "finished"), Some("running")),
            ("PEXPIRE", _) if request[1].starts_with("lease:") => assert_eq!(state[&of(&request[1])], "running"),
            ("MGET", _) => assert!(request[1..].iter().all(|lease| state[&of(lease)] == "running")),
            _ => {}
        }
    }
    assert!(state.values().any(|state| *state == "finished"));
}
