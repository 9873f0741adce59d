//! Manifests that lead the gateway, its programs or its servers elsewhere: to the network's metadata, into another
//! header, up a path, or to an option of a program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::json;

use crate::clients::{Client, Legacy, refused, said};
use crate::harness::{ALLOW_ALL, Builder, TestGateway, text, until};
use crate::resources::{asked, documents, read, started};

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

/// Starts a gateway with this backend, asserts that its tool is not offered and for which reason, and that other
/// tools are.
#[track_caller]
fn unavailable(builder: Builder, mcp: &str, why: &str) {
    let manifest = format!(
        "backend: {{ name: hostile, {mcp} }}\ntools:\n  - {{ name: hostile, attributes: {{ action_type: read }} }}\n"
    );
    let gateway = builder.manifest("hostile.yaml", &manifest).start();
    let client = gateway.modern("a");
    let told = until("the reason", || {
        let catalog = gateway.cli(&["catalog", "list", "--output", "json"]).json();
        let entry = catalog.as_array().unwrap().iter().find(|it| it["name"] == "hostile").cloned();
        let told = text(&entry.unwrap()["unavailable"]);
        (!told.contains("has not been asked yet")).then_some(told)
    });
    assert!(told.contains(why), "{mcp}: {told}");
    assert!(!client.tools().contains(&"hostile".to_owned()), "{mcp}: it is offered");
    let call = json!({ "name": "hostile", "arguments": {} });
    assert_eq!(client.request("tools/call", call)["error"]["code"], -32602, "{mcp}");
    assert!(said(&client.call("look", json!({ "line": "ok" }))).contains("ran ok"), "{mcp}");
}

#[test]
fn d7_a_url_that_leads_to_metadata_or_nowhere_is_not_gone_to() {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://good@169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
    ] {
        unavailable(allowed(), &format!("mcp: {{ url: \"{url}\" }}"), "its `url` is refused");
    }
}

/// Answers every request with `answer`, and keeps what it was sent.
fn answering(answer: String) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (sender, answer) = (sender.clone(), answer.clone());
            thread::spawn(move || {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let _ = sender.send(head);
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = reader.read_to_end(&mut Vec::new());
            });
        }
    });
    (port, heard)
}

#[test]
fn d7_n3_a_redirect_of_a_server_is_not_followed_and_takes_no_credential_along() {
    let (metadata, gone_to) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned());
    for (status, to) in [
        (301, format!("http://127.0.0.1:{metadata}/latest/meta-data")),
        (302, format!("//127.0.0.1:{metadata}/mcp")),
        (307, format!("http://localhost:{metadata}/mcp")),
        (308, "http://169.254.169.254/latest/meta-data".to_owned()),
    ] {
        let answer =
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let (port, heard) = answering(answer);
        let mcp = format!(
            "mcp: {{ url: \"http://127.0.0.1:{port}/mcp\", headers: {{ Authorization: \"Bearer of-the-gateway\" }} }}"
        );
        unavailable(allowed(), &mcp, &status.to_string());
        assert!(heard.recv().unwrap().contains("of-the-gateway"), "it was not asked");
    }
    let nobody = gone_to.try_recv();
    assert!(nobody.is_err(), "followed: {nobody:?}");
}

#[test]
fn d7_no_header_of_a_manifest_or_a_secret_makes_another() {
    let (port, heard) = answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned());
    for (headers, why) in [
        (r#""X-A": "a\r\nX-Evil: 1""#, "no header can carry"),
        (r#""X-A": "a\nX-Evil: 1""#, "no header can carry"),
        (r#""X-A": "a\0b""#, "no header can carry"),
        (r#""X-A": "a${TOKEN}""#, "no header can carry"),
        (r#""X-A\r\nX-Evil": "1""#, "malformed name"),
        (r#""X-A: b": "1""#, "malformed name"),
        (r#""": "1""#, "malformed name"),
        (r#""Host": "evil.example""#, "set by the protocol"),
        (r#""content-length": "0""#, "set by the protocol"),
        (r#""Transfer-Encoding": "chunked""#, "set by the protocol"),
        (r#""MCP-Session-Id": "x""#, "set by the protocol"),
        (r#""Mcp-Method": "tools/list""#, "set by the protocol"),
    ] {
        let mcp = format!(
            "secrets: {{ TOKEN: {{ env: TOKEN }} }}, mcp: {{ url: \"http://127.0.0.1:{port}/mcp\", headers: {{ {headers} }} }}"
        );
        unavailable(allowed().env("TOKEN", "secret\r\nX-Evil: 1"), &mcp, why);
    }
    let nothing = heard.try_recv();
    assert!(nothing.is_err(), "sent: {nothing:?}");
}

#[test]
fn d7_no_value_of_a_template_leads_up_a_path() {
    let gateway = started(
        documents(&[]).policy("all.yaml", ALLOW_ALL),
        "resources/read:doc://{shelf}/{book}",
    );
    let token = gateway.agent("a");
    let client = Legacy::open(gateway.url(), &token, "2025-11-25");
    let fine = read(&client, "doc://open/book");
    assert!(fine.get("result").is_some(), "{fine}");
    let before = asked(&gateway);
    for uri in [
        "doc://../admin",
        "doc://open/..",
        "doc://open/.",
        "doc://open/..%2F..%2Fadmin",
        "doc://open/%2e%2e",
        "doc://open/%2E%2E%2Fadmin",
        "doc://open/..%5Cadmin",
        "doc://open/a%2F..%2F..%2Fb",
        "doc://open/%252e%252e%252f",
        "doc://open/book/../../admin",
        "doc://open/book?x=/../admin",
        "doc://open/book#/../admin",
        "doc://open/bo%00ok",
        "doc://open/bo%0D%0Aok",
    ] {
        let answer = read(&client, uri);
        // What was encoded twice is a plain text to whoever decodes once.
        assert_eq!(answer.get("error").is_some(), !uri.contains("%25"), "{uri}: {answer}");
    }
    let after = asked(&gateway);
    let new: Vec<_> = after[before.len()..].iter().filter(|line| line.contains("doc://")).collect();
    assert!(
        new.iter().all(|line| line.contains("%252e%252e%252f")),
        "the server was asked: {new:?}"
    );
}

#[test]
fn d7_thousands_of_tools_of_one_file_are_loaded_in_time() {
    let mut manifest = "backend: { name: many, command: { program: \"@DIR@/bin/count\" } }\nattributes: { action_type: read }\ntools:\n".to_owned();
    let mut count = 0;
    while manifest.len() < (1 << 17) {
        manifest += &format!(
            "- {{ name: t{count}, description: d, input_schema: {{ type: object }}, run: [x] }}\n"
        );
        count += 1;
    }
    assert!(count > 1_500, "{count}");
    // Which has a deadline of its own.
    let gateway = allowed().manifest("many.yaml", &manifest).start();
    let client = gateway.modern("a");
    assert!(said(&client.call(&format!("t{}", count - 1), json!({}))).contains("ran x"));
    assert!(gateway.peak_memory() < 600, "{} MB", gateway.peak_memory());
}

/// A program that shows its arguments one by one, confined and not.
const SHOWING: &str = r#"
backend: { name: NAME, command: { program: "@DIR@/bin/show" }, sandbox: SANDBOX }
attributes: { action_type: write }
tools:
  - name: NAME_after
    description: d
    input_schema: { type: object, required: [text], properties: { text: { type: string } } }
    run: ["--", "${text}", "text=${text}"]
  - name: NAME_first
    description: d
    input_schema: { type: object, required: [text], properties: { text: { type: string }, number: { type: integer } } }
    run: ["${text}", { when: number, args: ["${number}"] }]
  - name: NAME_all
    description: d
    input_schema: { type: object, required: [texts], properties: { texts: { type: array, items: { type: string } } } }
    run: ["${texts...}"]
"#;

/// What a program or a shell would take for more than a text.
const TEXTS: [&str; 14] = [
    "--help",
    "--upload-pack=x",
    "-rf",
    "-",
    "--",
    "a b\tc",
    "",
    "*",
    "~",
    "$HOME",
    "a\nb",
    "'\"\\",
    "${text}",
    "!!python/object/apply:os.system [id]",
];

const SHOW: &str = "#!/bin/sh\nfor part in \"$@\"; do printf '[%s]\\n' \"$part\"; done\n";

#[test]
fn go_2026_5604_and_cve_2026_53710_no_value_becomes_an_option_or_is_run() {
    let manifest =
        |name: &str, sandbox: &str| SHOWING.replace("NAME", name).replace("SANDBOX", sandbox);
    let gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .script("show", SHOW)
        .manifest("free.yaml", &manifest("free", "unconfined"))
        .manifest("confined.yaml", &manifest("confined", "{ execute: [\"@DIR@/bin\"] }"))
        .start();
    let client = gateway.modern("a");
    let pwned = gateway.dir().join("pwned");
    for name in ["free", "confined"] {
        let call = |tool: &str, arguments| client.call(&format!("{name}_{tool}"), arguments);
        let commands = ["$(@)", "`@`", "; @", "| @ &", "x\n@\n"];
        let commands = commands.map(|it| it.replace('@', &format!("touch {}", pwned.display())));
        let plain = TEXTS.iter().map(|it| (*it).to_owned());
        for hostile in plain.chain(commands) {
            let shown = said(&call("after", json!({ "text": hostile })));
            assert_eq!(
                shown.trim_end_matches('\n'),
                format!("[--]\n[{hostile}]\n[text={hostile}]"),
                "{name}"
            );
            let first = call("first", json!({ "text": hostile }));
            let all = call("all", json!({ "texts": ["x", hostile] }));
            if hostile.starts_with('-') {
                assert!(
                    refused(&first).contains("must not start with `-`"),
                    "{name} {hostile}: {first}"
                );
                assert!(
                    refused(&all).contains("must not start with `-`"),
                    "{name} {hostile}: {all}"
                );
            } else {
                assert_eq!(said(&first).trim_end_matches('\n'), format!("[{hostile}]"), "{name}");
                assert_eq!(
                    said(&all).trim_end_matches('\n'),
                    format!("[x]\n[{hostile}]"),
                    "{name}"
                );
            }
        }
        // Nothing of another type, and nothing that no argument of a program can be.
        for arguments in [
            json!({ "text": ["--help"] }),
            json!({ "text": { "a": "--help" } }),
            json!({ "text": 5 }),
            json!({ "text": "x", "number": "--help" }),
            json!({ "text": "x", "more": "--help" }),
            json!({ "text": "a\u{0}b" }),
        ] {
            refused(&call("first", arguments));
        }
    }
    assert!(!pwned.exists(), "a text was run");
}
