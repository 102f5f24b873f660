//! Promise: no signal ends a daemon by accident. SIGHUP reads the log level again, signals that ask for the end lose
//! nothing (see `graceful`), and all others change nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::harness::{Home, Load, Server, eventually, rng, run};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a signal of any number, real-time ones too.
fn send(pid: u32, signal: u32) {
    run("sh", &["-c", &format!("kill -{signal} {pid}")]).expect("send a signal");
}

fn wait_for_line(server: &Server, line: &str, count: usize) {
    let found = || (server.log().matches(line).count() >= count).then_some(());
    eventually(line, PATIENCE, found);
}

/// By number: SIGHUP; SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGSTKFLT; SIGCHLD, SIGURG, SIGXFSZ, SIGVTALRM, SIGPROF,
/// SIGWINCH, SIGIO; the real-time ones but for those that the C library keeps to itself.
fn harmless() -> impl Iterator<Item = u32> {
    [1, 10, 12, 13, 14, 16, 17, 23, 25, 26, 27, 28, 29].into_iter().chain(34..=64)
}

#[test]
fn signals_that_mean_nothing_change_nothing() {
    // Only an end in good order brings the last edits to the disk.
    let home = Home::with_node().set("log.durability", "async").set("log.flush_interval_ms", "60000");
    let mut server = home.start();
    let node = server.node();
    let mut conn = server.connect();
    conn.call("SET key value");
    assert_eq!(conn.call("WAIT 1 30000").int(), 1);
    let load = Load::new("load").start(&server, &mut rng());
    for signal in harmless() {
        send(server.pid(), signal);
        send(node.pid, signal);
        assert_eq!(conn.call("PING").text(), "PONG", "signal {signal}");
    }
    let names = ["SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "SIGIO", "SIGSTKFLT", "a real-time signal"];
    names.iter().for_each(|name| wait_for_line(&server, &format!("{name} means nothing here"), 2));
    assert!(node.is_alive() && server.poll().is_none());
    let mut ledger = load.stop();
    assert!(server.terminate().success());
    ledger.settle_without_loss(&home.start());
}

/// Has the server say something at debug: a client that resets its connection.
fn provoke(server: &Server) {
    let conn = server.connect();
    socket2::SockRef::from(conn.stream()).set_linger(Some(Duration::ZERO)).expect("set the way of closing");
}

fn sighup_in(format: &str) {
    let home = Home::with_node().set("logging.format", format);
    let config = home.path().join("config.toml");
    let write = |text: &str| fs::write(&config, text).expect("write the configuration");
    write("[logging]\nlevel = \"info\"\n");
    let mut server = home.start();
    let node = server.node();
    assert_eq!(server.connect().call("CONFIG GET logging.level").pairs()[0].1, b"info");
    let load = Load::new("load").start(&server, &mut rng());
    let broke = |server: &Server| server.log().matches("a connection broke").count();
    provoke(&server);

    write("[logging]\nlevel = \"debug\"\n\n[log]\nflush_interval_ms = 20\n");
    server.signal(Signal::HUP);
    // The master says so, and the node, to whom it passes the signal on.
    wait_for_line(&server, "SIGHUP: the log level is debug from now on (config.toml:2)", 2);
    wait_for_line(&server, "settings other than logging.level have changed; they take effect at the next start", 2);
    assert_eq!(broke(&server), 0);
    eventually("an event of the new level", PATIENCE, || {
        provoke(&server);
        (broke(&server) > 0).then_some(())
    });
    let mut conn = server.connect();
    assert_eq!(conn.call("CONFIG GET logging.level").pairs()[0].1, b"debug");
    assert_eq!(conn.call("CONFIG GET loglevel").pairs()[0].1, b"verbose");

    write("[logging]\nlevel = \"loud\"\n\n[log]\nbuffers = 1\n");
    server.signal(Signal::HUP);
    let why =
        "SIGHUP: the configuration is not good, and nothing changes: config.toml:2: logging.level: unknown variant";
    wait_for_line(&server, why, 1);
    let before = broke(&server);
    eventually("an event of the level as it was", PATIENCE, || {
        provoke(&server);
        (broke(&server) > before).then_some(())
    });

    write("[logging]\nlevel = \"warn\"\n");
    server.signal(Signal::HUP);
    wait_for_line(&server, "SIGHUP: the log level is warn from now on", 2);
    let quiet = broke(&server);
    (0..10).for_each(|_| provoke(&server));
    assert_eq!(conn.call("CONFIG GET logging.level").pairs()[0].1, b"warn");
    assert_eq!(broke(&server), quiet);

    assert!(node.is_alive());
    let mut ledger = load.stop();
    assert!(server.terminate().success());
    ledger.settle_without_loss(&home.start());
}

#[test]
fn sighup_reads_the_log_level_again_in_text() {
    sighup_in("text");
}

#[test]
fn sighup_reads_the_log_level_again_in_json() {
    sighup_in("json");
}

#[test]
fn a_node_that_runs_by_itself_ends_in_good_order() {
    let home = Home::new().set("checkpoint.node", "external");
    let server = home.start();
    let mut conn = server.connect();
    for signal in [2, 3, 15, 24, 30] {
        let mut node = home.start_node("node", &[]);
        conn.call("SET key value");
        assert_eq!(conn.call("WAIT 1 30000").int(), 1);
        send(node.pid(), 10);
        wait_for_line(&node, "SIGUSR1 means nothing here", 1);
        send(node.pid(), signal);
        let status = node.wait();
        assert!(status.success(), "signal {signal}: {status}, by signal {:?}", status.signal());
        assert!(node.log().contains("the checkpoint node is shutting down"), "{}", node.log());
    }
}
