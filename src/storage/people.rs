//! People in the register, and what the register says that a person may do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Passkey, StoreError};
use crate::digest::Digest;
use crate::evidence::passkey::Registered;
use crate::ids::PersonName;
use crate::principal::{Capacity, Person, Role};

/// How many people the register may hold, revoked ones too.
pub const MAX_REVIEWERS: usize = 1000;
/// How many public keys one person may have.
pub const MAX_KEYS: usize = 16;

/// A person who may come over HTTP with a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewer {
    /// The name.
    pub name: PersonName,
    /// What the person may do.
    pub role: Role,
    /// The groups, which rules name as `group:NAME`.
    pub groups: Vec<String>,
    /// Other names of the same human, such as the operating-system user's.
    pub also: Vec<String>,
    /// SHA-256 of the token; the token itself is never stored.
    pub token_digest: Digest,
    /// The public keys whose signatures are this person's.
    pub keys: Vec<SshKey>,
    /// The passkeys; kept apart from the record.
    #[serde(skip)]
    pub passkeys: Vec<Passkey>,
    /// When the person was added.
    pub created_at: Timestamp,
    /// When the record ends, and the token with it.
    pub expires_at: Option<Timestamp>,
    /// When the record was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Reviewer {
    /// Whether the record gives anything at `now`: it is neither revoked nor at its end.
    #[must_use]
    pub fn stands(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether `name` is one of this human's names.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.also.iter().map(String::as_str))
    }
}

/// A registered public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// The key in OpenSSH's one-line form, without a comment.
    pub public: String,
    /// Its fingerprint, `SHA256:…`.
    pub fingerprint: String,
    /// When it was registered.
    pub added_at: Timestamp,
    /// Who registered it.
    pub added_by: String,
}

/// What is to change about a person; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ReviewerChange {
    /// Another role.
    pub role: Option<Role>,
    /// Other groups, in place of all.
    pub groups: Option<Vec<String>>,
    /// Other further names, in place of all.
    pub also: Option<Vec<String>>,
    /// The digest of a new token, which ends the old one.
    pub token_digest: Option<Digest>,
    /// Another end of the record.
    pub expires_at: Option<Timestamp>,
}

/// Why the register was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeopleError {
    /// Nobody has this name.
    #[error("nobody is called `{0}`; see `countersign reviewers list`")]
    NotFound(PersonName),
    /// Somebody has this name already.
    #[error("there is a person `{0}` already; revoke them first, or use `reviewers change`")]
    Exists(PersonName),
    /// The record was revoked; only adding the person anew helps.
    #[error("`{0}` was revoked; add them again")]
    Revoked(PersonName),
    /// The register is full.
    #[error("the register is full: it holds at most {MAX_REVIEWERS} people")]
    Full,
    /// One key, one human: or nobody could say whose a signature is.
    #[error("the key {fingerprint} is registered for `{person}` already")]
    KeyTaken {
        /// The key.
        fingerprint: String,
        /// Whose it is.
        person: PersonName,
    },
    /// The person has no such key.
    #[error("`{person}` has no key {fingerprint}")]
    NoSuchKey {
        /// The key.
        fingerprint: String,
        /// The person.
        person: PersonName,
    },
    /// The person has as many keys as one may have.
    #[error("a person has at most {MAX_KEYS} keys; remove one first")]
    TooManyKeys,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `person` may do at `now`, where `register` is everybody. None when nothing: a token's person whose
/// record is gone or at its end.
///
/// A local person is an operator, because the operating system let them to the data directory. The records
/// that stand for the same human give their groups and keys. A revoked record of exactly the person's name
/// takes the deciding away.
#[must_use]
pub fn capacity(person: &Person, register: &[Reviewer], now: Timestamp) -> Option<Capacity> {
    let own = register.iter().find(|record| record.name.as_str() == person.name);
    let given: Vec<&Reviewer> = if person.local {
        register.iter().filter(|record| record.stands(now) && record.is(&person.name)).collect()
    } else {
        vec![own.filter(|record| record.stands(now))?]
    };
    let (role, decides) = match own {
        _ if person.local => (Role::Operator, own.is_none_or(|record| record.revoked_at.is_none())),
        Some(record) => (record.role, record.role >= Role::Reviewer),
        None => return None,
    };
    let mut known_as = vec![person.name.clone()];
    known_as.extend(given.iter().map(|record| record.name.to_string()));
    let groups = given.iter().flat_map(|record| record.groups.iter().cloned());
    let keys = given.iter().flat_map(|record| record.keys.iter().map(|key| key.public.clone()));
    let passkeys = given.iter().flat_map(|record| record.passkeys.iter().filter_map(signing));
    Some(Capacity {
        role,
        decides,
        groups: sorted(groups.collect()),
        known_as: sorted(known_as),
        same_human: same_human(&person.name, register),
        keys: sorted(keys.collect()),
        passkeys: passkeys.collect(),
    })
}

/// The passkey as one that verdicts may be signed with.
fn signing(passkey: &Passkey) -> Option<Registered> {
    passkey.signs.then(|| Registered {
        id: passkey.id.clone(),
        name: passkey.name.clone(),
        key: passkey.key.clone(),
        domain: passkey.domain.clone(),
    })
}

/// Every name that is reached from `name` over records that share one.
fn same_human(name: &str, register: &[Reviewer]) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut left: Vec<&Reviewer> = register.iter().collect();
    loop {
        let (shared, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|record| names.iter().any(|name| record.is(name)));
        if shared.is_empty() {
            return sorted(names);
        }
        names.extend(shared.iter().flat_map(|record| record.names().map(str::to_owned)));
        left = rest;
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, role: Role, groups: &[&str], also: &[&str]) -> Reviewer {
        let all = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        Reviewer {
            name: name.parse().unwrap(),
            role,
            groups: all(groups),
            also: all(also),
            token_digest: Digest::of(name.as_bytes()),
            keys: Vec::new(),
            passkeys: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn by_token(name: &str) -> Person {
        Person { name: name.to_owned(), local: false }
    }

    #[test]
    fn a_token_gives_what_the_record_says_while_it_stands() {
        let mut register = vec![record("ada", Role::Reviewer, &["sre"], &["root"])];
        let ada = capacity(&by_token("ada"), &register, at(0)).unwrap();
        assert_eq!((ada.role, ada.decides), (Role::Reviewer, true));
        assert_eq!((ada.groups, ada.known_as), (vec!["sre".to_owned()], vec!["ada".to_owned()]));
        assert_eq!(ada.same_human, ["ada", "root"]);
        assert_eq!(capacity(&by_token("root"), &register, at(0)), None);
        register[0].expires_at = Some(at(10));
        assert!(capacity(&by_token("ada"), &register, at(9)).is_some());
        assert_eq!(capacity(&by_token("ada"), &register, at(10)), None);
        register[0].expires_at = None;
        register[0].revoked_at = Some(at(1));
        assert_eq!(capacity(&by_token("ada"), &register, at(2)), None);
        let viewer = [record("eve", Role::Viewer, &[], &[])];
        assert!(!capacity(&by_token("eve"), &viewer, at(0)).unwrap().decides);
    }

    #[test]
    fn a_local_person_is_an_operator_with_the_groups_of_the_same_human() {
        let mut register = vec![
            record("ada", Role::Viewer, &["sre"], &["root"]),
            record("root", Role::Viewer, &["owners"], &[]),
        ];
        let root = Person::local("root".to_owned());
        let standing_now = |register: &[Reviewer]| capacity(&root, register, at(5)).unwrap();
        let found = standing_now(&register);
        assert_eq!((found.role, found.decides), (Role::Operator, true));
        assert_eq!(
            (found.groups, found.known_as),
            (
                vec!["owners".to_owned(), "sre".to_owned()],
                vec!["ada".to_owned(), "root".to_owned()],
            )
        );
        register[0].revoked_at = Some(at(1));
        let found = standing_now(&register);
        assert_eq!((found.groups, found.decides), (vec!["owners".to_owned()], true));
        assert_eq!(found.same_human, ["ada", "root"]);
        register[1].revoked_at = Some(at(1));
        let found = standing_now(&register);
        assert_eq!((found.role, found.decides), (Role::Operator, false));
        assert_eq!(found.groups, Vec::<String>::new());
        assert!(standing_now(&[]).decides);
    }

    #[test]
    fn names_of_one_human_are_found_over_all_their_records() {
        let register = [
            record("a", Role::Viewer, &[], &["b"]),
            record("d", Role::Viewer, &[], &["c"]),
            record("c", Role::Viewer, &[], &["b"]),
            record("other", Role::Viewer, &[], &["x"]),
        ];
        assert_eq!(same_human("d", &register), ["a", "b", "c", "d"]);
        assert_eq!(same_human("nobody", &register), ["nobody"]);
    }
}
