//! The upstream: the least that is an MCP server in both eras, with an `echo` tool and a count of its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The stateless protocol.
pub(crate) const MODERN: &str = "2026-07-28";
/// The last one with sessions.
pub(crate) const LEGACY: &str = "2025-11-25";

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    sessions: AtomicU64,
}

fn routes() -> Router {
    Router::new()
        .route("/mcp", post(message).delete(async || StatusCode::OK))
        .route("/calls", get(calls))
        .with_state(Arc::new(Counts::default()))
}

/// Serves on `listener`, for ever.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, routes()).await
}

async fn calls(State(counts): State<Arc<Counts>>) -> String {
    counts.calls.load(Ordering::SeqCst).to_string()
}

async fn message(State(counts): State<Arc<Counts>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (Some(id), Some(method)) =
        (message.get("id"), message.get("method").and_then(Value::as_str))
    else {
        return StatusCode::ACCEPTED.into_response();
    };
    let version = headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
    let modern = version == Some(MODERN);
    if method == "initialize" {
        let session = counts.sessions.fetch_add(1, Ordering::SeqCst);
        let result = json!({
            "protocolVersion": LEGACY,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "bench", "version": "1" },
        });
        let session = [("mcp-session-id", format!("session-{session}"))];
        return (session, axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })))
            .into_response();
    }
    let mut result = match method {
        "server/discover" => json!({
            "supportedVersions": [MODERN],
            "capabilities": { "tools": {} },
            "ttlMs": 60_000,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "bench", "version": "1" } },
        }),
        "tools/list" => json!({ "tools": [tool()], "ttlMs": 60_000, "cacheScope": "private" }),
        "tools/call" => {
            counts.calls.fetch_add(1, Ordering::SeqCst);
            let text = message.pointer("/params/arguments/text").cloned().unwrap_or_default();
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            let body = axum::Json(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            return (StatusCode::NOT_FOUND, body).into_response();
        }
    };
    if modern && let Value::Object(result) = &mut result {
        result.insert("resultType".into(), "complete".into());
    }
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

fn tool() -> Value {
    json!({
        "name": "echo",
        "description": "Say the text again.",
        "inputSchema": {
            "type": "object",
            "required": ["text"],
            "properties": { "text": { "type": "string" } },
        },
    })
}
