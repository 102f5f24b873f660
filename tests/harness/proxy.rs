//! A network between the checkpoint node and its master that can be bad: it delays, cuts, holds back, repeats and
//! damages what it carries, or falls silent on one connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;
use rollbook::replication::protocol::{Message, Role};

/// Bytes of a body's header in the mirror protocol; the first four are its length.
const HEADER: usize = 12;
/// Where the header says what the body is, and what stands there for log bytes.
const KIND: usize = 8;
const LOG: u8 = 2;
const LOOK: Duration = Duration::from_millis(20);

/// How bad the network is, in thousandths of all messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// The connection ends after a part of the message.
    pub cut: u32,
    /// The message comes twice.
    pub repeated: u32,
    /// The message never comes, but those after it do.
    pub lost: u32,
    /// A bit of the message is flipped.
    pub flipped: u32,
    /// The message comes byte by byte.
    pub slow: u32,
    /// Nothing comes for a while.
    pub late: u32,
}

/// A message of the mirror protocol at which a connection falls silent: neither it nor anything after it arrives, in
/// both directions, and neither end learns that the other has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The connection's role.
    pub role: Role,
    /// The message comes from the node.
    pub from_node: bool,
    /// Its name, or `Log` for a run of log bytes.
    pub message: &'static str,
}

/// What has been done to messages so far.
#[derive(Debug, Default)]
pub struct Mischief {
    /// Carried as they were.
    pub carried: AtomicU32,
    /// See [`Weather`].
    pub cut: AtomicU32,
    /// See [`Weather`].
    pub repeated: AtomicU32,
    /// See [`Weather`].
    pub lost: AtomicU32,
    /// See [`Weather`].
    pub flipped: AtomicU32,
    /// See [`Weather`].
    pub slow: AtomicU32,
    /// See [`Weather`].
    pub late: AtomicU32,
}

#[derive(Default)]
struct Shared {
    weather: Mutex<Weather>,
    mischief: Mischief,
    ended: AtomicBool,
    /// Everything is held back, in both directions, and no connection ends: a network that has parted.
    parted: AtomicBool,
    /// Where a connection is to fall silent, once.
    silence: Mutex<Option<Step>>,
    connections: Mutex<Vec<TcpStream>>,
}

/// The network; it ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A network that leads to a port of this machine; it is good at first.
    pub fn to(port: u16, rng: &mut Rng) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port for a proxy");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let own = listener.local_addr().expect("the proxy's port").port();
        let shared = Arc::new(Shared::default());
        let (state, mut rng) = (Arc::clone(&shared), rng.fork());
        let accepting = thread::spawn(move || {
            while !state.ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => connect(&state, client, port, &mut rng),
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        Self { shared, port: own, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens to messages from now on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().expect("nobody panics with it") = weather;
    }

    /// Holds everything back (`true`), or lets it go on.
    pub fn part(&self, parted: bool) {
        self.shared.parted.store(parted, Ordering::Relaxed);
    }

    /// The next connection that comes to this step falls silent there.
    pub fn fall_silent_at(&self, step: Step) {
        *self.shared.silence.lock().expect("nobody panics with it") = Some(step);
    }

    /// Whether a connection has come to that step.
    pub fn has_fallen_silent(&self) -> bool {
        self.shared.silence.lock().expect("nobody panics with it").is_none()
    }

    /// Resets all connections.
    pub fn cut_all(&self) {
        for stream in self.shared.connections.lock().expect("nobody panics with it").drain(..) {
            // It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What has been done so far.
    pub fn mischief(&self) -> &Mischief {
        &self.shared.mischief
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut_all();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What both directions of a connection know.
#[derive(Default)]
struct Line {
    role: Mutex<Option<Role>>,
    silent: AtomicBool,
}

impl Line {
    /// A message has come; the connection may fall silent with it.
    fn note(&self, shared: &Shared, from_node: bool, message: &[u8]) {
        let is_log = message[KIND] == LOG;
        let decoded = (!is_log).then(|| Message::decode(&message[HEADER..]).ok()).flatten();
        if let (true, Some(Message::Hello(hello))) = (from_node, &decoded) {
            *self.role.lock().expect("nobody panics with it") = Some(hello.role);
        }
        let said = decoded.map_or_else(String::new, |message| format!("{message:?}"));
        let name = if is_log { "Log" } else { said.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default() };
        let role = *self.role.lock().expect("nobody panics with it");
        let mut silence = shared.silence.lock().expect("nobody panics with it");
        let is_it = |s: &mut Step| Some(s.role) == role && s.from_node == from_node && s.message == name;
        if silence.take_if(is_it).is_some() {
            self.silent.store(true, Ordering::Relaxed);
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, port: u16, rng: &mut Rng) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    let open = || -> io::Result<[TcpStream; 4]> {
        client.set_nonblocking(false)?;
        [&client, &server].into_iter().try_for_each(|s| s.set_nodelay(true).and(s.set_read_timeout(Some(LOOK))))?;
        Ok([client.try_clone()?, server.try_clone()?, client.try_clone()?, server.try_clone()?])
    };
    let Ok([c1, s1, c2, s2]) = open() else { return };
    shared.connections.lock().expect("nobody panics with it").extend([client, server]);
    let line = Arc::new(Line::default());
    for (from, to, from_node) in [(c1, s1, true), (s2, c2, false)] {
        let (shared, line, mut rng) = (Arc::clone(shared), Arc::clone(&line), rng.fork());
        thread::spawn(move || {
            // Whatever ends one direction ends the other.
            let _ = carry(&shared, &line, from_node, &from, &to, &mut rng);
            while line.silent.load(Ordering::Relaxed) && !shared.ended.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Carries messages one way until the connection ends.
fn carry(
    shared: &Shared,
    line: &Line,
    from_node: bool,
    mut from: &TcpStream,
    to: &TcpStream,
    rng: &mut Rng,
) -> io::Result<()> {
    loop {
        let mut message = vec![0; HEADER];
        fill(shared, &mut from, &mut message)?;
        let length = u32::from_le_bytes(message[..4].try_into().expect("four bytes")) as usize;
        message.resize(HEADER + length, 0);
        fill(shared, &mut from, &mut message[HEADER..])?;
        line.note(shared, from_node, &message);
        if line.silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        deliver(shared, to, &mut message, rng)?;
    }
}

/// Reads exactly so many bytes; while the network is parted, none.
fn fill(shared: &Shared, from: &mut &TcpStream, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        if shared.ended.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        if shared.parted.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut into[done..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a message as the weather wants it.
fn deliver(shared: &Shared, mut to: &TcpStream, message: &mut [u8], rng: &mut Rng) -> io::Result<()> {
    let weather = *shared.weather.lock().expect("nobody panics with it");
    let done = &shared.mischief;
    let mut dice = rng.u32(0..1000);
    let mut falls = |chance: u32, count: &AtomicU32| {
        let falls = dice < chance;
        dice = dice.wrapping_sub(chance);
        count.fetch_add(u32::from(falls), Ordering::Relaxed);
        falls
    };
    if falls(weather.cut, &done.cut) {
        to.write_all(&message[..rng.usize(0..message.len())])?;
        return Err(ErrorKind::ConnectionReset.into());
    }
    if falls(weather.repeated, &done.repeated) {
        to.write_all(message)?;
    } else if falls(weather.lost, &done.lost) {
        return Ok(());
    } else if falls(weather.flipped, &done.flipped) {
        let at = rng.usize(0..message.len());
        message[at] ^= 1 << rng.u8(0..8);
    } else if falls(weather.slow, &done.slow) {
        let slow = message.len().min(200);
        for byte in &message[..slow] {
            to.write_all(&[*byte])?;
        }
        return to.write_all(&message[slow..]);
    } else if falls(weather.late, &done.late) {
        thread::sleep(Duration::from_millis(rng.u64(0..300)));
    }
    done.carried.fetch_add(1, Ordering::Relaxed);
    to.write_all(message)
}
