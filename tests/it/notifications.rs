//! Notices: they arrive, signed, once, after everything; and what opens a link decides nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{Client, Reply, http};
use crate::harness::{ALLOW_ALL, Builder, HOLD_ALL, RUNTIME, TestGateway, text, until};
use crate::receiver::{Receiver, SECRET};

fn held(receiver: &Receiver, more: &str) -> Builder {
    TestGateway::builder()
        .counting()
        .policy("rules.yaml", HOLD_ALL)
        .config(&receiver.generic(more))
        .env("HOOK_SECRET", SECRET)
}

/// Holds a call, and gives the hold's id.
fn hold(gateway: &TestGateway, agent: &str, line: &str) -> String {
    let known: Vec<String> = gateway.holds("pending").iter().map(|it| text(&it["id"])).collect();
    let call =
        ["call", "count", &json!({ "line": line }).to_string(), "--agent", agent, "--no-wait"];
    let held = gateway.cli(&call);
    assert_eq!(held.code, 5, "{held:?}");
    let id = held.stdout.trim().to_owned();
    assert!(!known.contains(&id), "joined: {held:?}");
    id
}

/// Waits until so many are known to be delivered, which a crash does not change any more.
fn delivered(gateway: &TestGateway, count: f64) {
    let name = "countersign_notifications_total{channel=\"ops\",result=\"delivered\"}";
    until("the delivery to be counted", || (gateway.metric(name) == Some(count)).then_some(()));
}

fn status(request: reqwest::RequestBuilder) -> u16 {
    RUNTIME.block_on(Reply::of(request)).status
}

fn events(receiver: &Receiver) -> Vec<String> {
    receiver.taken().iter().map(|got| text(&got.json()["event"])).collect()
}

#[test]
fn a_held_call_is_told_with_a_signature_and_without_arguments() {
    let receiver = Receiver::start();
    let gateway = held(&receiver, "").start();
    let id = hold(&gateway, "nightly", "unspeakable");
    let got = receiver.when_taken(1).remove(0);
    assert!(got.is_signed_with(SECRET.as_bytes()), "{got:?}");
    assert!(!got.is_signed_with(b"another secret, which is long too"), "{got:?}");
    let body = got.json();
    assert_eq!(body["event"], "held");
    assert_eq!(body["v"], 1);
    for (name, value) in [("id", id.as_str()), ("agent", "nightly"), ("tool", "count")] {
        assert_eq!(body["hold"][name], value, "{body}");
    }
    assert_eq!(body["hold"]["rules"], json!(["everything-held"]));
    assert_eq!(body["url"], format!("{}/holds/{id}", gateway.url()));
    assert!(text(&body["hold"]["decide_by"]).ends_with('Z'));
    assert!(!got.body.contains("unspeakable"), "arguments are told: {}", got.body);
    delivered(&gateway, 1.0);
    let doctor = gateway.cli(&["doctor"]);
    assert!(doctor.stdout.contains("ops: delivered at"), "{doctor:?}");
    assert!(!gateway.log().contains("nobody is told"), "{}", gateway.log());
}

#[test]
fn each_kind_of_news_is_told_in_order_where_it_is_wanted() {
    let receiver = Receiver::start();
    let more = ", on: [held, decided, ended, finished, unknown], arguments: true";
    let policy = "rules:\n  - { name: soon, match: { tool: count_slowly }, decision: REQUIRE_APPROVAL, approval: { decide_within: 2s } }\n  - { name: held, match: { tool: count }, decision: REQUIRE_APPROVAL }\n";
    let gateway = held(&receiver, more).policy("rules.yaml", policy).start();
    let first = hold(&gateway, "a", "one");
    receiver.when_taken(1);
    gateway.cli(&["approvals", "approve", &first, "--reason", "go on"]).done();
    gateway.hold_when(&first, "finished");
    let got = receiver.when_taken(3);
    let bodies: Vec<Value> = got.iter().map(|got| got.json()).collect();
    assert_eq!(events(&receiver), ["held", "decided", "finished"]);
    assert_eq!(bodies[0]["hold"]["arguments"], json!({ "line": "one" }));
    assert_eq!(
        (&bodies[1]["hold"]["state"], &bodies[1]["why"]),
        (&json!("approved"), &json!("go on"))
    );
    assert_eq!(bodies[2]["outcome"], "success");
    let second = hold(&gateway, "a", "two");
    receiver.when_taken(4);
    gateway.cli(&["approvals", "reject", &second]).done();
    receiver.when_taken(5);
    let slowly = json!({ "line": "x", "seconds": 0 }).to_string();
    gateway.cli(&["call", "count_slowly", &slowly, "--no-wait"]);
    let got = receiver.when_taken(7);
    assert_eq!(got[4].json()["hold"]["state"], "rejected");
    assert_eq!(got[6].json()["event"], "ended");
    assert_eq!(got[6].json()["hold"]["state"], "expired");
}

#[test]
fn a_notice_survives_a_kill_and_is_told_once_per_id() {
    let mut receiver = Receiver::start();
    let mut gateway = held(&receiver, "").start();
    receiver.stop();
    let kept = hold(&gateway, "a", "kept");
    let decided = hold(&gateway, "b", "decided");
    until("an attempt to fail", || {
        gateway
            .metric("countersign_notifications_total{channel=\"ops\",result=\"failed\"}")
            .filter(|failed| *failed > 0.0)
    });
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("ops: not delivered at"), "{doctor:?}");
    gateway.kill();
    receiver.resume();
    gateway.launch();
    let got = receiver.when_taken(1);
    assert_eq!(got[0].json()["hold"]["id"], kept);
    let got = receiver.when_taken(2);
    assert_eq!(got[1].json()["hold"]["id"], decided);
    // A restart tells nothing again, and what was decided while nobody listened is no news.
    receiver.stop();
    let third = hold(&gateway, "c", "third");
    gateway.cli(&["approvals", "reject", &third]).done();
    gateway.restart();
    receiver.resume();
    let fourth = hold(&gateway, "d", "fourth");
    let got = receiver.when_taken(3);
    assert_eq!(got[2].json()["hold"]["id"], fourth);
    assert_eq!(receiver.got().len(), 3, "{:?}", receiver.got());
}

#[test]
fn a_failing_receiver_is_tried_again_later_and_later_with_the_same_id() {
    let receiver = Receiver::start();
    receiver.answer(&[500, 302, 503]);
    let gateway = held(&receiver, "").start();
    hold(&gateway, "a", "x");
    let taken = receiver.when_taken(1).remove(0);
    let got = receiver.got();
    assert_eq!(got.len(), 4, "a redirect was followed, or an attempt is missing: {got:?}");
    assert!(got.iter().all(|it| it.id == taken.id && it.body == taken.body), "{got:?}");
    assert!(got.iter().all(|it| it.is_signed_with(SECRET.as_bytes())));
    let waits: Vec<Duration> = got.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (wait, least) in waits.iter().zip([450, 950, 1950]) {
        assert!(*wait >= Duration::from_millis(least), "{waits:?}");
    }
    assert!(gateway.log().contains("the receiver answers 500"), "{}", gateway.log());
}

#[test]
fn a_message_that_is_refused_again_and_again_makes_way_for_the_next() {
    let receiver = Receiver::start();
    receiver.answer(&[400, 400, 400, 400, 400]);
    let gateway = held(&receiver, "").start();
    let refused = hold(&gateway, "a", "x");
    let told = hold(&gateway, "b", "y");
    let got = receiver.when_taken(1);
    assert_eq!(got[0].json()["hold"]["id"], told);
    assert!(gateway.log().contains("a notice is given up"), "{}", gateway.log());
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("1 notices were given up"), "{doctor:?}");
    assert_eq!(gateway.hold(&refused)["state"], "pending");
    let tested = gateway.cli(&["doctor", "--notify"]).done();
    assert!(tested.contains("a test message was delivered"), "{tested}");
    assert!(!gateway.cli(&["doctor"]).done().contains("given up"));
}

#[test]
fn identical_holds_are_told_once_and_a_flood_in_one_message() {
    let mut receiver = Receiver::start();
    let config = receiver.generic("") + "holds: { window: 5s }\n";
    let mut gateway = held(&receiver, "").config(&config).start();
    let agent = gateway.modern("twice");
    std::thread::scope(|scope| {
        // Each is a call of its own, because those before it still wait.
        for _ in 0..3 {
            scope.spawn(|| agent.call("count", json!({ "line": "same" })));
        }
    });
    gateway.holds_when("pending", 3);
    hold(&gateway, "other", "last");
    let got = receiver.when_taken(2);
    assert_eq!(got[0].json()["hold"]["agent"], "twice");
    assert_eq!(got[1].json()["hold"]["agent"], "other", "{got:?}");
    delivered(&gateway, 2.0);
    receiver.stop();
    gateway.kill();
    gateway.launch();
    receiver.resume();
    receiver.answer(&[500]);
    receiver.stop();
    let flood: Vec<String> = (0..12).map(|n| hold(&gateway, "flood", &n.to_string())).collect();
    gateway.kill();
    receiver.resume();
    gateway.launch();
    let got = until("the flood to be summed up", || {
        let got = receiver.taken();
        got.iter().any(|got| got.json()["event"] == "held_many").then_some(got)
    });
    // The first may have been under way alone already.
    let told: usize =
        got[2..].iter().map(|got| got.json()["holds"].as_array().map_or(1, Vec::len)).sum();
    assert_eq!(told, flood.len(), "{got:?}");
    assert!(got.len() <= 2 + 2, "{got:?}");
    let after = hold(&gateway, "z", "after");
    let got = receiver.when_taken(got.len() + 1);
    assert_eq!(got.last().unwrap().json()["hold"]["id"], after, "{got:?}");
}

#[test]
fn a_slow_receiver_delays_neither_calls_nor_other_channels() {
    let (slow, fast) = (Receiver::start(), Receiver::start());
    slow.delay(Duration::from_secs(25));
    let second = format!(
        "    - {{ name: fast, form: generic, url: '{}', secret: {{ env: HOOK_SECRET }} }}\n",
        fast.url()
    );
    let gateway = TestGateway::builder()
        .counting()
        .policy("rules.yaml", HOLD_ALL)
        .config(&(slow.generic("") + &second))
        .env("HOOK_SECRET", SECRET)
        .start();
    for n in 0..3 {
        hold(&gateway, "a", &n.to_string());
    }
    let begun = std::time::Instant::now();
    fast.when_taken(3);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(slow.got().len(), 1);
}

/// A call that says of itself what makes links, mentions and markup.
fn hostile(gateway: &TestGateway) {
    let words = "<!channel> *bold* <https://evil.example|click> @here `x` https://evil.example";
    let mut params = json!({ "name": "count", "arguments": { "line": "x" } });
    params["_meta"] = json!({ "countersign/reason": words });
    gateway.modern_with_tasks("a").result("tools/call", params);
}

#[test]
fn what_an_agent_writes_is_no_markup_in_chat() {
    let receiver = Receiver::start();
    let gateway = TestGateway::builder()
        .counting()
        .policy("rules.yaml", HOLD_ALL)
        .config(&receiver.slack(""))
        .env("HOOK_URL", &receiver.url())
        .start();
    hostile(&gateway);
    let got = receiver.when_taken(1).remove(0);
    assert_eq!(got.signature, None);
    let body = got.json();
    let said = body["text"].as_str().unwrap();
    assert!(
        said.contains("a wants count") && said.contains("https://gate.example.com/holds/"),
        "{said}"
    );
    let shown = body["blocks"].to_string();
    assert!(shown.contains("In the agent's own words"), "{shown}");
    for bad in
        ["<!channel", "*bold*", "<https://evil", "https://evil", "@here", "`x`", "evil.example"]
    {
        assert!(!got.body.contains(bad), "`{bad}` in {}", got.body);
    }
    let blocks = body["blocks"].as_array().unwrap();
    let markup: Vec<&Value> = blocks.iter().filter(|it| it["text"]["type"] == "mrkdwn").collect();
    assert_eq!(markup.len(), 1, "{blocks:?}");
    let link = markup[0]["text"]["text"].as_str().unwrap();
    assert!(link.starts_with("<https://gate.example.com/holds/"), "{link}");
    assert!(!gateway.log().contains(&receiver.url()), "a secret URL is logged");
}

#[test]
fn a21_opening_a_link_decides_nothing() {
    let receiver = Receiver::start();
    let gateway = held(&receiver, "").start();
    let id = hold(&gateway, "a", "x");
    let url = text(&receiver.when_taken(1)[0].json()["url"]);
    let base = gateway.url();
    let routes = [
        url.clone(),
        format!("{url}?decision=approve"),
        format!("{base}/holds/{id}/"),
        format!("{base}/holds/{id}/approve"),
        format!("{base}/api/v1/approvals/{id}"),
        format!("{base}/api/v1/approvals/{id}/verdict"),
        format!("{base}/api/v1/approvals/{id}/verdict?decision=approve"),
    ];
    let scanners = [
        [("user-agent", "Slackbot-LinkExpanding 1.0"), ("accept", "*/*")],
        [("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender")],
        [("x-moz", "prefetch"), ("x-purpose", "preview")],
    ];
    for route in &routes {
        for headers in scanners {
            for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
                let mut request = http().request(method, route);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let status = status(request);
                assert!(status == 200 || (400..500).contains(&status), "{route}: {status}");
            }
        }
    }
    let page = |id: &str| {
        RUNTIME.block_on(async {
            let response = http().get(format!("{base}/holds/{id}")).send().await.unwrap();
            let headers = response.headers().clone();
            (headers, response.text().await.unwrap())
        })
    };
    let (headers, known) = page(&id);
    let (_, unknown) = page("00000000000000000000000000000000");
    assert_eq!(known, unknown, "the page tells whether there is such a hold");
    assert!(known.contains("countersign approvals show"), "{known}");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    for method in [reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::DELETE] {
        assert_eq!(status(http().request(method, &url)), 405);
    }
    // Nor does a person's own GET decide, who may.
    assert_eq!(gateway.api_get(&format!("/api/v1/approvals/{id}")).status, 200);
    assert_eq!(gateway.api_get(&format!("/api/v1/approvals/{id}/verdict")).status, 405);
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert!(gateway.ran().is_empty());
}

#[test]
fn doctor_sends_a_test_message_to_each_channel() {
    let mut receiver = Receiver::start();
    let gateway = held(&receiver, "").start();
    let doctor = gateway.cli(&["doctor"]).done();
    assert!(doctor.contains("ops: nothing was sent yet"), "{doctor}");
    let tested = gateway.cli(&["doctor", "--notify"]).done();
    assert!(tested.contains("ops: a test message was delivered"), "{tested}");
    let got = receiver.when_taken(1).remove(0);
    assert_eq!(got.json()["event"], "test");
    assert!(got.is_signed_with(SECRET.as_bytes()));
    receiver.stop();
    hold(&gateway, "a", "x");
    let tested = gateway.cli(&["doctor", "--notify"]);
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(tested.stdout.contains("the receiver cannot be reached"), "{tested:?}");
    // A receiver that works again is told at once what waited.
    receiver.resume();
    gateway.cli(&["doctor", "--notify"]).done();
    let told = receiver.when_taken(3);
    assert!(told.iter().any(|got| got.json()["event"] == "held"), "{told:?}");
    // An agent's token is nobody here.
    let token = gateway.agent("a");
    let url = format!("{}/api/v1/notifications/test", gateway.url());
    assert_eq!(status(http().post(url).bearer_auth(token)), 401);
}

#[test]
fn a_gateway_that_may_hold_calls_unseen_says_so() {
    let gateway = TestGateway::builder().counting().policy("rules.yaml", HOLD_ALL).start();
    assert!(gateway.log().contains("rule `everything-held` can hold calls"), "{}", gateway.log());
    assert!(gateway.log().contains("countersign approvals watch"), "{}", gateway.log());
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("nobody is told"), "{doctor:?}");
    let tested = gateway.cli(&["doctor", "--notify"]);
    assert!(tested.stdout.contains("there is no channel to test"), "{tested:?}");
    drop(gateway);
    let gateway = TestGateway::builder().counting().policy("rules.yaml", ALLOW_ALL).start();
    assert!(!gateway.log().contains("nobody is told"), "{}", gateway.log());
    drop(gateway);
    let stdio = TestGateway::builder().counting().policy("rules.yaml", HOLD_ALL).prepare();
    let client = stdio.stdio("a");
    client.request("tools/list", json!({}));
    drop(client);
    until("the warning", || stdio.log().contains("nobody is told").then_some(()));
    // A channel that cannot sign tells nobody either.
    let receiver = Receiver::start();
    let gateway = held(&receiver, "").env("HOOK_SECRET", "short").start();
    assert!(gateway.log().contains("channel `ops`: nothing can be sent"), "{}", gateway.log());
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("shorter than 24 bytes"), "{doctor:?}");
}

#[test]
fn channels_that_would_tell_others_are_refused() {
    let channel = |keys: &str| {
        let config = format!("notifications:\n  channels:\n    - {{ {keys} }}\n");
        TestGateway::builder()
            .policy("rules.yaml", ALLOW_ALL)
            .config(&config)
            .expect_start_failure()
    };
    let cases = [
        ("name: a, form: slack, url: 'http://hooks.example.com/x'", "in the clear"),
        ("name: a, form: slack, url: 'ftp://127.0.0.1/x'", "neither `https` nor `http`"),
        ("name: a, form: generic, url: 'https://hooks.example.com/x'", "without `secret`"),
        ("name: a.b, form: slack, url: 'https://hooks.example.com/x'", "not the name of a channel"),
        ("name: a, form: slack, url: { path: x }", "`path` says nothing"),
        ("name: a, form: slack, url: 'https://x.example', on: []", "told nothing"),
        ("name: a, form: slack, url: 'https://x.example', arguments: true", "generic form only"),
        ("name: a, form: slack, url: 'https://x.example', onn: [held]", "did you mean `on`"),
    ];
    for (keys, told) in cases {
        let failed = channel(keys);
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(failed.stderr.contains(told), "`{told}` is missing: {failed:?}");
        assert!(failed.stderr.contains("countersign.yaml:3:"), "{failed:?}");
    }
}

#[test]
fn halts_and_spent_budgets_are_told_where_they_are_wanted() {
    let receiver = Receiver::start();
    let policy = "rules: [{ name: all, match: {}, decision: ALLOW }]
budgets:
  - { name: lines, match: {}, per: agent, spend: { calls: 4 }, alert_at: [50%, 100%] }
";
    let gateway = held(&receiver, ", on: [halted, budget]").policy("rules.yaml", policy).start();
    let count = |agent: &str| {
        gateway.cli(&["call", "count", r#"{"line":"x"}"#, "--agent", agent]).done();
    };
    count("nightly");
    gateway.cli(&["halt", "--tool", "count_slowly", "--reason", "it is *slow*"]).done();
    receiver.when_taken(1);
    gateway.cli(&["resume", "--tool", "count_slowly", "--reason", "mended"]).done();
    receiver.when_taken(2);
    count("nightly");
    let bodies: Vec<Value> = receiver.when_taken(3).iter().map(|got| got.json()).collect();
    assert_eq!(events(&receiver), ["halted", "resumed", "budget"]);
    assert_eq!(bodies[0]["halt"]["scope"], json!({ "tool": "count_slowly" }), "{bodies:?}");
    assert_eq!(bodies[0]["halt"]["reason"], "it is *slow*");
    assert_eq!(
        (&bodies[1]["halt"]["id"], &bodies[1]["halt"]["reason"]),
        (&bodies[0]["halt"]["id"], &json!("mended"))
    );
    let budget = &bodies[2]["budget"];
    assert_eq!((&budget["budget"], &budget["share"]), (&json!("lines"), &json!(50)), "{budget}");
    assert_eq!(budget["who"], json!({ "agent": "nightly" }));
    assert_eq!((&budget["spent"]["calls"], &budget["of"]["calls"]), (&json!(2), &json!(4)));
    assert_eq!(bodies[2]["url"], format!("{}/limits", gateway.url()));
    // Agents that spend fast do not flood people: the record has the rest.
    for agent in ["a", "b", "c", "d", "e", "f"] {
        count(agent);
        count(agent);
    }
    let skipped = "countersign_notifications_total{channel=\"ops\",result=\"skipped\"}";
    until("what is too much to be skipped", || {
        gateway.metric(skipped).filter(|skipped| *skipped > 0.0)
    });
    assert!(receiver.taken().len() <= 3 + 5, "{:?}", events(&receiver));
}

#[test]
fn halts_and_spent_budgets_are_inert_in_slack() {
    let receiver = Receiver::start();
    let policy = "rules: [{ name: all, match: {}, decision: ALLOW }]
budgets: [{ name: lines, match: {}, per: agent, spend: { calls: 1 }, alert_at: [100%] }]
";
    let gateway = TestGateway::builder()
        .counting()
        .policy("rules.yaml", policy)
        .config(&receiver.slack(", on: [halted, budget]"))
        .env("HOOK_URL", &receiver.url())
        .start();
    gateway.cli(&["halt", "--agent", "x", "--reason", "<!channel> *now*"]).done();
    gateway.cli(&["call", "count", r#"{"line":"x"}"#, "--agent", "nightly"]).done();
    let bodies = receiver.when_taken(2);
    let (halt, budget) = (&bodies[0].body, &bodies[1].body);
    assert!(halt.contains("Calls are halted: agent x.") && !halt.contains("<!channel>"), "{halt}");
    assert!(budget.contains("100 % of the budget lines is spent."), "{budget}");
    assert!(budget.contains("https://gate.example.com/limits"), "{budget}");
}
