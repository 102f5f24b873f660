//! Promise: the checkpoint node's port lets in nobody who cannot prove that he knows the password, gives strangers
//! little, and never keeps a node out that can.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Home, Server, eventually, rng};
use rollbook::config::Password;
use rollbook::replication::protocol::codec::Builder;
use rollbook::replication::protocol::proof::prove;
use rollbook::replication::protocol::wire::{HEADER, Inbox, Kind, header};
use rollbook::replication::protocol::{Hello, Message, Reason, Role, VERSION};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends a crowd, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection to the checkpoint port.
struct Peer {
    stream: TcpStream,
    inbox: Inbox,
}

impl Peer {
    fn open(home: &Home) -> Self {
        Self::at(home.checkpoint_port())
    }

    fn at(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a time limit");
        Self { stream, inbox: Inbox::default() }
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut builder = Builder::default();
        let body = message.encode(&mut builder);
        let bytes = [&header(Kind::Message, body)[..], body].concat();
        // Whoever is refused may be so before all is sent.
        let _ = self.stream.write_all(&bytes);
    }

    /// Calls `look` with the next message; `None` if the connection ends instead.
    fn next<T>(&mut self, look: impl FnOnce(Message<'_>) -> T) -> Option<T> {
        while !self.inbox.is_ready(1 << 20).expect("a short message") {
            match self.stream.read(self.inbox.space()) {
                Ok(0) => return None,
                Ok(count) => self.inbox.filled(count),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither a message nor an end: {error}"),
            }
        }
        let (_, body) = self.inbox.next(1 << 20).expect("a message").expect("a whole one");
        Some(look(Message::decode(body).expect("a message")))
    }

    /// Says hello and answers the challenge as one who knows `password`; what is answered.
    fn introduce(&mut self, role: Role, password: Option<&str>) -> Option<Result<(), Reason>> {
        let hello = Hello { protocol: VERSION, role, node: 1, session: 0 };
        self.send(&Message::Hello(hello));
        let proof = self.next(|message| match message {
            Message::Challenge(nonce) => password.map(|p| prove(&Password::new(p), &nonce, &hello).to_vec()),
            other => panic!("no challenge: {other:?}"),
        })?;
        self.send(&Message::Proof(proof.unwrap_or_default().into()));
        self.next(|message| match message {
            Message::Refusal { reason, .. } => Err(reason),
            Message::Welcome(_) => Ok(()),
            other => panic!("neither welcome nor refusal: {other:?}"),
        })
    }
}

fn node_is_connected(server: &Server) -> bool {
    server.info_number("node_connected") == 1.0
}

#[test]
fn only_who_proves_that_he_knows_the_password_is_let_in() {
    let home = Home::new().set("checkpoint.node", "external").set("server.password", "sesame");
    let server = home.start();
    for wrong in [None, Some(""), Some("Sesame")] {
        assert_eq!(Peer::open(&home).introduce(Role::Control, wrong), Some(Err(Reason::Password)), "{wrong:?}");
        assert_eq!(Peer::open(&home).introduce(Role::Download, wrong), Some(Err(Reason::Password)), "{wrong:?}");
    }
    assert_eq!(Peer::open(&home).introduce(Role::Control, Some("sesame")), Some(Ok(())));
    // What was right once is of no use again: every connection has a challenge of its own.
    let hello = Hello { protocol: VERSION, role: Role::Control, node: 2, session: 0 };
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::open(&home);
        peer.send(&Message::Hello(hello));
        challenges.push(peer.next(|message| format!("{message:?}")));
    }
    assert_ne!(challenges[0], challenges[1]);
    // A client's new password is a node's new password.
    assert_eq!(server.connect().call("CONFIG SET requirepass open").text(), "OK");
    assert_eq!(Peer::open(&home).introduce(Role::Control, Some("sesame")), Some(Err(Reason::Password)));
}

#[test]
fn strangers_who_hold_connections_keep_no_node_out() {
    let home = Home::new().set("checkpoint.node", "external").set("server.password", "sesame");
    let server = home.start();
    let (stop, port) = (AtomicBool::new(false), home.checkpoint_port());
    thread::scope(|scope| {
        // Whoever is sent away is back at once, with the beginning of a long message.
        let crowd = scope.spawn(|| {
            let mut held: VecDeque<Peer> = VecDeque::new();
            while !stop.load(Ordering::Relaxed) {
                let mut peer = Peer::at(port);
                let _ = peer.stream.write_all(&[0, 16, 0]);
                held.push_back(peer);
                if held.len() > 200 {
                    held.pop_front();
                }
                thread::sleep(Duration::from_millis(5));
            }
            held
        });
        let end = End(&stop);
        thread::sleep(Duration::from_millis(500));
        let _node = home.start_node("node", &[("server.password", "sesame")]);
        eventually("a node beside strangers", PATIENCE, || node_is_connected(&server).then_some(()));
        drop(end);
        // Those who say nothing are sent away, sooner or later, and are told nothing.
        let mut rest = Vec::new();
        for mut peer in crowd.join().expect("the crowd") {
            let _ = peer.stream.read_to_end(&mut rest);
        }
        assert!(rest.is_empty());
        assert!(node_is_connected(&server));
    });
}

#[test]
fn lengths_and_garbage_cost_nothing_and_end_only_their_connection() {
    let home = Home::with_node().set("server.password", "sesame");
    let server = home.start();
    eventually("a node", PATIENCE, || node_is_connected(&server).then_some(()));
    let (mut rng, before) = (rng(), server.peak_memory());
    let mut builder = Builder::default();
    let hello = Message::Hello(Hello { protocol: VERSION, role: Role::Stream, node: 1, session: 1 });
    let hello = hello.encode(&mut builder).to_vec();
    for round in 0..200 {
        let mut body = hello.clone();
        let at = rng.usize(0..body.len());
        body[at] = rng.u8(..);
        let mut bytes = [&header(Kind::Message, &body)[..], &body].concat();
        match round % 4 {
            // A right checksum over a malformed message.
            0 => {}
            // A body longer than a stranger's may be.
            1 => bytes[..4].copy_from_slice(&rng.u32(5000..).to_le_bytes()),
            2 => bytes[rng.usize(0..HEADER)] = rng.u8(..),
            _ => bytes.truncate(rng.usize(0..bytes.len())),
        }
        let mut peer = Peer::open(&home);
        let _ = peer.stream.write_all(&bytes);
        let _ = peer.stream.shutdown(std::net::Shutdown::Write);
        // A challenge, a refusal or nothing; and then the end.
        let mut answer = Vec::new();
        let _ = peer.stream.read_to_end(&mut answer);
        assert!(answer.len() < 500, "{} bytes", answer.len());
    }
    let more = server.peak_memory() - before;
    assert!(more < 64 << 20, "{more} bytes");
    assert!(node_is_connected(&server));
    assert_eq!(server.info_number("node_restarts"), 0.0);
}

/// CVE-2026-21863: a packet to the port that only servers use says that parts of it lie where it does not reach. What
/// is inside of messages is looked at by the fuzz target `mirror`; here are the lengths.
#[test]
fn the_port_between_servers() {
    let home = Home::with_node();
    let server = home.start();
    eventually("a node", PATIENCE, || (server.info_number("node_connected") == 1.0).then_some(()));
    let body = {
        let mut builder = Builder::default();
        let hello = Hello { protocol: VERSION, role: Role::Upload, node: 7, session: 7 };
        Message::Hello(hello).encode(&mut builder).to_vec()
    };
    for at in (0..body.len().saturating_sub(4)).step_by(2) {
        for value in [u32::MAX, 0x7fff_ffff, 0x8000_0000, body.len() as u32, 0xffff] {
            let mut malformed = body.clone();
            malformed[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let header = header(Kind::Message, &malformed);
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, home.checkpoint_port())).expect("connect");
            let _ = stream.write_all(&[&header[..], &malformed].concat());
        }
    }
    // Where the machine is busy, its connection may have been one of the many that came at once, and it comes again.
    eventually("the node is served", PATIENCE, || (server.info_number("node_connected") == 1.0).then_some(()));
    assert_eq!(server.info_number("node_restarts"), 0.0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.connect().call("PING").text(), "PONG");
}
