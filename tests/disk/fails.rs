//! Promise: when the disk fails, nothing more is acknowledged as durable, also not once the disk is well again; writes
//! are refused in clear words, reads go on, and the next start on the mended disk holds everything that was
//! acknowledged.
//!
//! The disks: one that is smaller than it said (space that was reserved cannot be written), one whose file system turns
//! read-only, one that is gone at once with all that was not committed, and ones on which every write fails, or one
//! flush. They take root and, some, `qemu-storage-daemon`. `ROLLBOOK_TEST_ROUNDS` multiplies how often each one fails.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{
    Confirm, Disk, Fault, Home, LOG_FAILED, Ledger, Load, Server, StorageDaemon, Value, eventually, make_image,
    or_skip, rng, rounds, run,
};

const PATIENCE: Duration = Duration::from_secs(60);
const DISK_BYTES: u64 = 64 << 20;

/// A disk, and how it is broken and mended.
struct Patient {
    disk: Disk,
    break_it: Box<dyn Fn(&Disk)>,
    mend_it: Box<dyn Fn()>,
}

/// Runs a load until the disk fails, looks at what the server does then, and at what the next one holds.
fn fail_under_load(mut home: Home, durability: &str, make: impl FnOnce(&Home) -> Option<Patient>) -> bool {
    let Some(Patient { mut disk, break_it, mend_it }) = make(&home) else { return false };
    let data = disk.path().join("data").display().to_string();
    // Changed, not made anew: it must outlive the disk, which is mounted in it.
    home.change("data.dir", &data);
    home.change("log.durability", durability);
    home.change("log.segment_bytes", "1048576");
    let mut rng = rng();
    let mut server = home.start();
    let mut conn = server.connect();
    assert_eq!(conn.call("SET {before} value").text(), "OK");
    assert_eq!(conn.call("WAITAOF 1 0 30000").items()[0].int(), 1);
    let mut load = Load::new("load");
    load.confirm = Some(Confirm::Disk);
    load.writes = usize::MAX;
    load.pause = Duration::from_millis(2);
    load.deletes = false;
    let running = load.start(&server, &mut rng);
    sleep(Duration::from_millis(rng.u64(0..400)));
    break_it(&disk);
    let (refused, refusal) = wait_for_refusal(&server);
    sleep(Duration::from_millis(50));
    assert_reads_go_on(&mut server, &refusal);
    assert_save_is_answered(&server);
    mend_it();
    assert_still_refused(&server, &refused);
    let ledger = running.stop();
    ledger.assert_nobody_starved();
    let refusals: Vec<&str> = ledger.refusals().into_keys().collect();
    assert!(refusals.iter().all(|text| text.starts_with(LOG_FAILED) || text.contains("disk is full")), "{refusals:?}");
    server.kill();
    disk.restart();
    let server = home.start();
    settle(ledger, &server, durability);
    assert_eq!(server.connect().call("SET {before} again").text(), "OK");
    true
}

/// `sync` loses nothing, `async` nothing that was confirmed.
fn settle(mut ledger: Ledger, server: &Server, durability: &str) {
    assert_eq!(server.connect().call("GET {before}").text(), "value");
    let lost = ledger.settle(server);
    eprintln!("{durability}: {} acknowledged, {} confirmed, {} lost", lost.acknowledged, lost.confirmed, lost.count);
    assert!(lost.count == 0 || durability == "async", "{lost:?}");
}

/// Writes here and there until a core gives its log up for lost; returns a key of that core, and the refusal.
fn wait_for_refusal(server: &Server) -> (String, String) {
    let mut n = 0;
    let mut conn = server.connect();
    eventually("a refusal", PATIENCE, || {
        n += 1;
        let key = format!("after{n}");
        match conn.try_command(&["SET", &key, &"x".repeat(1_000)]) {
            Ok(Value::Error(text)) if text.starts_with(LOG_FAILED) => Some((key, text)),
            Ok(_) => None,
            // Whoever waited for the disk when it failed loses the connection: what became of the write nobody knows.
            Err(_) => {
                conn = server.connect();
                None
            }
        }
    })
}

fn assert_reads_go_on(server: &mut Server, refusal: &str) {
    let mut conn = server.connect();
    assert_eq!(conn.call("GET {before}").text(), "value");
    assert!(refusal.contains("error") || refusal.contains("Read-only") || refusal.contains("space"), "{refusal}");
    assert!(server.info().values().any(|field| field.contains("cannot")), "INFO is silent: {:#?}", server.info());
    assert!(server.log().contains("the log is poisoned"), "the log is silent");
    assert!(server.poll().is_none(), "the server ended");
}

/// Whoever wants a checkpoint of what no log holds is told at once that there will be none, and so is whoever reads
/// INFO.
fn assert_save_is_answered(server: &Server) {
    let began = Instant::now();
    let refusal = server.connect().call("SAVE");
    assert!(refusal.is_error() && began.elapsed() < Duration::from_secs(30), "{refusal:?} after {:?}", began.elapsed());
    eventually("INFO says that it failed", PATIENCE, || {
        let info = server.info();
        (info["rdb_last_bgsave_status"] == "err" && info["rdb_bgsave_in_progress"] == "0").then_some(())
    });
    assert_eq!(server.info()["aof_last_write_status"], "err");
}

/// A disk that is well again proves nothing about what was lost.
fn assert_still_refused(server: &Server, key: &str) {
    let mut conn = server.connect();
    for _ in 0..20 {
        assert!(conn.command(&["SET", key, "1"]).is_error(), "the log goes on after it has lost something");
        sleep(Duration::from_millis(10));
    }
    assert_eq!(conn.call("GET {before}").text(), "value");
}

fn again(few: u32, fails: impl Fn(&str) -> bool) {
    for round in 0..rounds(few) {
        if !fails(["sync", "async"][round as usize % 2]) {
            break;
        }
    }
}

fn small_home() -> Home {
    Home::new().set("server.cores", "2").set("checkpoint.every_edits", "2000")
}

fn with_node() -> Home {
    Home::with_node().set("server.cores", "2").set("checkpoint.every_edits", "1000")
}

#[test]
fn a_file_system_that_turns_read_only() {
    again(2, |durability| {
        fail_under_load(small_home(), durability, |home| {
            let disk = Disk::make(home.path(), DISK_BYTES)?;
            Some(Patient { disk, break_it: Box::new(Disk::turn_read_only), mend_it: Box::new(|| {}) })
        })
    });
}

#[test]
fn a_disk_that_is_gone_at_once() {
    again(6, |durability| {
        fail_under_load(with_node(), durability, |home| {
            let disk = Disk::make(home.path(), DISK_BYTES)?;
            Some(Patient { disk, break_it: Box::new(Disk::shut_down), mend_it: Box::new(|| {}) })
        })
    });
}

/// Memory for an image; gone when it is dropped.
struct Memory(PathBuf);

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = run("umount", &[std::path::Path::new("-l"), &self.0]);
    }
}

#[test]
fn reserved_space_that_is_not_there() {
    again(2, |durability| {
        let home = small_home();
        let thin = home.path().join("thin");
        fs::create_dir(&thin).expect("create a mount point");
        let memory = "size=12m".to_owned();
        let mounted = run("mount", &["-ttmpfs", "-o", &memory, "tmpfs", &thin.to_string_lossy()]);
        let Some(_) = or_skip(mounted) else { return false };
        let memory = Memory(thin.clone());
        fail_under_load(home, durability, |home| {
            let image = thin.join("disk.img");
            let made = make_image(&image, DISK_BYTES).and_then(|()| Disk::attach(&image, &home.path().join("disk")));
            let give = move || {
                run("mount", &["-oremount,size=200m", &memory.0.to_string_lossy()]).map(drop).expect("give memory");
            };
            Some(Patient { disk: or_skip(made)?, break_it: Box::new(|_| {}), mend_it: Box::new(give) })
        })
    });
}

fn failing(fault: Fault) {
    again(2, |durability| {
        fail_under_load(small_home(), durability, |home| {
            let image = home.path().join("disk.img");
            let daemon = make_image(&image, DISK_BYTES).and_then(|()| StorageDaemon::failing(&image, fault));
            let daemon = std::rc::Rc::new(or_skip(daemon)?);
            let disk = or_skip(Disk::attach(daemon.export(), &home.path().join("disk")))?;
            let (breaking, mending) = (daemon.clone(), daemon);
            Some(Patient {
                disk,
                break_it: Box::new(move |_| breaking.set_failing(true)),
                mend_it: Box::new(move || mending.set_failing(false)),
            })
        })
    });
}

#[test]
fn a_disk_on_which_writes_fail() {
    failing(Fault::Writes);
}

#[test]
fn a_disk_on_which_one_flush_fails() {
    failing(Fault::NextFlush);
}
