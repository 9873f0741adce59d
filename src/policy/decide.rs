//! The decision about one call: all matching rules count, and the strictest decision wins.

use std::sync::Arc;

use super::applying::{self, Part};
use super::binding::Binding;
use super::budgets::{self, Exhausted};
use super::condition::Noticed;
use super::constraints::Demand;
use super::denial::{Denial, DenialKind};
use super::index::Candidate;
use super::matching::Caller;
use super::permit::{Permit, Proposal};
use super::rule::{self, Rule};
use super::tightening::{Tightened, tightened, tried};
use super::{Edit, Policy, Ruling, standing, words};
use crate::catalog::{Attributes, CheckedArguments, Kind, Label, Tool};
use crate::digest::{self, Digest};
use crate::hold::{Approval, Standing, Terms};
use crate::ids::AgentName;
use crate::json::Object;
use crate::principal::Principal;

/// How many faults of edited arguments a denial names.
const MAX_FAULTS: usize = 3;

/// Everything a decision depends on, beside the policy.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The client program, as it named itself.
    pub client: Option<&'a str>,
    /// The workflow, as the caller names it.
    pub workflow: Option<&'a str>,
    /// What is asked.
    pub checked: CheckedArguments,
    /// The approval that the call comes back with.
    pub approval: Option<&'a Approval>,
    /// The standing approvals in force for the agent and the tool.
    pub standing: &'a [Standing],
    /// The budgets that do not suffice for it.
    pub spent: &'a [Exhausted],
    /// What the agent holds: what calls brought to it.
    pub holds: &'a [Label],
    /// When it is asked.
    pub now: jiff::Timestamp,
}

/// What is decided about one call.
#[derive(Debug)]
pub enum Decision {
    /// It may run, with these arguments.
    Permit(Permit),
    /// It waits for people.
    Hold(Proposal),
    /// It may not run.
    Deny(Denial),
    /// It came back with an approval of another call than it would be now.
    NotCovered {
        /// What was approved.
        approved: Digest,
        /// What it would be now.
        now: Digest,
        /// What may have changed.
        why: String,
    },
}

/// A call as it is judged: its facts, with the caller as rules look at one.
pub(super) struct Asking<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) owner: Option<&'a str>,
    pub(super) workflow: Option<&'a str>,
    pub(super) checked: CheckedArguments,
    pub(super) approval: Option<&'a Approval>,
    pub(super) standing: &'a [Standing],
    pub(super) spent: &'a [Exhausted],
    pub(super) holds: &'a [Label],
    pub(super) now: jiff::Timestamp,
}

/// A rule that matches the call, with its constraints bound to the call's tool.
#[derive(Clone, Copy)]
pub(super) struct Matched<'p> {
    pub(super) rule: &'p Rule,
    pub(super) candidate: Candidate,
    pub(super) binding: &'p Binding,
}

impl Policy {
    /// Decides about one call.
    #[must_use]
    pub fn decide(&self, facts: Facts<'_>) -> Decision {
        self.decide_noting(facts).0
    }

    /// Decides about one call, and tells what else is to be recorded of it.
    #[must_use]
    pub fn decide_noting(&self, facts: Facts<'_>) -> (Decision, Noticed) {
        if facts.checked.tool().kind() == Kind::Completion {
            let decision = self.decide_completion(Arc::clone(facts.checked.tool()), facts);
            return (decision, Noticed::default());
        }
        let Facts { principal, client, workflow, checked, approval, standing, spent, holds, now } =
            facts;
        let caller = Caller::of(principal, client);
        let owner = principal.owner();
        self.judge_noting(Asking {
            caller,
            owner,
            workflow,
            checked,
            approval,
            standing,
            spent,
            holds,
            now,
        })
    }

    /// Decides by the rules. A permit that this gives goes no further than the decision it stands for: only
    /// [`Policy::decide`], which takes a principal, hands one out.
    pub(super) fn judge_noting(&self, asking: Asking<'_>) -> (Decision, Noticed) {
        let mut noticed = Noticed { holds: asking.holds.to_vec(), ..Noticed::default() };
        let tool = Arc::clone(asking.checked.tool());
        let Some(entry) = self.index.entry(&tool) else {
            return (Decision::Deny(unknown(&tool)), noticed);
        };
        let (matched, ruling) = self.matched(entry, &asking, &mut noticed);
        let mut decision = judge_by(&matched, ruling, tool, asking);
        if let Decision::Hold(proposal) = &mut decision {
            proposal.noticed.clone_from(&noticed);
        }
        (decision, noticed)
    }
}

/// What rules that match make of a call, where the strictest of them, or the default, is `ruling`.
pub(super) fn judge_by(
    matched: &[Matched<'_>],
    ruling: Ruling,
    tool: Arc<Tool>,
    asking: Asking<'_>,
) -> Decision {
    if ruling == Ruling::Deny {
        return Decision::Deny(denied(matched, asking.caller.agent, &tool));
    }
    if let Some(denial) = budgets::denied(asking.spent) {
        return Decision::Deny(denial);
    }
    let asks = budgets::asking(asking.spent).next().map(|it| it.then);
    let ruling = asks.map_or(ruling, |asks| ruling.max(asks));
    shape(matched, ruling, tool, asking).unwrap_or_else(Decision::Deny)
}

/// Holds the call to all constraints, then permits it or proposes it to people.
fn shape(
    matched: &[Matched<'_>],
    ruling: Ruling,
    tool: Arc<Tool>,
    call: Asking<'_>,
) -> Result<Decision, Denial> {
    let Asking { caller, checked, approval, standing, spent, .. } = call;
    let agent = caller.agent;
    let parts = parts(matched, &tool)?;
    let attributes = (!parts.is_empty()).then(|| checked.attributes().clone());
    let mut arguments = checked.into_arguments();
    let proposing = ruling == Ruling::RequireApproval && approval.is_none();
    let requested = proposing.then(|| arguments.clone());
    let edits = applying::apply(&parts, &mut arguments)?;
    if !edits.is_empty() {
        arguments = check_again(&tool, arguments, attributes.as_ref(), &edits)?;
    }
    let digest = call_digest(agent, &tool, &arguments)?;
    if let Some(denial) = tried(matched, &tool, &arguments) {
        return Err(denial);
    }
    let rules = deciding(matched, ruling, spent);
    let asking = asking(matched, spent);
    let standing = if proposing {
        standing::covering(standing, &tool, &arguments, &asking).map(|standing| standing.id)
    } else {
        None
    };
    if let Some(requested) = requested.filter(|_| standing.is_none()) {
        let requested_digest =
            if edits.is_empty() { digest } else { call_digest(agent, &tool, &requested)? };
        let Asked { reason, decide_within, execute_within, terms } = asked(matched, spent);
        return Ok(Decision::Hold(Proposal {
            tool,
            requested,
            arguments,
            edits,
            digest,
            requested_digest,
            rules,
            asking,
            reason,
            decide_within,
            execute_within,
            terms,
            noticed: Noticed::default(),
        }));
    }
    if let Some(approval) = approval.filter(|approval| *approval.digest() != digest) {
        let why = "the policy, the tool's definition or the call changed since it was approved";
        let approved = *approval.digest();
        return Ok(Decision::NotCovered { approved, now: digest, why: why.to_owned() });
    }
    let Tightened { timeout, max_result_bytes, redactions } = tightened(matched, &tool);
    Ok(Decision::Permit(Permit {
        tool,
        agent: agent.clone(),
        arguments,
        edits,
        digest,
        rules,
        decision: ruling,
        approval: approval.cloned(),
        standing,
        timeout,
        max_result_bytes,
        redactions,
    }))
}

/// The names of the rules that made the decision: beside a stricter one, a rule that allows has no part.
fn deciding(matched: &[Matched<'_>], ruling: Ruling, spent: &[Exhausted]) -> Vec<String> {
    let rules = matched.iter().map(|matched| matched.rule);
    let decides = |rule: &&Rule| ruling == Ruling::Allow || rule.decision != Ruling::Allow;
    let rules = rules.filter(decides).map(|rule| rule.name.clone());
    rules.chain(budgets::asking(spent).map(Exhausted::among_rules)).collect()
}

/// The names of the rules, and of the budgets, that ask for people.
fn asking(matched: &[Matched<'_>], spent: &[Exhausted]) -> Vec<String> {
    let rules = matched.iter().map(|matched| matched.rule);
    rules
        .filter(|rule| rule.decision == Ruling::RequireApproval)
        .map(|rule| rule.name.clone())
        .chain(budgets::asking(spent).map(Exhausted::among_rules))
        .collect()
}

/// Everything that matching rules ask of parameters.
fn parts<'p>(matched: &[Matched<'p>], tool: &Tool) -> Result<Vec<Part<'p>>, Denial> {
    let mut parts = Vec::new();
    for Matched { rule, binding, .. } in matched {
        let bound = match binding {
            Binding::Bound(bound) => bound,
            Binding::Unknown { constraint } => return Err(unbound(rule, constraint, tool)),
        };
        for bound in bound {
            let Some(constraint) = rule.constraints.get(bound.constraint) else { continue };
            let Demand::Parameter { bounds, .. } = &constraint.demand else { continue };
            let target = &bound.target;
            parts.push(Part { rule: &rule.name, constraint: &constraint.name, bounds, target });
        }
    }
    Ok(parts)
}

/// Edited arguments must fit the schema as those that were asked for did, and must not make it another
/// kind of call than the one the rules matched.
fn check_again(
    tool: &Arc<Tool>,
    arguments: Object,
    attributes: Option<&Attributes>,
    edits: &[Edit],
) -> Result<Object, Denial> {
    let mut rules: Vec<String> = edits.iter().map(|edit| edit.rule.clone()).collect();
    rules.dedup();
    let named = words::rules(&rules);
    let checked = match tool.check(arguments) {
        Ok(checked) => checked,
        Err(faults) => {
            let faults: Vec<String> = faults
                .iter()
                .take(MAX_FAULTS)
                .map(|fault| format!("`{}`: {}", fault.pointer, fault.message))
                .collect();
            let told = faults.join("; ");
            let reason = format!("as {named} would change it, the call does not fit: {told}");
            return Err(Denial { rules, reason, kind: DenialKind::Schema });
        }
    };
    if attributes.is_some_and(|attributes| attributes != checked.attributes()) {
        let reason = format!("{named} would make this another kind of call than it was asked as");
        return Err(Denial { rules, reason, kind: DenialKind::Constraint });
    }
    Ok(checked.into_arguments())
}

pub(super) fn call_digest(
    agent: &AgentName,
    tool: &Tool,
    arguments: &Object,
) -> Result<Digest, Denial> {
    digest::call_digest(agent, tool.name(), tool.fingerprint(), arguments).map_err(|error| Denial {
        rules: Vec::new(),
        reason: format!("the arguments cannot be bound to a decision: {error}"),
        kind: DenialKind::Schema,
    })
}

/// What matching rules ask of people, together.
struct Asked {
    reason: String,
    decide_within: jiff::SignedDuration,
    execute_within: jiff::SignedDuration,
    terms: Terms,
}

/// Why people are asked, on what terms, and how long they and the call have: the shortest that a rule
/// gives. Demands add up; what one rule does not let reviewers do, none does.
fn asked(matched: &[Matched<'_>], spent: &[Exhausted]) -> Asked {
    let asking = || {
        let rules = matched.iter().map(|matched| matched.rule);
        rules.filter(|rule| rule.decision == Ruling::RequireApproval)
    };
    let decide_within = asking().map(|rule| rule.decide_within).min();
    let execute_within = asking().map(|rule| rule.execute_within).min();
    let names: Vec<&str> = asking().map(|rule| rule.name.as_str()).collect();
    let budgets = budgets::why(spent);
    let reason = match (names.as_slice(), &budgets) {
        ([], Some(budgets)) => budgets.clone(),
        ([], None) => "no rule matches, and by default a person must approve".to_owned(),
        ([_], _) => format!("{} requires approval", words::rules(&names)),
        _ => format!("{} require approval", words::rules(&names)),
    };
    let mut reason = with_reasons(reason, asking());
    if let Some(budgets) = budgets.as_ref().filter(|_| !names.is_empty()) {
        reason = format!("{reason}; {budgets}");
    }
    let terms = || asking().map(|rule| &rule.terms);
    Asked {
        reason,
        decide_within: decide_within.unwrap_or(rule::DECIDE_WITHIN),
        execute_within: execute_within.unwrap_or(rule::EXECUTE_WITHIN),
        terms: Terms {
            demands: terms().flat_map(|terms| terms.demands.iter().cloned()).collect(),
            four_eyes: terms().any(|terms| terms.four_eyes),
            allow_edit: !names.is_empty()
                && budgets.is_none()
                && terms().all(|terms| terms.allow_edit),
            signature: terms().any(|terms| terms.signature),
            keep: terms().any(|terms| terms.keep),
        },
    }
}

pub(super) fn with_reasons<'p>(text: String, rules: impl Iterator<Item = &'p Rule>) -> String {
    let reasons: Vec<&str> = rules.filter_map(|rule| rule.reason.as_deref()).collect();
    if reasons.is_empty() { text } else { format!("{text}: {}", reasons.join("; ")) }
}

pub(super) fn denied(matched: &[Matched<'_>], agent: &AgentName, tool: &Tool) -> Denial {
    let denying = || {
        let rules = matched.iter().map(|matched| matched.rule);
        rules.filter(|rule| rule.decision == Ruling::Deny)
    };
    let rules: Vec<String> = denying().map(|rule| rule.name.clone()).collect();
    if rules.is_empty() {
        let reason = format!("no rule allows agent `{agent}` this call of `{}`", tool.name());
        return Denial { rules, reason, kind: DenialKind::NoRule };
    }
    let text = format!("this call of `{}` is denied by {}", tool.name(), words::rules(&rules));
    Denial { reason: with_reasons(text, denying()), rules, kind: DenialKind::Rule }
}

fn unbound(rule: &Rule, constraint: &str, tool: &Tool) -> Denial {
    let reason = format!(
        "`{}` cannot be called yet: {} has the constraint `{constraint}`, and the tool's parameters are \
         not known",
        tool.name(),
        words::rules(&[&rule.name]),
    );
    Denial { rules: vec![rule.name.clone()], reason, kind: DenialKind::Unbound }
}

/// A tool that the policy was not loaded with: what its rules ask for is bound to nothing.
pub(super) fn unknown(tool: &Tool) -> Denial {
    let reason =
        format!("`{}` cannot be called yet: the policy in force does not know it", tool.name());
    Denial { rules: Vec::new(), reason, kind: DenialKind::Unbound }
}
