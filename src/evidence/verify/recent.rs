//! What was seen lately, bounded.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// How many ended calls, and how many ended holds, are kept to say of a second ending what it is;
/// a later one is a fault as well, under a more general name.
const RECENT: usize = 65_536;

/// The last [`RECENT`] things that were added.
#[derive(Debug)]
pub(super) struct Recent<T> {
    order: VecDeque<T>,
    all: HashSet<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), all: HashSet::new() }
    }
}

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn add(&mut self, thing: T) {
        if !self.all.insert(thing) {
            return;
        }
        self.order.push_back(thing);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    pub(super) fn holds(&self, thing: &T) -> bool {
        self.all.contains(thing)
    }
}
