//! `rollbook checkpoint`: runs a checkpoint node, either by hand or as the child process of `serve`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::signals::{Signals, Told};
use super::{Exit, Failure};
use crate::config::{Config, Password};
use crate::replication::master::child::Secret;
use crate::replication::node::{self, NodeError, Options, Parent, Stop};

/// Runs the node until it is told to stop. If it is a child, `parent` is the process id of its master.
///
/// # Errors
///
/// If the node cannot use its directory, or the master refuses it for good.
pub fn run(config: &Config, parent: Option<u32>, signals: &Signals) -> Result<(), Failure> {
    let bound = match parent.map(Parent::bind) {
        None => None,
        // The master ended before this process was tied to it, so there is nothing to do.
        Some(None) => return Ok(()),
        Some(bound) => bound,
    };
    let master = match bound {
        Some(_) => reachable(config.checkpoint.bind, config.checkpoint.port).to_string(),
        None => config.checkpoint.master.clone(),
    };
    let options = Options {
        master,
        dir: config.node_dir(),
        password: parent_secret(parent.is_some()).or_else(|| config.server.password.clone()),
        upload_bytes_per_second: config.checkpoint.upload_bytes_per_second,
        timeout: Duration::from_secs(config.checkpoint.timeout_s),
        parent: bound,
    };
    tracing::info!(master = %options.master, dir = %options.dir.display(), "checkpoint node");
    let stop = Stop::default();
    signals.pass_to({
        let stop = stop.clone();
        move |told| {
            if let Told::Stop(by) = told {
                tracing::info!(by, "the checkpoint node is shutting down");
                stop.stop();
            }
        }
    });
    node::run(options, stop).map_err(|e| Failure::new(exit(&e), e))
}

/// Secret that the master passes to its child on standard input; `None` for a node that is run by hand.
fn parent_secret(is_child: bool) -> Option<Password> {
    is_child.then(|| Secret::read(std::io::stdin().lock()).ok().map(|secret| secret.password())).flatten()
}

/// Address by which a process on this machine reaches a listener bound to `bind`.
fn reachable(bind: IpAddr, port: u16) -> SocketAddr {
    let ip = match bind {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, port)
}

fn exit(error: &NodeError) -> Exit {
    use crate::storage::StorageError;
    match error {
        NodeError::Own(StorageError::Io { .. }) => Exit::Io,
        NodeError::Own(StorageError::Corrupt(_)) => Exit::Data,
        NodeError::Own(StorageError::InUse { .. }) => Exit::Unavailable,
        NodeError::Own(StorageError::Unusable { .. }) | NodeError::Foreign { .. } | NodeError::Refused(_) => {
            Exit::Config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_reaches_its_master_wherever_that_listens() {
        let reached = |bind: &str| reachable(bind.parse().unwrap(), 7).to_string();
        assert_eq!(reached("0.0.0.0"), "127.0.0.1:7");
        assert_eq!(reached("::"), "[::1]:7");
        assert_eq!(reached("10.1.2.3"), "10.1.2.3:7");
    }
}
