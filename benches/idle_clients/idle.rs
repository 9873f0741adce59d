//! A client that is connected and does nothing.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::{LEGACY, MODERN};

/// What kind of client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A session of 2025-11-25 with its event stream.
    Session,
    /// A subscription of 2026-07-28.
    Subscription,
    /// A connection of 2026-07-28 that is kept after a request.
    Kept,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Session, Self::Subscription, Self::Kept];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session with its stream (2025-11-25)",
            Self::Subscription => "`subscriptions/listen` (2026-07-28)",
            Self::Kept => "kept connection (2026-07-28)",
        }
    }
}

/// One of them.
pub(crate) struct Idle(TcpStream);

impl Idle {
    pub(crate) async fn open(address: &str, token: &str, kind: Kind) -> Result<Self> {
        let mut client = Self(TcpStream::connect(address).await?);
        let common = format!(
            "Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n"
        );
        match kind {
            Kind::Session => {
                let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                    "protocolVersion": LEGACY, "capabilities": {},
                    "clientInfo": { "name": "idle", "version": "1" } } });
                let head = client.post(&common, &hello, true).await?;
                let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
                let common =
                    format!("{common}Mcp-Session-Id: {}\r\n", session.context("no session")?);
                let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
                client.post(&common, &ready, true).await?;
                client.send(&format!("GET /mcp HTTP/1.1\r\n{common}\r\n")).await?;
                client.head().await?;
            }
            Kind::Subscription => {
                let listen = json!({ "notifications": { "toolsListChanged": true } });
                client.modern(&common, "subscriptions/listen", listen, false).await?;
            }
            Kind::Kept => client.modern(&common, "tools/list", json!({}), true).await?,
        }
        Ok(client)
    }

    /// Whether the gateway has kept it; what came meanwhile is passed over.
    pub(crate) fn is_open(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.0.try_read(&mut buffer) {
                Ok(0) => bail!("an idle client was cut"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn modern(
        &mut self,
        common: &str,
        method: &str,
        mut params: Value,
        whole: bool,
    ) -> Result<()> {
        if let Some(params) = params.as_object_mut() {
            let meta = json!({ "io.modelcontextprotocol/protocolVersion": MODERN,
                               "io.modelcontextprotocol/clientCapabilities": {} });
            params.insert("_meta".into(), meta);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let headers = format!("{common}MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n");
        self.post(&headers, &body, whole).await.map(drop)
    }

    async fn post(&mut self, headers: &str, body: &Value, whole: bool) -> Result<String> {
        let body = body.to_string();
        let length = body.len();
        let post = format!("POST /mcp HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.send(&post).await?;
        let head = self.head().await?;
        if whole {
            self.body(&head).await?;
        }
        Ok(head)
    }

    async fn send(&mut self, request: &str) -> Result<()> {
        Ok(self.0.write_all(request.as_bytes()).await?)
    }

    /// The head of an answer, in lower case.
    async fn head(&mut self) -> Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head)?.to_lowercase();
        ensure!(head.starts_with("http/1.1 2"), "{head}");
        Ok(head)
    }

    /// Reads the body that follows, so that the next answer can.
    async fn body(&mut self, head: &str) -> Result<()> {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if let Some(length) = length {
            let mut body = vec![0; length.trim().parse()?];
            self.0.read_exact(&mut body).await?;
        } else if head.contains("transfer-encoding: chunked") {
            let mut end = Vec::new();
            while !end.ends_with(b"\r\n0\r\n\r\n") {
                end.push(self.0.read_u8().await?);
            }
        }
        Ok(())
    }
}
