//! A gateway in front of the fixture: everything listed, tools of the tasks scenarios held, and a person who approves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::fixture::{self, Eras};
use super::forwarder::Forwarder;
use crate::harness::{RUNTIME, TestGateway, text};

/// Tools that run at once.
const ALLOWED: &[&str] = &[
    "greet",
    "json_schema_2020_12_tool",
    "test_audio_content",
    "test_custom_header",
    "test_dynamic_tool",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_embedded_resource",
    "test_error_handling",
    "test_image_content",
    "test_input_required_result_capabilities",
    "test_input_required_result_elicitation",
    "test_input_required_result_list_roots",
    "test_input_required_result_multi_round",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_request_state",
    "test_input_required_result_sampling",
    "test_input_required_result_tampered_state",
    "test_logging_tool",
    "test_missing_capability",
    "test_multiple_content_types",
    "test_reconnection",
    "test_sampling",
    "test_simple_text",
    "test_streaming_elicitation",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_trigger_prompt_change",
    "test_trigger_tool_change",
];
/// Tools of the tasks scenarios: a held call is a task.
const HELD: &[&str] = &[
    "confirm_delete",
    "failing_job",
    "multi_input",
    "protocol_error_job",
    "slow_compute",
    "test_tool_with_task",
];
const RESOURCES: &str = r#"
resources:
  - { uri: "test://static-text" }
  - { uri: "test://static-binary" }
  - { uri: "test://watched-resource" }
  - { uri_template: "test://template/{id}/data" }
prompts:
  - { name: test_simple_prompt }
  - { name: test_prompt_with_arguments }
  - { name: test_prompt_with_embedded_resource }
  - { name: test_prompt_with_image }
  - { name: test_input_required_result_prompt }
  - { name: test_dynamic_prompt }
"#;
const POLICY: &str = r"
rules:
  - { name: others, match: { environment: at-once }, decision: ALLOW }
  - { name: tasks, match: { environment: held }, decision: REQUIRE_APPROVAL }
";
/// How often the person looks for calls to approve.
const LOOK: Duration = Duration::from_millis(50);
/// How long a question waits for the suite. Some scenarios never answer theirs, and an upstream of an earlier
/// protocol carries one call of an agent at a time.
const ANSWER: &str = "2s";
/// Jobs that would take this long, in seconds, are there to be cancelled: nobody approves them.
const TOO_LONG: f64 = 60.0;

/// The whole arrangement.
pub(super) struct Profile {
    forwarder: Forwarder,
    ended: Arc<AtomicBool>,
    approver: Option<thread::JoinHandle<()>>,
    fixture: AbortHandle,
}

impl Profile {
    /// The fixture speaks `eras`.
    pub(super) fn start(eras: Eras) -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let fixture = RUNTIME.spawn(fixture::serve(listener, eras)).abort_handle();
        let gateway = TestGateway::builder()
            .manifest("fixture.yaml", &manifest(&url))
            .policy("rules.yaml", POLICY)
            .start();
        let forwarder = Forwarder::start(gateway.url(), &gateway.agent("suite"));
        let ended = Arc::new(AtomicBool::new(false));
        let approver = thread::spawn({
            let ended = Arc::clone(&ended);
            move || approve(&gateway, &ended)
        });
        Self { forwarder, ended, approver: Some(approver), fixture }
    }

    /// Where the suite reaches the gateway.
    pub(super) fn url(&self) -> &str {
        self.forwarder.url()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The gateway stops with the thread, and its record is verified there.
        let approved = self.approver.take().map(thread::JoinHandle::join);
        self.fixture.abort();
        if !thread::panicking() {
            assert!(matches!(approved, Some(Ok(()))), "the person who approves failed");
        }
    }
}

fn manifest(url: &str) -> String {
    let mcp = format!(
        "{{ url: \"{url}\", allow: [sampling, elicitation, roots], answer_within: {ANSWER} }}"
    );
    let mut text = format!("backend: {{ name: fixture, mcp: {mcp} }}\n");
    text += "attributes: { capability: fixture, action_type: read, environment: at-once }";
    text += RESOURCES;
    text += "tools:\n";
    for (names, environment) in [(ALLOWED, "at-once"), (HELD, "held")] {
        for name in names {
            text +=
                &format!("  - {{ name: {name}, attributes: {{ environment: {environment} }} }}\n");
        }
    }
    text
}

/// Approves what is held until the run has ended.
fn approve(gateway: &TestGateway, ended: &AtomicBool) {
    while !ended.load(Ordering::SeqCst) {
        let held = gateway.api_get("/api/v1/approvals?state=pending&each=true").json();
        for hold in held.as_array().unwrap() {
            if hold["arguments"]["seconds"].as_f64().is_none_or(|seconds| seconds < TOO_LONG) {
                approve_one(gateway, hold);
            }
        }
        thread::sleep(LOOK);
    }
}

fn approve_one(gateway: &TestGateway, hold: &Value) {
    let path = format!("/api/v1/approvals/{}/verdict", text(&hold["id"]));
    let verdict = json!({ "decision": "approve", "digest": hold["digest"] });
    let reply = gateway.api_post(&path, &verdict);
    // The suite may have cancelled it meanwhile.
    assert!(matches!(reply.status, 200 | 409), "{reply:?}");
}
