//! Ports that no other test has, whichever process it runs in.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

/// Below the range from which the kernel takes ports for outgoing connections, so that no client can sit on one of
/// ours.
const RANGE: Range<u16> = 12_000..30_000;

/// A port held for as long as this lives: by a file lock, because the port itself must stay free for the server.
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port at random that nobody holds and nobody listens on.
    pub fn take() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
        fs::create_dir_all(&directory).expect("create the directory of port locks");
        loop {
            let number = fastrand::u16(RANGE);
            let lock = File::create(directory.join(number.to_string())).expect("create a port lock");
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
