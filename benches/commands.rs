//! Commands of each family, planned on a store of 100,000 keys, their edits applied: all that a core does for a request
//! but network and log.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod setup;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rollbook::commands::{Context, Scratch, plan};
use rollbook::encoding::edit::Edit;
use rollbook::encoding::resp::{Args, Protocol, Reply, Span};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{Db, Partitions};
use rollbook::net::COMMANDS;
use rollbook::store::Store;
use rollbook::time::UnixMillis;
use setup::{VALUE, key};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 100_000;
const PARTITIONS: u16 = 256;
/// Requests that are measured in turn, each on another key, so that memory costs what it costs a server.
const REQUESTS: usize = 4096;

/// A request, parsed.
struct Request {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Request {
    fn new(words: &[&[u8]]) -> Self {
        let starts = words.iter().scan(0, |end, word| {
            *end += word.len();
            Some(Span { start: (*end - word.len()) as u32, len: word.len() as u32 })
        });
        Self { spans: starts.collect(), bytes: words.concat() }
    }
}

/// A store, and what commands need beside it.
struct Rig {
    store: Store,
    context: Context,
    scratch: Scratch,
    out: Vec<u8>,
}

impl Rig {
    fn new() -> Self {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        let context = Context {
            db: Db(0),
            slot: slot_of(b""),
            now: UnixMillis::new(1_700_000_000_000),
            random: 1,
            touch: true,
            max_string: 512 << 20,
            max_reply: 1 << 30,
            partitions,
            owned: 0..PARTITIONS,
        };
        let store = Store::new(partitions, 0..PARTITIONS);
        Self { store, context, scratch: Scratch::default(), out: Vec::with_capacity(1 << 16) }
    }

    /// Strings, numbers and hashes under `key:…`, `number:…` and `hash:…`.
    fn filled() -> Self {
        let mut rig = Self::new();
        let value = [b'v'; VALUE];
        for n in 0..KEYS {
            rig.run(&Request::new(&[b"SET", key(n).as_bytes(), &value]));
        }
        for n in 0..REQUESTS {
            rig.run(&Request::new(&[b"SET", format!("number:{n}").as_bytes(), b"1"]));
            rig.run(&Request::new(&[
                b"HSET",
                format!("hash:{n}").as_bytes(),
                b"state",
                b"running",
                b"host",
                b"node-3",
                b"progress",
                b"17",
                b"tries",
                b"1",
            ]));
        }
        rig
    }

    fn run(&mut self, request: &Request) -> usize {
        let args = Args::new(&request.bytes, &request.spans);
        let spec = COMMANDS.registry.resolve(args).unwrap();
        self.context.slot = spec.first_key(args).map(slot_of).unwrap_or_default();
        self.out.clear();
        let mut reply = Reply::new(&mut self.out, Protocol::Resp2);
        let edits = plan(spec, &self.store, &self.context, args, &mut self.scratch, &mut reply).edits;
        edits.iter().for_each(|edit: &Edit<'_>| self.store.apply(edit).unwrap());
        assert_ne!(self.out.first(), Some(&b'-'), "{}", self.out.escape_ascii());
        self.out.len()
    }
}

fn commands(criterion: &mut Criterion) {
    let value = [b'w'; VALUE];
    // Far apart, so that neither the cache nor the prefetcher knows what comes.
    let key = |n: usize| key(n * 7919 % KEYS);
    let hash = |n: usize| format!("hash:{n}");
    type Make<'a> = &'a dyn Fn(usize) -> Request;
    let families: [(&str, &[(&str, Make<'_>)]); 4] = [
        (
            "strings",
            &[
                ("GET", &|n| Request::new(&[b"GET", key(n).as_bytes()])),
                ("GET of nothing", &|n| Request::new(&[b"GET", format!("none:{n}").as_bytes()])),
                ("SET over another", &|n| Request::new(&[b"SET", key(n).as_bytes(), &value])),
                ("INCR", &|n| Request::new(&[b"INCR", format!("number:{n}").as_bytes()])),
                ("SETRANGE", &|n| Request::new(&[b"SETRANGE", key(n).as_bytes(), b"10", b"changed"])),
            ],
        ),
        (
            "hashes",
            &[
                ("HGET", &|n| Request::new(&[b"HGET", hash(n).as_bytes(), b"host"])),
                ("HGETALL", &|n| Request::new(&[b"HGETALL", hash(n).as_bytes()])),
                ("HSET of a field", &|n| Request::new(&[b"HSET", hash(n).as_bytes(), b"progress", b"18"])),
                ("HINCRBY", &|n| Request::new(&[b"HINCRBY", hash(n).as_bytes(), b"tries", b"1"])),
            ],
        ),
        (
            "expiry",
            &[
                ("PEXPIRE", &|n| Request::new(&[b"PEXPIRE", key(n).as_bytes(), b"86400000"])),
                ("PTTL", &|n| Request::new(&[b"PTTL", key(n).as_bytes()])),
                ("PERSIST without an expiry", &|n| Request::new(&[b"PERSIST", key(n).as_bytes()])),
            ],
        ),
        (
            "keys",
            &[
                ("EXISTS", &|n| Request::new(&[b"EXISTS", key(n).as_bytes()])),
                ("TYPE", &|n| Request::new(&[b"TYPE", key(n).as_bytes()])),
                ("SCAN from the beginning", &|_| Request::new(&[b"SCAN", b"0"])),
            ],
        ),
    ];
    for (family, commands) in families {
        let mut group = criterion.benchmark_group(family);
        group.throughput(Throughput::Elements(1));
        for (name, make) in commands {
            let mut rig = Rig::filled();
            let requests: Vec<_> = (0..REQUESTS).map(make).collect();
            let mut turn = requests.iter().cycle();
            group.bench_function(*name, |bencher| {
                bencher.iter(|| turn.next().map(|request| rig.run(black_box(request))))
            });
        }
    }
}

/// What grows and shrinks the tables: a pair of commands, so that the store is as large after as before.
fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("growth");
    group.throughput(Throughput::Elements(2));
    let mut rig = Rig::filled();
    let new = |n: usize| format!("new:{n}");
    let pair =
        |n: usize| (Request::new(&[b"SET", new(n).as_bytes(), b"value"]), Request::new(&[b"DEL", new(n).as_bytes()]));
    let pairs: Vec<_> = (0..REQUESTS).map(pair).collect();
    let mut turn = pairs.iter().cycle();
    group.bench_function("SET of a new key, and DEL", |bencher| {
        bencher.iter(|| turn.next().map(|(set, del)| rig.run(black_box(set)) + rig.run(black_box(del))));
    });
}

criterion_group! { name = benches; config = setup::criterion(); targets = commands, growth }
criterion_main!(benches);
