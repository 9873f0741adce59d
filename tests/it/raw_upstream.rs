//! MCP servers of the tests' own that write bytes: no library stands between them and the wire.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What a call is answered with; `@ID@` stands for the request's id, `@TOKEN@` for its progress token.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A whole message as JSON.
    Json(Vec<u8>),
    /// The bytes of a stream of events.
    Events(Vec<u8>),
    /// The beginning of a stream of events, and then this again and again until nobody reads.
    Endless(Vec<u8>, Vec<u8>),
}

impl Answer {
    /// A message with this result.
    pub(crate) fn result(result: &str) -> Self {
        Self::Json(format!(r#"{{"jsonrpc":"2.0","id":@ID@,"result":{result}}}"#).into_bytes())
    }

    /// The same in one event, whose lines are the text's.
    pub(crate) fn event(result: &str) -> Self {
        let message = format!(r#"{{"jsonrpc":"2.0","id":@ID@,"result":{result}}}"#);
        let lines = message.replace("\r\n", "\n").replace('\n', "\ndata:");
        Self::Events(format!("event: message\ndata: {lines}\n\n").into_bytes())
    }
}

#[derive(Default)]
struct Said {
    /// The `params` of each `tools/call`, as they came.
    calls: Mutex<Vec<String>>,
    /// By the call's argument `key`.
    answers: Mutex<HashMap<String, Answer>>,
}

/// A server over HTTP, as of 2025-11-25, with one tool.
pub(crate) struct RawUpstream {
    said: Arc<Said>,
    port: u16,
}

impl RawUpstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Said::default());
        let shared = Arc::clone(&said);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let said = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &said));
            }
        });
        Self { said, port }
    }

    /// The manifest of its tool `raw`, whose result may have 1 MB.
    pub(crate) fn manifest(&self) -> String {
        format!(
            "backend: {{ name: raw, mcp: {{ url: \"http://127.0.0.1:{}/mcp\" }}, timeout: 15s, max_output_bytes: 1000000 }}\ntools:\n  - {{ name: raw, attributes: {{ action_type: write }} }}\n",
            self.port
        )
    }

    /// Answers calls with the argument `key` with this; requests of the method `key` too.
    pub(crate) fn answer(&self, key: &str, answer: Answer) {
        self.said.answers.lock().unwrap().insert(key.to_owned(), answer);
    }

    /// The `params` of every call that came, as they came.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.said.calls.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, said: &Said) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (method, body) = request(&mut reader)?;
        if method != "POST" {
            let status = if method == "GET" { "405 Method Not Allowed" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        }
        let message: Value = serde_json::from_slice(&body).ok()?;
        let Some(id) = message.get("id").map(Value::to_string) else {
            write!(stream, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        let token = message["params"]["_meta"]["progressToken"].to_string();
        let filled = |bytes: &[u8]| filled(&filled(bytes, "@ID@", &id), "@TOKEN@", &token);
        match said.answer_to(&message, &body) {
            Answer::Json(bytes) => whole(&mut stream, "application/json", &filled(&bytes))?,
            Answer::Events(bytes) => whole(&mut stream, "text/event-stream", &filled(&bytes))?,
            Answer::Endless(first, again) => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                    .ok()?;
                stream.write_all(&filled(&first)).ok()?;
                loop {
                    stream.write_all(&again).ok()?;
                }
            }
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let method = line.split(' ').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, body))
}

fn whole(stream: &mut TcpStream, kind: &str, bytes: &[u8]) -> Option<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(&[head.as_bytes(), bytes].concat()).ok()
}

fn filled(bytes: &[u8], mark: &str, id: &str) -> Vec<u8> {
    let mark = mark.as_bytes();
    let Some(place) = bytes.windows(mark.len()).position(|window| window == mark) else {
        return bytes.to_vec();
    };
    [&bytes[..place], id.as_bytes(), &bytes[place + mark.len()..]].concat()
}

impl Said {
    fn answer_to(&self, message: &Value, body: &[u8]) -> Answer {
        let method = message["method"].as_str().unwrap_or_default();
        if let Some(answer) = self.answers.lock().unwrap().get(method) {
            return answer.clone();
        }
        let result = match method {
            "initialize" => {
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                                    "serverInfo": { "name": "raw", "version": "1" } })
            }
            "tools/list" => json!({ "tools": [{ "name": "raw", "description": "Answers in bytes.",
                                                "inputSchema": { "type": "object" } }] }),
            "tools/call" => {
                #[derive(serde::Deserialize)]
                struct Call<'a> {
                    #[serde(borrow)]
                    params: &'a serde_json::value::RawValue,
                }
                let call: Call<'_> = serde_json::from_slice(body).unwrap();
                self.calls.lock().unwrap().push(call.params.get().to_owned());
                let key = message["params"]["arguments"]["key"].as_str().unwrap_or_default();
                let answer = self.answers.lock().unwrap().get(key).cloned();
                return answer.unwrap_or_else(|| {
                    Answer::result(r#"{"content":[{"type":"text","text":"raw"}]}"#)
                });
            }
            _ => {
                let error = json!({ "code": -32601, "message": "no" });
                return Answer::Json(
                    format!(r#"{{"jsonrpc":"2.0","id":@ID@,"error":{error}}}"#).into_bytes(),
                );
            }
        };
        Answer::result(&result.to_string())
    }
}

/// A server over standard streams: what it says to a call is the file `answers/<key>` of the test's
/// directory, `@ID@` filled in; each call's `params` become a line of `ran`.
pub(crate) const STDIO_SCRIPT: &str = r#"
import json, os, sys
out = sys.stdout.buffer
def say(text):
    out.write(text + b"\n")
    out.flush()
for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" not in message: continue
    id, method = json.dumps(message["id"]).encode(), message["method"]
    def answer(result): say(b'{"jsonrpc":"2.0","id":' + id + b',"result":' + json.dumps(result).encode() + b"}")
    if method == "initialize":
        answer({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw", "version": "1"}})
    elif method == "tools/list":
        answer({"tools": [{"name": "raw_stdio", "description": "Answers in bytes.", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        with open("@DIR@/ran", "a") as ran: ran.write(json.dumps(message["params"]) + "\n")
        key = message["params"]["arguments"].get("key", "")
        if key == "noise": sys.stderr.write("e" * 3000000)
        if key == "exit": os._exit(3)
        if key == "long":
            for _ in range(100): out.write(b"x" * 1000000)
            out.write(b"\n")
        path = "@DIR@/answers/" + os.path.basename(key)
        if key and os.path.exists(path): say(open(path, "rb").read().replace(b"@ID@", id))
        else: answer({"content": [{"type": "text", "text": "raw"}]})
    else:
        say(b'{"jsonrpc":"2.0","id":' + id + b',"error":{"code":-32601,"message":"no"}}')
"#;

/// The manifest of the server over standard streams, whose tool is `raw_stdio`.
pub(crate) const STDIO_MANIFEST: &str = r#"
backend: { name: raw_stdio, mcp: { program: /usr/bin/python3, args: ["@DIR@/bin/raw.py"] }, timeout: 15s, max_output_bytes: 1000000 }
tools:
  - { name: raw_stdio, attributes: { action_type: write } }
"#;
