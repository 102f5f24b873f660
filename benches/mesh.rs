//! Messages between cores: there and back while both are awake, there and back while each sleeps, and in one direction.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod setup;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rollbook::ids::CoreId;
use rollbook::runtime::bell::Bell;
use rollbook::runtime::mesh::{Endpoint, mesh};

/// The two ends of a pair of cores.
fn pair() -> (Endpoint<u64>, Endpoint<u64>) {
    let bells: Arc<[_]> = (0..2).map(|_| Arc::new(Bell::new().unwrap())).collect();
    let mut ends = mesh(&bells);
    let (other, one) = (ends.pop().unwrap(), ends.pop().unwrap());
    (one, other)
}

/// Looks until there is a message.
fn look(end: &mut Endpoint<u64>, from: CoreId) -> u64 {
    loop {
        if let Some(message) = end.receive(from) {
            return message;
        }
        std::thread::yield_now();
    }
}

/// Sleeps until there is a message.
fn sleep(end: &mut Endpoint<u64>, from: CoreId) -> u64 {
    loop {
        if let Some(message) = end.receive(from) {
            return message;
        }
        end.bell().about_to_sleep();
        if end.is_idle() {
            rustix::io::read(end.bell().sleep_event(), &mut [0; 8]).unwrap();
        }
        end.bell().awake();
    }
}

/// Time of so many messages there and back.
fn there_and_back(rounds: u64, wait: fn(&mut Endpoint<u64>, CoreId) -> u64) -> Duration {
    let (mut one, mut other) = pair();
    let echo = std::thread::spawn(move || {
        for _ in 0..rounds {
            let message = wait(&mut other, CoreId(0));
            other.send(CoreId(0), message).unwrap();
        }
    });
    let begun = Instant::now();
    for round in 0..rounds {
        one.send(CoreId(1), round).unwrap();
        assert_eq!(wait(&mut one, CoreId(1)), round);
    }
    let took = begun.elapsed();
    echo.join().unwrap();
    took
}

/// Time of so many messages in one direction, the receiver never far behind.
fn one_way(messages: u64) -> Duration {
    let (mut one, mut other) = pair();
    let receiver = std::thread::spawn(move || (0..messages).for_each(|n| assert_eq!(look(&mut other, CoreId(0)), n)));
    let begun = Instant::now();
    for n in 0..messages {
        while one.send(CoreId(1), n).is_err() {
            std::thread::yield_now();
        }
    }
    receiver.join().unwrap();
    begun.elapsed()
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one way", |bencher| bencher.iter_custom(one_way));
    group.bench_function("there and back, awake", |bencher| bencher.iter_custom(|rounds| there_and_back(rounds, look)));
    group
        .bench_function("there and back, woken", |bencher| bencher.iter_custom(|rounds| there_and_back(rounds, sleep)));
}

criterion_group! { name = benches; config = setup::criterion(); targets = messages }
criterion_main!(benches);
