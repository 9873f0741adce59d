//! Places that are few: how many each may have at once, and all together; each is given back when dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places that are taken, by who has them.
#[derive(Debug, Default)]
pub struct Places {
    taken: Mutex<HashMap<String, usize>>,
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place {
    all: Arc<Places>,
    who: String,
}

impl Places {
    /// One more place for `who`; none when `who` has `each` of them, or all have `in_all`.
    #[must_use]
    pub fn take(self: &Arc<Self>, who: &str, each: usize, in_all: usize) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.get(who).copied().unwrap_or(0);
        if own >= each || taken.values().sum::<usize>() >= in_all {
            return None;
        }
        taken.insert(who.to_owned(), own.saturating_add(1));
        Some(Place { all: Arc::clone(self), who: who.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.lock();
        if let Some(own) = taken.get_mut(&self.who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_and_all_together_and_gives_them_back() {
        let places = Arc::<Places>::default();
        let take = |who| places.take(who, 2, 3);
        let first = take("ada").unwrap();
        let _second = take("ada").unwrap();
        assert!(take("ada").is_none(), "more than each may have");
        let _third = take("bob").unwrap();
        assert!(take("bob").is_none(), "more than there are");
        drop(first);
        assert!(take("ada").is_some());
        assert_eq!(places.lock().len(), 2);
    }
}
