//! The register of people: each change with its entry, and what is refused.

use super::*;
use crate::principal::Role;
use crate::storage::{MAX_KEYS, MAX_REVIEWERS, PeopleError, Reviewer, ReviewerChange, SshKey};

fn person(name: &str, token: &str) -> Reviewer {
    Reviewer {
        name: name.parse().unwrap(),
        role: Role::Reviewer,
        groups: vec!["sre".to_owned()],
        also: Vec::new(),
        token_digest: Digest::of(token.as_bytes()),
        keys: Vec::new(),
        passkeys: Vec::new(),
        created_at: start(),
        expires_at: None,
        revoked_at: None,
    }
}

fn ssh_key(number: usize) -> SshKey {
    SshKey {
        public: format!("ssh-ed25519 {number}"),
        fingerprint: format!("SHA256:{number}"),
        added_at: start(),
        added_by: "root".to_owned(),
    }
}

fn by() -> String {
    "root".to_owned()
}

#[tokio::test]
async fn people_come_change_and_go_with_an_entry_each() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    store.add_reviewer(person("b", "1"), by()).await.unwrap();
    store.add_reviewer(person("a@x", "2"), by()).await.unwrap();
    let twice = store.add_reviewer(person("b", "3"), by()).await;
    assert!(matches!(twice, Err(PeopleError::Exists(_))), "{twice:?}");
    let change = ReviewerChange {
        role: Some(Role::Operator),
        also: Some(vec!["root".to_owned()]),
        token_digest: Some(Digest::of(b"4")),
        ..ReviewerChange::default()
    };
    let b = "b".parse().unwrap();
    let changed = store.change_reviewer(&b, change, by()).await.unwrap();
    let expected =
        Reviewer { role: Role::Operator, also: vec!["root".to_owned()], ..person("b", "4") };
    assert_eq!(changed, expected);
    store.register_key(&b, ssh_key(1)).await.unwrap();
    let changed = store.remove_key(&b, "SHA256:1", by()).await.unwrap();
    assert_eq!(changed, expected);
    store.revoke_reviewer(&b, by()).await.unwrap();
    store.revoke_reviewer(&b, by()).await.unwrap();
    let after = store.change_reviewer(&b, ReviewerChange::default(), by()).await;
    assert!(matches!(after, Err(PeopleError::Revoked(_))), "{after:?}");
    let revoked = Reviewer { revoked_at: Some(start()), ..expected };
    assert_eq!(store.reviewers().await.unwrap(), [person("a@x", "2"), revoked]);
    store.add_reviewer(person("b", "5"), by()).await.unwrap();
    let kinds = [
        "reviewer_added",
        "reviewer_added",
        "reviewer_changed",
        "key_registered",
        "key_removed",
        "reviewer_revoked",
        "reviewer_added",
    ];
    assert_eq!(fixture.kinds().await, kinds);
    let fixture = fixture.reopened();
    assert_eq!(fixture.store.reviewers().await.unwrap(), [person("a@x", "2"), person("b", "5")]);
    fixture.verified().unwrap();
}

#[tokio::test]
async fn a_key_is_one_persons_and_there_are_not_too_many() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    store.add_reviewer(person("a", "1"), by()).await.unwrap();
    store.add_reviewer(person("b", "2"), by()).await.unwrap();
    for number in 0..MAX_KEYS {
        store.register_key(&a, ssh_key(number)).await.unwrap();
    }
    let more = store.register_key(&a, ssh_key(MAX_KEYS)).await;
    assert!(matches!(more, Err(PeopleError::TooManyKeys)), "{more:?}");
    let taken = store.register_key(&b, ssh_key(3)).await;
    assert!(matches!(taken, Err(PeopleError::KeyTaken { person, .. }) if person == a));
    let absent = store.remove_key(&b, "SHA256:3", by()).await;
    assert!(matches!(absent, Err(PeopleError::NoSuchKey { .. })));
    let nobody = store.register_key(&"z".parse().unwrap(), ssh_key(50)).await;
    assert!(matches!(nobody, Err(PeopleError::NotFound(_))));
    assert_eq!(fixture.kinds().await.len(), 2 + MAX_KEYS);
}

#[tokio::test]
async fn the_register_has_an_end() {
    let fixture = Fixture::new();
    for number in 0..MAX_REVIEWERS {
        let name = format!("p{number}");
        fixture.store.add_reviewer(person(&name, &name), by()).await.unwrap();
    }
    let more = fixture.store.add_reviewer(person("more", "more"), by()).await;
    assert!(matches!(more, Err(PeopleError::Full)), "{more:?}");
}
