//! Tests of the store, through its trait: what is on disk, in which order, and who is told what.

mod calls;
mod faulty;
mod held;
mod many;
mod people;
mod table;
mod tampered;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::digest::Digest;
use crate::evidence::verify::{Fault, Summary};
use crate::evidence::{Asked, Event, Intent, Outcome, OutcomeStatus, Refused};
use crate::hold::{Decision, Hold, State, StateName, Terms, Verdict};
use crate::ids::HoldId;
use crate::json::Object;
use crate::principal::Person;
use crate::storage::{Agent, EntryQuery, PreviousToken, Rotation, Store as _, Wait};

/// A data directory, a clock that stands still, and the store that is open on them.
struct Fixture {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: SqliteStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(start()));
        let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
        Self { dir, clock, store }
    }

    /// The same directory after the gateway was stopped and started.
    fn reopened(self) -> Self {
        let Self { dir, clock, store } = self;
        drop(store);
        let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
        Self { dir, clock, store }
    }

    /// Verifies the log by reading it beside the open store.
    fn verified(&self) -> Result<Summary, Fault> {
        open_log_read_only(self.dir.path()).unwrap().verify().unwrap()
    }

    /// Returns when all that was queued before is on disk.
    async fn settled(&self) {
        self.store.record(loaded()).await.unwrap();
    }

    async fn kinds(&self) -> Vec<String> {
        let entries = self.store.entries(EntryQuery::default()).await.unwrap();
        let kind =
            |event| serde_json::to_value(event).unwrap()["kind"].as_str().unwrap().to_owned();
        entries.into_iter().map(|stored| kind(stored.entry.event)).collect()
    }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn loaded() -> Event {
    Event::RevisionLoaded {
        revision: Digest::of(b"revision"),
        rules: 3,
        tools: 4,
        cause: crate::evidence::Cause::default(),
    }
}

fn asked(call: CallId) -> Asked {
    Asked {
        via: None,
        call,
        agent: "bot".parse().unwrap(),
        owner: None,
        groups: Vec::new(),
        client: None,
        workflow: None,
        compensates: None,
        tool: "deploy".to_owned(),
        backend: "kubernetes".to_owned(),
        capability: None,
        definition_fingerprint: Digest::of(b"definition"),
        arguments: Object::from_iter([("replicas".to_owned(), Value::from(3))]),
        digest: Digest::of(b"call"),
        revision: Digest::of(b"revision"),
        decision: "ALLOW".to_owned(),
        rules: vec!["writes".to_owned()],
        edits: Vec::new(),
        noticed: crate::policy::Noticed::default(),
    }
}

fn intent(call: CallId) -> Intent {
    Intent {
        asked: asked(call),
        hold: None,
        approved_by: Vec::new(),
        standing: None,
        charges: Vec::new(),
        brings: Vec::new(),
    }
}

fn outcome() -> Outcome {
    Outcome {
        status: OutcomeStatus::Success,
        error: None,
        result_digest: None,
        result_bytes: Some(2),
        backend_ms: 3,
        asked: Vec::new(),
        cached: false,
        charges: Vec::new(),
    }
}

fn refused() -> Refused {
    Refused {
        via: None,
        arguments: None,
        call: CallId::new(),
        agent: "bot".parse().unwrap(),
        workflow: None,
        compensates: None,
        tool: "drop".to_owned(),
        arguments_digest: None,
        revision: Digest::of(b"revision"),
        refusal: "denied".to_owned(),
        rules: Vec::new(),
        told: "no".to_owned(),
        groups: Vec::new(),
        client: None,
        cause: None,
        noticed: crate::policy::Noticed::default(),
    }
}

/// The `number`-th hold of `agent`, opened `number` seconds after the start, to be decided within 100
/// seconds and run within 50.
fn hold(number: u8, agent: &str) -> Hold {
    let created_at = start().saturating_add(SignedDuration::from_secs(number.into())).unwrap();
    Hold {
        via: None,
        id: HoldId::from_random([number; 16]),
        state: State::Pending { verdicts: Vec::new() },
        agent: agent.parse().unwrap(),
        groups: Vec::new(),
        owner: None,
        client: None,
        tool: "deploy".to_owned(),
        definition_fingerprint: Digest::of(b"definition"),
        requested_arguments: Object::new(),
        requested_digest: Digest::of(b"requested"),
        arguments: Object::new(),
        edits: Vec::new(),
        digest: Digest::of(b"call"),
        rules: vec!["writes".to_owned(), format!("rule-{agent}")],
        reason: "a write".to_owned(),
        agent_reason: None,
        call: CallId::new(),
        workflow: None,
        compensates: None,
        revision: Digest::of(b"revision"),
        created_at,
        decide_by: created_at.saturating_add(SignedDuration::from_secs(100)).unwrap(),
        extended: None,
        execute_within: SignedDuration::from_secs(50),
        terms: Terms::default(),
        amendments: Vec::new(),
        anew_of: None,
    }
}

fn opening(hold: &Hold) -> Event {
    Event::Hold {
        hold: hold.id,
        asked: asked(hold.call),
        requested_arguments: Object::new(),
        decide_by: hold.decide_by,
        terms: hold.terms.clone(),
        anew_of: hold.anew_of,
    }
}

fn verdict(decision: Decision, person: &str, at: Timestamp) -> Verdict {
    let person = Person::local(person.to_owned());
    Verdict::new(person, decision, Digest::of(b"call"), at)
}

#[tokio::test]
async fn one_process_owns_a_directory_until_it_closes() {
    let fixture = Fixture::new();
    let second = SqliteStore::open(fixture.dir.path(), fixture.clock.clone());
    assert!(matches!(second, Err(StoreError::Owned(dir)) if dir == fixture.dir.path()));
    fixture.reopened().settled().await;
}

#[tokio::test]
async fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("a/b");
    let store = SqliteStore::open(&dir, Arc::new(ManualClock::new(start()))).unwrap();
    store.record(loaded()).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn entries_keep_the_order_in_which_they_were_accepted() {
    let fixture = Fixture::new();
    let calls: Vec<CallId> = (0..2000).map(|_| CallId::new()).collect();
    for call in &calls {
        fixture.store.begin_call(intent(*call), Wait::Queued).await.unwrap();
    }
    for call in &calls {
        fixture.store.end_call(*call, outcome()).await.unwrap();
    }
    fixture.settled().await;
    let mut seen = Vec::new();
    loop {
        let after = Some(seen.len() as u64);
        let page =
            fixture.store.entries(EntryQuery { after, ..EntryQuery::default() }).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let named = seen.iter().filter_map(|stored| {
        if let Event::Outcome { call, .. } = &stored.entry.event {
            return Some(*call);
        }
        let Event::Intent(intent) = &stored.entry.event else { return None };
        Some(intent.asked.call)
    });
    assert!(named.eq(calls.iter().chain(&calls).copied()));
    assert!(seen.iter().map(|stored| stored.index).eq(1..=4001));
    let summary = fixture.verified().unwrap();
    assert_eq!((summary.intents, summary.open, summary.head.count), (2000, 0, 4001));
}

#[tokio::test]
async fn a_durable_intent_is_on_disk_when_the_receipt_is_given() {
    let fixture = Fixture::new();
    let call = CallId::new();
    let receipt = fixture.store.begin_call(intent(call), Wait::Durable).await.unwrap();
    assert_eq!((receipt.call(), receipt.hold()), (call, None));
    assert_eq!(fixture.verified().unwrap().open, 1);
    let twice = fixture.store.begin_call(intent(call), Wait::Durable).await;
    assert!(matches!(twice, Err(StoreError::Engine(_))), "{twice:?}");
    assert_eq!(fixture.verified().unwrap().head.count, 1);
    fixture.store.writable().unwrap();
}

#[tokio::test]
async fn closing_writes_what_has_queued() {
    let fixture = Fixture::new();
    for _ in 0..700 {
        fixture.store.refuse_call(refused()).await.unwrap();
    }
    let fixture = fixture.reopened();
    assert_eq!(fixture.verified().unwrap().refusals, 700);
    fixture.settled().await;
    assert_eq!(fixture.verified().unwrap().head.count, 701);
}

#[tokio::test]
async fn time_in_the_log_does_not_run_back() {
    let fixture = Fixture::new();
    fixture.clock.advance(Duration::from_secs(60));
    fixture.settled().await;
    let Fixture { dir, store, .. } = fixture;
    drop(store);
    let clock = Arc::new(ManualClock::new(start()));
    let store = SqliteStore::open(dir.path(), clock.clone()).unwrap();
    let fixture = Fixture { dir, clock, store };
    fixture.settled().await;
    let times: Vec<_> = fixture.store.entries(EntryQuery::default()).await.unwrap();
    assert_eq!(times[0].entry.time, times[1].entry.time);
    fixture.verified().unwrap();
}

#[tokio::test]
async fn entries_are_found_by_place_and_by_call() {
    let fixture = Fixture::new();
    let call = CallId::new();
    for call in [CallId::new(), call, CallId::new()] {
        fixture.store.begin_call(intent(call), Wait::Queued).await.unwrap();
    }
    fixture.store.end_call(call, outcome()).await.unwrap();
    fixture.settled().await;
    let indexes = |query: EntryQuery| async {
        let found = fixture.store.entries(query).await.unwrap();
        found.iter().map(|stored| stored.index).collect::<Vec<_>>()
    };
    let all = EntryQuery::default();
    assert_eq!(indexes(EntryQuery { call: Some(call), ..all.clone() }).await, [2, 4]);
    assert_eq!(indexes(EntryQuery { after: Some(3), ..all.clone() }).await, [4, 5]);
    assert_eq!(indexes(EntryQuery { limit: 2, ..all.clone() }).await, [1, 2]);
    assert_eq!(indexes(EntryQuery { limit: 2, newest: true, ..all }).await, [4, 5]);
}

#[tokio::test]
async fn agents_come_change_token_and_go() {
    let fixture = Fixture::new();
    let agent = |name: &str, token: &[u8]| Agent {
        name: name.parse().unwrap(),
        groups: vec!["research".to_owned()],
        owner: None,
        token_digest: Digest::of(token),
        created_at: start(),
        expires_at: None,
        revoked_at: None,
        previous: None,
        last_used: None,
        acts_for: Vec::new(),
    };
    let add = |agent| fixture.store.add_agent(agent, "ada".to_owned());
    add(agent("b", b"1")).await.unwrap();
    add(agent("a", b"2")).await.unwrap();
    add(agent("a", b"3")).await.unwrap();
    assert!(matches!(add(agent("c", b"1")).await, Err(StoreError::Engine(_))));
    assert_eq!(fixture.store.agents().await.unwrap(), [agent("a", b"3"), agent("b", b"1")]);
    let revoke = |name: &str| {
        let (store, name) = (&fixture.store, name.parse().unwrap());
        async move { store.revoke_agent(&name, "ada".to_owned()).await.unwrap() }
    };
    assert_eq!((revoke("a").await, revoke("a").await, revoke("z").await), (true, true, false));
    assert_eq!(fixture.store.agents().await.unwrap()[0].revoked_at, Some(start()));
    let rotation =
        Rotation { token_digest: Digest::of(b"4"), overlap_until: Some(start()), expires_at: None };
    let rotate = |name: &str| {
        let name = name.parse().unwrap();
        let (store, rotation) = (&fixture.store, rotation.clone());
        async move { store.rotate_agent(&name, rotation, "ada".to_owned()).await.unwrap() }
    };
    assert_eq!((rotate("a").await, rotate("z").await), (None, None));
    let previous = PreviousToken { token_digest: Digest::of(b"1"), until: start() };
    let rotated = Agent { previous: Some(previous), ..agent("b", b"4") };
    assert_eq!(rotate("b").await, Some(rotated.clone()));
    assert_eq!(fixture.store.agents().await.unwrap()[1], rotated);
    let kinds = ["agent_added", "agent_added", "agent_added", "agent_revoked", "agent_rotated"];
    assert_eq!(fixture.kinds().await, kinds);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let fixture = Fixture::new();
    let Fixture { dir, clock, store } = fixture;
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let opened = SqliteStore::open(dir.path(), clock);
    assert!(matches!(opened, Err(StoreError::Engine(why)) if why.contains("form 99")));
    let read = open_log_read_only(dir.path());
    assert!(matches!(read, Err(StoreError::Engine(why)) if why.contains("form 99")));
}
