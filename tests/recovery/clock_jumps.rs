//! Promise: when the wall clock jumps, nothing is lost or reordered, keys expire by the clock as it is, and a start
//! does not mind.
//!
//! The server runs with a library before libc's that adds to the wall clock what stands in a file. It takes `cc`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{Home, Load, Server, Value, eventually, or_skip, rng, run};

const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: i64 = 3_600;

/// A clock that can be set.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn make(home: &Home) -> Option<Self> {
        let path = |name: &str| home.path().join(name);
        let (source, library, file) = (path("clock.c"), path("clock.so"), path("clock.offset"));
        fs::write(&source, include_str!("../harness/clock.c")).expect("write a source file");
        let defined = format!("-DOFFSET_FILE=\"{}\"", file.display());
        let arguments = ["-shared".as_ref(), "-fPIC".as_ref(), "-O1".as_ref(), "-o".as_ref(), library.as_os_str()];
        let arguments = [&arguments[..], &[defined.as_ref(), source.as_os_str()]].concat();
        or_skip(run("cc", &arguments))?;
        let clock = Self { library, file };
        clock.set(0);
        Some(clock)
    }

    /// Puts the server's clock so many seconds after the machine's.
    fn set(&self, seconds: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds}\n")).expect("write the clock's offset");
        fs::rename(&next, &self.file).expect("set the clock");
    }

    fn start(&self, home: &Home) -> Server {
        let preload = format!("LD_PRELOAD={}", self.library.display());
        home.launch_under(&["env", &preload]).wait_until_ready().expect("a server with a clock that can be set")
    }
}

/// Waits until the server's clock is so many seconds after the machine's.
fn await_clock(server: &Server, seconds: i64) {
    let real = || std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs() as i64;
    eventually("the clock jumps", PATIENCE, || {
        let told: i64 = server.connect().call("TIME").items()[0].text().parse().expect("seconds");
        ((told - real() - seconds).abs() < 60).then_some(())
    });
}

#[test]
fn keys_expire_by_the_clock_and_nothing_else_is_touched() {
    let home = Home::with_node().set("log.durability", "sync");
    let Some(clock) = Clock::make(&home) else { return };
    let mut server = clock.start(&home);
    let mut conn = server.connect();
    conn.call("SET lasting value");
    conn.call("SET minutes value EX 600");
    conn.call("SET hours value EX 10000");
    clock.set(-HOUR);
    await_clock(&server, -HOUR);
    // An hour back: what was to live for ten minutes lives for an hour more, and no shorter.
    let left = conn.call("TTL minutes").int();
    assert!((HOUR..=HOUR + 600).contains(&left), "{left}");
    assert_eq!(conn.call("SET back value EX 100").text(), "OK");
    assert!((1..=100).contains(&conn.call("TTL back").int()));
    clock.set(HOUR);
    await_clock(&server, HOUR);
    for (key, expected) in [("lasting", 1), ("minutes", 0), ("back", 0), ("hours", 1)] {
        assert_eq!(conn.call(&format!("EXISTS {key}")).int(), expected, "{key}");
    }
    assert_eq!(conn.call("SAVE").text(), "OK");
    server.kill();
    // What has expired stays so, also for a start in the past.
    clock.set(-HOUR);
    let server = clock.start(&home);
    let mut conn = server.connect();
    for (key, expected) in [("lasting", 1), ("minutes", 0), ("back", 0), ("hours", 1)] {
        assert_eq!(conn.call(&format!("EXISTS {key}")).int(), expected, "{key} after a restart");
    }
}

#[test]
fn order_and_acknowledgements_do_not_depend_on_it() {
    let home = Home::with_node().set("log.durability", "mirrored").set("checkpoint.every_edits", "1000");
    let Some(clock) = Clock::make(&home) else { return };
    let mut rng = rng();
    let mut server = clock.start(&home);
    for round in 0..3 {
        let load = Load::new(&format!("round{round}")).start(&server, &mut rng);
        for jump in [-HOUR, 24 * HOUR, -30 * 365 * 24 * HOUR, 7] {
            clock.set(jump);
            await_clock(&server, jump);
        }
        server.kill();
        let mut ledger = load.join();
        assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
        clock.set(rng.i64(-HOUR..HOUR));
        server = clock.start(&home);
        ledger.settle_without_loss(&server);
        let mut conn = server.connect();
        assert_eq!(conn.call("SET after value").text(), "OK");
        assert_ne!(conn.call("GET after"), Value::Null);
    }
    assert_eq!(server.info_number("digests_differed"), 0.0);
}
