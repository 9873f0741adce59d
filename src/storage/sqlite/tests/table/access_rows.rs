//! The table, as far as it is about how people sign in.

use futures::future::BoxFuture;

use super::super::*;
use super::prepared::*;
use super::rows::{PLAIN, asks};
use super::{Again, Row};
use crate::principal::Authentication;
use crate::storage::{
    AccessStore as _, Credential, Link, LinkKind, Passkey, PasswordHash, Proof, Session, Subject,
    Which,
};

pub(super) fn rows() -> Vec<Row> {
    [links(), opening(), sessions(), credentials()].into_iter().flatten().collect()
}

fn by() -> String {
    "root".to_owned()
}

fn bob() -> Person {
    Person::registered(&reviewer().name)
}

fn later() -> Timestamp {
    start().saturating_add(SignedDuration::from_secs(1000)).unwrap()
}

fn link(kind: LinkKind) -> Link {
    Link { digest: Digest::of(b"link"), kind, person: bob(), expires_at: later() }
}

fn session(number: u8) -> Session {
    Session {
        digest: Digest::of(&[number]),
        person: bob(),
        with: Authentication::Password,
        browser: "a browser".to_owned(),
        created_at: start(),
        expires_at: later(),
        seen_at: start(),
    }
}

fn password() -> PasswordHash {
    PasswordHash {
        memory: 8,
        passes: 1,
        lanes: 1,
        salt: "00".to_owned(),
        hash: "01".to_owned(),
        set_at: start(),
    }
}

fn passkey() -> Passkey {
    Passkey {
        id: "id".to_owned(),
        name: "phone".to_owned(),
        algorithm: "ES256".to_owned(),
        key: "key".to_owned(),
        handle: "handle".to_owned(),
        domain: "localhost".to_owned(),
        signs: true,
        counter: 0,
        added_at: start(),
        used_at: None,
    }
}

fn subject() -> Subject {
    let [issuer, subject] = ["https://id.example", "1"].map(str::to_owned);
    Subject { issuer, subject, managed: false }
}

fn invited(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        store.invite(link(LinkKind::Invitation), Some(reviewer()), by()).await.unwrap();
    })
}

fn has_link(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        known_person(store).await;
        store.make_link(link(LinkKind::SignIn), by()).await.unwrap();
    })
}

/// Bob has a password and a session.
fn has_password(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        invited(store).await;
        let link = link(LinkKind::Invitation).digest;
        let credential = Credential::Password(password());
        store.accept_invitation(link, credential, session(1)).await.unwrap();
    })
}

fn has_passkey(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        has_password(store).await;
        let credential = Credential::Passkey(passkey());
        let keep = session(1).digest;
        store.set_credential(&reviewer().name, credential, keep).await.unwrap();
    })
}

fn has_two_sessions(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        has_password(store).await;
        store.open_session(session(2), Proof::Password(password())).await.unwrap();
    })
}

fn links() -> Vec<Row> {
    vec![
        Row {
            name: "invite: a new person",
            asks: asks!(|store| store.invite(link(LinkKind::Invitation), Some(reviewer()), by())),
            writes: &["reviewer_added", "access"],
            again: Again::Refused("there is a person `bob` already"),
            ..PLAIN
        },
        Row {
            name: "invite: a known person",
            given: known_person,
            asks: asks!(|store| store.invite(link(LinkKind::Invitation), None, by())),
            writes: &["access"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "make_link",
            given: known_person,
            asks: asks!(|store| store.make_link(link(LinkKind::SignIn), by())),
            writes: &["access"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "accept_invitation: with a password",
            given: invited,
            asks: asks!(|store| store.accept_invitation(
                link(LinkKind::Invitation).digest,
                Credential::Password(password()),
                session(1)
            )),
            writes: &["access", "access"],
            again: Again::Refused("this link is not valid"),
            ..PLAIN
        },
        Row {
            name: "accept_invitation: with a passkey",
            given: invited,
            asks: asks!(|store| store.accept_invitation(
                link(LinkKind::Invitation).digest,
                Credential::Passkey(passkey()),
                session(1)
            )),
            writes: &["access", "access"],
            again: Again::Refused("this link is not valid"),
            ..PLAIN
        },
    ]
}

fn opening() -> Vec<Row> {
    vec![
        Row {
            name: "open_session: with a password",
            given: has_password,
            asks: asks!(|store| store.open_session(session(2), Proof::Password(password()))),
            writes: &["access"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "open_session: with a link",
            given: has_link,
            asks: asks!(
                |store| store.open_session(session(2), Proof::Link(link(LinkKind::SignIn).digest))
            ),
            writes: &["access"],
            again: Again::Refused("this link is not valid"),
            ..PLAIN
        },
        Row {
            name: "open_session: with a passkey",
            given: has_passkey,
            asks: asks!(|store| store
                .open_session(session(2), Proof::Passkey { id: passkey().id, counter: 0 })),
            writes: &["access"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "open_session: with an account of a provider",
            given: known_person,
            asks: asks!(|store| store
                .open_session(session(2), Proof::Subject { subject: subject(), ruled: None })),
            writes: &["access", "access"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
    ]
}

fn sessions() -> Vec<Row> {
    vec![
        Row {
            name: "touch_session",
            given: has_password,
            asks: asks!(|store| store.touch_session(&session(1).digest, later())),
            ..PLAIN
        },
        Row {
            name: "end_sessions: one",
            given: has_two_sessions,
            asks: asks!(|store| store.end_sessions(Which::One(session(1).digest), by())),
            writes: &["access"],
            ..PLAIN
        },
        Row {
            name: "end_sessions: all others",
            given: has_two_sessions,
            asks: asks!(|store| store.end_sessions(Which::Others(session(1).digest), by())),
            writes: &["access"],
            ..PLAIN
        },
        Row {
            name: "revoke_reviewer: with everything to sign in with",
            given: has_passkey,
            asks: asks!(|store| store.revoke_reviewer(&reviewer().name, by())),
            writes: &["reviewer_revoked"],
            ..PLAIN
        },
    ]
}

fn credentials() -> Vec<Row> {
    vec![
        Row {
            name: "set_credential: a password",
            given: has_two_sessions,
            asks: asks!(|store| store.set_credential(
                &reviewer().name,
                Credential::Password(PasswordHash { hash: "02".to_owned(), ..password() }),
                session(1).digest
            )),
            writes: &["access", "access"],
            // The other session has ended then.
            again: Again::Never,
            ..PLAIN
        },
        Row {
            name: "set_credential: a passkey",
            given: has_password,
            asks: asks!(|store| store.set_credential(
                &reviewer().name,
                Credential::Passkey(passkey()),
                session(1).digest
            )),
            writes: &["access"],
            again: Again::Refused("registered already"),
            ..PLAIN
        },
        Row {
            name: "remove_passkey",
            given: has_passkey,
            asks: asks!(|store| store.remove_passkey(&reviewer().name, "id", by())),
            writes: &["access"],
            again: Again::Refused("no such passkey"),
            ..PLAIN
        },
    ]
}
