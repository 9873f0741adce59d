//! What a policy file says, and what happens to a call then.

mod budgeting;
mod conditional;
mod constraints;
mod deciding;
mod edges;
mod explaining;
mod generated;
mod indexing;
mod loading;
mod matching;
mod naive;
mod narrowing;
mod standing;
mod windows;
mod written;

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::rules::Patterns;
use super::*;
use crate::catalog::{Catalog, Definition, Environment, Manifests, Offered};
use crate::hold::{Approval, Hold, State, Verdict};
use crate::json::{self, Object};
use crate::principal::{Capacity, Person, Principal, Role};

/// The policy that the product's description shows, word for word.
const SAFETY: &str = "# safety-policy.yaml
rules:
  # Production writes always need approval
  - name: production-writes
    match:
      environment: production
      action_type: write
    decision: REQUIRE_APPROVAL

  # Limit deployment scale
  - name: deployment-limits
    match:
      capability: kubernetes
      action: deploy
    decision: ALLOW_WITH_CONSTRAINTS
    constraints:
      max_replicas: 10
      allowed_namespaces: [app, staging]

  # Block dangerous operations
  - name: no-delete-databases
    match:
      capability: database
      action: drop
    decision: DENY
";

/// Tools the rules of [`SAFETY`] are about, and one they are not about.
const CLUSTER: &str = "
backend: { name: cluster, command: { program: kubectl } }
tools:
  - name: production_deploy
    description: d
    attributes: { capability: kubernetes, action: deploy, action_type: write, environment: production, risk: high, tags: [k8s] }
    run: [scale]
    timeout: 20s
    input_schema:
      type: object
      required: [name]
      properties:
        name: { type: string }
        namespace: { type: string, default: app }
        replicas: { type: integer, minimum: 0, default: 1 }
  - name: staging_deploy
    description: d
    attributes: { capability: kubernetes, action: deploy, action_type: write, environment: staging }
    run: [scale]
    input_schema:
      type: object
      required: [name]
      properties:
        name: { type: string }
        namespace: { type: string }
        replicas: { type: integer, minimum: 0 }
  - name: database_drop
    description: d
    attributes: { capability: database, action: drop, action_type: delete, environment: production, risk: critical }
    run: [drop]
    input_schema: { type: object, properties: { name: { type: string } } }
  - name: pods_list
    description: d
    attributes: { capability: kubernetes, action: list, action_type: read, risk: low }
    run: [get]
    input_schema: { type: object }
  - name: access_grant
    description: d
    attributes:
      capability: access
      action: grant
      action_type: admin
      environment: { argument: env, values: { prod: production, stg: staging } }
    run: [grant]
    input_schema:
      type: object
      required: [env]
      properties: { env: { type: string } }
";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.into(), text: text.into() }
}

fn catalog_with(manifests: &[&str], learned: &HashMap<String, Result<Offered, String>>) -> Catalog {
    let files = manifests.iter().map(|text| file("manifest.yaml", text)).collect();
    Manifests::read(files)
        .unwrap()
        .catalog(&Environment {
            find_program: &|name| Some(PathBuf::from(name)),
            missing_secret: &|_| None,
            unconfinable: &|_, _| None,
            learned,
        })
        .unwrap()
}

fn catalog(manifest: &str) -> Catalog {
    catalog_with(&[manifest], &HashMap::new())
}

fn policy(text: &str, catalog: &Catalog) -> Policy {
    Policy::load(vec![file("policy.yaml", text)], catalog).unwrap_or_else(|error| panic!("{error}"))
}

fn principal(agent: &str, groups: &[&str]) -> Principal {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    Principal::authenticated(agent.parse().unwrap(), groups, None)
}

fn object(text: &str) -> Object {
    let Value::Object(object) = json::parse(text.as_bytes()).unwrap() else { panic!("{text}") };
    object
}

fn text(object: &Object) -> String {
    serde_json::to_string(object).unwrap()
}

fn call(policy: &Policy, catalog: &Catalog, tool: &str, arguments: &str) -> Decision {
    call_with(policy, catalog, tool, arguments, None)
}

fn call_with(
    policy: &Policy,
    catalog: &Catalog,
    tool: &str,
    arguments: &str,
    approval: Option<&Approval>,
) -> Decision {
    let checked = catalog.tool(tool).unwrap().check(object(arguments)).unwrap();
    let principal = principal("robot", &["ops"]);
    policy.decide(Facts {
        principal: &principal,
        workflow: None,
        client: Some("claude"),
        checked,
        approval,
        standing: &[],
        spent: &[],
        holds: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    })
}

#[track_caller]
fn permitted(decision: Decision) -> Permit {
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    permit
}

#[track_caller]
fn held(decision: Decision) -> Proposal {
    let Decision::Hold(proposal) = decision else { panic!("{decision:?}") };
    proposal
}

#[track_caller]
fn denied(decision: Decision) -> Denial {
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    denial
}

/// The approval that people give by approving `proposal`.
fn approve(proposal: &Proposal) -> Approval {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let ada = Person::local("ada".into());
    let verdict = Verdict::new(ada, crate::hold::Decision::Approve, proposal.digest, at);
    let hold = Hold {
        via: None,
        id: crate::ids::HoldId::from_random([7; 16]),
        state: State::Pending { verdicts: Vec::new() },
        agent: "robot".parse().unwrap(),
        groups: vec!["ops".into()],
        owner: None,
        client: None,
        tool: proposal.tool.name().into(),
        definition_fingerprint: *proposal.tool.fingerprint(),
        requested_arguments: proposal.requested.clone(),
        requested_digest: proposal.requested_digest,
        arguments: proposal.arguments.clone(),
        edits: proposal.edits.clone(),
        digest: proposal.digest,
        rules: proposal.rules.clone(),
        reason: proposal.reason.clone(),
        agent_reason: None,
        call: crate::ids::CallId::new(),
        workflow: None,
        compensates: None,
        revision: crate::digest::Digest::of(b"revision"),
        created_at: at,
        decide_by: at + proposal.decide_within,
        extended: None,
        execute_within: proposal.execute_within,
        terms: proposal.terms.clone(),
        amendments: Vec::new(),
        anew_of: None,
    };
    let anybody = |person: &Person| {
        let groups = vec!["sre".to_owned(), "owners".to_owned()];
        let names = vec![person.name.clone()];
        Some(Capacity {
            role: Role::Reviewer,
            decides: true,
            groups,
            known_as: names.clone(),
            same_human: names,
            keys: Vec::new(),
            passkeys: Vec::new(),
        })
    };
    Approval::of(&hold.decide(verdict, &anybody).unwrap(), at).unwrap()
}
