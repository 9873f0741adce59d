//! The real gateway, in this process: opened, asked, crashed and opened again.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::call::standing::{self, Wish};
use countersign::call::{Answer, Request, halting, holding, run};
use countersign::clock::{Clock, ManualClock};
use countersign::config::{Config, Flags};
use countersign::gateway::Gateway;
use countersign::halts;
use countersign::hold::{Decision, Hold, Resolution, Verdict};
use countersign::ids::{CallId, HaltId, HoldId, StandingId};
use countersign::json::Object;
use countersign::principal::{Person, Role};
use countersign::storage::sqlite::{SqliteStore, open_log_read_only};
use countersign::storage::{HoldQuery, Reviewer, ReviewerChange, Store};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::faulty::{Death, Faulty, Side};
use super::small::{Call, DECIDE_WITHIN, EXECUTE_WITHIN, PEOPLE, POLICIES, Says, Scope};
use crate::harness::PATIENCE;

/// A gateway, and everything that outlives it.
pub(super) struct World {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Arc<Faulty>,
    pub(super) gateway: Arc<Gateway>,
    granted: u32,
}

/// The rules of one policy, written out.
fn policy(number: usize) -> String {
    let (says, most) = &POLICIES[number];
    let name = format!("p{number}");
    let terms = match says {
        Says::Deny => {
            return format!("rules:\n  - {{ name: {name}, match: {{}}, decision: DENY }}\n");
        }
        Says::Allow => {
            return format!("rules:\n  - {{ name: {name}, match: {{}}, decision: ALLOW }}\n");
        }
        Says::Hold(terms) => terms,
    };
    let rules = terms.demands.iter().enumerate().map(|(index, (group, quorum))| {
        let constraints = if *most < 9 { json!({ "max_n": most }) } else { json!({}) };
        let mut approval = json!({
            "quorum": quorum,
            "four_eyes": terms.four_eyes,
            "allow_edit": terms.allow_edit,
            "decide_within": format!("{DECIDE_WITHIN}s"),
            "execute_within": format!("{EXECUTE_WITHIN}s"),
        });
        if let Some(group) = group {
            approval["reviewers"] = json!([format!("group:{group}")]);
        }
        json!({ "name": format!("{name}-{index}"), "match": {}, "decision": "REQUIRE_APPROVAL",
            "approval": approval, "constraints": constraints })
    });
    json!({ "rules": rules.collect::<Vec<_>>() }).to_string()
}

/// The two tools, defined in one of three ways; the third has no program.
fn manifest(dir: &Path, definition: usize) -> String {
    let program = dir.join(["count", "count", "absent"][definition]);
    let description = ["Count.", "Count, as somebody else says.", "Count."][definition];
    let tool = |name: &str, idempotent: bool| {
        json!({
            "name": name,
            "description": description,
            "attributes": { "action": "count", "action_type": "write" },
            "idempotent": idempotent,
            "input_schema": { "type": "object", "additionalProperties": false, "required": ["n"],
                "properties": { "n": { "type": "integer" } } },
            "run": [format!("{name}-${{n}}")],
        })
    };
    json!({
        "backend": { "name": "counting", "command": { "program": program }, "sandbox": "unconfined" },
        "tools": [tool("plain", false), tool("again", true)],
    })
    .to_string()
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::Builder::new().prefix("cs-").tempdir().unwrap();
        for name in ["policies", "tool-manifests"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let script = format!("#!/bin/sh\necho \"$1\" >> '{}'\n", dir.path().join("ran").display());
        fs::write(dir.path().join("count"), script).unwrap();
        fs::set_permissions(dir.path().join("count"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("countersign.yaml"), "{}\n").unwrap();
        let clock = Arc::new(ManualClock::new(start()));
        let (store, gateway) = open(dir.path(), &clock, 0, 0).await;
        for (name, groups) in PEOPLE {
            let reviewer = Reviewer {
                name: name.parse().unwrap(),
                role: Role::Reviewer,
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                also: Vec::new(),
                token_digest: countersign::digest::Digest::of(name.as_bytes()),
                keys: Vec::new(),
                passkeys: Vec::new(),
                created_at: start(),
                expires_at: None,
                revoked_at: None,
            };
            store.add_reviewer(reviewer, "root".to_owned()).await.unwrap();
        }
        Self { dir, clock, store, gateway, granted: 0 }
    }

    /// Drops everything as it stands and opens it again, with these files.
    pub(super) async fn reopen(self, policy: usize, definition: usize) -> Self {
        let Self { dir, clock, store, gateway, granted } = self;
        drop(gateway);
        let mut store = Some(store);
        let only = async {
            while Arc::strong_count(store.as_ref().unwrap()) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, only).await.expect("nobody to hold the store");
        drop(store.take());
        let (store, gateway) = open(dir.path(), &clock, policy, definition).await;
        gateway.recover().await.unwrap();
        let world = Self { dir, clock, store, gateway, granted };
        world.rest().await;
        world
    }

    /// Returns when the gateway does nothing any more.
    pub(super) async fn rest(&self) {
        let rests = async {
            while Arc::strong_count(&self.gateway) > 1 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, rests).await.expect("the gateway to rest");
    }

    pub(super) fn dies_at(&self, count: Option<(u8, Side)>) {
        self.store.dies_at(count);
    }

    pub(super) fn died(&self) -> Option<Death> {
        self.store.died()
    }

    /// Asks for a call, and has what it gives handed out; the hold that it joined or opened.
    pub(super) async fn ask(&self, call: Call) -> Option<HoldId> {
        let request = Request {
            call: CallId::new(),
            principal: self.gateway.agents.local(&"bot".parse().unwrap(), "own").unwrap(),
            tool: if call.idempotent { "again" } else { "plain" }.to_owned(),
            arguments: arguments(call.number),
            client: None,
            workflow: None,
            compensates: None,
            reason: None,
            hold: None,
            approval: None,
            cancel: CancellationToken::new(),
            contact: countersign::backend::Contact::default(),
        };
        match run(Arc::clone(&self.gateway), request).await {
            Answer::Held(waiting) => {
                let id = waiting.hold.id;
                holding::tell(&self.gateway, waiting.hold).await;
                Some(id)
            }
            Answer::Result(_) | Answer::Refused(_) => None,
        }
    }

    fn verdict(&self, hold: &Hold, person: usize, decision: Decision) -> Verdict {
        let person = Person::registered(&PEOPLE[person].0.parse().unwrap());
        Verdict::new(person, decision, hold.digest, self.clock.now())
    }

    pub(super) async fn decide(&self, hold: &Hold, person: usize, decision: Decision) {
        let verdict = self.verdict(hold, person, decision);
        drop(holding::decide(&self.gateway, hold.id, verdict).await);
    }

    /// A verdict on something else than is held changes nothing.
    pub(super) async fn decide_blindly(&self, hold: &Hold, person: usize) {
        let mut verdict = self.verdict(hold, person, Decision::Approve);
        verdict.digest = countersign::digest::Digest::of(b"something else");
        assert!(holding::decide(&self.gateway, hold.id, verdict).await.is_err());
    }

    pub(super) async fn edit(&self, hold: &Hold, person: usize, number: i64) {
        let verdict = self.verdict(hold, person, Decision::Approve);
        drop(holding::amend(&self.gateway, hold, arguments(number), verdict).await);
    }

    pub(super) async fn resolve(&self, hold: &Hold, person: usize, resolution: Resolution) {
        let verdict = self.verdict(hold, person, Decision::Approve);
        drop(holding::resolve(&self.gateway, hold, resolution, verdict).await);
    }

    pub(super) async fn withdraw(&self, hold: &Hold) {
        drop(holding::withdraw(&self.gateway, hold.id).await);
    }

    /// Grants calls like the held one for so many seconds; its name, if it was granted or may have been.
    pub(super) async fn grant(
        &mut self,
        hold: &Hold,
        person: usize,
        seconds: i64,
    ) -> Option<StandingId> {
        self.granted += 1;
        let wish = Wish {
            person: Person::registered(&PEOPLE[person].0.parse().unwrap()),
            bounds: Object::new(),
            until: start()
                .saturating_add(jiff::SignedDuration::from_secs(self.seconds() + seconds))
                .unwrap(),
            reason: Some(self.granted.to_string()),
        };
        let drafted = standing::draft(&self.gateway, hold, wish).ok()?;
        let id = drafted.id;
        let granted = standing::grant(&self.gateway, drafted, hold.id).await;
        (granted.is_ok() || self.died() == Some(("grant_standing", Side::After))).then_some(id)
    }

    pub(super) async fn revoke(&self, standing: StandingId) {
        drop(standing::revoke(&self.gateway, standing, "root".to_owned()).await);
    }

    /// Halts; its name, if it was engaged or may have been.
    pub(super) async fn halt(&self, scope: Scope) -> Option<HaltId> {
        let scope = match scope {
            Scope::All => halts::Scope::All,
            Scope::Tool { idempotent: true } => halts::Scope::Tool("again".to_owned()),
            Scope::Tool { idempotent: false } => halts::Scope::Tool("plain".to_owned()),
        };
        let by = Person::local("root".to_owned());
        let wish = halting::Wish { scope, reason: "an incident".to_owned(), until: None, by };
        let engaged = halting::engage(&self.gateway, wish).await;
        if self.died() == Some(("engage_halt", Side::After)) {
            return self.gateway.store.halts().engaged().last().map(|entry| entry.halt.id);
        }
        engaged.ok().map(|halt| halt.id)
    }

    pub(super) async fn resume(&self, halt: HaltId) {
        let by = Person::local("root".to_owned());
        drop(halting::resume(&self.gateway, halt, by, "it is over".to_owned()).await);
    }

    pub(super) async fn role(&self, person: usize, may_decide: bool) {
        let role = if may_decide { Role::Reviewer } else { Role::Viewer };
        let change = ReviewerChange { role: Some(role), ..ReviewerChange::default() };
        let name = PEOPLE[person].0.parse().unwrap();
        self.store.change_reviewer(&name, change, "root".to_owned()).await.unwrap();
    }

    pub(super) async fn pass(&self, seconds: i64) {
        self.clock.advance(Duration::from_secs(seconds.unsigned_abs()));
        holding::sweep(&self.gateway).await.unwrap();
    }

    fn seconds(&self) -> i64 {
        self.clock.now().as_second() - start().as_second()
    }

    pub(super) async fn holds(&self) -> Vec<Hold> {
        let query = HoldQuery { limit: 1000, ..HoldQuery::default() };
        let mut holds = self.gateway.store.holds(query).await.unwrap();
        holds.reverse();
        holds
    }

    /// What the tools wrote, in the words of each run.
    pub(super) fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("ran")).unwrap_or_default();
        let mut ran: Vec<String> = text.lines().map(str::to_owned).collect();
        ran.sort();
        ran
    }

    /// The record verifies; and each execution in it is backed by one approval that nothing else spent, or
    /// by a standing one in force, or by a policy that asked for nobody. Each run is an execution in it.
    pub(super) fn check_record(&self) {
        let data = self.dir.path().join("data");
        let log = open_log_read_only(&data).unwrap();
        log.verify().unwrap().unwrap_or_else(|fault| panic!("{fault}"));
        let database = rusqlite::Connection::open(data.join("countersign.db")).unwrap();
        let mut statement = database.prepare("SELECT body FROM entries ORDER BY idx").unwrap();
        let bodies = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let (mut approved, mut standing) = (HashSet::new(), BTreeMap::new());
        let mut executed: BTreeMap<String, usize> = BTreeMap::new();
        for body in bodies {
            let entry: Value = serde_json::from_str(&body.unwrap()).unwrap();
            let hold = entry["hold"].as_str().unwrap_or_default().to_owned();
            if entry["state"] == "approved" {
                approved.insert(hold.clone());
            }
            match entry["kind"].as_str().unwrap() {
                "standing_granted" => {
                    let granted = &entry["standing"];
                    let until = granted["until"].as_str().unwrap().parse::<Timestamp>().unwrap();
                    standing.insert(granted["id"].to_string(), until);
                }
                "standing_revoked" => drop(standing.remove(&entry["standing"].to_string())),
                "intent" => {
                    let time: Timestamp = entry["time"].as_str().unwrap().parse().unwrap();
                    let by_standing = standing.get(&entry["standing"].to_string());
                    let backed = approved.remove(&hold)
                        || by_standing.is_some_and(|until| time <= *until)
                        || entry["decision"] == "ALLOW";
                    assert!(backed, "an execution without an approval: {entry}");
                    let line =
                        format!("{}-{}", entry["tool"].as_str().unwrap(), entry["arguments"]["n"]);
                    *executed.entry(line).or_default() += 1;
                }
                _ => {}
            }
        }
        for line in self.ran() {
            let left = executed.get_mut(&line).unwrap_or_else(|| panic!("{line} is not recorded"));
            *left = left.checked_sub(1).expect("each run in the record");
        }
    }
}

fn arguments(number: i64) -> Object {
    Object::from_iter([("n".to_owned(), Value::from(number))])
}

async fn open(
    dir: &Path,
    clock: &Arc<ManualClock>,
    number: usize,
    definition: usize,
) -> (Arc<Faulty>, Arc<Gateway>) {
    fs::write(dir.join("policies/rules.yaml"), policy(number)).unwrap();
    fs::write(dir.join("tool-manifests/tools.yaml"), manifest(dir, definition)).unwrap();
    let flags = Flags {
        data: Some(dir.join("data")),
        policies: Some(dir.join("policies")),
        tool_manifests: Some(dir.join("tool-manifests")),
        config: Some(dir.join("countersign.yaml")),
    };
    let mut config = Config::load(&flags).unwrap();
    config.holds.expiry_grace.0 = Duration::ZERO;
    let store = SqliteStore::open(&config.data, Arc::clone(clock) as Arc<dyn Clock>).unwrap();
    let store = Arc::new(Faulty::new(store));
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let gateway = Gateway::open(config, Arc::clone(clock) as Arc<dyn Clock>, shared).await.unwrap();
    (store, gateway)
}
