//! Who may have values of an argument completed: whoever may ask for the prompt or resource it is for.

use std::sync::Arc;

use super::budgets;
use super::decide::{self, Decision, Facts};
use super::tightening::{self, Tightened};
use super::{Permit, Policy, Ruling};
use crate::catalog::Tool;

impl Policy {
    /// Decides about a completion. It gives nothing but values that the caller could send anyway, so it
    /// is allowed where not every use of the whole would be denied.
    pub(super) fn decide_completion(&self, tool: Arc<Tool>, facts: Facts<'_>) -> Decision {
        let Facts { principal, client, checked, spent, .. } = facts;
        let agent = principal.agent();
        let Some(entry) = self.index.completed_by(&tool) else {
            return Decision::Deny(decide::unknown(&tool));
        };
        let Some(by) = self.showing(entry, (principal, client), &entry.tool) else {
            return Decision::Deny(decide::denied(&[], agent, &tool));
        };
        if let Some(denial) = budgets::denied(spent) {
            return Decision::Deny(denial);
        }
        let arguments = checked.into_arguments();
        let digest = match decide::call_digest(agent, &tool, &arguments) {
            Ok(digest) => digest,
            Err(denial) => return Decision::Deny(denial),
        };
        let Tightened { timeout, max_result_bytes, redactions } = tightening::tightened(&by, &tool);
        Decision::Permit(Permit {
            agent: agent.clone(),
            arguments,
            edits: Vec::new(),
            digest,
            rules: by.iter().map(|matched| matched.rule.name.clone()).collect(),
            decision: Ruling::Allow,
            approval: None,
            standing: None,
            timeout,
            max_result_bytes,
            redactions,
            tool,
        })
    }
}
