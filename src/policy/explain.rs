//! Why a call is decided as it is: every rule that can match its tool, condition by condition. It decides by
//! [`Policy::decide`]'s own means, lets nothing run, and counts nothing.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budgets::Exhausted;
use super::condition::{Circumstances, Mode, Noticed, Seen};
use super::decide::{Asking, Decision};
use super::matched::Matches;
use super::matching::{Caller, Certainty, Client, Keyed, Subject};
use super::nearest::Nearest;
use super::rule::Rule;
use super::rules::{Patterns, Ruling};
use super::written::{self, ApprovalTerms};
use super::{Edit, Policy};
use crate::catalog::{Attributes, CheckedArguments, Label};
use crate::hold::Standing;
use crate::ids::{AgentName, StandingId};
use crate::json::Object;

/// How many rules an explanation shows; those that match come first.
const MAX_RULES: usize = 200;

/// A call that nobody makes: what would be decided about it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who would ask.
    pub agent: &'a AgentName,
    /// That agent's groups.
    pub groups: &'a [String],
    /// The person the agent acts for.
    pub owner: Option<&'a str>,
    /// The client program, as it would name itself.
    pub client: Option<&'a str>,
    /// The workflow, as the caller would name it.
    pub workflow: Option<&'a str>,
    /// What would be asked.
    pub checked: CheckedArguments,
    /// The standing approvals in force for the agent and the tool.
    pub standing: &'a [Standing],
    /// The budgets that would not suffice for it.
    pub spent: &'a [Exhausted],
    /// What the agent holds.
    pub holds: &'a [Label],
    /// When it would be asked.
    pub now: jiff::Timestamp,
}

/// Why a call is decided as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What is decided.
    pub decision: Ruling,
    /// What kind of denial it is: `rule`, `no_rule`, `constraint`, `schema`, `unbound`, `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<String>,
    /// What the agent, or the reviewer, is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rules that decide; none where no rule matches.
    pub decided_by: Vec<String>,
    /// The arguments that would run; as they were asked where the call is denied.
    pub arguments: Object,
    /// What constraints change.
    pub edits: Vec<Edit>,
    /// What is asked of the approval, all rules taken together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalTerms>,
    /// The standing approval that covers the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingId>,
    /// Every rule that can match a call of the tool, those that match this one first; at most 200.
    pub rules: Vec<ExplainedRule>,
    /// How many more there are.
    pub rules_left_out: usize,
    /// The smallest change found that would alter the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
}

/// One rule, and whether it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedRule {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub location: String,
    /// Its decision.
    pub decision: Ruling,
    /// Its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it matches the call.
    pub matched: bool,
    /// Whether it is one of those that decide.
    pub decides: bool,
    /// The conditions of `match`; all must hold.
    pub conditions: Vec<ExplainedCondition>,
    /// The conditions of `except`; where all of them hold, the rule does not match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<ExplainedCondition>,
    /// Its constraints, by name.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub constraints: Object,
    /// What it asks of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalTerms>,
    /// `shadow` where it decides nothing.
    #[serde(default, skip_serializing_if = "Mode::is_enforced")]
    pub mode: Mode,
}

/// One condition, with what it was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedCondition {
    /// Its key, like `environment`.
    pub key: String,
    /// What it names; any of them may fit.
    pub any_of: Vec<String>,
    /// What the call has; nothing where it has none.
    pub values: Vec<String>,
    /// Whether it holds.
    pub holds: bool,
}

impl Policy {
    /// Says what would be decided about a call, and why. It gives no leave to run anything.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let call = Hypothetical::of(question);
        let tool = call.checked.tool();
        let mut told = self.outcome(&call);
        let decides: HashSet<&str> = told.decided_by.iter().map(String::as_str).collect();
        let circumstances = call.circumstances();
        let subject = call.subject();
        let Some(entry) = self.index.entry(tool) else { return told };
        let (matching, others): (Vec<_>, Vec<_>) =
            self.all_with_shadows(entry).partition(|it| matches(it.rule, &subject, &circumstances));
        let rules = matching.iter().chain(&others).take(MAX_RULES).map(|matched| {
            let mut rule = explained(matched.rule, &subject, &circumstances);
            rule.location = self.location(matched.candidate.rule);
            rule.decides =
                rule.matched && rule.mode.is_enforced() && decides.contains(rule.name.as_str());
            rule
        });
        let rules: Vec<_> = rules.collect();
        told.rules_left_out = self.index.count(entry).saturating_sub(rules.len());
        told.nearest = self.nearest(&call, entry, &told);
        told.rules = rules;
        told
    }

    /// What would be decided about a call, without telling of each rule: for very many calls.
    #[must_use]
    pub fn verdict(&self, question: &Question<'_>) -> Explanation {
        self.outcome(&Hypothetical::of(question))
    }

    /// What is decided, without the rules.
    pub(super) fn outcome(&self, call: &Hypothetical<'_>) -> Explanation {
        let asked = call.checked.arguments();
        let (decision, _) = self.judge_noting(Asking {
            caller: call.caller,
            owner: call.owner,
            workflow: call.workflow,
            checked: call.checked.clone(),
            approval: None,
            standing: call.standing,
            spent: call.spent,
            holds: call.holds,
            now: call.now,
        });
        let mut told = Explanation {
            decision: Ruling::Deny,
            denial: None,
            reason: None,
            decided_by: Vec::new(),
            arguments: Object::new(),
            edits: Vec::new(),
            approval: None,
            standing: None,
            rules: Vec::new(),
            rules_left_out: 0,
            nearest: None,
        };
        match decision {
            Decision::Permit(permit) => {
                told.decision = permit.decision();
                told.decided_by = permit.rules().to_vec();
                told.arguments = permit.arguments().clone();
                told.edits = permit.edits().to_vec();
                told.standing = permit.standing();
            }
            Decision::Hold(it) => {
                told.decision = Ruling::RequireApproval;
                told.approval =
                    Some(ApprovalTerms::new(&it.terms, it.decide_within, it.execute_within));
                told.reason = Some(it.reason);
                told.decided_by = it.rules;
                told.arguments = it.arguments;
                told.edits = it.edits;
            }
            Decision::Deny(denial) => {
                told.denial = Some(denial.kind.as_str().to_owned());
                told.reason = Some(denial.reason);
                told.decided_by = denial.rules;
                told.arguments = asked.clone();
            }
            // There is no approval that could not cover it.
            Decision::NotCovered { why, .. } => told.reason = Some(why),
        }
        told
    }

    pub(super) fn location(&self, rule: usize) -> String {
        self.locations.get(rule).cloned().unwrap_or_default()
    }
}

/// A call that is only asked about.
#[derive(Clone, Copy)]
pub(super) struct Hypothetical<'a> {
    pub(super) caller: Caller<'a>,
    pub(super) owner: Option<&'a str>,
    pub(super) workflow: Option<&'a str>,
    pub(super) checked: &'a CheckedArguments,
    pub(super) standing: &'a [Standing],
    pub(super) spent: &'a [Exhausted],
    pub(super) holds: &'a [Label],
    pub(super) now: jiff::Timestamp,
}

impl<'a> Hypothetical<'a> {
    fn of(question: &'a Question<'a>) -> Self {
        let Question { agent, groups, client, ref checked, .. } = *question;
        Self {
            caller: Caller { agent, groups, client: Client::Said(client) },
            owner: question.owner,
            workflow: question.workflow,
            checked,
            standing: question.standing,
            spent: question.spent,
            holds: question.holds,
            now: question.now,
        }
    }

    pub(super) fn circumstances(&self) -> Circumstances<'a> {
        let Self { caller, owner, workflow, checked, now, holds, .. } = *self;
        Circumstances { caller, owner, workflow, checked, now, holds, seen: Seen::default() }
    }

    pub(super) fn subject(&self) -> Subject<'a> {
        let checked = self.checked;
        Subject {
            tool: checked.tool(),
            caller: Some(self.caller),
            attributes: Some(checked.attributes()),
        }
    }
}

/// Whether a rule matches a call of which everything is known.
pub(super) fn matches(rule: &Rule, subject: &Subject<'_>, of: &Circumstances<'_>) -> bool {
    rule.scope.meets(subject) == Certainty::Always
        && (rule.further.is_empty()
            || Matches::of(rule, of, &mut Noticed::default()) != Matches::Not)
}

/// A rule with each of its conditions; where it stands and whether it decides is for the caller to say.
pub(super) fn explained(
    rule: &Rule,
    subject: &Subject<'_>,
    of: &Circumstances<'_>,
) -> ExplainedRule {
    let (keyed, except) = rule.scope.each(subject);
    let written = &rule.written;
    let mut conditions = compared(&written.matches, &keyed, subject);
    conditions.extend(rule.further.explained(of));
    let except = match (&written.except, except) {
        (Some(written), Some(keyed)) => compared(written, &keyed, subject),
        (Some(_), None) | (None, _) => Vec::new(),
    };
    ExplainedRule {
        name: rule.name.clone(),
        location: String::new(),
        decision: rule.decision,
        reason: rule.reason.clone(),
        matched: matches(rule, subject, of),
        decides: false,
        conditions,
        except,
        constraints: written::constraints(rule),
        approval: written::approval(rule),
        mode: rule.mode,
    }
}

fn compared(
    written: &[(&'static str, Patterns)],
    keyed: &Keyed,
    subject: &Subject<'_>,
) -> Vec<ExplainedCondition> {
    let one = |(key, Patterns(any_of)): &(&'static str, Patterns)| {
        let certainty = keyed.iter().find(|(other, _)| other == key).map(|(_, it)| *it);
        ExplainedCondition {
            key: (*key).to_owned(),
            any_of: any_of.clone(),
            values: values(key, subject),
            holds: certainty == Some(Certainty::Always),
        }
    };
    written.iter().map(one).collect()
}

/// What the call has under `key`.
fn values(key: &str, subject: &Subject<'_>) -> Vec<String> {
    let of_attributes = |read: fn(&Attributes) -> Option<&str>| {
        subject.attributes.and_then(read).map(str::to_owned).into_iter().collect()
    };
    let caller = subject.caller;
    match key {
        "agent" => caller.map(|it| it.agent.to_string()).into_iter().collect(),
        "group" => caller.map(|it| it.groups.to_vec()).unwrap_or_default(),
        "client" => match caller.map(|it| it.client) {
            Some(Client::Said(Some(client))) => vec![client.to_owned()],
            Some(Client::Said(None) | Client::Any) | None => Vec::new(),
        },
        "tool" => vec![subject.tool.known_as().to_owned()],
        "backend" => vec![subject.tool.backend().to_string()],
        "tags" => subject.tool.attribute_specs().tags.clone(),
        "capability" => of_attributes(|it| it.capability.as_deref()),
        "action" => of_attributes(|it| it.action.as_deref()),
        "environment" => of_attributes(|it| it.environment.as_deref()),
        "action_type" => of_attributes(|it| Some(it.action_type.as_str())),
        "risk" => of_attributes(|it| it.risk.map(crate::catalog::Risk::as_str)),
        _ => Vec::new(),
    }
}
