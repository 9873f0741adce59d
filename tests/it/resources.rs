//! Resources, prompts and completions of real servers through the gateway: only what is listed, only what
//! policy allows, unchanged, and recorded.

use std::thread;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, Stdio, VERSIONS, post};
use crate::harness::{ALLOW_ALL, Builder, PATIENCE, RUNTIME, TestGateway, text, until};
use crate::real_clients::{installed, program};

const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
const DOCUMENT: &str = "demo://resource/static/document/architecture.md";
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mcp_documents.py");

/// What is offered of `server-everything`; `nowhere` is nothing of it.
const OFFERED: &str = r#"
attributes: { capability: everything }
resources:
  - { uri: "demo://resource/static/document/architecture.md", name: architecture, title: How it is built }
  - { uri: "demo://resource/dynamic/blob/7", attributes: { environment: production } }
  - { uri: "demo://resource/nowhere" }
  - uri_template: "demo://resource/dynamic/text/{resourceId}"
    variables: { resourceId: { pattern: "^[0-9]+$" } }
    attributes: { tags: [dynamic] }
prompts:
  - { name: simple, from: simple-prompt }
  - { name: weather, from: args-prompt, description: Ask for the weather. }
  - { name: team, from: completable-prompt }
  - { name: nowhere }
"#;

fn everything(server: &Value) -> Builder {
    let manifest = format!("backend:\n  name: everything\n  mcp: {server}\n{OFFERED}");
    TestGateway::builder().manifest("everything.yaml", &manifest)
}

fn child() -> Value {
    json!({ "program": program("node"), "args": [installed(EVERYTHING), "stdio"] })
}

/// What the fixture offers.
const DOCUMENTS: &str = r#"
attributes: { capability: documents }
tools:
  - { name: touch, attributes: { action_type: write } }
  - { name: add, attributes: { action_type: write } }
  - { name: die, attributes: { action_type: write } }
resources:
  - { uri: "doc://plain", description: Plain. }
  - { uri: "doc://secret", attributes: { tags: [secret] } }
  - { uri: "doc://odd" }
  - { uri: "doc://wrong" }
  - { uri: "doc://late" }
  - { uri_template: "doc://{shelf}/{book}" }
prompts:
  - { name: ask }
"#;

pub(crate) fn documents(arguments: &[&str]) -> Builder {
    let mut args = vec![FIXTURE, "--log", "@DIR@/asked"];
    args.extend(arguments);
    let server = json!({ "program": program("python3"), "args": args });
    let manifest = format!("backend:\n  name: documents\n  mcp: {server}\n{DOCUMENTS}");
    TestGateway::builder().manifest("documents.yaml", &manifest)
}

/// What the fixture was asked for, oldest first.
pub(crate) fn asked(gateway: &TestGateway) -> Vec<String> {
    let log = std::fs::read_to_string(gateway.dir().join("asked")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Waits until the gateway has learned what the server of `item` offers.
fn offered(gateway: &TestGateway, item: &str) {
    until(&format!("`{item}` to be available"), || {
        let items = gateway.cli(&["catalog", "list", "--output", "json"]).json();
        let found = items.as_array().unwrap().iter().find(|it| it["name"] == item).cloned();
        found.is_some_and(|item| item["unavailable"].is_null()).then_some(())
    });
}

pub(crate) fn started(builder: Builder, item: &str) -> TestGateway {
    let gateway = builder.start();
    offered(&gateway, item);
    gateway
}

pub(crate) fn read(client: &dyn Client, uri: &str) -> Value {
    client.request("resources/read", json!({ "uri": uri }))
}

fn get(client: &dyn Client, prompt: &str, arguments: Value) -> Value {
    client.request("prompts/get", json!({ "name": prompt, "arguments": arguments }))
}

/// The members `key` of a list's entries.
fn keys(list: &Value, of: &str, key: &str) -> Vec<String> {
    list[of].as_array().unwrap().iter().map(|entry| text(&entry[key])).collect()
}

/// What this client can do with what `server-everything` offers.
fn works(client: &dyn Client, modern: bool) {
    let list = client.result("resources/list", json!({}));
    let uris = keys(&list, "resources", "uri");
    assert_eq!(uris, ["demo://resource/dynamic/blob/7", DOCUMENT]);
    let entry = &list["resources"][1];
    assert_eq!(
        (&entry["name"], &entry["title"]),
        (&json!("architecture"), &json!("How it is built"))
    );
    assert_eq!(entry["mimeType"], "text/markdown", "{entry}");
    let templates = client.result("resources/templates/list", json!({}));
    let templates = keys(&templates, "resourceTemplates", "uriTemplate");
    assert_eq!(templates, ["demo://resource/dynamic/text/{resourceId}"]);
    let prompts = client.result("prompts/list", json!({}));
    assert_eq!(keys(&prompts, "prompts", "name"), ["simple", "team", "weather"]);
    assert_eq!(prompts["prompts"][2]["arguments"][0]["name"], "city", "{prompts}");
    if modern {
        for list in [&list, &prompts] {
            assert_eq!((&list["ttlMs"], &list["cacheScope"]), (&json!(0), &json!("private")));
        }
    }

    let result = read(client, DOCUMENT)["result"].clone();
    assert_eq!(result["contents"][0]["uri"], DOCUMENT, "{result}");
    assert!(text(&result["contents"][0]["text"]).contains("Architecture"), "{result}");
    assert_eq!(result["_meta"]["countersign/decision"]["decision"], "ALLOW");
    assert_eq!(result.get("resultType").is_some(), modern);
    assert_eq!(result.get("ttlMs").is_some(), modern, "{result}");
    let result = read(client, "demo://resource/dynamic/text/5")["result"].clone();
    assert!(text(&result["contents"][0]["text"]).starts_with("Resource 5:"), "{result}");
    let blob = read(client, "demo://resource/dynamic/blob/7")["result"].clone();
    assert!(blob["contents"][0]["blob"].is_string(), "{blob}");

    let prompt = get(client, "weather", json!({ "city": "Reval" }))["result"].clone();
    assert_eq!(prompt["messages"][0]["content"]["text"], "What's weather in Reval?", "{prompt}");
    assert!(get(client, "simple", json!({}))["result"]["messages"].is_array());
    for (prompt, arguments) in
        [("weather", json!({})), ("weather", json!({ "city": 1 })), ("simple", json!({ "x": "y" }))]
    {
        let error = get(client, prompt, arguments)["error"].clone();
        assert_eq!(error["code"], -32602, "{error}");
    }

    // Neither what no manifest lists, nor another spelling, nor a tool by another way.
    let unknown = if modern { -32602 } else { -32002 };
    for uri in [
        "demo://resource/static/document/features.md",
        "demo://resource/static/document/architecture%2Emd",
        "demo://resource/nowhere",
        "demo://resource/dynamic/text/",
        "demo://resource/dynamic/text/%35",
        "demo://resource/dynamic/text/..%2Fblob%2F7",
        "demo://resource/dynamic/blob/8",
        "demo://resource/dynamic/text/{resourceId}",
    ] {
        let error = read(client, uri)["error"].clone();
        assert_eq!(
            (&error["code"], &error["data"]["uri"]),
            (&json!(unknown), &json!(uri)),
            "{error}"
        );
    }
    let error = read(client, "demo://resource/dynamic/text/five")["error"].clone();
    assert_eq!(error["code"], -32602, "{error}");
    assert!(text(&error["message"]).contains("resourceId"), "{error}");
    for name in ["simple-prompt", "nowhere", "resource-prompt"] {
        assert_eq!(get(client, name, json!({}))["error"]["code"], -32602);
    }
    let other_door = json!({ "name": format!("resources/read:{DOCUMENT}"), "arguments": {} });
    assert_eq!(client.request("tools/call", other_door)["error"]["code"], -32602);
}

/// Over HTTP and stdio, in both eras.
fn works_everywhere(gateway: TestGateway) {
    works(&gateway.modern("modern"), true);
    works(&gateway.legacy("legacy"), false);
    let oldest = Legacy::open(gateway.url(), &gateway.agent("oldest"), VERSIONS[0]);
    works(&oldest, false);
    // Joined, so that the same gateway answers.
    for version in [VERSIONS[2], VERSIONS[4]] {
        let client = gateway.stdio("spawned").begin(version);
        works(&client, version == VERSIONS[4]);
    }
}

#[test]
fn listed_resources_and_prompts_of_a_child_are_served() {
    let builder = everything(&child()).policy("all.yaml", ALLOW_ALL);
    let gateway = started(builder, "prompts/get:weather");
    let listed = gateway.cli(&["catalog", "list"]).done();
    let nowhere = listed.lines().find(|line| line.contains("resource/nowhere")).unwrap();
    assert!(nowhere.contains("its server offers no resource"), "{nowhere}");
    let nowhere = listed.lines().find(|line| line.contains("prompts/get:nowhere")).unwrap();
    assert!(nowhere.contains("its server offers no prompt"), "{nowhere}");
    works_everywhere(gateway);
}

#[test]
fn listed_resources_and_prompts_are_served_over_http() {
    let server = crate::real_servers::Listening::everything();
    let builder = everything(&json!({ "url": server.url() })).policy("all.yaml", ALLOW_ALL);
    works_everywhere(started(builder, "prompts/get:weather"));
}

const SOME: &str = r#"
rules:
  - { name: documents, match: { tool: "resources/read:demo://resource/static/*" }, decision: ALLOW }
  - { name: no-production, match: { environment: production }, decision: DENY }
  - { name: first-ten, match: { tags: dynamic }, decision: ALLOW_WITH_CONSTRAINTS,
      constraints: { allowed_resourceId: ["1", "2"] } }
"#;

#[test]
fn rules_decide_about_reads_and_prompts() {
    let gateway = started(everything(&child()).policy("some.yaml", SOME), "prompts/get:weather");
    for client in [&gateway.modern("modern") as &dyn Client, &gateway.legacy("legacy")] {
        let list = client.result("resources/list", json!({}));
        assert_eq!(keys(&list, "resources", "uri"), [DOCUMENT]);
        assert_eq!(client.result("prompts/list", json!({}))["prompts"], json!([]));
        assert!(read(client, DOCUMENT)["result"]["contents"].is_array());
        let denied = read(client, "demo://resource/dynamic/blob/7")["error"].clone();
        assert_eq!(denied["code"], -31000, "{denied}");
        assert!(text(&denied["message"]).contains("no-production"), "{denied}");
        let decision = &denied["data"]["countersign/decision"];
        assert_eq!(
            (&decision["decision"], &decision["refusal"]),
            (&json!("DENY"), &json!("denied"))
        );
        let denied = get(client, "weather", json!({ "city": "Reval" }))["error"].clone();
        assert!(text(&denied["message"]).contains("no rule allows"), "{denied}");
        assert!(read(client, "demo://resource/dynamic/text/2")["result"].is_object());
        let denied = read(client, "demo://resource/dynamic/text/3")["error"].clone();
        assert!(text(&denied["message"]).contains("first-ten"), "{denied}");
    }
    let kinds = [
        ("intent", DOCUMENT),
        ("intent", "resources/read:demo://resource/dynamic/text/{resourceId}"),
        ("refusal", "resources/read:demo://resource/dynamic/blob/7"),
        ("refusal", "prompts/get:weather"),
    ];
    // Of what only reads, and of refusals, the entry may come after the answer.
    let entries = until("all of it to be recorded", || {
        let entries = gateway.entries();
        let counts = kinds.map(|(kind, tool)| {
            let of = |it: &&Value| it["entry"]["kind"] == kind && it.to_string().contains(tool);
            entries.iter().filter(of).count()
        });
        assert!(counts.iter().all(|count| *count <= 2), "{counts:?}");
        (counts == [2; 4]).then_some(entries)
    });
    let read = entries
        .iter()
        .find(|it| it["entry"]["kind"] == "intent" && it.to_string().contains("text/{"));
    assert!(read.unwrap().to_string().contains(r#""arguments":{"resourceId":"2"}"#), "{read:?}");
}

/// Reads in a thread of its own.
fn read_later(client: impl Client + Send + 'static, uri: &str) -> thread::JoinHandle<Value> {
    let uri = uri.to_owned();
    thread::spawn(move || read(&client, &uri))
}

fn holding(window: &str) -> Builder {
    documents(&[])
        .policy("held.yaml", "rules:\n  - { name: all, match: {}, decision: ALLOW }\n  - { name: secrets, match: { tags: secret }, decision: REQUIRE_APPROVAL }\n")
        .config(&format!("holds: {{ window: {window} }}\n"))
}

#[test]
fn a_held_read_runs_when_it_is_approved() {
    let gateway = started(holding("30s"), "resources/read:doc://secret");
    let clients: [Box<dyn Fn() -> thread::JoinHandle<Value>>; 2] = [
        Box::new(|| read_later(gateway.modern("modern"), "doc://secret")),
        Box::new(|| read_later(gateway.legacy("legacy"), "doc://secret")),
    ];
    for begin in clients {
        let reading = begin();
        let id = gateway.pending();
        assert_eq!(gateway.hold(&id)["tool"], "resources/read:doc://secret");
        gateway.approve(&id);
        let result = reading.join().unwrap()["result"].clone();
        assert_eq!(result["contents"][0]["uri"], "doc://secret", "{result}");
        assert_eq!(result["_meta"]["countersign/hold"]["id"], id);
    }
}

#[test]
fn a_held_read_is_collected_by_asking_again() {
    let gateway = started(holding("100ms"), "resources/read:doc://secret");
    let legacy = gateway.legacy("legacy");
    let pending = read(&legacy, "doc://secret")["error"].clone();
    let id = gateway.pending();
    assert_eq!(pending["code"], -31002, "{pending}");
    let told = text(&pending["message"]);
    assert!(told.contains("PENDING, not failed") && told.contains(&id), "{told}");
    assert!(!told.contains("countersign_wait"), "{told}");
    assert_eq!(pending["data"]["countersign/hold"]["id"], id);
    // Its result is none of a tool.
    let waited = legacy.call("countersign_wait", json!({ "hold": id }));
    assert_eq!(waited["isError"], true, "{waited}");
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    assert!(read(&legacy, "doc://secret")["result"]["contents"].is_array());

    let modern = gateway.modern_with_tasks("modern");
    let held = read(&modern, "doc://secret")["result"].clone();
    assert_eq!(held["resultType"], "input_required", "{held}");
    let id = gateway.pending();
    let reject = ["approvals", "reject", &id, "--reason", "not for you"];
    gateway.cli(&reject).done();
    let again = json!({ "uri": "doc://secret", "requestState": held["requestState"] });
    let rejected = modern.request("resources/read", again)["error"].clone();
    assert_eq!(rejected["code"], -31000, "{rejected}");
    assert!(text(&rejected["message"]).contains("not for you"), "{rejected}");
    let none = asked(&gateway).iter().filter(|it| it.starts_with("resources/read")).count();
    assert_eq!(none, 1);
}

#[test]
fn results_are_unchanged_and_belong_to_nobody_else() {
    for era in [&[][..], &["--modern"]] {
        let gateway =
            started(documents(era).policy("all.yaml", ALLOW_ALL), "resources/read:doc://plain");
        let modern = gateway.modern("modern");
        let stdio = gateway.stdio("spawned").begin(VERSIONS[3]);
        let reply = modern.reply("resources/read", json!({ "uri": "doc://plain" }));
        let raw = r#""x-vendor":{"z":1,"a":123456789012345678901234567890}"#;
        let contents = r#""contents":[{"uri":"doc://plain","text":"h\u00e9","n":1.50}]"#;
        assert!(reply.body.contains(raw) && reply.body.contains(contents), "{reply:?}");
        let result = reply.response()["result"].clone();
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
        assert_eq!(result["_meta"]["z"], 0);
        let result = read(&stdio, "doc://plain")["result"].clone();
        assert!(result.to_string().contains(raw), "{result}");
        assert!(result.get("cacheScope").is_none(), "{result}");

        let list = modern.result("resources/list", json!({}));
        assert_eq!(
            keys(&list, "resources", "uri"),
            ["doc://odd", "doc://plain", "doc://secret", "doc://wrong"]
        );
        assert_eq!(list["resources"][1]["annotations"]["priority"], 0.5, "{list}");
        assert!(list["resources"][0].get("icons").is_none());

        let prompt = get(&modern, "ask", json!({ "about": "ü", "tone": "dry" }))["result"].clone();
        assert_eq!(prompt["messages"][0]["content"]["type"], "hologram");
        assert_eq!(prompt["x-args"], json!({ "about": "ü", "tone": "dry" }));
        let book = read(&modern, "doc://top%20shelf/100%25")["result"].clone();
        assert_eq!(book["contents"][0]["uri"], "doc://top%20shelf/100%25", "{book}");
        let missing = read(&modern, "doc://top/missing")["error"].clone();
        assert_eq!(missing["code"], -31000, "{missing}");
        let wrong = read(&stdio, "doc://wrong")["error"].clone();
        assert_eq!(wrong["code"], -31000, "{wrong}");
        assert!(text(&wrong["message"]).contains("`contents`"), "{wrong}");
    }
}

#[test]
fn what_is_completed_is_what_may_be_used() {
    let rules = "rules:\n  - { name: prompts, match: { tool: \"prompts/*\" }, decision: ALLOW }\nlimits:\n  - { name: few, match: { tool: \"prompts/get:ask\" }, per: agent, rate: 3/hour }\n";
    let gateway = started(documents(&[]).policy("some.yaml", rules), "prompts/get:ask");
    let complete = |client: &dyn Client, reference: Value, name: &str| {
        let argument = json!({ "name": name, "value": "a" });
        let params = json!({ "ref": reference, "argument": argument, "context": { "arguments": { "tone": "dry" } } });
        client.request("completion/complete", params)
    };
    let ask = json!({ "type": "ref/prompt", "name": "ask" });
    let (modern, legacy) = (gateway.modern("modern"), gateway.legacy("legacy"));
    let stdio = gateway.stdio("spawned").begin(VERSIONS[4]);
    for client in [&modern as &dyn Client, &legacy, &stdio] {
        let completion = complete(client, ask.clone(), "about")["result"]["completion"].clone();
        assert_eq!(completion, json!({ "values": ["a-1", "a-2"], "x": 1 }));
        let error = complete(client, ask.clone(), "unknown")["error"].clone();
        assert_eq!(error["code"], -32602, "{error}");
        let books = json!({ "type": "ref/resource", "uri": "doc://{shelf}/{book}" });
        let error = complete(client, books, "book")["error"].clone();
        assert_eq!(error["code"], -31000, "{error}");
        let hidden = json!({ "type": "ref/prompt", "name": "hidden" });
        assert_eq!(complete(client, hidden, "about")["error"]["code"], -32602);
        let odd = json!({ "type": "ref/other", "name": "ask" });
        assert_eq!(complete(client, odd, "about")["error"]["code"], -32602);
    }
    assert_eq!(asked(&gateway).len(), 3, "{:?}", asked(&gateway));
    // They count as what they complete.
    assert!(get(&modern, "ask", json!({ "about": "x" }))["result"].is_object());
    assert!(complete(&modern, ask.clone(), "tone")["result"].is_object());
    let limited = complete(&modern, ask, "about")["error"].clone();
    assert!(text(&limited["message"]).contains("`few`"), "{limited}");
    assert!(limited["data"]["countersign/retry_after"].is_number(), "{limited}");
    // What only looks is in the queue of the record before it runs, and on disk soon.
    until("all completions to be recorded", || {
        let entries = gateway.entries();
        let intents = entries.iter().filter(|it| {
            let whole = it.to_string();
            it["entry"]["kind"] == "intent" && whole.contains("completion/complete:prompts/get:ask")
        });
        (intents.count() == 4).then_some(())
    });
}

#[test]
fn announces_what_is_there() {
    let capabilities = |gateway: &TestGateway| {
        let modern = gateway.modern("modern").result("server/discover", json!({}));
        let client = gateway.stdio("spawned");
        let hello = json!({ "protocolVersion": VERSIONS[3], "capabilities": {},
                            "clientInfo": { "name": "tests", "version": "1" } });
        let legacy = client.result("initialize", hello);
        assert_eq!(modern["capabilities"]["resources"], legacy["capabilities"]["resources"]);
        modern["capabilities"].clone()
    };
    let gateway = TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).start();
    let bare = capabilities(&gateway);
    for absent in ["resources", "prompts", "completions"] {
        assert!(bare.get(absent).is_none(), "{bare}");
    }
    let gateway = documents(&[]).policy("all.yaml", ALLOW_ALL).start();
    let full = capabilities(&gateway);
    assert_eq!(full["resources"], json!({ "subscribe": true, "listChanged": true }));
    assert_eq!(full["prompts"], json!({ "listChanged": true }));
    assert!(full["completions"].is_object(), "{full}");
}

#[test]
fn a_manifest_that_could_be_read_in_two_ways_is_an_error() {
    let mcp = "backend: { name: x, mcp: { program: \"true\" } }\n";
    let cases = [
        ("resources:\n  - { uri: \"doc://a\", uri_template: \"doc://{a}\" }\n", "exactly one of"),
        ("resources:\n  - { name: a }\n", "exactly one of"),
        ("resources:\n  - { uri: \"doc://{a}\" }\n", "has no braces"),
        ("resources:\n  - { uri_template: \"doc://{a}{b}\" }\n", "no value can have"),
        ("resources:\n  - { uri_template: \"doc://{+a}\" }\n", "level 1"),
        (
            "resources:\n  - { uri_template: \"doc://{a}\", variables: { b: {} } }\n",
            "not a variable",
        ),
        (
            "resources:\n  - { uri: \"doc://a\" }\n  - { uri: \"doc://a\" }\n",
            "duplicate resource `doc://a`",
        ),
        ("prompts:\n  - { name: a }\n  - { name: a }\n", "duplicate prompt `a`"),
        ("prompts:\n  - { name: \"a:b\" }\n", "not a name of a prompt"),
        ("resources:\n  - { uri: \"doc://a\", url: x }\n", "unknown field"),
        ("resources: []\n", "offers something"),
    ];
    for (text, told) in cases {
        let builder = TestGateway::builder().manifest("x.yaml", &format!("{mcp}{text}"));
        let failed = builder.policy("all.yaml", ALLOW_ALL).expect_start_failure();
        assert!(failed.stderr.contains(told), "{text}: {failed:?}");
    }
    let command = "backend: { name: x, command: { program: \"true\" } }\nprompts: [{ name: a }]\n";
    let builder = TestGateway::builder().manifest("x.yaml", command);
    let failed = builder.policy("all.yaml", ALLOW_ALL).expect_start_failure();
    assert!(failed.stderr.contains("`mcp` backends only"), "{failed:?}");
}

/// The next notification of `method` that this client hears.
fn heard(client: &Stdio, method: &str) -> Value {
    loop {
        let message = client.next();
        if message["method"] == method {
            return message["params"].clone();
        }
    }
}

const UPDATED: &str = "notifications/resources/updated";

fn watched(era: &[&str]) -> TestGateway {
    let rules = "rules:\n  - { name: all, match: {}, decision: ALLOW }\n  - { name: secrets, match: { tags: secret }, decision: REQUIRE_APPROVAL }\n";
    started(documents(era).policy("some.yaml", rules), "resources/read:doc://plain")
}

fn touch(client: &dyn Client, uri: &str) {
    client.call("touch", json!({ "uri": uri }));
}

fn subscribe(client: &dyn Client, uri: &str) -> Value {
    client.request("resources/subscribe", json!({ "uri": uri }))
}

#[test]
fn updates_reach_exactly_the_sessions_that_subscribed() {
    for era in [&[][..], &["--modern"]] {
        let gateway = watched(era);
        let other = gateway.modern("other");
        let one = gateway.stdio("one").begin(VERSIONS[3]);
        let two = gateway.stdio("two").begin(VERSIONS[0]);
        for client in [&one, &two] {
            assert_eq!(subscribe(client, "doc://plain")["result"], json!({}));
        }
        for (uri, code) in
            [("doc://secret", -31000), ("doc://none", -32002), ("doc://{shelf}/{book}", -32002)]
        {
            assert_eq!(subscribe(&one, uri)["error"]["code"], code, "{uri}");
        }
        assert_eq!(subscribe(&two, "doc://a/b")["result"], json!({}));
        touch(&other, "doc://plain");
        for client in [&one, &two] {
            assert_eq!(heard(client, UPDATED), json!({ "uri": "doc://plain" }));
        }
        assert_eq!(one.result("resources/unsubscribe", json!({ "uri": "doc://plain" })), json!({}));
        assert_eq!(subscribe(&one, "doc://odd")["result"], json!({}));
        // The next that each hears of is its own.
        for uri in ["doc://plain", "doc://a/b", "doc://odd"] {
            touch(&other, uri);
        }
        assert_eq!(heard(&one, UPDATED)["uri"], "doc://odd");
        assert_eq!(heard(&two, UPDATED)["uri"], "doc://plain");
        assert_eq!(heard(&two, UPDATED)["uri"], "doc://a/b");
        let asked = asked(&gateway);
        let subscribed = asked
            .iter()
            .filter(|it| it.starts_with("resources/subscribe") && it.contains("doc://plain"))
            .count();
        assert_eq!(subscribed, usize::from(era.is_empty()), "{asked:?}");
        // What changed while the server was away is not known.
        other.call("die", json!({}));
        assert_eq!(heard(&one, UPDATED)["uri"], "doc://odd");
    }
}

#[test]
fn nobody_is_told_of_what_is_halted() {
    let gateway = watched(&[]);
    let other = gateway.modern("other");
    let one = gateway.stdio("one").begin(VERSIONS[3]);
    let two = gateway.stdio("two").begin(VERSIONS[3]);
    for uri in ["doc://plain", "doc://odd"] {
        assert_eq!(subscribe(&one, uri)["result"], json!({}));
    }
    gateway.cli(&["halt", "--tool", "resources/read:doc://plain", "--reason", "wrong"]).done();
    let refused = subscribe(&two, "doc://plain");
    assert!(refused["error"]["message"].to_string().contains("HALTED"), "{refused}");
    touch(&other, "doc://plain");
    touch(&other, "doc://odd");
    assert_eq!(heard(&one, UPDATED)["uri"], "doc://odd");
    gateway.cli(&["resume", "--tool", "resources/read:doc://plain", "--reason", "right"]).done();
    touch(&other, "doc://plain");
    assert_eq!(heard(&one, UPDATED)["uri"], "doc://plain");
}

/// Reads a stream of events until it says `text`, and gives what it said.
pub(crate) async fn until_said(response: &mut reqwest::Response, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let chunk = chunk.unwrap_or_else(|_| panic!("no `{text}` in {said}"));
        said.push_str(&String::from_utf8_lossy(&chunk.unwrap().expect("an open stream")));
    }
    said
}

/// The streams by which a client of each era hears of changes; that of 2026-07-28 listens to what `filter` says.
pub(crate) fn streams(
    modern: &Modern,
    legacy: &Legacy,
    filter: &Value,
) -> (reqwest::Response, reqwest::Response) {
    let params = modern.params(json!({ "notifications": filter }));
    let message =
        json!({ "jsonrpc": "2.0", "id": 77, "method": "subscriptions/listen", "params": params });
    let listen = post(&modern.url, &modern.token)
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "subscriptions/listen")
        .body(message.to_string());
    let stream = crate::clients::http()
        .get(format!("{}/mcp", legacy.url))
        .bearer_auth(&legacy.token)
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &legacy.session)
        .header("mcp-protocol-version", &legacy.version);
    RUNTIME.block_on(async { (listen.send().await.unwrap(), stream.send().await.unwrap()) })
}

#[test]
fn streams_hear_of_what_they_listen_to_over_http() {
    let gateway = watched(&[]);
    let modern = gateway.modern("modern");
    let filter = json!({
        "resourceSubscriptions": ["doc://plain", "doc://secret", "doc://none", "doc://plain"],
        "resourcesListChanged": true,
    });
    let legacy = gateway.legacy("legacy");
    let (mut listening, mut stream) = streams(&modern, &legacy, &filter);
    let acknowledged = RUNTIME.block_on(until_said(&mut listening, "subscriptions/acknowledged"));
    assert!(acknowledged.contains(r#""resourceSubscriptions":["doc://plain"]"#), "{acknowledged}");
    assert_eq!(subscribe(&legacy, "doc://odd")["result"], json!({}));
    for uri in ["doc://secret", "doc://odd", "doc://plain"] {
        touch(&modern, uri);
    }
    let said = RUNTIME.block_on(until_said(&mut listening, "doc://plain"));
    assert!(said.contains(UPDATED) && said.contains("subscriptionId"), "{said}");
    assert!(!said.contains("doc://odd"), "{said}");
    let said = RUNTIME.block_on(until_said(&mut stream, "doc://odd"));
    assert!(!said.contains("doc://plain") && !said.contains("doc://secret"), "{said}");

    modern.call("add", json!({ "uri": "doc://late" }));
    let said = RUNTIME.block_on(until_said(&mut listening, "list_changed"));
    assert!(said.contains("notifications/resources/list_changed"), "{said}");
    assert!(!said.contains("notifications/tools"), "{said}");
    RUNTIME.block_on(until_said(&mut stream, "notifications/resources/list_changed"));
    let list = legacy.result("resources/list", json!({}));
    assert!(keys(&list, "resources", "uri").contains(&"doc://late".to_owned()), "{list}");
}

#[test]
fn a_joined_client_stays_subscribed_when_the_gateway_changes_hands() {
    let builder = documents(&[]).policy("all.yaml", ALLOW_ALL);
    let mut gateway = started(builder, "resources/read:doc://plain");
    let client = gateway.stdio("one").begin(VERSIONS[3]);
    assert_eq!(subscribe(&client, "doc://plain")["result"], json!({}));
    gateway.stop();
    // Its process owns the data directory now, and with it a server of its own.
    until("the subscription to be there again", || {
        let asked = asked(&gateway);
        let count = asked.iter().filter(|it| it.starts_with("resources/subscribe")).count();
        (count == 2).then_some(())
    });
    // The update comes before the answer.
    let params = json!({ "name": "touch", "arguments": { "uri": "doc://plain" } });
    client.send(&json!("touch"), "tools/call", params);
    assert_eq!(heard(&client, UPDATED)["uri"], "doc://plain");
}

#[test]
fn a_server_with_updates_of_its_own_is_heard() {
    let manifest = format!(
        "backend:\n  name: everything\n  mcp: {}\nattributes: {{ capability: everything }}\ntools:\n  - {{ name: toggle-subscriber-updates, attributes: {{ action_type: write }} }}\nresources:\n  - {{ uri: \"{DOCUMENT}\" }}\n",
        child()
    );
    let builder = TestGateway::builder().manifest("everything.yaml", &manifest);
    let item = format!("resources/read:{DOCUMENT}");
    let gateway = started(builder.policy("all.yaml", ALLOW_ALL), &item);
    let client = gateway.stdio("one").begin(VERSIONS[3]);
    assert_eq!(subscribe(&client, DOCUMENT)["result"], json!({}));
    client.call("toggle-subscriber-updates", json!({}));
    assert_eq!(heard(&client, UPDATED), json!({ "uri": DOCUMENT }));
}
