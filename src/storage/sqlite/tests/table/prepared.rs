//! What stands before a method is called: holds, calls, people and approvals with fixed names.

use futures::future::BoxFuture;
use serde_json::value::RawValue;

use super::super::*;
use crate::hold::{Edited, Standing, StateName};
use crate::ids::StandingId;
use crate::principal::Role;
use crate::storage::{Reviewer, SshKey};

/// The one hold, opened a second after the start.
pub(super) const HELD: HoldId = HoldId::from_random([1; 16]);
/// The one standing approval.
pub(super) const STANDING: StandingId = StandingId::from_random([5; 16]);

/// The call with this number, the same in every process.
pub(super) fn call(number: u8) -> CallId {
    format!("01890000-0000-7000-8000-0000000000{number:02x}").parse().unwrap()
}

/// The hold, with a call that has the same identifier each time.
pub(super) fn held() -> Hold {
    Hold { call: call(1), terms: Terms { allow_edit: true, ..Terms::default() }, ..hold(1, "bot") }
}

/// Ada's verdict, under a name of her own for it.
pub(super) fn of_ada(decision: Decision) -> Verdict {
    let key = Some("once".to_owned());
    Verdict { idempotency_key: key, ..verdict(decision, "ada", start()) }
}

/// Other arguments for the held call.
pub(super) fn edited() -> Edited {
    Edited {
        arguments: Object::from_iter([("replicas".to_owned(), Value::from(2))]),
        digest: Digest::of(b"edited call"),
        rules: vec!["writes".to_owned()],
        reason: "a write".to_owned(),
        terms: Terms { allow_edit: true, ..Terms::default() },
    }
}

/// A standing approval for calls like the held one.
pub(super) fn grant() -> Standing {
    Standing {
        id: STANDING,
        agent: "bot".parse().unwrap(),
        tool: "deploy".to_owned(),
        definition_fingerprint: Digest::of(b"definition"),
        waives: vec!["writes".to_owned()],
        bounds: Object::new(),
        until: start().saturating_add(SignedDuration::from_secs(1000)).unwrap(),
        reason: None,
        granted_by: Person::local("ada".to_owned()),
        granted_at: start(),
        revoked_at: None,
    }
}

/// An intent under the standing approval.
pub(super) fn covered(number: u8) -> Intent {
    Intent { standing: Some(STANDING), ..intent(call(number)) }
}

pub(super) fn result() -> Option<Box<RawValue>> {
    Some(RawValue::from_string("{}".to_owned()).unwrap())
}

pub(super) fn agent() -> Agent {
    Agent {
        name: "bot".parse().unwrap(),
        groups: Vec::new(),
        owner: None,
        token_digest: Digest::of(b"token"),
        created_at: start(),
        expires_at: None,
        revoked_at: None,
        previous: None,
        last_used: None,
        acts_for: Vec::new(),
    }
}

pub(super) fn reviewer() -> Reviewer {
    Reviewer {
        name: "bob".parse().unwrap(),
        role: Role::Reviewer,
        groups: Vec::new(),
        also: Vec::new(),
        token_digest: Digest::of(b"bob"),
        keys: Vec::new(),
        passkeys: Vec::new(),
        created_at: start(),
        expires_at: None,
        revoked_at: None,
    }
}

pub(super) fn key() -> SshKey {
    SshKey {
        public: "ssh-ed25519 1".to_owned(),
        fingerprint: "SHA256:1".to_owned(),
        added_at: start(),
        added_by: "root".to_owned(),
    }
}

pub(super) fn nothing(_: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {})
}

pub(super) fn pending(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        let event = opening(&held());
        store.open_hold(held(), event, 10).await.unwrap();
    })
}

pub(super) fn approved(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        pending(store).await;
        store.decide_hold(HELD, of_ada(Decision::Approve)).await.unwrap();
    })
}

pub(super) fn executing(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        approved(store).await;
        store.spend_approval(HELD, intent(call(2))).await.unwrap();
    })
}

/// A held call and another were running when the gateway stopped.
pub(super) fn interrupted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        executing(store).await;
        began(store).await;
    })
}

pub(super) fn unknown(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        executing(store).await;
        store.recover(&|_| false).await.unwrap();
        assert_eq!(store.hold(HELD).await.unwrap().unwrap().state.name(), StateName::Unknown);
    })
}

pub(super) fn finished(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        executing(store).await;
        store.finish_hold(HELD, outcome(), result()).await.unwrap();
    })
}

pub(super) fn granted(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        pending(store).await;
        store.grant_standing(grant(), HELD).await.unwrap();
    })
}

/// A call that needs nobody's approval has begun.
pub(super) fn began(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        store.begin_call(intent(call(3)), Wait::Durable).await.unwrap();
    })
}

pub(super) fn known_agent(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        store.add_agent(agent(), "root".to_owned()).await.unwrap();
    })
}

pub(super) fn known_person(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        store.add_reviewer(reviewer(), "root".to_owned()).await.unwrap();
    })
}

pub(super) fn known_key(store: &SqliteStore) -> BoxFuture<'_, ()> {
    Box::pin(async {
        known_person(store).await;
        store.register_key(&reviewer().name, key()).await.unwrap();
    })
}
