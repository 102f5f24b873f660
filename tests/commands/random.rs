//! Promise: commands that draw at random draw each element, field or key as often as any other, whatever the value's
//! form, and never one that has expired.
//!
//! Frequencies are judged by Pearson's χ²: a right server is judged wrong less than once in 10⁸ comparisons. A draw
//! that leaves out an element, or draws one of ten half as often as it should, is far beyond the bound.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Conn, Home, Server, Value};

/// Number of drawn elements that each comparison is about.
const DRAWS: usize = 20_000;
/// Number of requests that are sent at once.
const BATCH: usize = 500;
/// Quantile of the normal distribution that is exceeded once in 10⁸ times.
const QUANTILE: f64 = 5.612;

/// The value that χ² with so many degrees of freedom exceeds once in 10⁸ times, after Wilson and Hilferty.
fn bound(freedom: f64) -> f64 {
    let width = 2.0 / (9.0 * freedom);
    freedom * (1.0 - width + QUANTILE * width.sqrt()).powi(3)
}

/// χ² of how often each of `cells` was drawn, all being equally likely. Where each request drew `each` different ones
/// of `from` elements, they vary less than independent draws: by the factor that is divided by here.
fn chi_squared(counts: &BTreeMap<usize, usize>, cells: usize, from: usize, each: usize) -> f64 {
    let all: usize = counts.values().sum();
    let expected = all as f64 / cells as f64;
    let sum: f64 = (0..cells).map(|cell| (counts.get(&cell).copied().unwrap_or(0) as f64 - expected).powi(2)).sum();
    sum / expected / ((from - each) as f64 / (from - 1) as f64)
}

/// The number at the end of an element's name.
fn number(name: &[u8]) -> usize {
    let text =
        str::from_utf8(name).expect("names are text").trim_start_matches(|letter: char| !letter.is_ascii_digit());
    text.parse().expect("a name with a number")
}

/// The numbers of the elements in a reply, without what stands between them (values, scores).
fn drawn(reply: &Value, step: usize) -> Vec<usize> {
    match reply {
        Value::Bulk(name) => vec![number(name)],
        many => many.items().iter().step_by(step).map(|name| number(name.bytes().expect("a name"))).collect(),
    }
}

/// A way to draw, and from how many elements.
#[derive(Clone, Copy)]
struct Draw {
    request: &'static str,
    /// Number of elements that a request draws, and whether they are different ones.
    each: usize,
    distinct: bool,
    /// Places that an element takes in the reply.
    step: usize,
    /// Only every so many of the numbers are elements.
    every: usize,
    /// Number of elements that are drawn in all.
    times: usize,
}

impl Draw {
    /// The same, where only every `every`th number is an element.
    const fn every(mut self, every: usize) -> Self {
        self.every = every;
        self
    }

    /// The same, with so many elements in all.
    const fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

const fn draw(request: &'static str, each: usize, distinct: bool, step: usize) -> Draw {
    Draw { request, each, distinct, step, every: 1, times: DRAWS }
}

/// Draws, and compares how often each element came; of many elements, how often each hundredth of them did.
fn assert_fair(conn: &mut Conn, draw: Draw, elements: usize) {
    let cells = elements.min(100);
    let words: Vec<String> = draw.request.split(' ').map(str::to_owned).collect();
    let mut counts = BTreeMap::new();
    let mut left = draw.times / draw.each;
    while left > 0 {
        let batch = vec![words.clone(); left.min(BATCH)];
        left -= batch.len();
        for reply in conn.pipeline(&batch) {
            let drawn = drawn(&reply, draw.step);
            assert_eq!(drawn.len(), draw.each, "{}", draw.request);
            for element in drawn {
                *counts.entry(element / draw.every * cells / elements).or_default() += 1;
            }
        }
    }
    judge(draw.request, &counts, cells, elements, if draw.distinct { draw.each } else { 1 });
}

fn judge(what: &str, counts: &BTreeMap<usize, usize>, cells: usize, from: usize, each: usize) {
    let (found, bound) = (chi_squared(counts, cells, from, each), bound((cells - 1) as f64));
    eprintln!("{what}, {from} elements: χ² is {found:.0} with {} degrees of freedom, at most {bound:.0}", cells - 1);
    assert!(counts.keys().all(|cell| *cell < cells), "{what}: something that is not there was drawn");
    assert!(found < bound, "{what} draws unevenly: {counts:?}");
}

/// Sends many requests.
fn fill(conn: &mut Conn, requests: impl Iterator<Item = String>) {
    let requests: Vec<Vec<String>> = requests.map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    for some in requests.chunks(BATCH) {
        assert!(conn.pipeline(some).iter().all(|reply| !reply.is_error()));
    }
}

/// A server that tests may keep from removing what has expired.
fn server(cores: &str) -> (Home, Server) {
    let home = Home::new().set("server.debug_command", "yes").set("server.cores", cores);
    let server = home.start();
    (home, server)
}

#[test]
fn elements_of_small_and_large_values_are_drawn_evenly() {
    let (_home, server) = server("1");
    let mut conn = server.connect();
    // Packed; in a table; of numbers only, which have a form of their own.
    for elements in [10, 10_000] {
        conn.call("FLUSHALL");
        fill(
            &mut conn,
            (0..elements).flat_map(|n| {
                [format!("SADD s m{n}"), format!("SADD n {n}"), format!("HSET h f{n} v"), format!("ZADD z {n} m{n}")]
            }),
        );
        // Fields that expire, and such as came and went.
        fill(&mut conn, (0..elements).map(|n| format!("HSETEX e EX 1000 FIELDS 1 f{n} v")));
        fill(&mut conn, (0..elements).map(|n| format!("SADD shrunk m{n} x{n}")));
        fill(&mut conn, (0..elements).map(|n| format!("SREM shrunk x{n}")));
        for way in [
            draw("SRANDMEMBER s", 1, false, 1),
            draw("SRANDMEMBER s -4", 4, false, 1),
            draw("SRANDMEMBER s 4", 4, true, 1),
            draw("SRANDMEMBER s 7", 7, true, 1),
            draw("SRANDMEMBER n", 1, false, 1),
            draw("SRANDMEMBER n 3", 3, true, 1),
            draw("SRANDMEMBER shrunk", 1, false, 1),
            draw("SRANDMEMBER shrunk 4", 4, true, 1),
            draw("HRANDFIELD h", 1, false, 1),
            draw("HRANDFIELD h -4 WITHVALUES", 4, false, 2),
            draw("HRANDFIELD h 4", 4, true, 1),
            draw("HRANDFIELD h 7 WITHVALUES", 7, true, 2),
            draw("HRANDFIELD e", 1, false, 1),
            draw("HRANDFIELD e 4", 4, true, 1),
            draw("ZRANDMEMBER z", 1, false, 1),
            draw("ZRANDMEMBER z -4 WITHSCORES", 4, false, 2),
            draw("ZRANDMEMBER z 4", 4, true, 1),
            draw("ZRANDMEMBER z 7 WITHSCORES", 7, true, 2),
        ] {
            assert_fair(&mut conn, way, elements);
        }
    }
}

#[test]
fn a_large_part_of_a_large_value_is_drawn_evenly() {
    let (_home, server) = server("1");
    let mut conn = server.connect();
    fill(
        &mut conn,
        (0..1000).flat_map(|n| [format!("SADD s m{n}"), format!("HSET h f{n} v"), format!("ZADD z {n} m{n}")]),
    );
    for request in ["SRANDMEMBER s 700", "HRANDFIELD h 700", "ZRANDMEMBER z 700"] {
        assert_fair(&mut conn, draw(request, 700, true, 1), 1000);
    }
}

#[test]
fn two_draws_of_one_request_do_not_depend_on_each_other() {
    const ELEMENTS: usize = 8;
    let (_home, server) = server("1");
    let mut conn = server.connect();
    fill(
        &mut conn,
        (0..ELEMENTS).flat_map(|n| [format!("SADD s m{n}"), format!("HSET h f{n} v"), format!("ZADD z {n} m{n}")]),
    );
    for request in ["SRANDMEMBER s -2", "HRANDFIELD h -2", "ZRANDMEMBER z -2"] {
        let words: Vec<String> = request.split(' ').map(str::to_owned).collect();
        let mut counts = BTreeMap::new();
        for reply in (0..DRAWS / BATCH).flat_map(|_| conn.pipeline(&vec![words.clone(); BATCH])) {
            let pair = drawn(&reply, 1);
            *counts.entry(pair[0] * ELEMENTS + pair[1]).or_default() += 1;
        }
        judge(request, &counts, ELEMENTS * ELEMENTS, ELEMENTS * ELEMENTS, 1);
    }
}

#[test]
fn what_is_popped_is_drawn_evenly() {
    let (_home, server) = server("1");
    let mut conn = server.connect();
    for (elements, each) in [(10, 1), (10, 3), (10, 8), (10_000, 1), (10_000, 50)] {
        for letter in ["m", ""] {
            conn.call("DEL s");
            fill(&mut conn, (0..elements).map(|n| format!("SADD s {letter}{n}")));
            let (cells, mut counts) = (elements.min(100), BTreeMap::new());
            for _ in 0..(DRAWS / each).min(4000) {
                let popped = if each == 1 { conn.call("SPOP s") } else { conn.call(&format!("SPOP s {each}")) };
                let popped = drawn(&popped, 1);
                assert_eq!(popped.len(), each);
                let words = ["SADD".to_owned(), "s".to_owned()].into_iter();
                let added =
                    conn.command(&words.chain(popped.iter().map(|n| format!("{letter}{n}"))).collect::<Vec<_>>());
                assert_eq!(added.int(), each as i64, "one was popped twice");
                popped.iter().for_each(|n| *counts.entry(n * cells / elements).or_default() += 1);
            }
            judge(&format!("SPOP s {each} of {letter}n"), &counts, cells, elements, each);
        }
    }
}

#[test]
fn keys_are_drawn_evenly_wherever_they_are() {
    for cores in ["1", "2"] {
        let (_home, server) = server(cores);
        let mut conn = server.connect();
        for keys in [10, 1000] {
            conn.call("FLUSHALL");
            // Most of them in one slot: what is drawn is a key, not a slot or a core.
            let name = |n: usize| if n.is_multiple_of(10) { format!("k{n}") } else { format!("{{t}}{n}") };
            fill(&mut conn, (0..keys).map(|n| format!("SET {} v", name(n))));
            // Unoptimised, this takes a tenth of a millisecond for each core.
            assert_fair(&mut conn, draw("RANDOMKEY", 1, false, 1).times(DRAWS / 4), keys);
        }
    }
}

/// All elements that a scan tells, by its two words.
fn scanned(conn: &mut Conn, request: &str) -> Vec<usize> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let reply = conn.call(&request.replace("CURSOR", &cursor));
        found.extend(drawn(&reply.items()[1], if request.starts_with("HSCAN") { 2 } else { 1 }));
        cursor = reply.items()[0].text();
        if cursor == "0" {
            found.sort_unstable();
            return found;
        }
    }
}

#[test]
fn what_has_expired_is_never_drawn_or_scanned() {
    for cores in ["1", "2"] {
        let (_home, server) = server(cores);
        let mut conn = server.connect();
        // Nothing is removed but what a command meets.
        assert_eq!(conn.call("DEBUG SET-ACTIVE-EXPIRE 0").text(), "OK");
        for elements in [20, 2000] {
            conn.call("FLUSHALL");
            for n in 0..elements {
                conn.call(&format!("SADD gone:{n} m{n}"));
            }
            fill(&mut conn, (0..elements).map(|n| format!("PEXPIRE gone:{n} 1")));
            fill(
                &mut conn,
                (0..elements).map(|n| {
                    format!("HSETEX h PX {} FIELDS 1 f{n} v", if usize::is_multiple_of(n, 10) { 100_000 } else { 1 })
                }),
            );
            fill(&mut conn, (0..elements).map(|n| format!("HSETEX none PX 1 FIELDS 1 f{n} v")));
            sleep(Duration::from_millis(10));
            let live: Vec<usize> = (0..elements).step_by(10).collect();
            assert_eq!(scanned(&mut conn, "HSCAN h CURSOR COUNT 50"), live);
            assert!(scanned(&mut conn, "HSCAN none CURSOR COUNT 50").is_empty());
            for request in ["HRANDFIELD h 5", "HRANDFIELD h -50", "HRANDFIELD h", "HRANDFIELD h 1000000", "HKEYS h"] {
                let found = drawn(&conn.call(request), 1);
                assert!(!found.is_empty() && found.iter().all(|n| n.is_multiple_of(10)), "{request}: {found:?}");
            }
            assert_fair(&mut conn, draw("HRANDFIELD h", 1, false, 1).every(10), live.len());
            assert_eq!(conn.call("HRANDFIELD none"), Value::Null);
            assert_eq!(conn.call("HRANDFIELD none 5").items(), []);
            // Of all keys, one lives.
            conn.call("DEL none");
            assert_eq!(conn.call("RANDOMKEY").text(), "h");
            let keys = conn.call("SCAN 0 COUNT 1000000");
            let keys: Vec<String> = keys.items()[1].items().iter().map(Value::text).collect();
            assert!(keys.iter().all(|key| key == "h"), "{keys:?}");
            for request in ["SRANDMEMBER gone:1", "SPOP gone:2"] {
                assert_eq!(conn.call(request), Value::Null, "{request}");
            }
            for request in ["SRANDMEMBER gone:3 5", "SRANDMEMBER gone:4 -5", "SPOP gone:5 5", "SMEMBERS gone:6"] {
                assert_eq!(conn.call(request).items(), [], "{request}");
            }
            assert!(scanned(&mut conn, "SSCAN gone:7 CURSOR").is_empty());
        }
    }
}
