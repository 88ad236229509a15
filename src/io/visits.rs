//! The driver's list of connections that want to be looked at, and how it is woken.
//!
//! One thread: tasks push, the driver takes the whole list. A connection is on it at most once, so
//! it never grows beyond the connections.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// Slots of connections that something happened on.
#[derive(Default)]
pub(crate) struct Visits {
    slots: RefCell<Vec<u16>>,
    driver: Cell<Option<Waker>>,
}

impl Visits {
    /// Adds a connection and wakes the driver if it waits.
    pub(crate) fn push(&self, slot: u16) {
        self.slots.borrow_mut().push(slot);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Exchanges the list for an empty one.
    pub(crate) fn take(&self, into: &mut Vec<u16>) {
        into.clear();
        std::mem::swap(&mut *self.slots.borrow_mut(), into);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    /// The driver waits for the next visit.
    pub(crate) fn wait(&self, driver: &Waker) {
        self.driver.set(Some(driver.clone()));
    }
}
