//! The machine that all tests share: most run side by side, those that measure time have it for themselves.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

thread_local! {
    /// What this thread's test holds, so that its second server waits for nobody.
    static HELD: RefCell<Weak<Share>> = RefCell::default();
}

/// A test's right to load the machine, for as long as this lives. Every [`Home`](super::Home) has one.
pub struct Share(#[expect(dead_code, reason = "it is held, not read")] Hold);

enum Hold {
    Some(#[expect(dead_code, reason = "it is held, not read")] RwLockReadGuard<'static, ()>),
    All(#[expect(dead_code, reason = "it is held, not read")] RwLockWriteGuard<'static, ()>),
}

/// Waits while a test is alone on the machine, and keeps such tests waiting. For tests that keep a CPU busy without a
/// server.
pub fn beside_others() -> Rc<Share> {
    HELD.with_borrow_mut(|held| {
        held.upgrade().unwrap_or_else(|| {
            let share = Rc::new(Share(Hold::Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner))));
            *held = Rc::downgrade(&share);
            share
        })
    })
}

/// Waits until no other test that has a server or a [`beside_others`] is at work, and lets none begin. For tests whose
/// promise is about time; it is their first line.
pub fn alone() -> Rc<Share> {
    HELD.with_borrow_mut(|held| {
        assert!(held.upgrade().is_none(), "a test that wants the machine for itself asks for it before all else");
        let share = Rc::new(Share(Hold::All(MACHINE.write().unwrap_or_else(PoisonError::into_inner))));
        *held = Rc::downgrade(&share);
        share
    })
}
