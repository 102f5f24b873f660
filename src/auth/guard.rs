//! Guard of the server's password: judges authentication attempts and delays addresses that gave wrong passwords. Both
//! ports (clients and checkpoint node) use it.
//!
//! After a wrong password, the address's next attempt is delayed, longer each time, until one succeeds. Only the
//! connection waits, with its request unread: no core blocks, and the guard remembers one entry per address in a map of
//! bounded size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::Password;

/// Delay after the first wrong password; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Maximum delay. It is short because clients that know the password but share the address wait as well.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// An address without failures for this long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Maximum number of addresses remembered.
const ADDRESSES: usize = 1024;

/// Result of one authentication attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The attempt was not examined; the client should repeat it at this time.
    Wait(Instant),
    /// The password is right, or none is required.
    Right,
    /// The password is wrong.
    Wrong,
}

/// The password, and the addresses that recently gave a wrong one.
#[derive(Debug, Default)]
pub struct Guard {
    password: RwLock<Option<Password>>,
    waits: Mutex<Waits>,
}

impl Guard {
    /// Guard that expects `password`, or lets everyone in if it is `None`.
    pub fn new(password: Option<Password>) -> Self {
        Self { password: RwLock::new(password), waits: Mutex::default() }
    }

    /// The password that clients must give, if any.
    pub fn password(&self) -> Option<Password> {
        self.password.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the password that clients must give.
    pub fn set_password(&self, password: Option<Password>) {
        *self.password.write().unwrap_or_else(PoisonError::into_inner) = password;
    }

    /// Judges an attempt from `peer` with `is_right`, unless the address must still wait.
    pub fn attempt(&self, peer: Option<IpAddr>, now: Instant, is_right: impl FnOnce() -> bool) -> Attempt {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let address = peer.map_or(0, address);
        if let Some(until) = waits.until(address, now) {
            return Attempt::Wait(until);
        }
        if is_right() {
            waits.0.remove(&address);
            Attempt::Right
        } else {
            waits.failed(address, now);
            Attempt::Wrong
        }
    }
}

/// Per address, the number of failures since the last success and the time of the next permitted attempt.
#[derive(Debug, Default)]
struct Waits(HashMap<u128, (u32, Instant)>);

impl Waits {
    fn until(&self, address: u128, now: Instant) -> Option<Instant> {
        self.0.get(&address).map(|(_, until)| *until).filter(|until| *until > now)
    }

    fn failed(&mut self, address: u128, now: Instant) {
        if self.0.len() >= ADDRESSES && !self.0.contains_key(&address) {
            self.0.retain(|_, (_, until)| *until + FORGOTTEN > now);
            // Still full of failing addresses: evict the one that has the least time left to wait.
            if self.0.len() >= ADDRESSES
                && let Some(oldest) = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(address, _)| *address)
            {
                self.0.remove(&oldest);
            }
        }
        let (failures, until) = self.0.entry(address).or_insert((0, now));
        *failures = if *until + FORGOTTEN > now { failures.saturating_add(1) } else { 1 };
        *until = now + (FIRST_WAIT * (1 << (*failures - 1).min(10))).min(LONGEST_WAIT);
    }
}

/// Key of an address. For IPv6 the upper 64 bits, because a client can choose the lower ones freely.
fn address(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn waits_grow_to_a_bound_and_end_with_a_right_password() {
        let guard = Guard::default();
        let start = Instant::now();
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(guard.attempt(ip("10.0.0.1"), now, || false), Attempt::Wrong);
            let Attempt::Wait(until) = guard.attempt(ip("10.0.0.1"), now, || panic!("looked at too early")) else {
                panic!("no wait")
            };
            assert_eq!(guard.attempt(ip("10.0.0.2"), now, || true), Attempt::Right, "another address does not wait");
            waits.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(guard.attempt(ip("10.0.0.1"), now, || true), Attempt::Right);
        assert_eq!(guard.attempt(ip("10.0.0.1"), now, || false), Attempt::Wrong);
        assert_eq!(guard.attempt(ip("10.0.0.1"), now, || true), Attempt::Wait(now + FIRST_WAIT));
    }

    #[test]
    fn quiet_addresses_are_forgotten_and_no_more_than_a_bound_remembered() {
        let (guard, start) = (Guard::default(), Instant::now());
        for n in 0..5000u32 {
            guard.attempt(Some(IpAddr::V4(n.into())), start + Duration::from_millis(n.into()), || false);
            assert!(guard.waits.lock().unwrap().0.len() <= ADDRESSES);
        }
        let later = start + 2 * FORGOTTEN;
        assert_eq!(guard.attempt(Some(IpAddr::V4(4999.into())), later, || false), Attempt::Wrong);
        let wait = guard.attempt(Some(IpAddr::V4(4999.into())), later, || true);
        assert_eq!(wait, Attempt::Wait(later + FIRST_WAIT), "as if for the first time");
    }

    #[test]
    fn one_network_of_version_6_is_one_address() {
        assert_eq!(address("2001:db8::1".parse().unwrap()), address("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(address("2001:db8::1".parse().unwrap()), address("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(address("::ffff:10.0.0.1".parse().unwrap()), address("10.0.0.1".parse().unwrap()));
    }
}
