//! Promise: in whatever state a power failure leaves the disk, as far as flushes allow it, the server starts and holds
//! everything that was acknowledged in `sync`, and of the rest a first part.
//!
//! A run under load, with checkpoints, dropped log and a `kill -9` in the middle, is written to a disk that logs every
//! write and every flush. Then the power fails at entries of that log taken by chance: all that was flushed is there,
//! of the rest each write whole, in part or not at all. The file system is mounted, the server started, its data
//! compared with what was acknowledged by then.
//!
//! Takes root and `qemu-storage-daemon`. `ROLLBOOK_TEST_ROUNDS=50` tries hundreds of states.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Disk, Home, Server, StorageDaemon, Unflushed, WriteLog, make_image, or_skip, rng, rounds, run, signal,
};
use rustix::process::Signal;

/// How long the server lives at least, each time.
const LIFE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const DISK_BYTES: u64 = 64 << 20;
const CLIENTS: usize = 4;
/// Keys that each client writes in turn.
const KEYS: usize = 40;

/// What one client wrote: write `n` puts `n` into key `n % KEYS`.
#[derive(Default)]
struct Written {
    /// By write: how long the disk's log was when the acknowledgement had come.
    acknowledged: Vec<usize>,
    /// Writes that were sent.
    sent: usize,
}

fn key(client: usize, n: usize) -> String {
    // One client's keys are all in one slot, so its writes are in one stream.
    format!("{{client{client}}}:{}", n % KEYS)
}

/// Writes until the server dies.
fn write(client: usize, server: &Server, log: &Path, written: &mut Written) {
    let mut conn = server.connect();
    loop {
        let n = written.sent;
        written.sent += 1;
        let value = format!("{n}:{}", "v".repeat(n * 37 % 3_000));
        let Ok(reply) = conn.try_command(&["SET", &key(client, n), &value]) else { return };
        assert_eq!(reply.text(), "OK");
        written.acknowledged.push(fs::metadata(log).expect("the log's length").len() as usize);
    }
}

/// One life of the server under load; ends with its death.
fn live(home: &Home, log: &Path, written: &mut [Written]) {
    let mut server = home.start();
    thread::scope(|scope| {
        for (client, written) in written.iter_mut().enumerate() {
            let server = &server;
            scope.spawn(move || write(client, server, log, written));
        }
        thread::sleep(LIFE);
        let dropped = || server.info_number("log_dropped_bytes") > 0.0;
        let started = Instant::now();
        while !dropped() && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(100));
        }
        signal(server.pid(), Signal::KILL);
        // Only now: as long as the server lives, its clients do not end.
        assert!(started.elapsed() < PATIENCE, "no log was dropped");
    });
    server.kill();
}

/// How many of a client's writes are held; panics unless they are the first ones.
fn held(server: &Server, client: usize, sent: usize) -> usize {
    let mut conn = server.connect();
    let numbers: Vec<Option<usize>> = (0..KEYS)
        .map(|n| {
            let reply = conn.command(&["GET", &key(client, n)]);
            let text = String::from_utf8_lossy(reply.bytes()?).into_owned();
            let number: usize = text.split(':').next().and_then(|n| n.parse().ok()).expect("a number");
            assert_eq!(text, format!("{number}:{}", "v".repeat(number * 37 % 3_000)), "half a value");
            Some(number)
        })
        .collect();
    let held = numbers.iter().flatten().max().map_or(0, |last| last + 1);
    let expected: Vec<Option<usize>> = (0..KEYS).map(|key| (0..held).rev().find(|n| n % KEYS == key)).collect();
    assert_eq!(numbers, expected, "what client {client} wrote is held with a hole");
    assert!(held <= sent);
    held
}

/// The disk's image up to a flush, which only ever moves forward, and a copy of it for each state.
struct Images {
    durable: PathBuf,
    state: PathBuf,
    applied: usize,
}

impl Images {
    /// Makes the state of a power failure after entry `at`.
    fn fail_at(&mut self, log: &WriteLog, at: usize, rng: &mut fastrand::Rng) -> Unflushed {
        let open = |path: &Path| OpenOptions::new().write(true).open(path).expect("open an image");
        let flushed = log.last_flush(at);
        log.apply(&open(&self.durable), self.applied..flushed);
        self.applied = flushed;
        let copy = ["--sparse=always".as_ref(), self.durable.as_os_str(), self.state.as_os_str()];
        run("cp", &copy).expect("copy an image");
        log.apply_some(&open(&self.state), flushed..at + 1, rng)
    }
}

/// Starts on a state and looks for everything that was acknowledged when the log had `length` bytes. Returns how much
/// that was.
fn check(home: &Home, images: &Images, mount: &Path, written: &[Written], length: usize, again: bool) -> usize {
    let _disk = Disk::attach(&images.state, mount).unwrap_or_else(|_| {
        // ext4 takes its superblock, two sectors, for one that is written whole or not at all.
        eprintln!("a torn superblock was repaired");
        // Its exit code is 1 after a repair.
        let _ = run("e2fsck", &["-fy".as_ref(), images.state.as_os_str()]);
        Disk::attach(&images.state, mount).expect("mount a repaired state of the disk")
    });
    let mut server = home.start();
    let look = |server: &Server| -> Vec<usize> {
        written.iter().enumerate().map(|(client, written)| held(server, client, written.sent)).collect()
    };
    let found = look(&server);
    let acknowledged = written.iter().map(|written| written.acknowledged.partition_point(|end| *end <= length));
    let acknowledged: Vec<usize> = acknowledged.collect();
    let lost = found.iter().zip(&acknowledged).any(|(found, acknowledged)| found < acknowledged);
    assert!(!lost, "acknowledged {acknowledged:?}, held {found:?}");
    server.kill();
    if again {
        let mut server = home.start();
        assert_eq!(look(&server), found, "the next start holds something else");
        server.kill();
    }
    acknowledged.iter().sum()
}

#[test]
fn after_a_power_failure() {
    let mut rng = rng();
    let mut home = Home::with_node()
        .set("data.partitions", "4")
        .set("log.durability", "sync")
        .set("log.segment_bytes", "262144")
        .set("log.buffer_bytes", "65536")
        .set("checkpoint.every_edits", "100");
    let path = |name: &str| home.path().join(name);
    let (image, mount, log) = (path("disk.img"), path("disk"), path("writes"));
    let (data, node) = (mount.join("data").display().to_string(), path("node").display().to_string());
    let mut images = Images { durable: path("durable.img"), state: path("state.img"), applied: 0 };
    home.change("data.dir", &data);
    home.change("checkpoint.dir", &node);
    let Some(()) = or_skip(make_image(&image, DISK_BYTES)) else { return };
    fs::copy(&image, &images.durable).expect("copy an image");
    let Some(daemon) = or_skip(StorageDaemon::logging(&image, &log)) else { return };
    let Some(disk) = or_skip(Disk::attach(daemon.export(), &mount)) else { return };
    let mut written: Vec<Written> = (0..CLIENTS).map(|_| Written::default()).collect();
    live(&home, &log, &mut written);
    // What the first life held unacknowledged, its clients do not know: they begin again after what is held.
    settle_between_lives(&home, &log, &mut written);
    live(&home, &log, &mut written);
    drop(disk);
    drop(daemon);
    let log = WriteLog::read(&log);
    home.change("checkpoint.node", "none");
    let mut states: Vec<usize> = (0..rounds(10)).map(|_| rng.usize(0..log.len())).collect();
    states.sort_unstable();
    let (mut unflushed, mut looked_for) = (Unflushed::default(), 0);
    for at in &states {
        let Unflushed { kept, dropped, torn } = images.fail_at(&log, *at, &mut rng);
        eprintln!("entry {at} of {}: of unflushed writes {kept} kept, {dropped} dropped, {torn} torn", log.len());
        looked_for += check(&home, &images, &mount, &written, log.length_at(*at), rng.u8(0..4) == 0);
        unflushed.kept += kept;
        unflushed.dropped += dropped;
        unflushed.torn += torn;
    }
    eprintln!("{} states, {looked_for} acknowledged writes looked for, {unflushed:?}", states.len());
}

/// Every write that was sent is either held, and then as good as acknowledged now that the server has recovered it, or
/// given up.
fn settle_between_lives(home: &Home, log: &Path, written: &mut [Written]) {
    let mut server = home.start();
    let now = fs::metadata(log).expect("the log's length").len() as usize;
    for (client, written) in written.iter_mut().enumerate() {
        let held = held(&server, client, written.sent);
        assert!(held >= written.acknowledged.len());
        written.sent = held;
        written.acknowledged.resize(held, now);
    }
    server.kill();
}
