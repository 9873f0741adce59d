//! Channels over a real store, with a clock that is moved by hand.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::catalog::manifest::SecretSource;
use crate::clock::ManualClock;
use crate::digest::Digest;
use crate::evidence::{Asked, Event};
use crate::hold::{Hold, State, Terms};
use crate::ids::{CallId, HoldId};
use crate::json::Object;
use crate::storage::sqlite::SqliteStore;
use crate::telemetry::Metrics;

/// How long a test waits for what another task does, in steps of 5 ms.
const STEPS: u32 = 4_000;

struct Fixture {
    dir: TempDir,
    clock: Arc<ManualClock>,
    parts: Parts,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-22T09:00:00Z".parse().unwrap()));
        let store = Arc::new(SqliteStore::open(dir.path(), clock.clone()).unwrap());
        let counts = Metrics::new().notifications();
        Self { dir, parts: Parts { store, clock: clock.clone(), counts }, clock }
    }

    /// The one channel, to a port that nobody listens on.
    async fn channel(&self) -> Arc<Channel> {
        let settings = ChannelSettings {
            name: "ops".to_owned(),
            form: Form::Generic,
            url: Address::Plain("http://127.0.0.1:9/".to_owned()),
            allow_private: false,
            ca: None,
            secret: Some(SecretSource::Env("SECRET".to_owned())),
            on: vec![Kind::Held, Kind::Ended],
            arguments: false,
        };
        let settings = Settings { base_url: None, channels: vec![settings] };
        let secret = |_: &str| Some("0123456789abcdef0123456789".to_owned());
        let opened = Notifier::open(&settings, ("http://127.0.0.1:1", true), secret, &self.parts)
            .await
            .unwrap();
        Arc::clone(opened.channels().next().unwrap())
    }

    async fn hold(&self, number: u8) -> HoldId {
        let now = self.parts.clock.now();
        let hold = hold(number, now);
        let event = opening(&hold);
        self.parts.store.open_hold(hold, event, 100).await.unwrap().id
    }

    /// Moves the clock on until `ready`.
    async fn until(
        &self,
        step: Duration,
        channel: &Channel,
        ready: impl Fn(&ChannelHealth) -> bool,
    ) {
        for _ in 0..STEPS {
            if ready(&channel.health().await) {
                return;
            }
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain: {:?}", channel.health().await);
    }
}

fn hold(number: u8, now: Timestamp) -> Hold {
    let digest = Digest::of(&[number]);
    Hold {
        via: None,
        id: HoldId::from_random([number; 16]),
        state: State::Pending { verdicts: Vec::new() },
        agent: "bot".parse().unwrap(),
        groups: Vec::new(),
        owner: None,
        client: None,
        tool: "deploy".to_owned(),
        definition_fingerprint: digest,
        requested_arguments: Object::new(),
        requested_digest: digest,
        arguments: Object::new(),
        edits: Vec::new(),
        digest,
        rules: vec!["writes".to_owned()],
        reason: "a write".to_owned(),
        agent_reason: None,
        call: CallId::new(),
        workflow: None,
        compensates: None,
        revision: digest,
        created_at: now,
        decide_by: now.saturating_add(SignedDuration::from_hours(72)).unwrap(),
        execute_within: SignedDuration::from_secs(50),
        extended: None,
        terms: Terms::default(),
        amendments: Vec::new(),
        anew_of: None,
    }
}

fn opening(hold: &Hold) -> Event {
    let asked = Asked {
        via: None,
        call: hold.call,
        agent: hold.agent.clone(),
        owner: None,
        groups: Vec::new(),
        client: None,
        workflow: None,
        compensates: None,
        tool: hold.tool.clone(),
        backend: "ci".to_owned(),
        capability: None,
        definition_fingerprint: hold.definition_fingerprint,
        arguments: Object::new(),
        digest: hold.digest,
        revision: hold.revision,
        decision: "REQUIRE_APPROVAL".to_owned(),
        rules: hold.rules.clone(),
        edits: Vec::new(),
        noticed: crate::policy::Noticed::default(),
    };
    let requested_arguments = Object::new();
    Event::Hold {
        hold: hold.id,
        asked,
        requested_arguments,
        decide_by: hold.decide_by,
        terms: Terms::default(),
        anew_of: None,
    }
}

#[tokio::test]
async fn a_notice_is_given_up_after_a_day_and_its_channel_goes_on() {
    let fixture = Fixture::new();
    let channel = fixture.channel().await;
    let running = tokio::spawn({
        let channel = Arc::clone(&channel);
        async move { channel.run().await }
    });
    fixture.hold(1).await;
    let tried = |health: &ChannelHealth| health.last.is_some();
    fixture.until(Duration::from_millis(100), &channel, tried).await;
    let health = channel.health().await;
    assert_eq!(health.given_up, 0);
    assert!(health.last.unwrap().failed.unwrap().contains("cannot be reached"));
    let given_up = |health: &ChannelHealth| health.given_up > 0;
    fixture.until(Duration::from_secs(600), &channel, given_up).await;
    let kept = fixture.parts.store.channel("ops").await.unwrap().unwrap();
    assert_eq!((kept.cursor, kept.given_up), (1, 1));
    // The next is tried in its turn, and known again after a restart.
    fixture.hold(2).await;
    fixture.until(Duration::from_secs(600), &channel, |health| health.given_up == 2).await;
    running.abort();
    assert_eq!(fixture.channel().await.health().await.given_up, 2);
    drop(fixture.dir);
}

#[tokio::test]
async fn a_new_channel_begins_at_the_end_and_a_known_one_where_it_was() {
    let fixture = Fixture::new();
    for number in 1..=3 {
        fixture.hold(number).await;
    }
    fixture.channel().await;
    assert_eq!(fixture.parts.store.channel("ops").await.unwrap().unwrap().cursor, 3);
    fixture.hold(4).await;
    fixture.channel().await;
    assert_eq!(fixture.parts.store.channel("ops").await.unwrap().unwrap().cursor, 3);
}

#[tokio::test]
async fn entries_without_a_hold_are_passed_over() {
    let fixture = Fixture::new();
    let loaded = || Event::RevisionLoaded {
        revision: Digest::of(b""),
        rules: 0,
        tools: 0,
        cause: crate::evidence::Cause::default(),
    };
    let store = &fixture.parts.store;
    for number in 1..=3 {
        store.record(loaded()).await.unwrap();
        fixture.hold(number).await;
    }
    store.record(loaded()).await.unwrap();
    let of = async |after, limit| {
        let found = store.told_entries(after, limit).await.unwrap();
        (found.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), found.reached)
    };
    assert_eq!(of(0, 10).await, (vec![2, 4, 6], 7));
    assert_eq!(of(0, 2).await, (vec![2, 4], 4));
    assert_eq!(of(6, 10).await, (vec![], 7));
    assert_eq!(of(7, 10).await, (vec![], 7));
}
