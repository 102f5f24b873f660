//! Promise: whatever the network between master and checkpoint node does to their messages — cuts, repeats, losses,
//! flipped bits, delays, a parting of minutes, silence on one connection — nothing wrong is ever mirrored, installed or
//! dropped, nobody waits for ever, and once it is well again both go on by themselves.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{
    Confirm, Dump, Home, Ledger, Load, Proxy, Server, Step, Weather, eventually, rng, rounds, run, verify,
};
use rollbook::replication::protocol::Role;
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(90);

fn home(durability: &str) -> Home {
    Home::new()
        .set("checkpoint.node", "external")
        .set("log.durability", durability)
        .set("log.segment_bytes", "1048576")
        .set("data.partitions", "32")
        .set("checkpoint.every_edits", "500")
        .set("checkpoint.every_seconds", "1")
}

fn start_node(home: &Home, proxy: &Proxy, directory: &str) -> Server {
    let master = format!("127.0.0.1:{}", proxy.port());
    home.start_node(directory, &[("checkpoint.master", &master)])
}

fn await_node(server: &Server) {
    eventually("a node", PATIENCE, || (server.info_number("node_connected") > 0.0).then_some(()));
}

/// Both are well: everything is checkpointed, the digests agree, the files are sound, and the next life holds the same.
fn assert_well(home: &Home, mut server: Server) -> Server {
    eventually("a checkpoint", PATIENCE, || (!server.connect().call("SAVE").is_error()).then_some(()));
    assert_eq!(server.info_number("digests_differed"), 0.0);
    let before = Dump::take(&server);
    server.kill();
    let verdict = verify(&home.data());
    assert_eq!(verdict.code, Some(0), "{}", verdict.text);
    let server = home.start();
    before.assert_same(&Dump::take(&server));
    server
}

/// A load in each kind of weather, and what `after` makes of the server when it is over.
fn in_all(kinds: &[Weather], after: impl Fn(&Home, Server) -> Server) {
    let mut rng = rng();
    let home = home("async");
    let mut server = home.start();
    let proxy = Proxy::to(home.checkpoint_port(), &mut rng);
    let _node = start_node(&home, &proxy, "node");
    for round in 0..rounds(1) {
        for (number, weather) in kinds.iter().enumerate() {
            let mut load = Load::new(&format!("round{round}:{number}"));
            load.confirm = Some(Confirm::Node);
            load.pause = Duration::from_millis(10);
            await_node(&server);
            let running = load.start(&server, &mut rng);
            proxy.set(*weather);
            sleep(Duration::from_millis(1_500));
            proxy.set(Weather::default());
            let mut ledger = running.stop();
            assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
            server = assert_well(&home, after(&home, server));
            ledger.settle(&server);
        }
    }
    eprintln!("{:?}", proxy.mischief());
}

#[test]
fn a_bad_one() {
    let kinds = [
        Weather { cut: 30, ..Weather::default() },
        Weather { flipped: 30, ..Weather::default() },
        Weather { slow: 200, late: 50, ..Weather::default() },
        Weather { cut: 5, flipped: 5, slow: 50, late: 20, ..Weather::default() },
    ];
    in_all(&kinds, |_, server| server);
}

/// What TCP does not do: messages vanish or come twice. Nothing wrong may come of it; what it holds up may take a
/// restart to go on at once.
#[test]
fn an_impossible_one() {
    let kinds = [Weather { lost: 30, ..Weather::default() }, Weather { repeated: 30, ..Weather::default() }];
    in_all(&kinds, |home, mut server| {
        server.kill();
        home.start()
    });
}

#[test]
fn one_that_parts_and_joins_again() {
    let mut rng = rng();
    let home = home("mirrored");
    let server = home.start();
    let proxy = Proxy::to(home.checkpoint_port(), &mut rng);
    let _node = start_node(&home, &proxy, "node");
    let mut load = Load::new("load");
    load.pause = Duration::from_millis(5);
    let running = load.start(&server, &mut rng);
    sleep(Duration::from_millis(500));
    proxy.part(true);
    // Longer than either end's patience with a silent peer.
    eventually("the master notices", PATIENCE, || (server.info_number("node_connected") == 0.0).then_some(()));
    let mut conn = server.connect();
    assert_eq!(conn.call("PING").text(), "PONG");
    assert_eq!(conn.call("WAIT 1 100").int(), 0);
    proxy.part(false);
    proxy.cut_all();
    await_node(&server);
    sleep(Duration::from_millis(500));
    let mut ledger = running.stop();
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    ledger.assert_nobody_starved();
    let server = assert_well(&home, server);
    ledger.settle_without_loss(&server);
}

/// Both ends' patience with a connection that is silent, in seconds.
const TIMEOUT_S: &str = "3";

/// A connection of `role` falls silent at each step: first those of the node, then the master's. Whoever waits for a
/// checkpoint gets an answer, the session ends, and another one is made.
fn silence(role: Role, of_node: &[&'static str], of_master: &[&'static str]) {
    let mut rng = rng();
    let home = home("async").set("checkpoint.timeout_s", TIMEOUT_S);
    let server = home.start();
    let proxy = Proxy::to(home.checkpoint_port(), &mut rng);
    let master = format!("127.0.0.1:{}", proxy.port());
    let start =
        |name: &str| home.start_node(name, &[("checkpoint.master", &master), ("checkpoint.timeout_s", TIMEOUT_S)]);
    let mut node = start("node");
    await_node(&server);
    // Two generations, so that a node that has nothing must download.
    for name in ["first", "second"] {
        write(&server, name, 500);
        assert_eq!(server.connect().call("SAVE").text(), "OK");
    }
    let steps = of_node.iter().map(|message| (true, *message)).chain(of_master.iter().map(|message| (false, *message)));
    for (from_node, message) in steps {
        let step = Step { role, from_node, message };
        let sessions = server.info_number("node_sessions");
        proxy.fall_silent_at(step);
        if role == Role::Download {
            node.kill();
            node = start(message);
        } else {
            proxy.cut_all();
        }
        eventually(&format!("{step:?}"), PATIENCE, || {
            write(&server, "more", 100);
            // Whatever it is told, it is told something: a read of the harness has an end.
            server.connect().call("SAVE");
            proxy.has_fallen_silent().then_some(())
        });
        eventually(&format!("another session after {step:?}"), PATIENCE, || {
            (server.info_number("node_sessions") > sessions && server.info_number("node_connected") > 0.0).then_some(())
        });
        eventually(&format!("a snapshot of the node after {step:?}"), PATIENCE, || {
            write(&server, "yet more", 100);
            let of_node =
                || server.info_number("checkpoints_installed") - server.info_number("self_checkpoints_installed");
            let before = of_node();
            let saved = !server.connect().call("SAVE").is_error();
            (saved && of_node() > before).then_some(())
        });
        assert!(node.poll().is_none(), "the node ended: {}", node.log());
    }
    assert_well(&home, server);
}

#[test]
fn one_that_is_silent_on_the_control_connection() {
    silence(Role::Control, &["Hello", "Proof", "Ping"], &["Challenge", "Welcome", "Ping"]);
}

#[test]
fn one_that_is_silent_on_a_stream() {
    silence(Role::Stream, &["Hello", "Proof", "Follow", "Applied"], &["Challenge", "Log"]);
}

#[test]
fn one_that_is_silent_on_an_upload() {
    silence(Role::Upload, &["Hello", "Proof", "Ping", "Offer", "Chunk"], &["Challenge", "Resume", "Installed"]);
}

#[test]
fn one_that_is_silent_on_a_download() {
    silence(Role::Download, &["Hello", "Proof", "Fetch"], &["Challenge", "Lend", "Chunk"]);
}

/// The master's disk is put back to an older state: what the node has is ahead, or was never written in this past. The
/// master says so loudly and drops no log, until the node has begun anew with the master's data.
#[test]
fn a_node_that_knows_more_than_its_master_is_not_believed() {
    for later_writes in [100, 3_000] {
        let mut home = home("sync");
        home.change("data.partitions", "4");
        let older = home.path().join("older");
        let mut server = home.start();
        let mut node = home.start_node("node", &[]);
        let mut first = write(&server, "first", 1_000);
        await_node(&server);
        server.kill();
        copy(&home.data(), &older);
        server = home.start();
        await_node(&server);
        write(&server, "lost", 1_000);
        assert_eq!(server.connect().call("SAVE").text(), "OK");
        server.kill();
        fs::remove_dir_all(home.data()).expect("remove the data");
        copy(&older, &home.data());
        // The same epoch once more, with other edits: fewer than the node has seen, or more by the time it looks.
        node.signal(Signal::STOP);
        server = home.start();
        let mut second = write(&server, "second", later_writes);
        node.signal(Signal::CONT);
        // A checkpoint may be the master's own, before the node has compared anything.
        eventually("agreement in each partition", PATIENCE, || {
            let before = ["digests_compared", "digests_differed"].map(|count| server.info_number(count));
            // What has not changed is not compared again.
            write(&server, "more", 100);
            let saved = !server.connect().call("SAVE").is_error();
            let [compared, differed] = ["digests_compared", "digests_differed"].map(|count| server.info_number(count));
            (saved && compared >= before[0] + 4.0 && differed == before[1]).then_some(())
        });
        eprintln!("{} comparisons differed", server.info_number("digests_differed"));
        assert_eq!(server.info_number("partitions_diverged"), 0.0);
        server.kill();
        let server = assert_well(&home, home.start());
        first.settle_without_loss(&server);
        second.settle_without_loss(&server);
        assert!(node.poll().is_none(), "the node ended: {}", node.log());
    }
}

fn write(server: &Server, name: &str, writes: usize) -> Ledger {
    let mut load = Load::new(name);
    load.writes = writes / load.connections;
    load.start(server, &mut fastrand::Rng::new()).join()
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]).expect("copy a directory");
}
