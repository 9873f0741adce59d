//! What a tool asks of its caller's client while it runs, and what it logs: it reaches the client of exactly
//! that call, in the way of the client's era, or nobody.

use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::clients::{CAPABILITIES, Client as _, Legacy, MODERN, Modern, next_id, refused, said};
use crate::harness::{ALLOW_ALL, Builder, HOLD_ALL, PATIENCE, RUNTIME, TestGateway, text, until};
use crate::real_clients::{Client, Kind, done, installed, program};
use crate::real_servers::{EVERYTHING, offered};

const UPSTREAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/asking_upstream.py");
const OLD: &str = "2025-11-25";
/// A question whose words must be in no entry, and whose schema must come through as it was written.
const ELICIT: &str = r#"{"message":"your codeword, please","requestedSchema":{"type":"object","properties":
    {"z":{"type":"string","default":"d","x-vendor":1},"a":{"type":"integer","default":7},
     "c":{"enum":["r","g"],"enumNames":["Red","Green"]}},"required":["z"]}}"#;

pub(crate) fn asking(allow: &str, modern: bool) -> Builder {
    let mut args = vec![UPSTREAM, "--log", "@DIR@/asked"];
    args.extend(modern.then_some("--modern"));
    let manifest = format!(
        "backend:\n  name: asking\n  timeout: 5s\n  mcp: {{ program: {python}, args: {args}, {allow} }}\n\
         attributes: {{ capability: asking, action_type: read }}\n\
         tools: [{{ name: ask }}, {{ name: log }}, {{ name: idle }}]\n",
        python = program("python3").display(),
        args = json!(args),
    );
    TestGateway::builder().manifest("asking.yaml", &manifest)
}

pub(crate) const ALL: &str = "allow: [sampling, elicitation, roots]";

pub(crate) fn started(builder: Builder) -> TestGateway {
    let gateway = builder.start();
    offered(&gateway, "ask");
    gateway
}

pub(crate) fn everything_allowed(allow: &str, modern: bool) -> TestGateway {
    started(asking(allow, modern).policy("all.yaml", ALLOW_ALL))
}

pub(crate) fn elicit() -> Value {
    json!({ "method": "elicitation/create", "params": serde_json::from_str::<Value>(ELICIT).unwrap() })
}

pub(crate) fn abilities() -> Value {
    json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} })
}

fn able(gateway: &TestGateway, agent: &str) -> Legacy {
    Legacy::open_with(gateway.url(), &gateway.agent(agent), OLD, &abilities())
}

/// The messages of one response, while it comes.
struct Stream(Receiver<Value>);

impl Stream {
    fn of(client: &Legacy, tool: &str, arguments: &Value) -> Self {
        let params = json!({ "name": tool, "arguments": arguments });
        let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call",
                              "params": params });
        let request = client.post(message.to_string());
        let (sender, messages) = channel();
        RUNTIME.spawn(async move {
            let Ok(mut response) = request.send().await else { return };
            let mut seen = String::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                seen.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((line, rest)) = seen.split_once('\n') {
                    let data =
                        line.strip_prefix("data:").and_then(|it| serde_json::from_str(it).ok());
                    let gone = data.is_some_and(|message| sender.send(message).is_err());
                    seen = rest.to_owned();
                    if gone {
                        return;
                    }
                }
            }
            if let Ok(whole) = serde_json::from_str(&seen) {
                let _ = sender.send(whole);
            }
        });
        Self(messages)
    }

    #[track_caller]
    fn next(&self) -> Value {
        self.0.recv_timeout(PATIENCE).expect("a message on the stream")
    }
}

fn answer(client: &Legacy, id: &Value, result: &Value) -> u16 {
    client.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()).status
}

/// What the tool was answered.
pub(crate) fn told(result: &Value) -> Value {
    serde_json::from_str(&said(result)).unwrap_or_else(|_| panic!("{result}"))
}

/// The one outcome in the record, once it is there: that of a call that only reads may come after its answer.
pub(crate) fn outcome(gateway: &TestGateway) -> Value {
    until("the outcome", || {
        let entries = gateway.entries().into_iter().map(|mut stored| stored["entry"].take());
        let mut outcomes: Vec<Value> = entries.filter(|entry| entry["kind"] == "outcome").collect();
        assert!(outcomes.len() <= 1, "{outcomes:?}");
        outcomes.pop().map(|mut entry| entry["outcome"].take())
    })
}

#[test]
fn a_legacy_client_is_asked_on_its_own_call_and_only_it_can_answer() {
    let gateway = everything_allowed(ALL, false);
    let (one, two) = (able(&gateway, "one"), able(&gateway, "two"));
    let stream = Stream::of(&one, "ask", &elicit());
    let question = stream.next();
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"].to_string(), elicit()["params"].to_string());
    let forged = json!({ "action": "accept", "content": { "z": "forged" } });
    // Another session, of another agent or the same, answers nothing.
    answer(&two, &question["id"], &forged);
    let again = Legacy::open(gateway.url(), &one.token, OLD);
    answer(&again, &question["id"], &forged);
    let real = json!({ "action": "accept", "content": { "z": "swordfish", "n": 1.50 } });
    assert_eq!(answer(&one, &question["id"], &real), 202);
    let ended = stream.next();
    assert_eq!(told(&ended["result"]), json!({ "result": real }));

    let asked = &outcome(&gateway)["asked"];
    assert_eq!(
        (&asked[0]["ability"], &asked[0]["answered"]),
        (&json!("elicitation"), &json!(true))
    );
    let record = json!(gateway.entries()).to_string();
    assert!(!record.contains("swordfish"), "an answer is in the record");
}

#[test]
fn two_agents_questions_never_meet() {
    let gateway = everything_allowed(ALL, false);
    let clients = [able(&gateway, "one"), able(&gateway, "two")];
    let ask = |name: &str| json!({ "method": "roots/list", "params": { "for": name } });
    let streams =
        [Stream::of(&clients[0], "ask", &ask("one")), Stream::of(&clients[1], "ask", &ask("two"))];
    let questions = [streams[0].next(), streams[1].next()];
    for (place, name) in ["one", "two"].into_iter().enumerate() {
        assert_eq!(questions[place]["params"]["for"], name);
        let roots = json!({ "roots": [{ "uri": format!("file:///{name}") }] });
        answer(&clients[place], &questions[place]["id"], &roots);
    }
    for (stream, name) in streams.iter().zip(["one", "two"]) {
        assert!(stream.next().to_string().contains(&format!("file:///{name}")));
    }
}

#[test]
fn a_client_that_cannot_and_a_manifest_that_does_not_allow_it() {
    let gateway = everything_allowed("allow: [elicitation]", false);
    let unable = gateway.legacy("unable");
    let answered = told(&unable.call("ask", elicit()));
    assert_eq!(answered["error"]["code"], -32601, "{answered}");
    let able = able(&gateway, "able");
    let answered = told(&able.call("ask", json!({ "method": "roots/list", "params": {} })));
    assert_eq!(answered["error"]["code"], -32601, "{answered}");
    let url =
        json!({ "mode": "url", "message": "m", "url": "http://127.0.0.1/", "elicitationId": "e" });
    let answered =
        told(&able.call("ask", json!({ "method": "elicitation/create", "params": url })));
    assert_eq!(answered["error"]["code"], -32602, "{answered}");
}

#[test]
fn a_late_answer_is_none() {
    let gateway = everything_allowed(&format!("{ALL}, answer_within: 1s"), false);
    let client = able(&gateway, "slow");
    let stream = Stream::of(&client, "ask", &elicit());
    let question = stream.next();
    let withdrawn = stream.next();
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    let ended = told(&stream.next()["result"]);
    assert!(text(&ended["error"]["message"]).contains("within 1s"), "{ended}");
    answer(&client, &question["id"], &json!({ "action": "accept", "content": {} }));
    assert_eq!(outcome(&gateway)["asked"][0]["answered"], false);
}

/// The parameters of a call by a client of the newest version that can be asked.
fn able_call(arguments: &Value, more: &Value) -> Value {
    let mut params =
        json!({ "name": "ask", "arguments": arguments, "_meta": { CAPABILITIES: abilities() } });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

fn comes_back(gateway: &TestGateway, key: &str) -> (Value, Value) {
    let (client, other) = (gateway.modern("one"), gateway.modern("two"));
    let first = client.result("tools/call", able_call(&elicit(), &json!({})));
    assert_eq!(first["resultType"], "input_required", "{first}");
    assert_eq!(first["inputRequests"][key].to_string(), elicit().to_string());
    let state = &first["requestState"];
    let content = json!({ "action": "accept", "content": { "z": "s" } });
    let back = json!({ "inputResponses": { key: content }, "requestState": state });
    let refused = |client: &Modern, arguments: &Value, back: &Value| {
        let answer = client.request("tools/call", able_call(arguments, back));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    };
    refused(&other, &elicit(), &back);
    let mut others = elicit();
    others["more"] = json!(1);
    refused(&client, &others, &back);
    let mut tampered = back.clone();
    tampered["requestState"] = json!(format!("{}x", text(state)));
    refused(&client, &elicit(), &tampered);
    let ended = client.result("tools/call", able_call(&elicit(), &back));
    assert_eq!(ended["resultType"], "complete", "{ended}");
    refused(&client, &elicit(), &back);
    let ended_as = outcome(gateway);
    assert_eq!(ended_as["status"], "success", "{ended_as}");
    let intents = gateway.entries().iter().filter(|it| it["entry"]["kind"] == "intent").count();
    assert_eq!(intents, 1);
    (told(&ended), content)
}

#[test]
fn a_modern_client_comes_back_to_a_legacy_tool_that_waits() {
    let gateway = everything_allowed(ALL, false);
    let (told, content) = comes_back(&gateway, "question");
    assert_eq!(told["result"], content);
}

#[test]
fn a_modern_client_comes_back_to_a_modern_tool() {
    let gateway = everything_allowed(ALL, true);
    let (told, content) = comes_back(&gateway, "q");
    assert_eq!(told["answers"], json!({ "q": content }));
    assert_eq!(told["abilities"], abilities());
}

#[test]
fn a_modern_tool_asks_a_legacy_client() {
    let gateway = everything_allowed("allow: [elicitation]", true);
    let client = able(&gateway, "one");
    let stream = Stream::of(&client, "ask", &elicit());
    let question = stream.next();
    let content = json!({ "action": "accept", "content": { "z": "s" } });
    answer(&client, &question["id"], &content);
    let told = told(&stream.next()["result"]);
    assert_eq!(told["answers"], json!({ "q": content }));
    // Only what its manifest allows of what the client can do.
    assert_eq!(told["abilities"], json!({ "elicitation": { "form": {} } }));
    let sampling = json!({ "method": "sampling/createMessage", "params": { "maxTokens": 1 } });
    let refusal = refused(&client.call("ask", sampling));
    assert!(refusal.contains("manifest does not allow"), "{refusal}");
}

#[test]
fn a_tool_that_needs_what_its_client_did_not_declare_says_so_in_the_protocols_words() {
    let gateway = everything_allowed("allow: [sampling]", true);
    let client = gateway.modern("one");
    let call = |needs: Value, more: Value| {
        let arguments = json!({ "needs": needs, "rounds": 0 });
        let mut params = json!({ "name": "ask", "arguments": arguments });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.reply("tools/call", params)
    };
    let tools = json!({ "sampling": { "tools": {}, "sesame": {} } });
    let reply = call(tools.clone(), json!({}));
    assert_eq!(reply.status, 400, "{reply:?}");
    let error = reply.response()["error"].take();
    assert_eq!(error["code"], -32021);
    // Nothing of it is in the server's own words.
    assert_eq!(error["data"], json!({ "requiredCapabilities": { "sampling": { "tools": {} } } }));
    assert!(!error.to_string().contains("sesame"), "{error}");
    assert_eq!(outcome(&gateway)["status"], "backend_error");

    // What its manifest does not let through is not for the client to declare.
    let roots = refused(&call(json!({ "roots": {} }), json!({})).response()["result"]);
    assert!(roots.contains("code -32021"), "{roots}");
    let able = json!({ "_meta": { CAPABILITIES: { "sampling": { "tools": {} } } } });
    let ran = told(&call(tools.clone(), able).response()["result"]);
    assert_eq!(ran["abilities"], json!({ "sampling": { "tools": {} } }));
    // Before 2026-07-28 there is no such error.
    let old = gateway.legacy("two").call("ask", json!({ "needs": tools, "rounds": 0 }));
    assert!(refused(&old).contains("needs sampling"), "{old}");
}

#[test]
fn an_approved_call_asks_whoever_waits_for_it_or_says_that_nobody_did() {
    let gateway = started(asking(ALL, false).policy("held.yaml", HOLD_ALL));
    let client = able(&gateway, "one");
    let stream = Stream::of(&client, "ask", &elicit());
    gateway.approve(&gateway.pending());
    let question = stream.next();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    let content = json!({ "action": "decline" });
    answer(&client, &question["id"], &content);
    assert_eq!(told(&stream.next()["result"]), json!({ "result": content }));

    let gone = gateway.modern("two");
    let request = gone.call_request("ask", elicit()).timeout(std::time::Duration::from_secs(2));
    RUNTIME.block_on(async { request.send().await.unwrap_err() });
    let id = gateway.pending();
    gateway.approve(&id);
    gateway.hold_when(&id, "finished");
    let ended = told(&gone.call("ask", elicit()));
    assert!(text(&ended["error"]["message"]).contains("nobody was there to answer"), "{ended}");
}

#[test]
fn a_held_call_of_a_modern_client_asks_when_it_comes_back() {
    let gateway = started(asking(ALL, true).policy("held.yaml", HOLD_ALL));
    let client = gateway.modern("one");
    let waiting = {
        let client = client.clone();
        std::thread::spawn(move || client.result("tools/call", able_call(&elicit(), &json!({}))))
    };
    gateway.approve(&gateway.pending());
    let asked = waiting.join().unwrap();
    assert_eq!(asked["inputRequests"]["q"], elicit(), "{asked}");
    let content = json!({ "action": "accept", "content": { "z": "s" } });
    let back = json!({ "inputResponses": { "q": content }, "requestState": asked["requestState"] });
    let ended = client.result("tools/call", able_call(&elicit(), &back));
    assert_eq!(told(&ended)["answers"], json!({ "q": content }));
}

#[test]
fn what_a_tool_asks_for_a_call_that_was_taken_back_reaches_nobody() {
    let gateway = everything_allowed(ALL, false);
    let client = able(&gateway, "one");
    let id = next_id();
    let idle = client.send_later(id, "tools/call", json!({ "name": "idle", "arguments": {} }));
    let log = gateway.dir().join("asked");
    let noted = |what: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(what);
    until("the tool to run", || noted("idle").then_some(()));
    client.notify("notifications/cancelled", json!({ "requestId": id }));
    idle.join().unwrap();
    let stream = Stream::of(&client, "log", &json!({ "text": "next" }));
    let answer = stream.next();
    assert!(answer.get("method").is_none(), "{answer}");
    assert_eq!(said(&answer["result"]), "next");
}

#[test]
fn log_messages_reach_the_call_they_belong_to_at_the_level_asked_for() {
    let gateway = everything_allowed(ALL, false);
    let (loud, quiet) = (able(&gateway, "loud"), able(&gateway, "quiet"));
    assert_eq!(loud.result("logging/setLevel", json!({ "level": "error" })), json!({}));
    let wrong = loud.request("logging/setLevel", json!({ "level": "shout" }));
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    let stream = Stream::of(&loud, "log", &json!({}));
    for level in ["error", "critical", "alert", "emergency"] {
        let message = stream.next();
        assert_eq!(message["method"], "notifications/message");
        assert_eq!(message["params"], json!({ "level": level, "data": format!("it is {level}") }));
    }
    assert_eq!(said(&stream.next()["result"]), "logged");
    let stream = Stream::of(&quiet, "log", &json!({}));
    assert_eq!(said(&stream.next()["result"]), "logged");

    // On the one pipe that all calls of a modern server share, nothing says whose a message is.
    let modern = everything_allowed(ALL, true);
    let params = json!({ "name": "log", "arguments": {},
                         "_meta": { "io.modelcontextprotocol/logLevel": "alert" } });
    let messages = modern.modern("one").reply("tools/call", params).messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn a_backends_secret_is_in_no_question() {
    let allow = format!("{ALL} }}\n  secrets: {{ KEY: {{ env: THE_KEY }}");
    let builder = asking(&allow, false).env("THE_KEY", "hush-hush-hush");
    let gateway = started(builder.policy("all.yaml", ALLOW_ALL));
    let client = able(&gateway, "one");
    let leaky = json!({ "method": "roots/list", "params": { "hint": "it is hush-hush-hush" } });
    let stream = Stream::of(&client, "ask", &leaky);
    let question = stream.next();
    assert_eq!(question["method"], "roots/list");
    assert!(!question.to_string().contains("hush-hush"), "{question}");
    answer(&client, &question["id"], &json!({ "roots": [] }));
    assert_eq!(told(&stream.next()["result"])["result"], json!({ "roots": [] }));
}

#[test]
fn a_client_on_standard_streams_is_asked_too() {
    for version in [OLD, MODERN] {
        let gateway = everything_allowed(ALL, false);
        let client = gateway.stdio("local").begin_with(version, &abilities());
        let id = json!(next_id());
        client.send(&id, "tools/call", able_call(&elicit(), &json!({})));
        let content = json!({ "action": "accept", "content": { "z": "s" } });
        let ended = if version == MODERN {
            let asked = client.answer_to(&id)["result"].take();
            let back = json!({ "inputResponses": { "question": content },
                               "requestState": asked["requestState"] });
            client.result("tools/call", able_call(&elicit(), &back))
        } else {
            let question = client.next();
            let line = json!({ "jsonrpc": "2.0", "id": question["id"], "result": content });
            client.send_line(line.to_string().as_bytes());
            client.answer_to(&id)["result"].take()
        };
        assert_eq!(told(&ended), json!({ "result": content }), "{version}");
    }
}

/// A server and clients that nobody here wrote.
fn everything(kind: Kind) {
    let server = json!({ "program": program("node"), "args": [installed(EVERYTHING), "stdio"],
                         "allow": ["sampling", "elicitation", "roots"] });
    let manifest = format!(
        "backend:\n  name: everything\n  mcp: {server}\nattributes: {{ capability: all, action_type: read }}\n\
         tools:\n  - {{ name: ask, from: trigger-elicitation-request }}\n  \
         - {{ name: sample, from: trigger-sampling-request }}\n"
    );
    let builder = TestGateway::builder().manifest("all.yaml", &manifest);
    let gateway = started(builder.policy("all.yaml", ALLOW_ALL));
    let mut client = Client::answering(kind, &gateway, "one");
    let answer = client.call("ask", &json!({}));
    assert!(done(&answer).contains("Ada"), "{answer}");
    let schema = &answer["asked"][0]["params"]["requestedSchema"]["properties"];
    assert_eq!(schema["firstLine"]["default"], "It was a dark and stormy night.", "{answer}");
    let answer = client.call("sample", &json!({ "prompt": "say", "maxTokens": 5 }));
    assert!(done(&answer).contains("written by a model"), "{answer}");
    client.close();
}

#[test]
fn typescript_answers_a_real_server() {
    everything(Kind::TypeScript);
}

#[test]
fn typescript2_answers_a_real_server() {
    everything(Kind::TypeScript2);
}

#[test]
fn python_answers_a_real_server() {
    everything(Kind::Python);
}

#[test]
fn python_answers_a_real_server_after_a_handshake() {
    everything(Kind::PythonLegacy);
}
