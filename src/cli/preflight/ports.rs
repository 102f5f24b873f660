//! Checks that addresses exist and ports are free; and makes listeners that no second process can share by accident.
//!
//! Every core has its own listener, and the kernel distributes clients over all sockets of a port that set
//! `SO_REUSEPORT`. Two servers that both set it would silently share their clients. So the first listener of a port is
//! bound without it, which fails if any socket uses the port; only then is the option set and the other listeners are
//! bound.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::Finding;
use crate::config::load::Loaded;
use crate::config::{Config, NodeMode};

/// Maximum number of connections waiting to be accepted, per listener; the kernel's `somaxconn` may lower it.
const BACKLOG: i32 = 4096;
/// Maximum time that a killed server may keep the port occupied.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// Checks that this machine has the configured addresses, using an arbitrary port.
pub(super) fn addresses(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let node = (config.checkpoint.node != NodeMode::None).then_some(("checkpoint.bind", config.checkpoint.bind));
    let all = config.server.bind.iter().map(|address| ("server.bind", *address)).chain(node);
    all.filter_map(|(key, address)| {
        let error = bound(SocketAddr::new(address, 0)).err()?;
        Some(Finding::misconfigured(loaded, key, format!("{address} can't be listened on: {error}; see `ip address`")))
    })
    .collect()
}

/// Checks that the configured ports are free.
pub(super) fn free(config: &Config) -> Vec<Finding> {
    let node = (config.checkpoint.node != NodeMode::None).then_some((
        "checkpoint port",
        "checkpoint.port",
        SocketAddr::new(config.checkpoint.bind, config.checkpoint.port),
    ));
    let clients = |address: &IpAddr| ("port", "server.port", SocketAddr::new(*address, config.server.port));
    let all = config.server.bind.iter().map(clients).chain(node);
    all.map(|(subject, key, address)| match bound_in_time(address) {
        Ok(_) => Finding::fine(subject, format!("{address} is free")),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let text = format!("{address} is taken: stop what listens there (see `ss -ltnp`), or change {key}");
            Finding::missing(subject, text)
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("{address} may not be used ({e}): choose a port above 1023 for {key}");
            Finding::missing(subject, text)
        }
        Err(e) => Finding::missing(subject, format!("{address} can't be used: {e}")),
    })
    .collect()
}

/// Makes `count` listeners on one address, all owned by this process and shared with no other.
///
/// # Errors
///
/// [`io::ErrorKind::AddrInUse`] if any other socket listens there, whether or not it would share.
pub fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bound_in_time(address)?;
    first.listen(BACKLOG)?;
    // From here on other listeners of this process can bind; sockets without `SO_REUSEPORT` cannot.
    first.set_reuse_port(true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![TcpListener::from(first)];
    for _ in 1..count {
        let sibling = socket(&address)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&address)?;
        sibling.listen(BACKLOG)?;
        listeners.push(sibling.into());
    }
    Ok(listeners)
}

/// Like [`bound`], but retries for a while: after a server is killed, the kernel needs time to close the sockets of its
/// rings.
fn bound_in_time(address: SocketAddr) -> io::Result<Socket> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bound(address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => std::thread::sleep(POLL),
            outcome => return outcome,
        }
    }
}

/// Makes a socket that is bound to `address` and does not share it.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let address = address.into();
    let socket = socket(&address)?;
    socket.bind(&address)?;
    Ok(socket)
}

fn socket(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    // Ignores only connections that linger after their server has ended, never a listener.
    socket.set_reuse_address(true)?;
    if address.domain() == Domain::IPV6 {
        // Allows listeners on both 0.0.0.0 and ::.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn siblings_share_a_port_and_nobody_else_gets_in() {
        let ours = listeners(ANY, 3).unwrap();
        let address = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(listeners(address, 3).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bound(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(listeners(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), 1).is_err());
    }

    #[test]
    fn the_kernel_spreads_clients_over_the_siblings() {
        let ours = listeners(ANY, 2).unwrap();
        ours.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        let address = ours[0].local_addr().unwrap();
        let _clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted: Vec<_> = ours.iter().map(|listener| listener.incoming().map_while(Result::ok).count()).collect();
        assert_eq!(accepted.iter().sum::<usize>(), 64);
        // The probability that one of them gets no connection is 2^-63.
        assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    }

    #[test]
    fn a_port_is_free_again_at_once_when_its_listeners_are_gone() {
        let ours = listeners(ANY, 2).unwrap();
        let address = ours[0].local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let served: Vec<_> = ours.iter().map(|listener| listener.set_nonblocking(true)).collect();
        assert!(served.iter().all(Result::is_ok));
        // The server closes first, so that its end of the connection lingers.
        drop(ours.iter().find_map(|listener| listener.accept().ok()).unwrap());
        drop((ours, client));
        listeners(address, 2).unwrap();
    }
}
