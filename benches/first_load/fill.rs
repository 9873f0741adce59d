//! A store with many calls and holds, put in as a gateway does it: each with its entries.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use countersign::clock::{Clock as _, SystemClock};
use countersign::digest::{Digest, call_digest};
use countersign::evidence::{Asked, Event, Intent, Outcome, OutcomeStatus};
use countersign::hold::{Hold, State, Terms};
use countersign::ids::{AgentName, CallId, HoldId};
use countersign::json::Object;
use countersign::storage::sqlite::SqliteStore;
use countersign::storage::{Store as _, Wait};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;
use serde_json::Value;

/// How many are on their way into the store at once; fewer than its queue takes.
const UNDER_WAY: usize = 1024;
/// How long people have to decide: longer than the benchmark runs.
const DECIDE_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// How many agents there are.
const AGENTS: u32 = 20;

pub(crate) async fn fill(data: &Path, calls: u32, holds: u32) -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    let store = SqliteStore::open(data, clock.clone())?;
    let (store, clock) = (&store, clock.as_ref());
    let ended = |nth| async move {
        let asked = asked(nth, "read_file", "ALLOW", "reads", read(nth))?;
        let call = asked.call;
        let intent = Intent {
            asked,
            hold: None,
            approved_by: Vec::new(),
            standing: None,
            charges: Vec::new(),
            brings: Vec::new(),
        };
        // Waiting for the disk keeps the queue from growing without end.
        store.begin_call(intent, Wait::Durable).await?;
        store.end_call(call, outcome(nth)).await?;
        anyhow::Ok(())
    };
    stream::iter(0..calls)
        .map(ended)
        .buffer_unordered(UNDER_WAY)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    stream::iter(0..holds)
        .map(|nth| async move {
            let (hold, event) = hold(nth, clock)?;
            store.open_hold(hold, event, u32::MAX).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(UNDER_WAY)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let pending = store.pending_calls(None, holds + 1).await?.len();
    ensure!(pending == holds as usize, "{pending} holds, not {holds}");
    store.settle().await?;
    Ok(())
}

fn asked(nth: u32, tool: &str, decision: &str, rule: &str, arguments: Object) -> Result<Asked> {
    let agent: AgentName = format!("agent-{}", nth % AGENTS).parse()?;
    let definition = Digest::of(tool.as_bytes());
    Ok(Asked {
        via: None,
        call: CallId::new(),
        digest: call_digest(&agent, tool, &definition, &arguments)?,
        agent,
        owner: Some("ada".to_owned()),
        client: Some("claude-code 2.1".to_owned()),
        workflow: None,
        compensates: None,
        tool: tool.to_owned(),
        backend: tool.to_owned(),
        groups: Vec::new(),
        capability: None,
        definition_fingerprint: definition,
        arguments,
        revision: Digest::of(b"revision"),
        decision: decision.to_owned(),
        rules: vec![rule.to_owned()],
        edits: Vec::new(),
        noticed: countersign::policy::Noticed::default(),
    })
}

fn read(nth: u32) -> Object {
    Object::from_iter([("path".to_owned(), Value::from(format!("notes/2026/{nth}.txt")))])
}

fn outcome(nth: u32) -> Outcome {
    let failed = nth.is_multiple_of(50);
    Outcome {
        status: if failed { OutcomeStatus::ToolError } else { OutcomeStatus::Success },
        error: failed.then(|| "the program ended with status 1".to_owned()),
        result_digest: Some(Digest::of(&nth.to_be_bytes())),
        result_bytes: Some(u64::from(nth % 5000)),
        backend_ms: u64::from(nth % 40),
        asked: Vec::new(),
        cached: false,
        charges: Vec::new(),
    }
}

/// A call that waits for people, each for another deployment, and the entry with which it does.
fn hold(nth: u32, clock: &SystemClock) -> Result<(Hold, Event)> {
    let arguments = Object::from_iter([
        ("name".to_owned(), Value::from(format!("checkout-worker-{nth}"))),
        ("namespace".to_owned(), Value::from("staging")),
        ("replicas".to_owned(), Value::from(1 + nth % 10)),
    ]);
    let rule = "production-writes";
    let asked = asked(nth, "kubernetes_deploy", "REQUIRE_APPROVAL", rule, arguments.clone())?;
    let now = clock.now();
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("no random bytes from the system"))?;
    let hold = Hold {
        via: None,
        id: HoldId::from_random(bytes),
        state: State::Pending { verdicts: Vec::new() },
        agent: asked.agent.clone(),
        groups: vec!["operations".to_owned()],
        owner: asked.owner.clone(),
        client: asked.client.clone(),
        tool: asked.tool.clone(),
        definition_fingerprint: asked.definition_fingerprint,
        requested_arguments: arguments.clone(),
        requested_digest: asked.digest,
        arguments,
        edits: Vec::new(),
        digest: asked.digest,
        rules: asked.rules.clone(),
        reason: format!("rule `{rule}` requires approval: a write in production"),
        agent_reason: Some("the queue grows, more workers are needed".to_owned()),
        call: asked.call,
        workflow: None,
        compensates: None,
        revision: asked.revision,
        created_at: now,
        decide_by: now.saturating_add(DECIDE_WITHIN)?,
        extended: None,
        execute_within: SignedDuration::from_hours(1),
        terms: Terms::default(),
        amendments: Vec::new(),
        anew_of: None,
    };
    let event = Event::Hold {
        hold: hold.id,
        asked,
        requested_arguments: hold.requested_arguments.clone(),
        decide_by: hold.decide_by,
        terms: Terms::default(),
        anew_of: None,
    };
    Ok((hold, event))
}
