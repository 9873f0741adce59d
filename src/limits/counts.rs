//! What a limiter has counted, kept where it can be read without counting.

use std::sync::Arc;

use governor::nanos::Nanos;
use governor::state::keyed::{DefaultKeyedStateStore, ShrinkableKeyedStateStore};
use governor::state::{NotKeyed, StateStore};

/// What calls are counted under: for each dimension of the limit, in its order, the name, and before a name
/// that a caller chose the agent that chose it. Parts are texts of their own, so none can pretend to be two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<[Part]>);

/// The agent within which a name counts, and the name.
type Part = (Option<Box<str>>, Box<str>);

impl Key {
    pub(super) fn of<'a>(parts: impl Iterator<Item = (Option<&'a str>, &'a str)>) -> Self {
        Self(parts.map(|(agent, name)| (agent.map(Into::into), name.into())).collect())
    }

    /// By dimension: the agent within which the name counts, and the name.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.0.iter().map(|(agent, name)| (agent.as_deref(), &**name))
    }
}

/// The store of one limiter, shared with whoever reads it.
#[derive(Clone, Default)]
pub(super) struct Counts(Arc<DefaultKeyedStateStore<Key>>);

impl Counts {
    /// Every key with the moment at which it is full again, in nanoseconds since the limiter was made.
    pub(super) fn each(&self, mut look: impl FnMut(&Key, u64) -> bool) {
        for counted in self.0.iter() {
            // Asked what it has and given nothing new, it stays as it is.
            let told: Result<((), Nanos), Option<Nanos>> =
                counted.value().measure_and_replace(&NotKeyed::NonKey, Err);
            let full_at = told.err().flatten().map_or(0, Nanos::as_u64);
            if !look(counted.key(), full_at) {
                break;
            }
        }
    }
}

impl StateStore for Counts {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl ShrinkableKeyedStateStore<Key> for Counts {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
