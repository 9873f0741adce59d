//! Very many holds, and very many who want to end one: nobody is kept waiting, one wins.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::digest::Digest;
use countersign::evidence::{Asked, Event};
use countersign::hold::{Hold, State, Terms};
use countersign::ids::{CallId, HoldId};
use countersign::json::Object;
use countersign::storage::Store as _;
use countersign::storage::sqlite::SqliteStore;
use futures::{StreamExt as _, stream};
use jiff::SignedDuration;
use serde_json::json;

use crate::clients::{Client, Reply, http, refused};
use crate::harness::{Builder, HOLD_ALL, RUNTIME, TestGateway, text, until};

const MINUTE: Duration = Duration::from_secs(60);

fn held() -> Builder {
    TestGateway::builder().counting().policy("held.yaml", HOLD_ALL).manual_clock()
}

/// What a verdict or anything else led a hold to, by the record: each with the place of its entry, in order.
fn ends(gateway: &TestGateway, of: &str) -> Vec<(u64, String)> {
    let (mut ends, mut after) = (Vec::new(), 0);
    loop {
        let page = gateway.api_get(&format!("/api/v1/audit?limit=1000&after={after}")).json();
        for stored in page.as_array().unwrap() {
            let entry = &stored["entry"];
            after = stored["index"].as_u64().unwrap();
            let ended = ["verdict", "hold_changed"].iter().any(|kind| entry["kind"] == *kind);
            if ended && entry["hold"] == of {
                ends.push((after, text(&entry["state"])));
            }
        }
        if page.as_array().unwrap().is_empty() {
            return ends;
        }
    }
}

#[test]
fn a15_ten_thousand_holds_of_one_agent_are_capped_and_others_go_on() {
    const CALLERS: usize = 24;
    const CALLS: usize = 15;
    let gateway = held().config("holds: { window: 50ms, pending_max: 100 }\n").start();
    let flooding = gateway.modern_with_tasks("flood");
    let other = gateway.modern_with_tasks("other");
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (client, answers) = (flooding.clone(), &answers);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let line = json!({ "line": format!("{caller} {call}") });
                    let answer = client.call("count", line);
                    answers.lock().unwrap().push(answer);
                }
            });
        }
        // Meanwhile another agent's call is held, listed and decided, and it runs.
        until("the flood to reach its cap", || {
            answers.lock().unwrap().iter().any(|it| it["isError"] == true).then_some(())
        });
        let id = text(&other.call("count", json!({ "line": "other" }))["taskId"]);
        let listed = gateway.api_get("/api/v1/approvals?state=pending&agent=other").json();
        assert_eq!(listed[0]["id"], id.as_str(), "{listed}");
        gateway.approve(&id);
        gateway.hold_when(&id, "finished");
        assert_eq!(gateway.ran(), ["other"]);
    });
    let answers = answers.into_inner().unwrap();
    let (held, turned_away): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer["resultType"] == "task");
    assert_eq!((held.len(), turned_away.len()), (100, CALLERS * CALLS - 100));
    for answer in turned_away {
        let told = refused(answer);
        assert!(told.contains("100 of your calls already wait for people"), "{told}");
    }
    assert_eq!(gateway.holds("pending").len(), 100);
    assert_eq!(gateway.ran(), ["other"]);
}

/// A hold of `agent` as a gateway opens it, with its entry, to be decided within ten minutes.
fn preloaded(clock: &SystemClock, agent: &str, number: u32) -> (Hold, Event) {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let (created_at, arguments) = (clock.now(), Object::new());
    let digest = Digest::of(&number.to_be_bytes());
    let hold = Hold {
        via: None,
        id: HoldId::from_random(id),
        state: State::Pending { verdicts: Vec::new() },
        agent: agent.parse().unwrap(),
        groups: Vec::new(),
        owner: None,
        client: None,
        tool: "count".to_owned(),
        definition_fingerprint: Digest::of(b"definition"),
        requested_arguments: arguments.clone(),
        requested_digest: digest,
        arguments: arguments.clone(),
        edits: Vec::new(),
        digest,
        rules: vec!["everything-held".to_owned()],
        reason: "held".to_owned(),
        agent_reason: None,
        call: CallId::new(),
        workflow: None,
        compensates: None,
        revision: Digest::of(b"revision"),
        created_at,
        decide_by: created_at.saturating_add(SignedDuration::from_mins(10)).unwrap(),
        extended: None,
        execute_within: SignedDuration::from_mins(10),
        terms: Terms::default(),
        amendments: Vec::new(),
        anew_of: None,
    };
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
        backend: "counting".to_owned(),
        capability: None,
        definition_fingerprint: hold.definition_fingerprint,
        arguments: arguments.clone(),
        digest,
        revision: hold.revision,
        decision: "REQUIRE_APPROVAL".to_owned(),
        rules: hold.rules.clone(),
        edits: Vec::new(),
        noticed: countersign::policy::Noticed::default(),
    };
    let opening = Event::Hold {
        hold: hold.id,
        asked,
        requested_arguments: arguments,
        decide_by: hold.decide_by,
        terms: Terms::default(),
        anew_of: None,
    };
    (hold, opening)
}

#[test]
fn b14_many_expiries_at_once_do_not_keep_people_waiting() {
    // More than one sweep handles.
    const MANY: u32 = 4_500;
    let mut gateway = held().prepare();
    RUNTIME.block_on(async {
        let clock = Arc::new(SystemClock::new());
        let store = SqliteStore::open(&gateway.data(), clock.clone()).unwrap();
        let opened = (0..MANY).map(|number| {
            let (hold, event) = preloaded(&clock, &format!("agent-{}", number % 60), number);
            store.open_hold(hold, event, 100)
        });
        stream::iter(opened)
            .buffer_unordered(1000)
            .for_each(|it| async { drop(it.unwrap()) })
            .await;
    });
    gateway.launch();
    let metric = |state: &str| gateway.metric(state).unwrap_or_default();
    let pending = "countersign_holds_pending{rule=\"everything-held\"}";
    assert_eq!(metric(pending), f64::from(MANY));
    let client = gateway.modern_with_tasks("late");
    let id = text(&client.call("count", json!({ "line": "late" }))["taskId"]);
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(&id)["digest"] });

    gateway.advance(30 * MINUTE);
    until("holds to expire", || (metric(pending) < f64::from(MANY)).then_some(()));
    let decided = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(decided.status, 200, "{decided:?}");
    // In steps, so that each has its own deadline.
    for left in (0..MANY).rev().step_by(500) {
        until(&format!("all but {left} to expire"), || {
            gateway.advance(Duration::from_secs(1));
            (metric(pending) <= f64::from(left)).then_some(())
        });
    }
    until("all to expire", || (metric(pending) < 1.0).then_some(()));
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["late"]);
    // The verdict came between expiries, not after them all.
    let at = ends(&gateway, &id)[0].0;
    let last = gateway.cli(&["audit", "list", "--limit", "1", "--output", "json"]).json();
    let last = last[0]["index"].as_u64().unwrap();
    assert!(at + 1000 < last, "decided as entry {at} of {last}");
}

/// Who wants to end a hold.
#[derive(Clone, Copy)]
enum Contender<'a> {
    Person { token: &'a str, decision: &'a str },
    Agent,
    Clock,
}

const PEOPLE: [&str; 5] = ["ada", "bob", "cem", "dee", "eve"];
const CONTENDERS: usize = 200;

fn contender(number: usize, tokens: &[String]) -> Contender<'_> {
    match number % 10 {
        place @ 0..6 => {
            let decision = if place % 2 == 0 { "approve" } else { "reject" };
            Contender::Person { token: &tokens[number % tokens.len()], decision }
        }
        6..9 => Contender::Agent,
        _ => Contender::Clock,
    }
}

#[test]
fn a7_two_hundred_verdicts_at_once_have_one_winner() {
    let policy = "rules:\n  - name: held\n    match: {}\n    decision: REQUIRE_APPROVAL\n    \
                  approval: { decide_within: 10m, execute_within: 2h }\n";
    let builder = TestGateway::builder().counting().policy("held.yaml", policy).manual_clock();
    // Contenders move the clock: no connection is slow for that.
    let patient = "{ header_time: 9h, body_pause: 9h, keep_alive: 9h, write_stall: 9h }";
    let gateway = builder.config(&format!("edge: {{ limits: {patient} }}\n")).start();
    let agent = gateway.modern_with_tasks("a");
    let add = |name: &&str| text(&gateway.cli(&["reviewers", "add", name]).done().trim().into());
    let tokens: Vec<String> = PEOPLE.iter().map(add).collect();
    // Each time others stand first.
    for turn in [0, 6, 9] {
        let line = format!("turn {turn}");
        let id = text(&agent.call("count", json!({ "line": line }))["taskId"]);
        let digest = gateway.hold(&id)["digest"].clone();
        let url = format!("{}/api/v1/approvals/{id}/verdict", gateway.url());
        let gate = Barrier::new(CONTENDERS);
        let replies: Vec<Option<Reply>> = thread::scope(|scope| {
            let all: Vec<_> = (0..CONTENDERS)
                .map(|number| {
                    let contender = contender(number + turn, &tokens);
                    let (gateway, agent, gate) = (&gateway, &agent, &gate);
                    let (id, url, digest) = (&id, &url, &digest);
                    scope.spawn(move || {
                        gate.wait();
                        match contender {
                            Contender::Person { token, decision } => {
                                let verdict = json!({ "decision": decision, "digest": digest });
                                let sent = http().post(url).bearer_auth(token).json(&verdict);
                                return Some(RUNTIME.block_on(Reply::of(sent)));
                            }
                            Contender::Agent => {
                                agent.request("tasks/cancel", json!({ "taskId": id }));
                            }
                            Contender::Clock => gateway.advance(MINUTE),
                        }
                        None
                    })
                })
                .collect();
            all.into_iter().map(|it| it.join().unwrap()).collect()
        });
        one_has_won(&gateway, &id, &line, replies.into_iter().flatten().collect());
    }
}

fn one_has_won(gateway: &TestGateway, id: &str, line: &str, verdicts: Vec<Reply>) {
    let hold = until("the hold to end", || {
        let hold = gateway.hold(id);
        let over = !["pending", "approved", "executing"].iter().any(|name| hold["state"] == *name);
        over.then_some(hold)
    });
    let ends = ends(gateway, id);
    // What a person approved a moment ago its agent may still take back, before it runs.
    let taken_back = matches!(&ends[..], [(_, first), (_, then)] if first == "approved" && then == "superseded")
        && text(&hold["why"]).contains("was cancelled");
    assert!(ends.len() == 1 || taken_back, "{ends:?}, {hold}");
    let end = ends[0].1.as_str();
    let (won, lost): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(|it| it.status == 200);
    let by_person = matches!(end, "approved" | "rejected");
    assert_eq!(won.len(), usize::from(by_person), "{end}: {won:?}");
    // Whoever came later is told how it ended and, where a person decided, who did.
    let winner = hold["verdicts"][0]["person"]["name"].as_str().unwrap_or(end);
    for reply in lost {
        assert_eq!(reply.status, 409, "{reply:?}");
        let told = &reply.body;
        let in_time = !told.contains("too late");
        assert!(!in_time || told.contains("the hold is already"), "{told}");
        let names_it = told.contains(winner)
            || taken_back && (told.contains("superseded") || told.contains("decided at"));
        assert!(!(in_time || by_person) || names_it, "{winner} has won: {told}");
    }
    let ran = gateway.ran().iter().filter(|ran| *ran == line).count();
    let may_run = end == "approved" && !taken_back;
    assert!(ran <= usize::from(may_run), "{ends:?}, and ran {ran} times");
}
