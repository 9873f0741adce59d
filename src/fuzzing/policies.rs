//! Policies as operators write them, and what they decide about calls of the shipped tools.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::json;

use super::manifests::{catalog, told};
use super::{object, parts};
use crate::catalog::{Catalog, Manifests, Tool};
use crate::digest;
use crate::json::Object;
use crate::policy::{Decision, Denial, Facts, Permit, Policy, Proposal, Ruling};
use crate::principal::Principal;
use crate::source::SourceFile;

/// The manifests whose tools rules are about.
const MANIFESTS: [(&str, &str); 4] = [
    ("files.yaml", include_str!("../../tool-manifests/files.yaml")),
    ("git.yaml", include_str!("../../tool-manifests/git.yaml")),
    ("kubernetes.yaml", include_str!("../../tool-manifests/kubernetes.yaml")),
    ("sqlite.yaml", include_str!("../../tool-manifests/sqlite.yaml")),
];

/// The first text is a policy, the others are arguments of calls. Loading answers with problems, each in words and
/// at a place of the file, or with a policy; of each call that a tool takes it decides the same each time, permits and
/// proposes only tools that it lists, arguments that fit and what their digest says, and denies with a reason.
pub fn policies(data: &[u8]) {
    if data.len() > super::MAX_INPUT_BYTES {
        return;
    }
    let mut texts = parts(data);
    let Some(text) = texts.next() else { return };
    let catalog = shipped();
    let file = SourceFile { name: "policy.yaml".to_owned(), text: text.into() };
    let policy = match Policy::load(vec![file], catalog) {
        Ok(policy) => policy,
        Err(problems) => return told(&problems, text),
    };
    for warning in policy.warnings() {
        assert!(!warning.message().is_empty(), "a warning without words");
    }
    assert_eq!(policy.rules().count(), policy.rule_count());
    let asked: Vec<Object> = texts.filter_map(object).chain([Object::new(), usual()]).collect();
    for principal in principals() {
        for tool in catalog.tools() {
            asked.iter().for_each(|arguments| decide(&policy, &principal, tool, arguments));
        }
    }
}

fn shipped() -> &'static Catalog {
    static SHIPPED: OnceLock<Catalog> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let file = |(name, text): (&str, &str)| SourceFile { name: name.into(), text: text.into() };
        let manifests = Manifests::read(MANIFESTS.map(file).into()).expect("what is shipped");
        catalog(&manifests, &HashMap::new()).expect("what is shipped")
    })
}

fn principals() -> [Principal; 2] {
    let agent = |name: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Principal::authenticated(name.parse().expect("a name"), groups, None)
    };
    [agent("robot", &["ops"]), agent("nobody", &[])]
}

/// Arguments that many of the shipped tools take.
fn usual() -> Object {
    let usual = json!({
        "path": "a.txt", "content": "text", "name": "web", "namespace": "app", "replicas": 30,
        "sql": "SELECT 1", "table": "notes", "message": "m", "max_count": 70, "max_depth": 9,
    });
    usual.as_object().cloned().unwrap_or_default()
}

fn decide(policy: &Policy, principal: &Principal, tool: &Arc<Tool>, arguments: &Object) {
    // Only what the tool knows, or most of them would take nothing.
    let known = tool.input().text().get("properties").and_then(|it| it.as_object());
    let mut arguments = arguments.clone();
    if let Some(known) = known {
        arguments.retain(|name, _| known.contains_key(name));
    }
    let Ok(checked) = tool.check(arguments.clone()) else { return };
    for limit in policy.limits() {
        let _ = limit.matches(principal, Some("fuzz"), &checked);
    }
    let decision = || {
        let (client, checked) = (Some("fuzz"), checked.clone());
        let now = jiff::Timestamp::UNIX_EPOCH;
        let (approval, standing, spent, holds) = (None, &[][..], &[][..], &[][..]);
        policy.decide(Facts {
            principal,
            workflow: None,
            client,
            checked,
            approval,
            standing,
            spent,
            holds,
            now,
        })
    };
    let decided = decision();
    assert_eq!(format!("{decided:?}"), format!("{:?}", decision()), "decided twice");
    let lists = policy.lists(principal, Some("fuzz"), tool);
    match decided {
        Decision::Permit(permit) => {
            assert!(lists, "a tool that is not shown may run");
            permitted(&permit, (principal, tool), &arguments);
        }
        Decision::Hold(proposal) => {
            assert!(lists && policy.may_hold(), "held, and nobody could know");
            proposed(&proposal, (principal, tool), &arguments);
        }
        Decision::Deny(denial) => denied(&denial, policy),
        Decision::NotCovered { why, .. } => {
            panic!("no approval, so none that does not cover: {why}")
        }
    }
}

fn permitted(permit: &Permit, (principal, tool): (&Principal, &Arc<Tool>), asked: &Object) {
    assert_ne!(permit.decision(), Ruling::RequireApproval, "nobody approved");
    assert_ne!(permit.decision(), Ruling::Deny, "permitted, but denied");
    assert_eq!(permit.agent(), principal.agent());
    assert!(permit.timeout() <= tool.timeout(), "rules only tighten");
    assert!(permit.max_result_bytes() <= tool.max_result_bytes(), "rules only tighten");
    if permit.edits().is_empty() {
        assert_eq!(permit.arguments(), asked, "changed, and no rule says so");
    }
    assert!(tool.check(permit.arguments().clone()).is_ok(), "what runs fits the schema");
    let digest =
        digest::call_digest(principal.agent(), tool.name(), tool.fingerprint(), permit.arguments());
    assert_eq!(digest.ok().as_ref(), Some(permit.digest()), "what runs is what was decided");
}

fn proposed(proposal: &Proposal, (principal, tool): (&Principal, &Arc<Tool>), asked: &Object) {
    assert_eq!(proposal.requested, *asked, "people see what was asked");
    if proposal.edits.is_empty() {
        assert_eq!(proposal.arguments, *asked, "changed, and no rule says so");
    }
    assert!(!proposal.reason.is_empty(), "held without a reason");
    assert!(tool.check(proposal.arguments.clone()).is_ok(), "what would run fits the schema");
    let digest = |arguments| {
        digest::call_digest(principal.agent(), tool.name(), tool.fingerprint(), arguments).ok()
    };
    assert_eq!(digest(&proposal.arguments), Some(proposal.digest), "what people approve");
    assert_eq!(digest(&proposal.requested), Some(proposal.requested_digest), "what was asked");
}

fn denied(denial: &Denial, policy: &Policy) {
    assert!(!denial.reason.is_empty(), "denied without a reason");
    for name in &denial.rules {
        assert!(policy.rules().any(|rule| rule.name == *name), "denied by no rule: {name}");
    }
}
