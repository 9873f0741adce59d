//! A call of the record, as it was asked and decided then.

use crate::catalog::Label;
use crate::evidence::Event;
use crate::ids::{AgentName, CallId};
use crate::json::Object;
use crate::policy::{Ruling, unedited};

/// A call that can be judged again.
pub(super) struct Recorded {
    pub(super) call: CallId,
    pub(super) agent: AgentName,
    pub(super) groups: Vec<String>,
    pub(super) client: Option<String>,
    pub(super) workflow: Option<String>,
    /// The person the agent acted for; of calls that were turned away the record does not say.
    pub(super) owner: Option<String>,
    pub(super) tool: String,
    pub(super) arguments: Object,
    pub(super) decision: Ruling,
    pub(super) rules: Vec<String>,
    /// What the agent held then.
    pub(super) holds: Vec<Label>,
    /// Whether a standing approval stood in for people.
    pub(super) is_standing: bool,
}

/// Why an entry is no call that rules decided.
pub(super) enum Not {
    /// It goes on with a call that stands elsewhere.
    Another,
    /// The record does not say enough, or rules had no part in it.
    Unjudged(String),
}

impl Recorded {
    /// The call whose first entry says `event`.
    pub(super) fn of(event: Event) -> Result<Self, Not> {
        if let Event::Intent(intent) = event {
            // What people approved was decided where it was held.
            if intent.hold.is_some() {
                return Err(Not::Another);
            }
            let arguments = unedited(&intent.asked.arguments, &intent.asked.edits);
            return Self::asked(intent.asked, arguments, intent.standing.is_some());
        }
        if let Event::Hold { asked, requested_arguments, anew_of: None, .. } = event {
            return Self::asked(asked, requested_arguments, false);
        }
        let Event::Refusal(refused) = event else { return Err(Not::Another) };
        if !crate::call::refusal::Kind::is_by_rules(&refused.refusal) {
            let told = format!("turned away for another reason: {}", refused.refusal);
            return Err(Not::Unjudged(told));
        }
        let arguments = refused.arguments.ok_or_else(|| {
            Not::Unjudged("the record has only the digest of the arguments".to_owned())
        })?;
        Ok(Self {
            call: refused.call,
            agent: refused.agent,
            groups: refused.groups,
            client: refused.client,
            workflow: refused.workflow,
            owner: None,
            tool: refused.tool,
            arguments,
            decision: Ruling::Deny,
            rules: refused.rules,
            holds: refused.noticed.holds,
            is_standing: false,
        })
    }

    fn asked(
        asked: crate::evidence::Asked,
        arguments: Object,
        is_standing: bool,
    ) -> Result<Self, Not> {
        let decision = Ruling::named(&asked.decision)
            .ok_or_else(|| Not::Unjudged("the record names no decision".to_owned()))?;
        Ok(Self {
            call: asked.call,
            agent: asked.agent,
            groups: asked.groups,
            client: asked.client,
            workflow: asked.workflow,
            owner: asked.owner,
            tool: asked.tool,
            arguments,
            decision,
            rules: asked.rules,
            holds: asked.noticed.holds,
            is_standing,
        })
    }
}
