//! RESP: requests parsed, replies written, and the slot of a key.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod setup;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rollbook::encoding::resp::{Limits, Partial, Protocol, Reply, Requests};
use rollbook::encoding::slot::slot_of;
use setup::{PIPELINE, VALUE, key, request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LIMITS: Limits = Limits { args: 1 << 20, bulk_bytes: 512 << 20, unauthenticated: false };

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let value = [b'v'; VALUE];
    let set = |n: usize| request(&[b"SET", key(n).as_bytes(), &value]);
    let get = |n: usize| request(&[b"GET", key(n).as_bytes()]);
    let hset = |n: usize| request(&[b"HSET", key(n).as_bytes(), b"state", b"running", b"host", b"node-3"]);
    let inputs: [(&str, usize, Vec<u8>); 5] = [
        ("GET", 1, get(0)),
        ("GET, pipeline", PIPELINE, (0..PIPELINE).flat_map(get).collect()),
        ("SET, pipeline", PIPELINE, (0..PIPELINE).flat_map(set).collect()),
        ("HSET of two fields, pipeline", PIPELINE, (0..PIPELINE).flat_map(hset).collect()),
        ("inline PING, pipeline", PIPELINE, b"PING\r\n".repeat(PIPELINE)),
    ];
    for (name, count, bytes) in &inputs {
        let (mut requests, mut partial) = (Requests::default(), Partial::default());
        group.throughput(Throughput::Elements(*count as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let done = requests.parse(black_box(bytes), &mut partial, &LIMITS, usize::MAX).unwrap();
                assert_eq!((done, requests.len()), (bytes.len(), *count));
            });
        });
    }
    // A large value arrives in pieces: what was parsed is not parsed again.
    let large = request(&[b"SET", b"key", &vec![b'v'; 1 << 20]]);
    group.throughput(Throughput::Elements(1));
    group.bench_function("SET of 1 MiB in pieces of 16 KiB", |bencher| {
        let mut requests = Requests::default();
        bencher.iter_batched_ref(
            Partial::default,
            |partial| {
                for end in (16 << 10..large.len()).step_by(16 << 10).chain([large.len()]) {
                    requests.parse(black_box(&large[..end]), partial, &LIMITS, usize::MAX).unwrap();
                }
                assert_eq!(requests.len(), 1);
            },
            BatchSize::SmallInput,
        );
    });
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    let value = [b'v'; VALUE];
    let mut out = Vec::with_capacity(1 << 16);
    let mut bench = |name: &str, write: &dyn Fn(&mut Reply<'_>)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                write(black_box(&mut Reply::new(&mut out, Protocol::Resp3)));
                black_box(out.len())
            });
        });
    };
    bench("OK", &|reply| reply.ok());
    bench("integer", &|reply| reply.int(black_box(1_234_567)));
    bench("bulk of 100 bytes", &|reply| reply.bulk(black_box(&value)));
    bench("map of 8 fields", &|reply| {
        reply.map(8);
        (0..16).for_each(|_| reply.bulk(black_box(b"a field")));
    });
    bench("error", &|reply| reply.error(black_box("ERR value is not an integer or out of range")));
}

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot");
    let keys = [("16 bytes", key(7)), ("with a tag", format!("{{{}}}:more", key(7))), ("256 bytes", "k".repeat(256))];
    for (name, key) in &keys {
        group.throughput(Throughput::Bytes(key.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| slot_of(black_box(key.as_bytes()))));
    }
}

criterion_group! { name = benches; config = setup::criterion(); targets = parse, encode, slots }
criterion_main!(benches);
