//! The client that is not idle: governed calls, one after the other, on a connection that is kept.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::now;
use crate::upstream::MODERN;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A caller of 2026-07-28.
pub(crate) struct Active {
    http: reqwest::Client,
    url: String,
    token: String,
    next: u64,
}

impl Active {
    /// Connects, and waits until the tool can be called.
    pub(crate) async fn open(gateway: &Gateway) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            .timeout(PATIENCE)
            .build()?;
        let url = format!("http://{}/mcp", gateway.address);
        let token = gateway.token(0).unwrap_or_default().to_owned();
        let mut active = Self { http, url, token, next: 1 };
        let begun = now();
        while let Err(error) = active.call().await {
            ensure!(begun.elapsed() < PATIENCE, error);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(active)
    }

    /// How many connections it has.
    pub(crate) const fn connections(&self) -> u64 {
        1
    }

    /// Makes so many calls; gives the time of each.
    pub(crate) async fn calls(&mut self, count: usize) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(self.call().await?);
        }
        Ok(times)
    }

    async fn call(&mut self) -> Result<Duration> {
        let id = self.next;
        self.next += 1;
        let text = format!("call {id}");
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": MODERN,
                           "io.modelcontextprotocol/clientCapabilities": {} });
        let params =
            json!({ "name": "echo", "arguments": { "text": text, "count": 3 }, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/call")
            .header("mcp-name", "echo")
            .body(body.to_string());
        let begun = now();
        let body = request.send().await?.bytes().await?;
        let took = begun.elapsed();
        let message: Value = serde_json::from_slice(&body)?;
        let said = message.pointer("/result/content/0/text").and_then(Value::as_str);
        ensure!(said == Some(text.as_str()), "call {id} was answered {message}");
        Ok(took)
    }
}
