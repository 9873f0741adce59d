//! What a change makes of a file's text, and what it leaves.

use serde_json::json;

use super::super::client::{Client, Reach};
use super::*;

fn change(client: Client, http: bool) -> Change {
    let reach = if http {
        Reach::Http { url: "http://127.0.0.1:7420/mcp".to_owned() }
    } else {
        let arguments = ["stdio", "--agent", "a b"].map(str::to_owned).to_vec();
        Reach::Stdio { command: "/opt/my tools/countersign".to_owned(), arguments }
    };
    Change {
        form: client.form(),
        servers: client.servers(),
        entry: Some(client.entry(&reach).unwrap()),
        input: client.input(&reach),
    }
}

fn removal(client: Client) -> Change {
    Change { form: client.form(), servers: client.servers(), entry: None, input: None }
}

/// Puts the gateway into `text` and takes it out again.
#[track_caller]
fn check(client: Client, http: bool, text: &str, expected: &str) {
    let change = change(client, http);
    let changed = change.apply(text).unwrap();
    assert_eq!(changed, expected);
    assert_eq!(change.apply(&changed).unwrap(), changed, "a second time changes it again");
    let removed = removal(client).apply(&changed).unwrap();
    assert!(!removed.contains("countersign"), "{removed}");
}

#[test]
fn keeps_comments_order_and_spelling() {
    let text = "{\n\t// mine\n\t\"z\": 1.50, /* odd */ \"servers\": {\n\t\t\"b\": { \"command\": \"x\", },\n\t},\n\t\"a\": [1,2 , 3]\n}\n";
    let expected = "{\n\t// mine\n\t\"z\": 1.50, /* odd */ \"servers\": {\n\t\t\"b\": { \"command\": \"x\", },\n\t\t\"countersign\": {\n\t\t\t\"type\": \"stdio\",\n\t\t\t\"command\": \"/opt/my tools/countersign\",\n\t\t\t\"args\": [\"stdio\", \"--agent\", \"a b\"],\n\t\t},\n\t},\n\t\"a\": [1,2 , 3]\n}\n";
    check(Client::Vscode, false, text, expected);
    let removed = removal(Client::Vscode).apply(expected).unwrap();
    assert_eq!(removed, text);
}

#[test]
fn keeps_the_ends_of_lines_and_the_mark_before_the_text() {
    let text = "\u{feff}{\r\n  \"mcpServers\": {\r\n    \"b\": {}\r\n  }\r\n}\r\n";
    let changed = change(Client::Cursor, true).apply(text).unwrap();
    assert!(changed.starts_with("\u{feff}{\r\n"), "{changed:?}");
    assert_eq!(changed.matches('\n').count(), changed.matches("\r\n").count(), "{changed:?}");
    assert_eq!(removal(Client::Cursor).apply(&changed).unwrap(), text);
}

#[test]
fn keeps_what_the_user_added_to_the_server() {
    let text = r#"{"mcpServers":{"countersign":{"timeout":600,"command":"old","args":["x"],"env":{"A":"b"}}}}"#;
    let changed = change(Client::ClaudeCode, true).apply(text).unwrap();
    let value: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!(
        value["mcpServers"]["countersign"],
        json!({
            "timeout": 600, "env": { "A": "b" }, "type": "http", "url": "http://127.0.0.1:7420/mcp",
            "headers": { "Authorization": "Bearer ${COUNTERSIGN_TOKEN}" },
        })
    );
}

#[test]
fn asks_for_a_token_once_and_no_more_when_it_is_not_needed() {
    let text = "{\n  \"inputs\": [{ \"id\": \"other\", \"type\": \"promptString\" }],\n  \"servers\": {}\n}\n";
    let with = change(Client::Vscode, true).apply(text).unwrap();
    let inputs = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let ids = value["inputs"].as_array().unwrap().iter().map(|it| it["id"].clone());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(inputs(&with), ["other", "countersign-token"]);
    assert_eq!(change(Client::Vscode, true).apply(&with).unwrap(), with);
    let without = change(Client::Vscode, false).apply(&with).unwrap();
    assert_eq!(inputs(&without), ["other"]);
}

#[test]
fn keeps_comments_and_tables_of_toml() {
    let text = "# mine\nmodel = 'x'  # quoted\n\n[mcp_servers.other]\ncommand = \"y\"\n\n[tui]\ntheme = 1\n";
    let changed = change(Client::Codex, false).apply(text).unwrap();
    assert!(changed.starts_with(text.split("[tui]").next().unwrap()), "{changed}");
    assert!(changed.contains("[mcp_servers.countersign]\ncommand = \"/opt/my tools/countersign\"\nargs = [\"stdio\", \"--agent\", \"a b\"]\n"), "{changed}");
    assert!(changed.contains("[tui]\ntheme = 1\n"), "{changed}");
    assert_eq!(removal(Client::Codex).apply(&changed).unwrap(), text);
    let own = changed.replace("args =", "startup_timeout_sec = 30 # slow\nargs =");
    let http = change(Client::Codex, true).apply(&own).unwrap();
    assert!(http.contains("startup_timeout_sec = 30 # slow\n"), "{http}");
    assert!(!http.contains("command = \"/opt"), "{http}");
    assert!(http.contains("bearer_token_env_var = \"COUNTERSIGN_TOKEN\""), "{http}");
}

#[test]
fn refuses_what_it_does_not_understand() {
    let json = [
        ("{", "it is not JSON"),
        ("[]", "not a JSON object"),
        ("{} {}", "it is not JSON"),
        (r#"{"mcpServers":[]}"#, "`mcpServers` in it is not an object"),
        (r#"{"mcpServers":{},"mcpServers":{"a":{}}}"#, "`mcpServers` stands in it twice"),
        (
            r#"{"mcpServers":{"countersign":{},"countersign":{}}}"#,
            "`countersign` stands in it twice",
        ),
        (r#"{"mcpServers":{"countersign":{},"\u0063ountersign":{}}}"#, "stands in it twice"),
        ("{'mcpServers': {}}", "it is not JSON"),
    ];
    for (text, why) in json {
        for change in [change(Client::Cursor, false), removal(Client::Cursor)] {
            let told = change.apply(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(change(Client::Cursor, false).apply(&deep).is_err());
    for text in ["a = 1\na = 2\n", "[mcp_servers", "mcp_servers = 3\n"] {
        assert!(change(Client::Codex, false).apply(text).is_err(), "{text}");
    }
}
