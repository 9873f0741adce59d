//! The command that the suite runs as a client: a gateway whose backend is the suite's server, and the scenario's calls.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use super::suite::{LEGACY, MODERN};
use crate::clients::{CAPABILITIES, Client, Legacy, Modern, next_id};
use crate::harness::{ALLOW_ALL, RUNTIME, TestGateway, text, until};

/// The tool whose schema must come through unchanged.
const FOCAL: &str = "json_schema_2020_12_tool";
/// How often a call comes again with answers.
const MAX_ROUNDS: usize = 10;

/// A command that asks this process to do a scenario.
pub(super) struct Command {
    text: String,
}

/// One scenario to do.
struct Scenario {
    name: String,
    url: String,
    context: Value,
    revision: &'static str,
}

impl Command {
    /// A command for clients that speak `revision`.
    pub(super) fn listen(revision: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}/", listener.local_addr().unwrap());
        // Each lives as long as its scenario; the listener ends with the tests.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream, revision));
            }
        });
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/conformance/scenario.sh");
        Self { text: format!("sh {script} {to}") }
    }

    /// The command, to which the suite appends its server's address.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Reads which scenario is to be done, does it, and says how that went.
fn serve(mut stream: TcpStream, revision: &'static str) {
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    let body = loop {
        let read = stream.read(&mut buffer).unwrap();
        asked.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&asked);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.expect("a length").trim().parse().unwrap();
        if read == 0 || body.len() >= length {
            break body.to_owned();
        }
    };
    let mut lines = body.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (name, url) = (next(), next());
    let context = serde_json::from_str(&next()).unwrap_or_default();
    let scenario = Scenario { name, url, context, revision };
    // The gateway has no OAuth client: it sends the credentials that its manifest names.
    let can = !scenario.name.starts_with("auth/");
    let done = can && thread::spawn(move || scenario.run()).join().is_ok();
    let status = if done { "200 OK" } else { "500 Internal Server Error" };
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

impl Scenario {
    fn run(&self) {
        let calls = self.calls();
        let gateway = TestGateway::builder()
            .manifest("suite.yaml", &self.manifest(&calls))
            .policy("all.yaml", ALLOW_ALL)
            .start();
        let token = gateway.agent("suite");
        until("the upstream to be asked for its tools", || {
            let tools = gateway.api_get("/api/v1/catalog").json();
            let asked = |tool: &Value| tool["unavailable"] != "its server has not been asked yet";
            tools.as_array().unwrap().iter().all(asked).then_some(())
        });
        let client = Caller::open(gateway.url(), &token, self.revision);
        let offered = client.tools();
        for (tool, arguments) in calls {
            let Some(definition) = offered.iter().find(|offered| offered["name"] == tool) else {
                continue;
            };
            let arguments = match tool.as_str() {
                // The schema as a client of the gateway sees it.
                "json_schema_echo" => json!({ "schema": schema_of(&offered, FOCAL) }),
                _ => arguments,
            };
            client.call(&tool, &arguments, &definition["inputSchema"]);
        }
    }

    /// The tools to call, if they are offered, and with what.
    fn calls(&self) -> Vec<(String, Value)> {
        let none = |tools: &[&str]| -> Vec<(String, Value)> {
            tools.iter().map(|tool| ((*tool).to_owned(), json!({}))).collect()
        };
        match self.name.as_str() {
            "tools_call" => vec![("add_numbers".to_owned(), json!({ "a": 5, "b": 3 }))],
            "elicitation-sep1034-client-defaults" => none(&["test_client_elicitation_defaults"]),
            "sse-retry" => none(&["test_reconnection"]),
            "sep-2322-client-request-state" => none(&[
                "test_mrtr_echo_state",
                "test_mrtr_unrelated",
                "test_mrtr_no_state",
                "test_mrtr_no_result_type",
            ]),
            "http-standard-headers" => none(&["test_headers", "my-hyphenated-tool"]),
            "http-custom-headers" => self.given(),
            "http-invalid-tool-headers" => {
                let values = [("valid_tool", json!({ "region": "eu" }))].into_iter();
                let text = ["empty_header", "space_in_name", "colon_in_name", "non_ascii_name"];
                let text = text.into_iter().chain(["control_char_name"]);
                let text = text.map(|name| (name, json!({ "value": "v" })));
                let twice = ["duplicate_same_case", "duplicate_diff_case"];
                let twice = twice.map(|name| (name, json!({ "field1": "v", "field2": "v" })));
                let others = [
                    ("object_header", json!({ "data": {} })),
                    ("array_header", json!({ "items": [] })),
                    ("null_header", json!({ "nil": null })),
                    ("number_header", json!({ "score": 1 })),
                ];
                let invalid = text.chain(twice).chain(others);
                let invalid = invalid.map(|(name, value)| (format!("invalid_{name}"), value));
                values.map(|(name, value)| (name.to_owned(), value)).chain(invalid).collect()
            }
            "json-schema-ref-no-deref" => none(&["lookup_user"]),
            "json-schema-2020-12-preservation" => none(&[FOCAL, "json_schema_echo"]),
            // The handshake is all there is.
            _ => none(&["nothing"]),
        }
    }

    /// The calls that the suite asks for.
    fn given(&self) -> Vec<(String, Value)> {
        let calls = self.context["toolCalls"].as_array().cloned().unwrap_or_default();
        let call = |call: Value| {
            let mut arguments = call["arguments"].as_object().cloned().unwrap_or_default();
            // By its own schema the tool takes no null; left out is the other way to give no value.
            arguments.retain(|_, value| !value.is_null());
            (text(&call["name"]), Value::Object(arguments))
        };
        calls.into_iter().map(call).collect()
    }

    fn manifest(&self, calls: &[(String, Value)]) -> String {
        let tools: String =
            calls.iter().map(|(name, _)| format!("  - {{ name: {name} }}\n")).collect();
        format!(
            "backend: {{ name: suite, mcp: {{ url: \"{}\", allow: [elicitation, sampling, roots] }} }}\n\
             attributes: {{ capability: suite, action_type: read }}\ntools:\n{tools}",
            self.url
        )
    }
}

fn schema_of(offered: &[Value], name: &str) -> Value {
    let tool = offered.iter().find(|tool| tool["name"] == name);
    tool.map_or(Value::Null, |tool| tool["inputSchema"].clone())
}

/// A client of the gateway that answers what it is asked.
enum Caller {
    Modern(Modern),
    Legacy(Legacy),
}

impl Caller {
    fn open(url: &str, token: &str, revision: &str) -> Self {
        if revision == MODERN {
            return Self::Modern(Modern::new(url, token));
        }
        let able = json!({ "elicitation": {}, "sampling": {} });
        Self::Legacy(Legacy::open_with(url, token, LEGACY, &able))
    }

    fn tools(&self) -> Vec<Value> {
        let list = match self {
            Self::Modern(client) => client.result("tools/list", json!({})),
            Self::Legacy(client) => client.result("tools/list", json!({})),
        };
        list["tools"].as_array().unwrap().clone()
    }

    fn call(&self, tool: &str, arguments: &Value, schema: &Value) {
        let params = json!({ "name": tool, "arguments": arguments });
        match self {
            Self::Modern(client) => in_rounds(client, params, schema),
            Self::Legacy(client) => RUNTIME.block_on(answering(client, &params)),
        }
    }
}

/// Comes again with answers as long as it is asked for some.
fn in_rounds(client: &Modern, mut params: Value, schema: &Value) {
    params["_meta"][CAPABILITIES] = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    for _ in 0..MAX_ROUNDS {
        let reply = client.reply_with("tools/call", params.clone(), &mirrored(&params, schema));
        let result = &reply.response()["result"];
        if result["resultType"] != "input_required" {
            return;
        }
        let questions = result["inputRequests"].as_object().cloned().unwrap_or_default();
        let answers = questions.iter().map(|(key, question)| (key.clone(), answer(question)));
        params["inputResponses"] = Value::Object(answers.collect());
        params["requestState"] = result["requestState"].clone();
    }
}

/// Answers requests that come on the call's own stream.
async fn answering(client: &Legacy, params: &Value) {
    let id = next_id();
    let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
    let mut stream = client.post(call.to_string()).send().await.unwrap();
    let mut read = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        read.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((line, rest)) = read.split_once('\n') {
            let message = line.strip_prefix("data:").and_then(|it| serde_json::from_str(it).ok());
            let message: Value = message.unwrap_or_default();
            read = rest.to_owned();
            if message.get("method").is_some() && message.get("id").is_some() {
                let answer = answer(&message);
                let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer });
                client.post(answer.to_string()).send().await.unwrap();
            }
        }
    }
}

/// What a user, a model or a host answers.
fn answer(question: &Value) -> Value {
    match question["method"].as_str().unwrap_or_default() {
        "elicitation/create" => {
            let fields = question["params"]["requestedSchema"]["properties"].as_object().cloned();
            // A user who leaves every field as it is.
            let content = fields.unwrap_or_default().into_iter().filter_map(|(name, field)| {
                let value = field.get("default").cloned();
                value
                    .or_else(|| (field["type"] == "boolean").then(|| true.into()))
                    .map(|it| (name, it))
            });
            json!({ "action": "accept", "content": Value::Object(content.collect()) })
        }
        "sampling/createMessage" => json!({
            "role": "assistant",
            "content": { "type": "text", "text": "An answer." },
            "model": "none",
            "stopReason": "endTurn",
        }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///tests", "name": "tests" }] }),
        other => panic!("nobody can answer `{other}`"),
    }
}

/// The arguments that the gateway wants to see in headers too (`x-mcp-header`).
fn mirrored(params: &Value, schema: &Value) -> Vec<(String, String)> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let named = properties.iter().filter_map(|(name, property)| {
        let header = property["x-mcp-header"].as_str()?;
        let value = params["arguments"].get(name)?;
        let value = match value.as_str() {
            Some(text) => format!("=?base64?{}?=", base64(text.as_bytes())),
            None => value.to_string(),
        };
        Some((format!("mcp-param-{header}"), value))
    });
    named.collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
