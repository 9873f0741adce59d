//! People take longer than clients wait: the official TypeScript SDK, with the 60 s that it waits by
//! itself, and a reviewer who takes 90. The gateway's clock is moved, so nobody waits that long here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{HOLD_ALL, TestGateway, text, until};
use crate::real_clients::{Client, Kind, Way, done, refused};

/// When the reviewer decides, after the call.
const DECIDES_AFTER: Duration = Duration::from_secs(90);
/// The default window.
const WINDOW: Duration = Duration::from_secs(50);
const SECOND: Duration = Duration::from_secs(1);

/// A gateway that listens with default windows, and how an agent's clients reach it.
struct Scene {
    gateway: TestGateway,
    kind: Kind,
    way: Way,
    token: String,
}

impl Scene {
    fn set(kind: Kind, way: Way) -> Self {
        let builder = TestGateway::builder().counting().policy("held.yaml", HOLD_ALL);
        let gateway = builder.manual_clock().start();
        let token = gateway.agent("worker");
        Self { gateway, kind, way, token }
    }

    /// A new client process of the one agent. Over stdio the gateway process that it starts joins the one
    /// that listens.
    fn client(&self) -> Client {
        match self.way {
            Way::Http => Client::with_token(self.kind, &self.gateway, &self.token),
            Way::Stdio => Client::over_stdio(self.kind, &self.gateway, "worker"),
        }
    }

    /// Lets the window pass and gives what the client hears then, and how long that took: the window may
    /// have begun a moment after the hold was there.
    fn after_the_window(&self, client: &Client) -> (Value, Duration) {
        let mut passed = WINDOW;
        self.gateway.advance(WINDOW);
        let answer = until("the client to be answered", || {
            client.answered().or_else(|| {
                self.gateway.advance(SECOND);
                passed += SECOND;
                None
            })
        });
        (answer, passed)
    }

    /// The reviewer approves, 90 s after the call of which `passed` are over; it runs.
    fn approved(&self, hold: &str, passed: Duration) {
        self.gateway.advance(DECIDES_AFTER.saturating_sub(passed));
        self.gateway.approve(hold);
        self.gateway.hold_when(hold, "finished");
    }

    fn ran_once(&self) {
        assert_eq!(self.gateway.ran(), ["once"]);
        assert_eq!(self.gateway.holds("all").len(), 1);
    }
}

/// The call; the SDK waits for it as long as it does by default.
fn step() -> Value {
    json!({ "call": "count", "arguments": { "line": "once" } })
}

/// A client of an earlier protocol hears *pending* at the end of the window; its retry has the result.
fn collected_by_a_retry(kind: Kind, way: Way) {
    let scene = Scene::set(kind, way);
    let mut client = scene.client();
    client.begin(&step());
    let hold = scene.gateway.pending();
    let (first, passed) = scene.after_the_window(&client);
    let told = refused(&first);
    assert!(told.starts_with("PENDING, not failed") && told.contains(&hold), "{told}");
    scene.approved(&hold, passed);
    client.begin(&step());
    let answer = client.answer();
    assert_eq!(done(&answer).trim(), "ran once");
    assert_eq!(text(&answer["result"]["_meta"]["countersign/hold"]["id"]), hold);
    scene.ran_once();
    client.close();
}

/// A client of 2026-07-28 comes back by itself after the first leg: one call, one answer.
fn collected_in_one_call(kind: Kind, way: Way) {
    let scene = Scene::set(kind, way);
    let mut client = scene.client();
    client.begin(&step());
    let hold = scene.gateway.pending();
    scene.gateway.advance(WINDOW);
    assert_eq!(scene.gateway.pending(), hold);
    scene.approved(&hold, WINDOW);
    assert_eq!(done(&client.answer()).trim(), "ran once");
    scene.ran_once();
    client.close();
}

/// The client's process is killed while it waits; the same agent's next process makes the same call.
fn collected_by_another_process(kind: Kind, way: Way) {
    let scene = Scene::set(kind, way);
    let mut client = scene.client();
    client.begin(&step());
    let hold = scene.gateway.pending();
    scene.gateway.advance(SECOND * 10);
    drop(client);
    scene.gateway.advance(SECOND * 30);
    assert_eq!(scene.gateway.pending(), hold, "a client that dies leaves its hold");
    scene.approved(&hold, SECOND * 40);
    let mut client = scene.client();
    let answer = client.call("count", &json!({ "line": "once" }));
    assert_eq!(done(&answer).trim(), "ran once");
    assert_eq!(text(&answer["result"]["_meta"]["countersign/hold"]["id"]), hold);
    scene.ran_once();
    client.close();
}

/// The same, but the next process is there before the reviewer decides, and waits.
fn taken_over_by_another_process(kind: Kind, way: Way) {
    let scene = Scene::set(kind, way);
    let mut client = scene.client();
    client.begin(&step());
    let hold = scene.gateway.pending();
    scene.gateway.advance(SECOND * 50);
    drop(client);
    let mut client = scene.client();
    client.begin(&step());
    scene.approved(&hold, SECOND * 50);
    assert_eq!(done(&client.answer()).trim(), "ran once");
    scene.ran_once();
    client.close();
}

/// One test per client, transport and story.
macro_rules! stories {
    ($($name:ident: $story:ident $kind:ident $way:ident;)*) => {$(
        #[test]
        fn $name() {
            $story(Kind::$kind, Way::$way);
        }
    )*};
}

stories! {
    a18_typescript_and_ninety_seconds_over_http: collected_by_a_retry TypeScript Http;
    a18_typescript_and_ninety_seconds_over_stdio: collected_by_a_retry TypeScript Stdio;
    a18_typescript2_by_handshake_and_ninety_seconds_over_http: collected_by_a_retry TypeScript2Legacy Http;
    a18_typescript2_and_ninety_seconds_over_http: collected_in_one_call TypeScript2 Http;
    a18_typescript2_and_ninety_seconds_over_stdio: collected_in_one_call TypeScript2 Stdio;
    a17_typescript_is_killed_while_it_waits_over_http: collected_by_another_process TypeScript Http;
    a17_typescript_is_killed_while_it_waits_over_stdio: collected_by_another_process TypeScript Stdio;
    a17_typescript2_is_killed_while_it_waits_over_http: collected_by_another_process TypeScript2 Http;
    a17_typescript2_is_killed_while_it_waits_over_stdio: collected_by_another_process TypeScript2 Stdio;
    a17_typescript_is_killed_and_another_waits_over_http: taken_over_by_another_process TypeScript Http;
    a17_typescript2_is_killed_and_another_waits_over_stdio: taken_over_by_another_process TypeScript2 Stdio;
}
