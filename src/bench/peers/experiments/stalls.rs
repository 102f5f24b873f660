//! Experiment: how long a command on a value with a million elements holds up the other clients of its core.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::program::Program;
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;
use crate::bench::client::{Client, Value};
use crate::bench::request;

/// Commands that are sent together while a value is filled.
const PIPELINE: u64 = 500;
/// Elements that one command adds while a value is filled.
const EACH: u64 = 100;
/// Pause after a command, because what it leaves behind (memory to be freed, log to be written) may hold up clients
/// later.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// Pause between two PINGs.
const BETWEEN: Duration = Duration::from_micros(200);

/// Elements of the values: as many as the comparison has keys.
#[derive(Clone, Copy)]
enum Filled {
    Hash,
    Set,
    SortedSet,
    List,
    Stream,
}

impl Filled {
    const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted set",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// A command, and the value that `big` holds when it is sent. Commands that return or combine everything are left out.
/// Words with an `@` stand for a range in the middle of the value ([`words`]).
struct Probe {
    filled: Filled,
    command: &'static [&'static str],
}

macro_rules! probes {
    ($($filled:ident: $($command:literal)+;)*) => {
        &[$(Probe { filled: Filled::$filled, command: &[$($command),+] }),*]
    };
}

// Keys with the same tag are on the same core.
static PROBES: &[Probe] = probes! {
    Hash: "RENAME" "{b}ig" "{b}other";
    Hash: "RENAME" "{b}ig" "elsewhere";
    Hash: "MOVE" "{b}ig" "1";
    Hash: "HRANDFIELD" "{b}ig" "10";
    Hash: "HDEL" "{b}ig" "e:000000000007";
    Hash: "SET" "{b}ig" "1";
    Hash: "DEL" "{b}ig";
    Set: "RENAME" "{b}ig" "{b}other";
    Set: "SRANDMEMBER" "{b}ig" "10";
    Set: "SPOP" "{b}ig" "10";
    Set: "SMOVE" "{b}ig" "{b}other" "e:000000000007";
    Set: "DEL" "{b}ig";
    SortedSet: "RENAME" "{b}ig" "{b}other";
    SortedSet: "ZRANK" "{b}ig" "@element";
    SortedSet: "ZRANGE" "{b}ig" "@first" "@last";
    SortedSet: "ZPOPMIN" "{b}ig" "10";
    SortedSet: "ZREMRANGEBYRANK" "{b}ig" "@first" "@last";
    SortedSet: "DEL" "{b}ig";
    List: "RENAME" "{b}ig" "{b}other";
    List: "LINDEX" "{b}ig" "@first";
    List: "LSET" "{b}ig" "@first" "x";
    List: "LRANGE" "{b}ig" "@first" "@last";
    List: "LTRIM" "{b}ig" "10" "-10";
    List: "DEL" "{b}ig";
    Stream: "RENAME" "{b}ig" "{b}other";
    Stream: "XRANGE" "{b}ig" "@first" "+" "COUNT" "10";
    Stream: "XDEL" "{b}ig" "@id";
    Stream: "XTRIM" "{b}ig" "MAXLEN" "10";
    Stream: "DEL" "{b}ig";
};

/// Commands that are sent one after the other, again and again, while a snapshot is being taken.
const WHILE_SAVING: [&[&str]; 2] = [&["RENAME", "{b}ig", "elsewhere"], &["RENAME", "elsewhere", "{b}ig"]];
/// How long they are sent, and how often: a server takes a while until it comes to the value.
const SAVING: Duration = Duration::from_secs(3);
const BETWEEN_COMMANDS: Duration = Duration::from_millis(5);

/// Measures, for each command, the longest PING of another client from when the command is sent until half a second
/// after its reply; and the longest one while a value is renamed again and again beside a snapshot.
///
/// # Errors
/// If a server does not start, or refuses a command.
pub fn stalls(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let programs: Vec<_> = bench.programs().cloned().collect();
    let mut servers = Vec::new();
    for program in &programs {
        let mut server = Server::fresh(program, &options.dir, &options.server_cpus, &options.client_cpus)?;
        server.start()?;
        servers.push(server);
    }
    let names: Vec<_> = programs.iter().map(Program::to_string).collect();
    let mut rows = Vec::new();
    let saving =
        [Filled::Hash, Filled::List].map(|filled| (filled, "RENAME to and fro while a snapshot is taken", None));
    let single = PROBES.iter().map(|probe| (probe.filled, "", Some(probe.command)));
    for (filled, what, command) in single.chain(saving) {
        let what = format!("{what}{}", command.map(|words| words.join(" ")).unwrap_or_default());
        let mut found = vec![Vec::new(); servers.len()];
        for _ in 0..options.rounds {
            for (server, found) in servers.iter().zip(&mut found) {
                bench.step(&format!("{}: {what}", server.program))?;
                found.push(longest_ping(server, filled, command, options.keys)?);
            }
        }
        let what = format!("longest PING beside {what}, {}", filled.name());
        let aim = Some(Aim::AtMost(1000.0));
        rows.push(bench.row(what, Unit::Micros, subjects(&names, &found, |micros| *micros), aim));
    }
    Ok(rows)
}

/// Longest PING beside one command or, if there is none, beside those of [`WHILE_SAVING`], in microseconds.
fn longest_ping(server: &Server, filled: Filled, command: Option<&[&str]>, elements: u64) -> Result<f64, PeersError> {
    let mut client = server.client()?;
    call(server, &mut client, &["FLUSHALL"])?;
    fill(server, &mut client, filled, elements)?;
    std::thread::sleep(AFTERWARDS);
    let (longest, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut other = server.client()?;
    call(server, &mut other, &["PING"])?;
    std::thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let sent = Instant::now();
                call(server, &mut other, &["PING"])?;
                longest.fetch_max(sent.elapsed().as_nanos() as u64, Ordering::Relaxed);
                std::thread::sleep(BETWEEN);
            }
            Ok(())
        });
        std::thread::sleep(BETWEEN);
        let called = match command {
            Some(command) => {
                let command = words(command, elements);
                call(server, &mut client, &command.iter().map(String::as_str).collect::<Vec<_>>())
            }
            None => rename_while_saving(server, &mut client),
        };
        std::thread::sleep(AFTERWARDS);
        is_over.store(true, Ordering::Relaxed);
        let pinged = pinging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        called.and(pinged)
    })?;
    Ok(longest.into_inner() as f64 / 1000.0)
}

fn rename_while_saving(server: &Server, client: &mut Client) -> Result<(), PeersError> {
    call(server, client, &["BGSAVE"])?;
    let began = Instant::now();
    for command in WHILE_SAVING.iter().cycle().take_while(|_| began.elapsed() < SAVING) {
        call(server, client, command)?;
        std::thread::sleep(BETWEEN_COMMANDS);
    }
    Ok(())
}

/// Sends a command and awaits its reply, which must be no error.
fn call(server: &Server, client: &mut Client, words: &[&str]) -> Result<(), PeersError> {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    match client.call(&words)? {
        Value::Error(why) => Err(server.unusable(format!("{}: {why}", String::from_utf8_lossy(words[0])))),
        _ => Ok(()),
    }
}

/// The words of a command on a value of this many elements.
fn words(command: &[&str], elements: u64) -> Vec<String> {
    let middle = elements / 2;
    let word = |word: &&str| match *word {
        "@first" => middle.to_string(),
        "@last" => (middle + 9).to_string(),
        "@element" => element(middle),
        "@id" => format!("{middle}-1"),
        other => other.to_owned(),
    };
    command.iter().map(word).collect()
}

/// Name of an element.
fn element(number: u64) -> String {
    format!("e:{number:012}")
}

/// Fills the value of `{b}ig` with this many elements.
fn fill(server: &Server, client: &mut Client, filled: Filled, elements: u64) -> Result<(), PeersError> {
    // A stream takes one entry a command.
    let each = if matches!(filled, Filled::Stream) { 1 } else { EACH };
    let firsts: Vec<u64> = (0..elements).step_by(each as usize).collect();
    for batch in firsts.chunks(PIPELINE as usize) {
        let mut out = Vec::new();
        for first in batch {
            let numbers = *first..(first + each).min(elements);
            let mut words: Vec<String> = match filled {
                Filled::Hash => vec!["HSET".into()],
                Filled::Set => vec!["SADD".into()],
                Filled::SortedSet => vec!["ZADD".into()],
                Filled::List => vec!["RPUSH".into()],
                Filled::Stream => vec!["XADD".into()],
            };
            words.push("{b}ig".into());
            for number in numbers {
                match filled {
                    Filled::Hash => words.extend([element(number), element(number)]),
                    Filled::Set | Filled::List => words.push(element(number)),
                    Filled::SortedSet => words.extend([number.to_string(), element(number)]),
                    Filled::Stream => words.extend([format!("{number}-1"), "field".into(), element(number)]),
                }
            }
            let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
            request::request(&mut out, &words);
        }
        client.send(&out)?;
        for _ in batch {
            if let Value::Error(why) = client.receive()? {
                return Err(server.unusable(format!("filling: {why}")));
            }
        }
    }
    Ok(())
}
