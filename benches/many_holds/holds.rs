//! Stores with many pending holds, put in as a gateway does it: `Store::open_hold`, each with its entry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use countersign::clock::{Clock, SystemClock};
use countersign::digest::{Digest, call_digest};
use countersign::evidence::verify::Summary;
use countersign::evidence::{Asked, Event};
use countersign::hold::{Hold, State, Terms};
use countersign::ids::{AgentName, CallId, HoldId};
use countersign::json::Object;
use countersign::storage::Store as _;
use countersign::storage::sqlite::{SqliteStore, open_log_read_only};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;
use serde_json::Value;

/// How many holds are on their way into the store at once; fewer than its queue takes.
const UNDER_WAY: usize = 4096;
/// How long people have to decide: longer than the benchmark runs.
const DECIDE_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// How many holds there are, and how alike they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// What the tables call it.
    pub(crate) name: &'static str,
    pub(crate) agents: u32,
    pub(crate) holds_of_each: u32,
    /// Whether all holds of one agent are for the same call.
    pub(crate) identical: bool,
}

/// The stores that are compared; the first is what the others are compared with.
pub(crate) fn forms(many: u32) -> [Form; 5] {
    let agents = (many / 1000).max(1);
    let of_many = Form { name: "", agents, holds_of_each: many / agents, identical: false };
    [
        Form { name: "one", agents: 1, holds_of_each: 1, identical: true },
        Form { name: "a page", agents: 100, holds_of_each: 1, identical: false },
        Form { name: "flood", agents: 1, holds_of_each: 10_000, identical: true },
        Form { name: "many identical", identical: true, ..of_many },
        Form { name: "many different", ..of_many },
    ]
}

impl Form {
    pub(crate) const fn rows(&self) -> u32 {
        self.agents * self.holds_of_each
    }

    /// How many rows a person sees, before a limit.
    pub(crate) const fn sets(&self) -> u32 {
        if self.identical { self.agents } else { self.rows() }
    }
}

/// A store that is filled, and open.
pub(crate) struct Filled {
    pub(crate) form: Form,
    pub(crate) store: SqliteStore,
    pub(crate) clock: Arc<SystemClock>,
    directory: PathBuf,
}

/// A data directory that nobody has open.
pub(crate) struct Closed {
    pub(crate) form: Form,
    /// Where its gateway stands; the data is in `data`.
    pub(crate) directory: PathBuf,
}

impl Filled {
    pub(crate) async fn open(within: &Path, form: Form) -> Result<Self> {
        let directory = within.join(form.name.replace(' ', "-"));
        for folder in ["policies", "tool-manifests"] {
            std::fs::create_dir_all(directory.join(folder))?;
        }
        let clock = Arc::new(SystemClock::new());
        let store = SqliteStore::open(&directory.join("data"), clock.clone())?;
        let filled = Self { form, store, clock, directory };
        filled.open_overdue().await?;
        // Agents take turns, as they would.
        let all =
            (0..form.holds_of_each).flat_map(|nth| (0..form.agents).map(move |agent| (agent, nth)));
        stream::iter(all.skip(1))
            .map(|(agent, nth)| filled.open_one(agent, if form.identical { 0 } else { nth }))
            .buffer_unordered(UNDER_WAY)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(filled)
    }

    /// Opens the first hold, whose time ended while nobody could decide, and gives people more: from then on
    /// every start asks whether there are others.
    async fn open_overdue(&self) -> Result<()> {
        let now = self.clock.now();
        let hold =
            Hold { decide_by: now - SignedDuration::from_secs(1), ..self.hold("agent-0", 0)? };
        self.store.open_hold(hold.clone(), opening(&hold), u32::MAX).await?;
        let from = now - SignedDuration::from_mins(2);
        ensure!(self.store.note_absence(from, now, "the benchmark says so").await?, "no absence");
        let extended = self.store.extend_holds(DECIDE_WITHIN.unsigned_abs(), 1).await?;
        ensure!(extended == 1, "extended {extended}");
        Ok(())
    }

    async fn open_one(&self, agent: u32, nth: u32) -> Result<Hold> {
        let hold = self.hold(&format!("agent-{agent}"), nth)?;
        Ok(self.store.open_hold(hold.clone(), opening(&hold), u32::MAX).await?)
    }

    /// A hold of `agent` for its `nth` call, from now.
    pub(crate) fn hold(&self, agent: &str, nth: u32) -> Result<Hold> {
        let agent: AgentName = agent.parse()?;
        let now = self.clock.now();
        let definition = Digest::of(b"definition");
        let arguments = arguments(nth);
        let digest = call_digest(&agent, "kubectl_scale", &definition, &arguments)?;
        Ok(Hold {
            via: None,
            id: HoldId::from_random(random()?),
            state: State::Pending { verdicts: Vec::new() },
            agent,
            groups: vec!["operations".to_owned()],
            owner: Some("ada".to_owned()),
            client: Some("bench 1.0".to_owned()),
            tool: "kubectl_scale".to_owned(),
            definition_fingerprint: definition,
            requested_arguments: arguments.clone(),
            requested_digest: digest,
            arguments,
            edits: Vec::new(),
            digest,
            rules: vec!["production-writes-need-people".to_owned()],
            reason: "a write in production".to_owned(),
            agent_reason: Some("the queue grows, more workers are needed".to_owned()),
            call: CallId::new(),
            workflow: None,
            compensates: None,
            revision: Digest::of(b"revision"),
            created_at: now,
            decide_by: now.saturating_add(DECIDE_WITHIN)?,
            extended: None,
            execute_within: SignedDuration::from_hours(1),
            terms: Terms::default(),
            amendments: Vec::new(),
            anew_of: None,
        })
    }

    /// Closes the store, and writes nothing more than what has queued.
    pub(crate) fn close(self) -> Closed {
        Closed { form: self.form, directory: self.directory }
    }
}

impl Closed {
    /// What the whole record says, from its first entry.
    pub(crate) fn verified(&self) -> Result<Summary> {
        let log = open_log_read_only(&self.directory.join("data"))?;
        log.verify()?.map_err(|fault| anyhow!("{}: {fault}", self.form.name))
    }
}

/// The entry with which a hold opens.
pub(crate) fn opening(hold: &Hold) -> Event {
    let asked = Asked {
        via: None,
        call: hold.call,
        agent: hold.agent.clone(),
        owner: hold.owner.clone(),
        groups: Vec::new(),
        client: hold.client.clone(),
        workflow: None,
        compensates: None,
        tool: hold.tool.clone(),
        backend: "kubectl".to_owned(),
        capability: None,
        definition_fingerprint: hold.definition_fingerprint,
        arguments: hold.arguments.clone(),
        digest: hold.digest,
        revision: hold.revision,
        decision: "REQUIRE_APPROVAL".to_owned(),
        rules: hold.rules.clone(),
        edits: Vec::new(),
        noticed: countersign::policy::Noticed::default(),
    };
    Event::Hold {
        hold: hold.id,
        asked,
        requested_arguments: hold.requested_arguments.clone(),
        decide_by: hold.decide_by,
        terms: Terms::default(),
        anew_of: None,
    }
}

fn arguments(nth: u32) -> Object {
    Object::from_iter([
        ("namespace".to_owned(), Value::from("production")),
        ("deployment".to_owned(), Value::from(format!("worker-{nth}"))),
        ("replicas".to_owned(), Value::from(12)),
        ("context".to_owned(), Value::from("eu-west-1")),
    ])
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("no random bytes from the system"))?;
    Ok(bytes)
}
