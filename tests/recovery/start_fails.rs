//! Promise: a start that the machine does not let finish (no memory, a sector that cannot be read, a dead process that
//! still writes) changes nothing and guesses nothing; a start that it does let finish holds everything.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    Cgroup, Conn, Disk, Dump, Fault, Home, Load, StorageDaemon, make_image, or_skip, rng, rounds, run, verify,
};

/// As sysexits has it: an error of input or output.
const IO_ERROR: i32 = 74;
const DISK_BYTES: u64 = 64 << 20;

fn fill(conn: &mut Conn, count: usize) {
    let value = "v".repeat(1_000);
    let sets: Vec<Vec<String>> =
        (0..count).map(|n| vec!["SET".to_owned(), format!("key:{n}"), value.clone()]).collect();
    sets.chunks(500).for_each(|chunk| drop(conn.pipeline(chunk)));
    assert_eq!(conn.call("WAITAOF 1 0 30000").items()[0].int(), 1);
}

#[test]
fn with_too_little_memory() {
    let home = Home::new().set("server.cores", "1");
    let group = Cgroup::make("memory").and_then(|group| {
        // What this machine swaps is no less memory.
        group.set("memory.swappiness", "0").and(group.set("memory.limit_in_bytes", "100000000")).map(|()| group)
    });
    let Some(group) = or_skip(group) else { return };
    let wrapper = group.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut server = home.start();
    fill(&mut server.connect(), 120_000);
    let keys = server.connect().call("DBSIZE").int();
    server.kill();
    for _ in 0..2 {
        let refused = home.launch_under(&wrapper).wait_until_ready().err().expect("120 MB do not fit into 100 MB");
        let killed = refused.status.signal() == Some(9);
        assert!(killed || refused.status.code().is_some(), "{refused}");
        assert!(!refused.log.contains("panicked"), "{refused}");
        let verdict = verify(&home.data());
        assert_eq!(verdict.code, Some(0), "{}", verdict.text);
    }
    let server = home.start();
    let mut conn = server.connect();
    assert_eq!(conn.call("DBSIZE").int(), keys);
    assert_eq!(conn.call("STRLEN key:119999").int(), 1_000);
}

#[test]
fn on_a_sector_that_cannot_be_read() {
    let mut home = Home::new().set("server.cores", "1").set("log.durability", "sync");
    let (image, mount) = (home.path().join("disk.img"), home.path().join("disk"));
    home.change("data.dir", &mount.join("data").display().to_string());
    let needle = format!("needle-{:016x}", fastrand::u64(..));
    let before = {
        let disk = make_image(&image, DISK_BYTES).and_then(|()| Disk::attach(&image, &mount));
        let Some(_disk) = or_skip(disk) else { return };
        let mut server = home.start();
        let mut conn = server.connect();
        fill(&mut conn, 1_000);
        assert_eq!(conn.call(&format!("SET needle {needle}")).text(), "OK");
        fill(&mut conn, 1_000);
        let before = Dump::take(&server);
        server.kill();
        before
    };
    let bytes = fs::read(&image).expect("read the image");
    let at = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).expect("it is on the disk");
    let Some(daemon) = or_skip(StorageDaemon::failing(&image, Fault::ReadsAt(at as u64))) else { return };
    {
        let _disk = Disk::attach(daemon.export(), &mount).expect("mount the file system");
        daemon.set_failing(true);
        for _ in 0..2 {
            let refused = home.try_start().err().expect("a log that cannot be read");
            assert_eq!(refused.status.code(), Some(IO_ERROR), "{refused}");
            assert!(refused.log.contains(".seg") && refused.log.contains("at byte"), "{refused}");
        }
        daemon.set_failing(false);
    }
    let _disk = Disk::attach(daemon.export(), &mount).expect("mount the file system");
    before.assert_same(&Dump::take(&home.start()));
}

/// A file as it is on the disk: the page cache is not told of writes that pass it by.
fn direct_read(path: &Path) -> Vec<u8> {
    let from = format!("if={}", path.display());
    Command::new("dd").args([&from, "iflag=direct", "bs=1M"]).output().expect("run dd").stdout
}

/// The log of the first life, byte for byte.
fn segments(home: &Home) -> Vec<Vec<u8>> {
    let stream = |core: u16| home.data().join("log/0000000001").join(format!("{core:05}"));
    let listed = |core| fs::read_dir(stream(core)).expect("list a stream").flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = (0..2).flat_map(listed).collect();
    paths.sort();
    paths.iter().map(|path| direct_read(path)).collect()
}

/// What a killed process has on its way to the disk may land after its death: on a disk this slow, seconds after.
#[test]
fn after_a_process_whose_last_writes_are_still_under_way() {
    let mut rng = rng();
    for round in 0..rounds(2) {
        let mut home = Home::new().set("log.durability", "async").set("log.segment_bytes", "4194304");
        let Some(disk) = Disk::make(home.path(), DISK_BYTES) else { return };
        home.change("data.dir", &disk.path().join("data").display().to_string());
        let Some(group) = or_skip(Cgroup::make("blkio")) else { return };
        let wrapper = group.wrapper();
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut server = home.launch_under(&wrapper).wait_until_ready().expect("a server in a group");
        let device = run("stat", &["-c", "%Hd:%Ld", &disk.path().to_string_lossy()]).expect("the device's number");
        let slow = group.set("blkio.throttle.write_bps_device", &format!("{device} 300000"));
        let Some(()) = or_skip(slow) else { return };
        let mut load = Load::new(&format!("round{round}"));
        load.padding = 3_000;
        let running = load.start(&server, &mut rng);
        std::thread::sleep(Duration::from_millis(rng.u64(200..1_000)));
        server.kill();
        let died = Instant::now();
        let mut ledger = running.join();
        let mut server = home.start();
        let read = segments(&home);
        eprintln!("ready {:?} after the death, {:?}", died.elapsed(), ledger.settle(&server));
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(segments(&home) == read, "the dead process wrote to what the living one had read");
        server.kill();
        server = home.start();
        ledger.settle_without_loss(&server);
    }
}
