//! The link against a small server that misbehaves on request.

mod http;
mod process;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::backend::contact::{Attendance, Client, Listener, News, Progress};
use crate::backend::{BackendError, RawResult};
use crate::catalog::Remote;
use crate::clock::SystemClock;
use crate::json::Object;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mcp_upstream.py");
/// The result of the tool `raw`, as the fixture writes it.
const RAW: &str = concat!(
    r#"{"zeta":{"b":1,"a":[1.50,1e2]} , "content":[{"type":"hologram","angle":"#,
    r#"123456789012345678901234567890},{"text":"h\u00e9","type":"text","x-vendor":null}],"#,
    r#""isError":false,"_meta":{"z":0,"a":-0}}"#
);
const CAP: usize = 64 * 1024;
const LONG: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        max_message_bytes: CAP,
        connect_timeout: LONG,
        max_concurrent: 8,
        max_tools: 100,
        asking: Asking::default(),
    }
}

fn call() -> Call {
    Call {
        max_result_bytes: CAP,
        deadline: LONG,
        cancel: CancellationToken::new(),
        contact: Contact::default(),
        traceparent: None,
    }
}

/// Progress as it comes to a caller, and what keeps it coming.
fn watched() -> (Call, Attendance, UnboundedReceiver<Progress>) {
    struct Sink(UnboundedSender<Progress>);
    impl Listener for Sink {
        fn tell(&self, news: News) {
            if let News::Progress(progress) = news {
                self.0.send(progress).unwrap();
            }
        }
    }
    let (sink, progress) = unbounded_channel();
    let call = call();
    let attendance = call.contact.attend(Client::default(), Some(Arc::new(Sink(sink))));
    (call, attendance, progress)
}

fn object(value: serde_json::Value) -> Object {
    value.as_object().cloned().unwrap()
}

fn tool_named(name: &str) -> Remote {
    Remote::Tool { from: name.to_owned() }
}

async fn run(
    link: &Link,
    tool: &str,
    arguments: serde_json::Value,
) -> Result<String, BackendError> {
    let RawResult(raw) = link.call(&tool_named(tool), &object(arguments), call()).await?;
    Ok(raw.get().to_owned())
}

/// Waits until the fixture has written `event`.
async fn logged(log: &Path, event: &str) -> String {
    let seen = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains(event)) {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, seen)
        .await
        .unwrap_or_else(|_| panic!("no `{event}` in {:?}", std::fs::read_to_string(log)))
}

fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}
