//! A person's token becomes a `Person`, and a `Person` what that person may do now.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;

use crate::digest::Digest;
use crate::ids::PersonName;
use crate::principal::{Capacity, Person, Role};
use crate::storage::{Reviewer, Store, StoreError, capacity};

/// What a person's token starts with: no agent's does, so one is never taken for the other.
pub const PERSON_TOKEN_PREFIX: &str = "csp_";

/// The register of people, in memory.
#[derive(Debug, Default)]
pub struct People {
    known: RwLock<Known>,
    /// Held while the register is read, so that what was read first does not replace what was read later.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    register: Vec<Reviewer>,
    by_token: HashMap<Digest, usize>,
}

impl People {
    /// Reads them from the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let people = Self::default();
        people.reload(store).await?;
        Ok(people)
    }

    /// Reads them anew, after each change.
    ///
    /// # Errors
    /// When the store fails; what was known before stays.
    pub async fn reload(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.lock().await;
        let register = store.reviewers().await?;
        let by_token =
            register.iter().enumerate().map(|(at, person)| (person.token_digest, at)).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { register, by_token };
        Ok(())
    }

    /// The person of `token` at `now`; none when it is unknown, expired or revoked.
    #[must_use]
    pub fn of_token(&self, token: &str, now: Timestamp) -> Option<Person> {
        if !token.starts_with(PERSON_TOKEN_PREFIX) {
            return None;
        }
        // Looked up by digest: how long it takes tells nothing about the token.
        let digest = Digest::of(token.as_bytes());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let reviewer = known.register.get(*known.by_token.get(&digest)?)?;
        reviewer.stands(now).then(|| Person::registered(&reviewer.name))
    }

    /// The record of this name, revoked ones too.
    #[must_use]
    pub fn named(&self, name: &PersonName) -> Option<Reviewer> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.register.iter().find(|reviewer| reviewer.name == *name).cloned()
    }

    /// What each registered person may do at `now`.
    #[must_use]
    pub fn all(&self, now: Timestamp) -> Vec<Capacity> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let people = known.register.iter().map(|it| Person::registered(&it.name));
        people.filter_map(|person| capacity(&person, &known.register, now)).collect()
    }

    /// How many registered people may decide at `now`.
    #[must_use]
    pub fn deciding(&self, now: Timestamp) -> usize {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let decides = |it: &&Reviewer| it.stands(now) && it.role >= Role::Reviewer;
        known.register.iter().filter(decides).count()
    }

    /// What `person` may do at `now` ([`capacity`]); none when nothing any more.
    #[must_use]
    pub fn capacity(&self, person: &Person, now: Timestamp) -> Option<Capacity> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        capacity(person, &known.register, now)
    }
}
