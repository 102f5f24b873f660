//! Promise: whichever of the two processes is killed or put to sleep, at any instants, alone or together, and whatever
//! durability was chosen: nothing that was acknowledged as durable is lost, and afterwards both go on by themselves.
//!
//! A few dozen lives run with every change; `ROLLBOOK_TEST_ROUNDS=30 cargo test --test all crash::any -- --nocapture`
//! runs hundreds, and prints how many processes died and how many writes were looked for. `ROLLBOOK_TEST_SEED` repeats
//! the choices (not the instants).

use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Confirm, Home, Ledger, Load, Lost, Process, Running, Server, eventually, rng, rounds, verify};
use fastrand::Rng;
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
/// Lives after which the data is deleted, so that long runs neither fill the disk nor read ever more.
const GENERATION: u32 = 25;
/// Loads of former lives that are looked for again and again.
const REMEMBERED: usize = 4;

/// What a run has done so far.
#[derive(Debug, Default)]
struct Figures {
    master_kills: u32,
    node_kills: u32,
    sleeps: u32,
    starts: u32,
    acknowledged_writes: usize,
    /// Of these, the ones that no crash may take: acknowledged in `sync` or `mirrored`, or confirmed.
    durable_writes: usize,
    lost_in_async: usize,
}

/// Who runs the checkpoint node.
#[derive(Clone, Copy, PartialEq)]
enum Nodes {
    /// The master, as its child.
    Child,
    /// Nobody: it is a process of its own, and outlives its master.
    External,
}

/// One run of many lives.
struct Run {
    nodes: Nodes,
    home: Home,
    rng: Rng,
    figures: Figures,
    server: Server,
    node: Option<Server>,
    durable: bool,
    past: Vec<Ledger>,
}

impl Run {
    fn new(nodes: Nodes) -> Self {
        let home = match nodes {
            Nodes::Child => Home::with_node(),
            Nodes::External => Home::new().set("checkpoint.node", "external"),
        };
        // Small, so that there is always a checkpoint under way and log being dropped.
        let home = home.set("checkpoint.every_edits", "1500").set("log.segment_bytes", "1048576");
        let server = home.start();
        let mut run = Self {
            nodes,
            server,
            home,
            rng: rng(),
            figures: Figures::default(),
            node: None,
            durable: false,
            past: Vec::new(),
        };
        run.start_node();
        run
    }

    fn start_node(&mut self) {
        if self.nodes == Nodes::External {
            self.node = Some(self.home.start_node("node", &[]));
        }
    }

    fn node(&mut self) -> Option<Process> {
        match &self.node {
            Some(node) => Process::find(node.pid()),
            None => self.server.family().into_iter().find(|process| process.command.contains(" checkpoint")),
        }
    }

    /// Writes of a kind that chance decides.
    fn load(&mut self, round: u32) -> Running {
        let rng = &mut self.rng;
        let mut load = Load::new(&format!("round{round}"));
        load.connections = rng.usize(1..=5);
        load.pipeline = 1 << rng.u32(0..7);
        load.keys = rng.usize(1..300);
        load.padding = rng.choice([20, 300, 3_000]).unwrap_or(20);
        load.cores = self.home.setting("server.cores").parse().expect("a number of cores");
        load.confirm = rng.choice([None, Some(Confirm::Disk), Some(Confirm::Node)]).flatten();
        load.start(&self.server, rng)
    }

    /// Something happens to one of the processes, and some time passes.
    fn happening(&mut self) {
        sleep(Duration::from_micros(self.rng.u64(0..150_000)));
        let Some(node) = self.node() else { return };
        let pause = Duration::from_micros(self.rng.u64(0..200_000));
        match self.rng.u8(0..4) {
            0 => {
                self.figures.sleeps += 1;
                self.server.signal(Signal::STOP);
                sleep(pause);
                self.server.signal(Signal::CONT);
            }
            1 => {
                self.figures.sleeps += 1;
                node.signal(Signal::STOP);
                sleep(pause);
                // The end may come while it still sleeps.
                if self.rng.bool() {
                    node.signal(Signal::CONT);
                }
            }
            _ => self.kill_node(&node),
        }
    }

    fn kill_node(&mut self, node: &Process) {
        self.figures.node_kills += 1;
        node.signal(Signal::KILL);
        if let Some(mut dead) = self.node.take() {
            dead.wait();
            self.start_node();
        }
    }

    /// The master's death, and, most times, the node's: before it, after it or as nearly as possible at once.
    fn death(&mut self) {
        sleep(Duration::from_micros(self.rng.u64(0..250_000)));
        let node = self.node();
        let both = self.rng.u8(0..4);
        if let (0, Some(node)) = (both, &node) {
            self.kill_node(node);
        }
        self.figures.master_kills += 1;
        self.server.kill();
        if let (1..=2, Some(node)) = (both, &node) {
            self.kill_node(node);
        } else if let Some(node) = node {
            node.signal(Signal::CONT);
        }
    }

    /// Starts the next life, with other settings, and looks for everything.
    fn next_life(&mut self, mut ledger: Ledger) {
        let was_durable = self.durable;
        let durability = self.rng.choice(["async", "sync", "mirrored"]).expect("one of three");
        self.home.change("log.durability", durability);
        self.home.change("server.cores", self.rng.choice(["1", "2"]).expect("one of two"));
        self.durable = durability != "async";
        self.figures.starts += 1;
        self.server = self.home.start();
        let lost: Lost = ledger.settle(&self.server);
        assert!(!was_durable || lost.count == 0, "acknowledged as durable and lost: {lost:?}");
        self.figures.acknowledged_writes += lost.acknowledged;
        self.figures.durable_writes += if was_durable { lost.acknowledged } else { lost.confirmed };
        self.figures.lost_in_async += lost.count;
        self.past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&self.server));
        if self.past.len() == REMEMBERED {
            self.past.remove(0);
        }
        self.past.push(ledger);
    }

    /// Both processes are well: a checkpoint of everything succeeds, digests agree, and what lies on disk is sound.
    fn take_stock(&mut self) {
        eventually("a node", PATIENCE, || (self.server.info_number("node_connected") > 0.0).then_some(()));
        assert_eq!(self.server.connect().call("SAVE").text(), "OK");
        assert_eq!(self.server.info_number("digests_differed"), 0.0);
        self.server.kill();
        self.figures.master_kills += 1;
        let verdict = verify(&self.home.data());
        assert_eq!(verdict.code, Some(0), "{}", verdict.text);
        self.server = self.home.start();
        self.past.iter_mut().for_each(|ledger| ledger.settle_without_loss(&self.server));
    }

    fn forget(&mut self) {
        let mut conn = self.server.connect();
        assert_eq!(conn.call("FLUSHALL").text(), "OK");
        assert_eq!(conn.call("WAITAOF 1 0 60000").items()[0].int(), 1);
        self.past.clear();
    }
}

fn live_and_die(nodes: Nodes, few: u32) {
    let mut run = Run::new(nodes);
    let lives = rounds(few);
    for round in 1..=lives {
        let load = run.load(round);
        for _ in 0..run.rng.u8(0..3) {
            run.happening();
        }
        run.death();
        let ledger = load.join();
        assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
        run.next_life(ledger);
        if round % 8 == 0 || round == lives {
            run.take_stock();
        }
        if round % GENERATION == 0 {
            run.forget();
            eprintln!("{round} of {lives}: {:?}", run.figures);
        }
    }
    eprintln!("{:?}", run.figures);
}

#[test]
fn a_master_with_its_child() {
    live_and_die(Nodes::Child, 12);
}

#[test]
fn a_master_and_a_node_of_its_own() {
    live_and_die(Nodes::External, 12);
}
