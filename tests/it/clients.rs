//! MCP clients for tests, of both eras and transports, written by hand so that they can also do wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio as Pipe};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, RUNTIME};

/// The versions of the protocol, oldest first.
pub(crate) const VERSIONS: [&str; 5] =
    ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
/// The newest version.
pub(crate) const MODERN: &str = "2026-07-28";
/// The name that all these clients give themselves.
pub(crate) const CLIENT: &str = "tests";

/// The tasks extension.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Where a request of the newest version says what its client can do.
pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

static NEXT_ID: AtomicI64 = AtomicI64::new(1);

/// An id that no other request of this process has.
pub(crate) fn next_id() -> i64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A plain HTTP client. It keeps no connection: a gateway whose clock a test moves ends idle ones.
pub(crate) fn http() -> &'static reqwest::Client {
    static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        client.timeout(PATIENCE * 3).build().unwrap()
    });
    &HTTP
}

/// An HTTP response, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) body: String,
}

impl Reply {
    /// Sends the request and reads the whole response.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let session = response.headers().get("mcp-session-id");
        let session = session.map(|id| id.to_str().unwrap().to_owned());
        let body = response.text().await.unwrap();
        Self { status, session, body }
    }

    /// The messages in it: one as JSON, or those of an event stream.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if let Ok(message) = serde_json::from_str(&self.body) {
            return vec![message];
        }
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
    }

    /// The response in it: the message that is no notification.
    #[track_caller]
    pub(crate) fn response(&self) -> Value {
        let mut messages = self.messages();
        messages.retain(|message| message.get("method").is_none());
        assert_eq!(messages.len(), 1, "not one response: {self:?}");
        messages.remove(0)
    }

    /// Its body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// The headers of a POST to `/mcp`.
pub(crate) fn post(url: &str, token: &str) -> RequestBuilder {
    http()
        .post(format!("{url}/mcp"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

/// The part of a token that is as good as the whole, because the rest of it is known. It may have `_` in itself.
pub(crate) fn secret_of(token: &str) -> &str {
    let (_, secret) = token.rsplit_once('.').or_else(|| token.split_once('_')).unwrap();
    assert!(secret.len() > 30, "{secret} would be found anywhere");
    secret
}

/// What a client can do on every transport.
pub(crate) trait Client {
    /// Sends a request with the `_meta` of its era besides `params`, and gives the whole response.
    fn request(&self, method: &str, params: Value) -> Value;

    /// The result of a request that succeeded.
    #[track_caller]
    fn result(&self, method: &str, params: Value) -> Value {
        let response = self.request(method, params);
        assert!(response.get("error").is_none(), "{method} failed: {response}");
        response["result"].clone()
    }

    /// The result of a `tools/call`.
    #[track_caller]
    fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The names of all tools, over all pages.
    #[track_caller]
    fn tools(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let page = self.result("tools/list", params);
            let tools = page["tools"].as_array().unwrap();
            names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return names,
            }
        }
    }
}

/// The first text of a result.
#[track_caller]
pub(crate) fn said(result: &Value) -> String {
    let content = result["content"].as_array().unwrap_or_else(|| panic!("no content: {result}"));
    let texts: Vec<_> = content.iter().filter_map(|block| block["text"].as_str()).collect();
    texts.join("\n")
}

/// Asserts that a result is a refusal, and gives its text.
#[track_caller]
pub(crate) fn refused(result: &Value) -> String {
    assert_eq!(result["isError"], true, "not refused: {result}");
    said(result)
}

/// A client of protocol 2026-07-28 over HTTP.
#[derive(Clone)]
pub(crate) struct Modern {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) tasks: bool,
}

impl Modern {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), tasks: false }
    }

    /// `params` with the `_meta` of the era.
    pub(crate) fn params(&self, params: Value) -> Value {
        with_meta(params, self.tasks)
    }

    /// Sends any body with the headers that fit `method` and `name`.
    pub(crate) fn send(&self, method: &str, name: Option<&str>, body: String) -> Reply {
        self.send_with(method, name, &[], body)
    }

    fn send_with(
        &self,
        method: &str,
        name: Option<&str>,
        headers: &[(String, String)],
        body: String,
    ) -> Reply {
        let mut request = post(&self.url, &self.token)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        for (header, value) in headers {
            request = request.header(header, value);
        }
        RUNTIME.block_on(Reply::of(request.body(body)))
    }

    /// Sends a request and gives the HTTP response.
    pub(crate) fn reply(&self, method: &str, params: Value) -> Reply {
        self.reply_with(method, params, &[])
    }

    /// The same with more headers.
    pub(crate) fn reply_with(
        &self,
        method: &str,
        params: Value,
        headers: &[(String, String)],
    ) -> Reply {
        let params = self.params(params);
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params.get(key)).cloned();
        let message =
            json!({ "jsonrpc": "2.0", "id": next_id(), "method": method, "params": params });
        let name = name.as_ref().and_then(Value::as_str);
        self.send_with(method, name, headers, message.to_string())
    }

    /// The request of a call, as it stands.
    pub(crate) fn call_request(&self, tool: &str, arguments: Value) -> RequestBuilder {
        let params = self.params(json!({ "name": tool, "arguments": arguments }));
        let message =
            json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call", "params": params });
        post(&self.url, &self.token)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(message.to_string())
    }

    /// Makes a call of a gateway that may die over it; none when no whole answer came.
    pub(crate) fn try_call(&self, tool: &str, arguments: Value) -> Option<Value> {
        RUNTIME.block_on(async {
            let response = self.call_request(tool, arguments).send().await.ok()?;
            response.json().await.ok()
        })
    }

    /// The same client after the gateway was started again.
    pub(crate) fn again(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Polls a task until it is no longer at work.
    pub(crate) fn task_when_done(&self, id: &str) -> Value {
        crate::harness::until("the task to end", || {
            let task = self.result("tasks/get", json!({ "taskId": id }));
            (task["status"] != "working").then_some(task)
        })
    }
}

impl Client for Modern {
    fn request(&self, method: &str, params: Value) -> Value {
        self.reply(method, params).response()
    }
}

fn with_meta(mut params: Value, tasks: bool) -> Value {
    let mut capabilities = json!({});
    if tasks {
        capabilities["extensions"] = json!({ TASKS: {} });
    }
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": CLIENT, "version": "1" });
    // What a test says of its client stands.
    if meta[CAPABILITIES].is_null() {
        meta[CAPABILITIES] = capabilities;
    }
    params
}

/// A session of an earlier protocol over HTTP.
#[derive(Clone)]
pub(crate) struct Legacy {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) version: String,
    pub(crate) session: String,
}

impl Legacy {
    /// Opens a session.
    pub(crate) fn open(url: &str, token: &str, version: &str) -> Self {
        Self::open_with(url, token, version, &json!({}))
    }

    /// Opens a session of a client that can do what `capabilities` say.
    pub(crate) fn open_with(url: &str, token: &str, version: &str, capabilities: &Value) -> Self {
        let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": "initialize",
                              "params": hello(version, capabilities) });
        let reply = RUNTIME.block_on(Reply::of(post(url, token).body(message.to_string())));
        let response = reply.response();
        assert_eq!(response["result"]["protocolVersion"], version, "{reply:?}");
        let session = reply.session.expect("a session id");
        let (url, token, version) = (url.to_owned(), token.to_owned(), version.to_owned());
        let client = Self { url, token, version, session };
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(client.send(ready.to_string()).status, 202);
        client
    }

    /// A POST of the session.
    pub(crate) fn post(&self, body: String) -> RequestBuilder {
        post(&self.url, &self.token)
            .header("mcp-session-id", &self.session)
            .header("mcp-protocol-version", &self.version)
            .body(body)
    }

    /// Sends any body.
    pub(crate) fn send(&self, body: String) -> Reply {
        RUNTIME.block_on(Reply::of(self.post(body)))
    }

    /// Sends a request with this id in a thread of its own.
    pub(crate) fn send_later(
        &self,
        id: i64,
        method: &str,
        params: Value,
    ) -> thread::JoinHandle<Reply> {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let client = self.clone();
        thread::spawn(move || client.send(message.to_string()))
    }

    /// Sends a notification.
    pub(crate) fn notify(&self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        assert_eq!(self.send(message.to_string()).status, 202);
    }
}

impl Client for Legacy {
    fn request(&self, method: &str, params: Value) -> Value {
        let message =
            json!({ "jsonrpc": "2.0", "id": next_id(), "method": method, "params": params });
        self.send(message.to_string()).response()
    }
}

fn hello(version: &str, capabilities: &Value) -> Value {
    json!({ "protocolVersion": version, "capabilities": capabilities,
            "clientInfo": { "name": CLIENT, "version": "1" } })
}

/// A client that spawned the gateway and speaks over its standard streams.
pub(crate) struct Stdio {
    process: Child,
    input: Mutex<Option<ChildStdin>>,
    output: Mutex<Receiver<Value>>,
    modern: bool,
}

impl Stdio {
    /// Spawns the command; nothing is said yet.
    pub(crate) fn spawn(mut command: Command, log: Arc<Mutex<String>>) -> Self {
        let mut process = command.stdin(Pipe::piped()).spawn().unwrap();
        let input = Mutex::new(process.stdin.take());
        let (sender, output) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line)
                    .unwrap_or_else(|_| json!({ "not a message": line }));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut errors = process.stderr.take().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            log.lock().unwrap().push_str(&text);
        });
        Self { process, input, output: Mutex::new(output), modern: false }
    }

    /// Begins as a client of `version` does.
    pub(crate) fn begin(self, version: &str) -> Self {
        self.begin_with(version, &json!({}))
    }

    /// The same for a client that can do what `capabilities` say. One of the newest version says it
    /// with each request.
    pub(crate) fn begin_with(mut self, version: &str, capabilities: &Value) -> Self {
        self.modern = version == MODERN;
        if self.modern {
            self.result("server/discover", json!({}));
        } else {
            let greeted = self.result("initialize", hello(version, capabilities));
            assert_eq!(greeted["protocolVersion"], version);
            let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            self.send_line(ready.to_string().as_bytes());
        }
        self
    }

    /// Writes one line, whatever it is.
    pub(crate) fn send_line(&self, line: &[u8]) {
        let mut input = self.input.lock().unwrap();
        let input = input.as_mut().expect("an open input");
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&self, id: &Value, method: &str, params: Value) {
        let params = if self.modern { with_meta(params, false) } else { params };
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send_line(message.to_string().as_bytes());
    }

    /// The next message, within the deadline.
    #[track_caller]
    pub(crate) fn next(&self) -> Value {
        self.output.lock().unwrap().recv_timeout(PATIENCE).expect("a message from the gateway")
    }

    /// The next message that is no notification.
    #[track_caller]
    pub(crate) fn next_response(&self) -> Value {
        loop {
            let message = self.next();
            if message.get("method").is_none() {
                return message;
            }
        }
    }

    /// The answer to the request `id`; other messages are passed over.
    #[track_caller]
    pub(crate) fn answer_to(&self, id: &Value) -> Value {
        loop {
            let message = self.next();
            if message.get("id") == Some(id) && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Closes the input, as a client that goes away does.
    pub(crate) fn hang_up(&self) {
        drop(self.input.lock().unwrap().take());
    }

    /// The process.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap()
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) -> bool {
        crate::harness::until("the stdio process to end", || self.process.try_wait().unwrap())
            .success()
    }
}

impl Client for Stdio {
    fn request(&self, method: &str, params: Value) -> Value {
        let id = json!(next_id());
        self.send(&id, method, params);
        self.answer_to(&id)
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
