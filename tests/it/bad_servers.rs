//! Servers that answer what can be read as two things, or without end, or not at all: the call is refused, and
//! what comes after is served.

use std::fs;

use serde_json::{Value, json};

use crate::clients::{Client, Legacy, Modern, next_id, refused, said};
use crate::harness::{ALLOW_ALL, TestGateway, until};
use crate::raw_upstream::{Answer, RawUpstream, STDIO_MANIFEST, STDIO_SCRIPT};

fn with_raw(upstream: &RawUpstream) -> (TestGateway, Modern) {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("raw.yaml", &upstream.manifest())
        .start();
    let client = gateway.modern("m");
    until("the server's tool", || client.tools().contains(&"raw".to_owned()).then_some(()));
    (gateway, client)
}

fn with_stdio() -> (TestGateway, Modern) {
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .script("raw.py", STDIO_SCRIPT)
        .manifest("raw.yaml", STDIO_MANIFEST)
        .start();
    fs::create_dir(gateway.dir().join("answers")).unwrap();
    let client = gateway.modern("m");
    until("the server's tool", || client.tools().contains(&"raw_stdio".to_owned()).then_some(()));
    (gateway, client)
}

/// Messages that are no answer, whoever reads them; the request's id stands before what is wrong.
fn not_answers() -> Vec<Vec<u8>> {
    let result = |inside: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":@ID@,"result":{{"content":[],{inside}}}}}"#).into_bytes()
    };
    let mut messages = vec![
        result(r#""a":1,"a":2"#),
        result(r#""a":{"b":1,"\u0062":2}"#),
        result(r#""content":[]"#),
        result(r#""a":"\ud800""#),
        result(r#""\udc00":1"#),
        result(r#""a":01"#),
        result(r#""a":NaN"#),
        result(r#""a":1,"#),
        result(r#""a":{"\u0024serde_json::private::Number":"5"}"#),
        result("\"a\":\"\u{1}\""),
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]},"result":{"content":[]}}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]},"error":{"code":1,"message":""}}"#
            .to_vec(),
        br#"{"jsonrpc":"2.0","id":@ID@,"Result":{"content":[]}}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]}} {}"#.to_vec(),
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":"#.to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"id\":@ID@,\"result\":{\"content\":[],\"a\":\"\xff\"}}".to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"id\":@ID@,\"result\":{\"content\":[],\"a\":\"\xed\xa0\x80\"}}"
            .to_vec(),
    ];
    for depth in [129, 10_000, 400_000] {
        messages.push(result(&format!(r#""a":{}{}"#, "[".repeat(depth), "]".repeat(depth))));
    }
    // More than may come at all, with no end.
    messages.push(result(&format!(r#""a":{}"#, "[".repeat(1_500_000))));
    messages
}

fn in_event(message: &[u8]) -> Vec<u8> {
    [&b"event: message\ndata: "[..], message, b"\n\n"].concat()
}

#[test]
fn c2_c5_answers_that_are_not_read_alike_are_refused() {
    let upstream = RawUpstream::start();
    let (gateway, client) = with_raw(&upstream);
    for (index, message) in not_answers().into_iter().enumerate() {
        let shown: String = String::from_utf8_lossy(&message).chars().take(120).collect();
        for (way, answer) in
            [("json", Answer::Json(message.clone())), ("sse", Answer::Events(in_event(&message)))]
        {
            let key = format!("{way}{index}");
            upstream.answer(&key, answer);
            println!("{way} {shown}");
            let told = refused(&client.call("raw", json!({ "key": key })));
            assert!(told.contains("may have had an effect"), "{told}");
        }
    }
    assert_eq!(said(&client.call("raw", json!({ "key": "fine" }))), "raw");
    assert_eq!(upstream.calls().len(), 2 * not_answers().len() + 1, "a call was sent twice");
    assert!(gateway.peak_memory() < 300, "{} MB", gateway.peak_memory());
}

#[test]
fn an_answer_that_came_whole_counts_whatever_follows_it() {
    let upstream = RawUpstream::start();
    let (_gateway, client) = with_raw(&upstream);
    for (key, after) in [("line", "no field of an event\n\n"), ("retry", "retry: never\n\n")] {
        let Answer::Events(mut bytes) =
            Answer::event(r#"{"content":[{"type":"text","text":"whole"}]}"#)
        else {
            panic!("not a stream of events")
        };
        bytes.extend_from_slice(after.as_bytes());
        upstream.answer(key, Answer::Events(bytes));
        assert_eq!(said(&client.call("raw", json!({ "key": key }))), "whole", "{key}");
    }
}

#[test]
fn c5_a_list_with_a_deep_schema_is_not_taken() {
    let deep = format!("{}{}", r#"{"not":"#.repeat(200), "{}") + &"}".repeat(200);
    let list = format!(
        r#"{{"tools":[{{"name":"raw","description":"d","inputSchema":{{"type":"object","x":{deep}}}}}]}}"#
    );
    let upstream = RawUpstream::start();
    upstream.answer("tools/list", Answer::result(&list));
    let gateway = TestGateway::builder()
        .counting()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("raw.yaml", &upstream.manifest())
        .start();
    let client = gateway.modern("m");
    until("the fault to be known", || {
        gateway.api_get("/api/v1/catalog").body.contains("deeper than 64").then_some(())
    });
    assert!(!client.tools().contains(&"raw".to_owned()));
    assert!(said(&client.call("look", json!({ "line": "ok" }))).contains("ran ok"));
}

/// The fields of each event in a body, as a reader of event streams has them; comments are left out.
fn events(body: &str) -> Vec<Vec<(String, String)>> {
    let mut events = vec![Vec::new()];
    for line in body.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        if line.is_empty() {
            events.push(Vec::new());
        } else if !line.starts_with(':') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            events.last_mut().unwrap().push((field.to_owned(), value.to_owned()));
        }
    }
    events.retain(|event| !event.is_empty());
    events
}

const FORGED: &str = "x\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\nevent: evil\nid: 7\nretry: 1\n\n";

#[test]
fn c12_no_text_of_a_server_makes_an_event() {
    let upstream = RawUpstream::start();
    let (gateway, modern) = with_raw(&upstream);
    let text = json!(FORGED).to_string();
    // White space between the parts of a message has line ends too.
    let note = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":@TOKEN@,"progress":1,"message":{text}}}}}"#
    );
    let answer = format!(
        "{{\"jsonrpc\":\"2.0\",\ndata: \"id\":@ID@,\rdata: \"result\":{{\"content\":[\r\ndata: {{\"type\":\"text\",\n\
         data:\t\"text\":{text}}}]}}}}"
    );
    let evil =
        "event: evil\nid: 9\nretry: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    let stream = format!("{evil}data: {note}\n\n: comment\n\ndata: {answer}\n\n{evil}");
    upstream.answer("forged", Answer::Events(stream.into_bytes()));
    let legacy = Legacy::open(gateway.url(), &gateway.agent("l"), "2025-06-18");
    for is_modern in [true, false] {
        let mut params = json!({ "name": "raw", "arguments": { "key": "forged" }, "_meta": { "progressToken": "p" } });
        let body = if is_modern {
            params = modern.params(params);
            let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call", "params": params });
            modern.send("tools/call", Some("raw"), message.to_string()).body
        } else {
            let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call", "params": params });
            legacy.send(message.to_string()).body
        };
        let events = events(&body);
        assert_eq!(events.len(), 2, "{body}");
        let mut messages = Vec::new();
        for event in &events {
            assert!(
                event
                    .iter()
                    .all(|(field, value)| field == "data"
                        || (field == "event" && value == "message")),
                "{body}"
            );
            let data: Vec<&str> =
                event.iter().filter(|it| it.0 == "data").map(|it| it.1.as_str()).collect();
            messages.push(serde_json::from_str::<Value>(&data.join("\n")).unwrap());
        }
        assert_eq!(messages[0]["params"]["message"], FORGED, "{body}");
        assert_eq!(messages[1]["result"]["content"][0]["text"], FORGED, "{body}");
    }
    // Over stdio a message is a line.
    let stdio = gateway.stdio("s").begin("2025-11-25");
    assert_eq!(said(&stdio.call("raw", json!({ "key": "forged" }))), FORGED);
}

/// Puts what the server over standard streams says to calls with the argument `key`.
fn answers(gateway: &TestGateway, key: &str, said: &[u8]) {
    fs::write(gateway.dir().join("answers").join(key), said).unwrap();
}

#[track_caller]
fn back(client: &Modern) {
    until("the server to be back", || {
        let params = json!({ "name": "raw_stdio", "arguments": {} });
        let answer = client.request("tools/call", params);
        (answer["result"]["content"][0]["text"] == "raw").then_some(())
    });
}

#[test]
fn c14_a_server_over_stdio_that_makes_noise_breaks_or_ends() {
    let (gateway, client) = with_stdio();
    let call = |key: &str| client.call("raw_stdio", json!({ "key": key }));
    let fine =
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"fine"}]}}"#;
    // Noise on its output is passed over, and much on its error stream is not waited for.
    let noise = b"starting...\n\n[1]\n{\n{\"id\":99999,\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\xff\xfe\n";
    answers(&gateway, "noise", &[&noise[..], fine].concat());
    assert_eq!(said(&call("noise")), "fine");
    assert!(!gateway.log().contains(&"e".repeat(1000)), "its error stream was copied to the log");
    // A line end inside a message makes two, of which the first names the call.
    answers(
        &gateway,
        "split",
        br#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text",
"text":"split"}]}}"#,
    );
    refused(&call("split"));
    assert_eq!(said(&call("noise")), "fine");
    for (index, message) in not_answers().into_iter().enumerate() {
        let key = format!("bad{index}");
        answers(&gateway, &key, &message);
        let told = refused(&call(&key));
        assert!(told.contains("may have had an effect"), "{told}");
    }
    back(&client);
    // A line of 100 MB is given up, and so is the server.
    refused(&call("long"));
    back(&client);
    refused(&call("exit"));
    back(&client);
    assert!(gateway.peak_memory() < 300, "{} MB", gateway.peak_memory());
    until("no child of the gateway to be a zombie", || {
        (zombies(gateway.process_id()) == 0).then_some(())
    });
    // Nothing was repeated behind the caller's back.
    let ran = gateway.ran();
    for key in ["split", "long", "exit"] {
        let count = ran.iter().filter(|line| line.contains(&format!("\"{key}\""))).count();
        assert_eq!(count, 1, "{key}");
    }
}

/// How many children of a process have ended and are not waited for.
fn zombies(parent: u32) -> usize {
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(stat);
    processes
        .filter(|stat| {
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
        })
        .count()
}

#[test]
fn c7_an_answer_of_another_id_answers_nothing() {
    let upstream = RawUpstream::start();
    let (_gateway, client) = with_raw(&upstream);
    for (key, id) in [("other", "987654321"), ("null", "null"), ("float", "1.5"), ("none", "\"x\"")]
    {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
        upstream.answer(key, Answer::Json(message.into_bytes()));
        refused(&client.call("raw", json!({ "key": key })));
    }
    // A server may give a number back as a text.
    let text =
        br#"{"jsonrpc":"2.0","id":"@ID@","result":{"content":[{"type":"text","text":"text"}]}}"#;
    upstream.answer("text", Answer::Json(text.to_vec()));
    assert_eq!(said(&client.call("raw", json!({ "key": "text" }))), "text");
}
