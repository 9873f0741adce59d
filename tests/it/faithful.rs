//! What servers answer reaches callers as it was written, and what callers send malformed reaches no server.

use indexmap::IndexMap;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clients::{Client, Legacy, MODERN, Modern, Stdio, next_id, refused, said};
use crate::generated::{self, Dice, Numbers};
use crate::harness::{ALLOW_ALL, TestGateway, until};
use crate::raw_upstream::{Answer, RawUpstream, STDIO_MANIFEST, STDIO_SCRIPT};

type Members = IndexMap<String, Box<RawValue>>;

fn gateway(upstream: &RawUpstream) -> TestGateway {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("raw.yaml", &upstream.manifest())
        .start();
    shows(&gateway.modern("first"), "raw");
    gateway
}

fn shows(client: &dyn Client, tool: &str) {
    until("the server's tool", || client.tools().contains(&tool.to_owned()).then_some(()));
}

fn members(object: &str) -> Members {
    serde_json::from_str(object).unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// The text of the result in a response.
#[track_caller]
fn result_of(body: &str) -> Members {
    let response = members(body);
    let result = response.get("result").unwrap_or_else(|| panic!("no result: {body}"));
    members(result.get())
}

/// A result that no library has seen: vendor members, unknown content, numbers that no double holds.
/// Before 2026-07-28 structured content is an object.
fn generated_result(dice: &mut Dice, is_modern: bool) -> String {
    let blocks: Vec<String> = (0..dice.below(3))
        .map(|_| {
            let kind = dice.pick(&["text", "image", "vendor/x", "", "resource_link"]);
            let first = [("type", format!("\"{kind}\"")), ("text", generated::string(dice))];
            generated::object(dice, Numbers::Any, 3, &first)
        })
        .collect();
    let content = format!("[{}]", blocks.join(" , "));
    let mut first = vec![("content", content)];
    if dice.once_in(2) {
        let structured = if is_modern {
            generated::value(dice, Numbers::Any, 4)
        } else {
            generated::object(dice, Numbers::Any, 4, &[])
        };
        first.push(("structuredContent", structured));
    }
    if dice.once_in(3) {
        first.push(("isError", "false".to_owned()));
    }
    if dice.once_in(4) {
        first.push(("_meta", generated::object(dice, Numbers::Any, 2, &[])));
    }
    generated::object(dice, Numbers::Any, 4, &first)
}

/// Members of `sent` in their order, then the gateway's own; each as `spelt` has it.
#[track_caller]
fn assert_faithful(sent: &str, arrived: &Members, spelt: impl Fn(&str) -> String) {
    let sent = members(sent);
    let keys: Vec<&String> = sent.keys().collect();
    let order: Vec<&String> = arrived.keys().filter(|key| sent.contains_key(*key)).collect();
    assert_eq!(keys, order);
    for (key, value) in &sent {
        let found = arrived[key].get();
        if key == "_meta" {
            // The gateway adds its own to it.
            let (sent, found) = (members(value.get()), members(found));
            for (key, value) in &sent {
                assert_eq!(rewritten(value.get()), rewritten(found[key].get()), "_meta {key}");
            }
        } else {
            assert_eq!(spelt(value.get()), spelt(found), "{key}");
        }
    }
    for key in arrived.keys().filter(|key| !sent.contains_key(*key)) {
        assert!(matches!(key.as_str(), "_meta" | "resultType"), "{key} was added");
    }
}

/// Without white space, strings and exponents in the one way of spelling them.
fn rewritten(text: &str) -> String {
    countersign::json::parse(text.replace("\\u0000", "\\u0001").as_bytes()).unwrap().to_string()
}

#[test]
fn results_reach_http_clients_byte_for_byte() {
    let upstream = RawUpstream::start();
    let gateway = gateway(&upstream);
    let modern = gateway.modern("m");
    let legacy = Legacy::open(gateway.url(), &gateway.agent("l"), "2025-03-26");
    let mut dice = Dice::new(7420);
    for round in 0..300 {
        let is_modern = dice.once_in(2);
        let result = generated_result(&mut dice, is_modern);
        let key = format!("r{round}");
        let answer = if dice.once_in(2) { Answer::result } else { Answer::event };
        upstream.answer(&key, answer(&result));
        let params = json!({ "name": "raw", "arguments": { "key": key } });
        let body = if is_modern {
            modern.reply("tools/call", params).body
        } else {
            let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call", "params": params });
            legacy.send(message.to_string()).body
        };
        // An event ends its lines in one way.
        let same = |text: &str| text.replace("\r\n", "\n");
        println!("{round}: {result}");
        assert_faithful(&result, &result_of(&body), same);
    }
    assert_eq!(upstream.calls().len(), 300);
}

#[test]
fn results_reach_stdio_clients_with_every_digit_and_member_in_order() {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .script("raw.py", STDIO_SCRIPT)
        .manifest("raw.yaml", STDIO_MANIFEST)
        .prepare();
    std::fs::create_dir(gateway.dir().join("answers")).unwrap();
    let mut client = RawLines::begin(&gateway);
    let mut dice = Dice::new(7421);
    for round in 0..150 {
        // One line is one message.
        let result = generated_result(&mut dice, false).replace(['\n', '\r'], " ");
        let message = format!(r#"{{"jsonrpc":"2.0","id":@ID@,"result":{result}}}"#);
        std::fs::write(gateway.dir().join(format!("answers/r{round}")), message).unwrap();
        let body = client.call("raw_stdio", &json!({ "key": format!("r{round}") }));
        println!("{round}: {result}");
        assert_faithful(&result, &result_of(&body), rewritten);
    }
    assert_eq!(gateway.ran().len(), 150);
}

/// A client over standard streams that keeps the lines as they came.
struct RawLines {
    process: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
    next: u64,
}

impl RawLines {
    fn begin(gateway: &TestGateway) -> Self {
        use std::io::BufRead;
        let mut command = gateway.command(&["stdio", "--agent", "a"]);
        command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let mut client = Self { process, lines, next: 1 };
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
                            "clientInfo": { "name": "raw", "version": "1" } });
        client.ask("initialize", &hello);
        client.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        until("the server's tool", || {
            client.ask("tools/list", &json!({})).contains("raw_stdio").then_some(())
        });
        client
    }

    fn write(&mut self, line: &str) {
        use std::io::Write;
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> String {
        let id = self.next;
        self.next += 1;
        self.write(
            &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string(),
        );
        loop {
            let line = self.lines.next().unwrap().unwrap();
            if members(&line).get("id").is_some_and(|it| it.get() == id.to_string()) {
                return line;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> String {
        self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }
}

impl Drop for RawLines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Members of a `tools/call` that are not what they must be; the server must hear of none.
fn malformed_params() -> Vec<String> {
    let mut forms: Vec<String> = [
        // What rmcp takes for a method it does not know.
        r#"{"name":"raw","arguments":[1]}"#,
        r#"{"arguments":{"key":"x"}}"#,
        r#"{"name":"raw","name":"raw","arguments":{"key":"x"}}"#,
        // And what comes near to it.
        r#"{"name":"raw","arguments":"{}"}"#,
        r#"{"name":"raw","arguments":null}"#,
        r#"{"name":"raw","arguments":7}"#,
        r#"{"name":"raw","arguments":true}"#,
        r#"{"name":["raw"],"arguments":{"key":"x"}}"#,
        r#"{"name":{"raw":1},"arguments":{"key":"x"}}"#,
        r#"{"name":null,"arguments":{"key":"x"}}"#,
        r#"{"name":7,"arguments":{"key":"x"}}"#,
        r#"{"name":"","arguments":{"key":"x"}}"#,
        r#"{"name":"RAW","arguments":{"key":"x"}}"#,
        r#"{"name":"raw ","arguments":{"key":"x"}}"#,
        r#"{"name":"raw\u0000","arguments":{"key":"x"}}"#,
        r#"{"Name":"raw","arguments":{"key":"x"}}"#,
        r#"{"name":"raw","Name":"other","arguments":{"key":"x"}}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"Arguments":{"key":"y"}}"#,
        r#"{"name":"raw","argument\u017f":{"key":"y"},"arguments":{"key":"x"}}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"arguments":{"key":"y"}}"#,
        r#"{"name":"raw","arguments":{"key":"x","k\u0065y":"y"}}"#,
        r#"{"name":"raw","arguments":{"key":"x","deep":[{"a":1,"\u0061":2}]}}"#,
        r#"{"name":"raw","n\u0061me":"raw","arguments":{"key":"x"}}"#,
        r#"{"na\u0000me":"raw","name":"raw","arguments":{"key":"x"}}"#,
        r#"{"name":"raw","arguments":{"ke\u0000y":"x"}}"#,
        r#"{"name":"raw","arguments":{"key":"\ud800"}}"#,
        r#"{"name":"raw","arguments":{"n":1e400}}"#,
        r#"{"name":"raw","arguments":{"n":9007199254740993}}"#,
        r#"{"name":"raw","arguments":{"n":123456789012345678901234567890}}"#,
        r#"{"name":"raw","arguments":{"n":NaN}}"#,
        r#"{"name":"raw","arguments":{"n":{"\u0024serde_json::private::Number":"5"}}}"#,
        r#"{"name":"raw","arguments":{"key":"x",}}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"_meta":{"progressToken":1e400}}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"_meta":[1]}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"_meta":"x"}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"requestState":7}"#,
        r#"{"name":"raw","arguments":{"key":"x"},"requestState":"forged"}"#,
        r#"["raw",{"key":"x"}]"#,
        r#""raw""#,
        "7",
        "null",
        "true",
        "{}",
        "[]",
    ]
    .map(str::to_owned)
    .into();
    forms.push(format!(
        r#"{{"name":"raw","arguments":{{"key":{}{}}}}}"#,
        "[".repeat(80),
        "]".repeat(80)
    ));
    forms
}

/// Whole messages that are no `tools/call`, however much they look like one.
const MALFORMED_MESSAGES: [&str; 18] = [
    r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":[1],"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"1.0","id":801,"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"id":802,"method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":803,"method":"Tools/Call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":804,"method":"tools/call\u0000","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":805,"Method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":806,"method":"ping","METHOD":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":807,"method":"ping","method":"tools/call","params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":808,"method":["tools/call"],"params":{"name":"raw","arguments":{}}}"#,
    r#"{"jsonrpc":"2.0","id":809,"method":"tools/call","params":{"name":"raw","arguments":{}},"result":{}}"#,
    r#"{"jsonrpc":"2.0","id":810,"method":"tools/call","params":{"name":"raw","arguments":{}},"error":{"code":1,"message":""}}"#,
    r#"{"jsonrpc":"2.0","id":811,"method":"tools/call","Params":{"name":"raw","arguments":{}}}"#,
    r#"[{"jsonrpc":"2.0","id":812,"method":"tools/call","params":{"name":"raw","arguments":{}}}]"#,
    r#"{"jsonrpc":"2.0","id":813,"method":"tools/call","params":{"name":"raw","arguments":{}}} {}"#,
];

/// Each form as it stands, and with the `_meta` that a modern request has.
fn messages() -> Vec<String> {
    let mut messages: Vec<String> = MALFORMED_MESSAGES.map(str::to_owned).into();
    let meta = Modern::new("", "").params(json!({}))["_meta"].to_string();
    for params in malformed_params() {
        let message = |params: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#,
                next_id()
            )
        };
        messages.push(message(&params));
        if let Some(rest) = params.strip_prefix('{').filter(|rest| !rest.contains("_meta")) {
            let comma = if rest == "}" { "" } else { "," };
            messages.push(message(&format!(r#"{{"_meta":{meta}{comma}{rest}"#)));
        }
    }
    messages
}

/// What an answer may be: an error of the protocol, or a refusal of the call; never anything of the server's.
#[track_caller]
fn assert_refused(message: &str, answer: &Value) {
    if let Some(result) = answer.get("result") {
        refused(result);
        return;
    }
    let code = answer["error"]["code"].as_i64();
    let known = matches!(code, Some(-32700 | -32600 | -32601 | -32602 | -32020));
    assert!(known, "{message}: {answer}");
}

/// The one right call at the end is all that the server heard.
#[track_caller]
fn heard_only(calls: &[String], key: &str) {
    assert_eq!(calls.len(), 1, "{calls:?}");
    let params: Value = serde_json::from_str(&calls[0]).unwrap();
    assert_eq!((&params["name"], &params["arguments"]["key"]), (&json!("raw"), &json!(key)));
}

#[test]
fn cve_2026_27896_malformed_calls_over_http_reach_no_server() {
    let upstream = RawUpstream::start();
    let gateway = gateway(&upstream);
    let modern = gateway.modern("m");
    let token = gateway.agent("l");
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN] {
        for message in messages() {
            let reply = if version == MODERN {
                modern.send("tools/call", Some("raw"), message.clone())
            } else {
                Legacy::open(gateway.url(), &token, version).send(message.clone())
            };
            assert!(reply.status < 500, "{message}: {reply:?}");
            if reply.status == 202 {
                // What asks for no answer gets none.
                assert!(!message.contains("\"id\""), "{message}: {reply:?}");
            } else {
                assert_refused(&message, &reply.response());
            }
        }
    }
    assert_eq!(upstream.calls(), Vec::<String>::new());
    assert_eq!(said(&modern.call("raw", json!({ "key": "last" }))), "raw");
    heard_only(&upstream.calls(), "last");
}

/// Sends everything, and then one right call.
fn over_stdio(client: &Stdio, upstream: &RawUpstream) {
    shows(client, "raw");
    for message in messages() {
        client.send_line(message.as_bytes());
        if message.contains("\"id\"") {
            assert_refused(&message, &client.next_response());
        }
    }
    assert_eq!(upstream.calls(), Vec::<String>::new());
    assert_eq!(said(&client.call("raw", json!({ "key": "last" }))), "raw");
    heard_only(&upstream.calls(), "last");
}

#[test]
fn cve_2026_27896_malformed_calls_over_stdio_reach_no_server() {
    for version in ["2025-03-26", MODERN] {
        for joined in [false, true] {
            let upstream = RawUpstream::start();
            let mut gateway = TestGateway::builder()
                .policy("all.yaml", ALLOW_ALL)
                .manifest("raw.yaml", &upstream.manifest())
                .prepare();
            if joined {
                gateway.launch();
            }
            over_stdio(&gateway.stdio("s").begin(version), &upstream);
        }
    }
}
