//! One caller: an HTTP/1.1 connection that is kept, the same code for every target.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::children::Target;
use crate::now;
use crate::upstream::{LEGACY, MODERN};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// Stateless.
    Modern,
    /// In a session.
    Legacy,
}

impl Era {
    /// The protocol version.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Modern => MODERN,
            Self::Legacy => LEGACY,
        }
    }
}

/// One caller of one target.
pub(crate) struct Caller {
    http: reqwest::Client,
    target: Target,
    era: Era,
    session: Option<String>,
    next: u64,
}

impl Caller {
    /// Connects, and opens a session where the era has one.
    pub(crate) async fn open(target: &Target, era: Era) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            .timeout(PATIENCE)
            .build()?;
        let mut caller = Self { http, target: target.clone(), era, session: None, next: 1 };
        if era == Era::Legacy {
            let opening = json!({
                "jsonrpc": "2.0", "id": 0, "method": "initialize",
                "params": {
                    "protocolVersion": LEGACY, "capabilities": {},
                    "clientInfo": { "name": "bench", "version": "1" },
                },
            });
            let response = caller.post().body(opening.to_string()).send().await?;
            ensure!(response.status().is_success(), "initialize: {}", response.status());
            let session = response.headers().get(SESSION).context("no session")?;
            caller.session = Some(session.to_str()?.to_owned());
            response.bytes().await?;
            let opened = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            let response = caller.post().body(opened.to_string()).send().await?;
            ensure!(response.status().is_success(), "initialized: {}", response.status());
        }
        Ok(caller)
    }

    /// Makes one call; gives the time from sending it to having its whole answer, which is then checked.
    pub(crate) async fn call(&mut self) -> Result<Duration> {
        let id = self.next;
        self.next += 1;
        let text = format!("call {id}: the quick brown fox jumps over the lazy dog, twice a day");
        let mut params = json!({
            "name": self.target.tool,
            "arguments": { "text": text, "count": 3, "tags": ["a", "b"], "exact": true },
        });
        let mut request = self.post();
        if self.era == Era::Modern {
            request = request.header("mcp-method", "tools/call");
            request = request.header("mcp-name", self.target.tool);
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            });
            if let Some(params) = params.as_object_mut() {
                params.insert("_meta".into(), meta);
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let request = request.body(body.to_string());
        let begun = now();
        let response = request.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        let took = begun.elapsed();
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        check(&body, id, &text)?;
        Ok(took)
    }

    fn post(&self) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .post(&self.target.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(token) = &self.target.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if self.era == Era::Modern || self.session.is_some() {
            request = request.header(VERSION, self.era.version());
        }
        if let Some(session) = &self.session {
            request = request.header(SESSION, session);
        }
        request
    }
}

/// The answer must be the echo of what was sent, alone or as the last event of a stream.
fn check(body: &[u8], id: u64, text: &str) -> Result<()> {
    let body = std::str::from_utf8(body)?;
    let events = body.lines().filter_map(|line| line.strip_prefix("data:"));
    let message = events.map(str::trim).rfind(|data| !data.is_empty()).unwrap_or(body);
    let message: Value = serde_json::from_str(message).with_context(|| body.to_owned())?;
    let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
    let refused = message.pointer("/result/isError").and_then(Value::as_bool).unwrap_or(false);
    if message.get("id").and_then(Value::as_u64) != Some(id) || said != Some(text) || refused {
        bail!("call {id} was answered {body}");
    }
    Ok(())
}
