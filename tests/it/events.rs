//! The stream of events: what it tells and how soon, how it goes on after a break, and when it ends.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::clients::{Client, http};
use crate::harness::{HOLD_ALL, PATIENCE, RUNTIME, TestGateway, text, until};

/// The most streams of one person; `docs/api.md` says so.
const PER_PERSON: usize = 8;

fn gateway() -> TestGateway {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).manual_clock().start()
}

fn person(gateway: &TestGateway, name: &str) -> String {
    let add = ["reviewers", "add", name, "--role", "reviewer"];
    gateway.cli(&add).done().trim().to_owned()
}

fn request(gateway: &TestGateway, token: &str, query: &str) -> RequestBuilder {
    http().get(format!("{}/api/v1/events{query}", gateway.url())).bearer_auth(token)
}

fn sent(request: RequestBuilder) -> Response {
    RUNTIME.block_on(async { request.send().await }).unwrap()
}

/// One event as it was told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
    comment: bool,
}

/// An open stream.
struct Events {
    response: Response,
    rest: String,
}

impl Events {
    fn open(request: RequestBuilder) -> Self {
        let response = sent(request);
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        Self { response, rest: String::new() }
    }

    /// The next block of lines; none when the stream ended as it should.
    fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(block);
            }
            let chunk = async { tokio::time::timeout(PATIENCE, self.response.chunk()).await };
            let chunk = RUNTIME.block_on(chunk);
            let chunk = chunk.expect("something is told").expect("the stream ends whole")?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event or comment.
    fn any(&mut self) -> Option<Event> {
        loop {
            let (block, mut event) = (self.block()?, Event::default());
            for line in block.lines() {
                match line.split_once(": ").unwrap() {
                    ("id", id) => event.id = Some(id.parse().unwrap()),
                    ("event", name) => event.name = name.to_owned(),
                    ("data", data) => event.data = serde_json::from_str(data).unwrap(),
                    ("", _) => event.comment = true,
                    ("retry", _) => {}
                    other => panic!("{other:?}"),
                }
            }
            if event.comment || !event.name.is_empty() {
                return Some(event);
            }
        }
    }

    #[track_caller]
    fn next(&mut self) -> Event {
        self.any().expect("the stream goes on")
    }

    /// The kinds of the next entries about a hold, up to the one of kind `last`.
    fn kinds(&mut self, hold: &str, last: &str) -> Vec<String> {
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind| kind != last) {
            let event = self.next();
            if event.name == "hold" {
                assert_eq!(event.data["hold"], hold);
                assert!(event.data["at"].as_str().unwrap().ends_with('Z'), "{event:?}");
                assert_eq!(
                    event.data.as_object().unwrap().len(),
                    3,
                    "it tells too much: {event:?}"
                );
                kinds.push(text(&event.data["kind"]));
            }
        }
        kinds
    }

    fn ends(&mut self) {
        while let Some(event) = self.any() {
            assert!(event.comment || event.name == "entry", "{event:?}");
        }
    }
}

fn held(gateway: &TestGateway, agent: &str) -> String {
    gateway.modern_with_tasks(agent).call("count", json!({ "line": "x" }));
    gateway.pending()
}

#[test]
fn everything_that_happens_to_a_hold_is_told_and_nothing_of_what_it_holds() {
    let gateway = gateway();
    let token = person(&gateway, "ada");
    let mut events = Events::open(request(&gateway, &token, ""));
    let greeting = events.next();
    assert_eq!(greeting.name, "entry");
    assert_eq!(greeting.data, json!({ "index": greeting.id.unwrap() }));
    let hold = held(&gateway, "a");
    assert_eq!(events.kinds(&hold, "hold"), ["hold"]);
    gateway.approve(&hold);
    assert_eq!(events.kinds(&hold, "outcome"), ["verdict", "intent", "outcome"]);
    // What concerns no hold is told together, by its place alone.
    gateway.agent("b");
    let entry = events.next();
    assert_eq!((entry.name.as_str(), &entry.data), ("entry", &json!({ "index": entry.id })));
}

#[test]
fn a_change_is_told_at_once() {
    let gateway = gateway();
    let token = person(&gateway, "ada");
    let mut events = Events::open(request(&gateway, &token, ""));
    events.next();
    let mut soonest = Duration::MAX;
    for number in 0..10 {
        let name = format!("agent-{number}");
        let body = json!({ "name": name });
        assert_eq!(gateway.api_post("/api/v1/agents", &body).status, 200);
        let answered = Instant::now();
        assert_eq!(events.next().name, "entry");
        soonest = soonest.min(answered.elapsed());
    }
    // Other programs have the machine too, so the best of ten counts; looking again and again would take longer.
    assert!(soonest < Duration::from_millis(80), "{soonest:?}");
}

#[test]
fn who_comes_back_misses_nothing() {
    let gateway = gateway();
    let token = person(&gateway, "ada");
    let mut events = Events::open(request(&gateway, &token, ""));
    events.next();
    let hold = held(&gateway, "a");
    let opened = loop {
        let event = events.next();
        if event.name == "hold" {
            break event.id.unwrap();
        }
    };
    drop(events);
    gateway.approve(&hold);
    gateway.hold_when(&hold, "finished");
    let expected = ["verdict", "intent", "outcome"];
    let back = request(&gateway, &token, "").header("last-event-id", opened.to_string());
    assert_eq!(Events::open(back).kinds(&hold, "outcome"), expected);
    // A browser asks again at the address it began with; what it heard last counts.
    let back = request(&gateway, &token, "?after=1").header("last-event-id", opened.to_string());
    assert_eq!(Events::open(back).kinds(&hold, "outcome"), expected);
    let back = request(&gateway, &token, "?after=1");
    let all = Events::open(back).kinds(&hold, "outcome");
    assert_eq!(all, ["hold", "verdict", "intent", "outcome"]);
    // A place that this log has not reached is of another log.
    let mut events = Events::open(request(&gateway, &token, "?after=999999999"));
    let reset = events.next();
    assert_eq!(reset.name, "reset");
    assert!(reset.id.unwrap() < 1000, "{reset:?}");
    gateway.agent("b");
    assert_eq!(events.next().name, "entry");
    for bad in ["x", "-1", ""] {
        let back = request(&gateway, &token, "").header("last-event-id", bad);
        assert_eq!(sent(back).status(), 400, "{bad:?}");
    }
}

#[test]
fn a_person_has_so_many_streams_and_gets_places_back() {
    let gateway = gateway();
    let (ada, bob) = (person(&gateway, "ada"), person(&gateway, "bob"));
    let open = |token: &str| Events::open(request(&gateway, token, ""));
    let mut streams: Vec<Events> = (0..PER_PERSON).map(|_| open(&ada)).collect();
    let refused = sent(request(&gateway, &ada, ""));
    assert_eq!(refused.status(), 503);
    let told: Value = RUNTIME.block_on(refused.json()).unwrap();
    assert!(text(&told["error"]).contains("8 of one person"), "{told}");
    drop(open(&bob));
    streams.pop();
    until("a place to be given back", || {
        let status = sent(request(&gateway, &ada, "")).status();
        (status == 200).then_some(())
    });
}

#[test]
fn a_quiet_stream_shows_that_it_lives_and_ends_with_the_token() {
    let gateway = gateway();
    let add = ["reviewers", "add", "ada", "--role", "viewer", "--expires", "1h"];
    let token = gateway.cli(&add).done();
    let mut events = Events::open(request(&gateway, token.trim(), ""));
    events.next();
    gateway.advance(Duration::from_secs(16));
    assert!(events.next().comment);
    gateway.advance(Duration::from_secs(3600));
    events.ends();
}

#[test]
fn a_stream_ends_when_its_person_is_revoked() {
    let gateway = gateway();
    let token = person(&gateway, "ada");
    let mut events = Events::open(request(&gateway, &token, ""));
    events.next();
    gateway.cli(&["reviewers", "revoke", "ada"]).done();
    gateway.advance(Duration::from_secs(16));
    events.ends();
}

#[test]
fn a_stream_of_a_session_ends_with_it() {
    let gateway = crate::sign_in::gateway();
    let mut browser = crate::sign_in::signed_in(&gateway, "ada", "viewer");
    let cookie = format!("countersign_session={}", browser.session().unwrap());
    let url = format!("{}/api/v1/events", browser.origin);
    let mut events = Events::open(http().get(url).header("cookie", cookie));
    events.next();
    assert_eq!(browser.who().status, 200);
    gateway.cli(&["reviewers", "sign-out", "ada"]).done();
    // What happens next is not told any more.
    gateway.agent("b");
    events.ends();
}

#[test]
fn streams_end_at_once_when_the_gateway_stops() {
    let mut gateway = gateway();
    let token = person(&gateway, "ada");
    let mut events = Events::open(request(&gateway, &token, ""));
    events.next();
    let begun = Instant::now();
    assert_eq!(gateway.stop(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited: {:?}", begun.elapsed());
    events.ends();
}
