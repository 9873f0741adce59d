//! What an entry says of calls and holds, for what is looked up in the record without reading all of it.

use super::{Event, Intent, Outcome, OutcomeStatus};
use crate::catalog::Label;
use crate::ids::{AgentName, CallId, HoldId};

/// What an entry says of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mention {
    /// It is the call's first entry.
    Began(Box<Began>),
    /// The call that was dispatched ended.
    Ended {
        /// The call.
        call: CallId,
        /// How.
        status: OutcomeStatus,
    },
    /// Of the call that a hold's approval was spent on the outcome will not be known any more.
    Lost {
        /// The hold.
        hold: HoldId,
    },
}

/// A call as its first entry tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// The call.
    pub call: CallId,
    /// The agent.
    pub agent: AgentName,
    /// The tool, by the name the agent gave.
    pub tool: String,
    /// Where the call is after this entry.
    pub how: How,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// The hold that it opened, or whose approval it spends.
    pub hold: Option<HoldId>,
    /// The workflow it belongs to.
    pub workflow: Option<String>,
    /// The call that it undoes.
    pub compensates: Option<CallId>,
    /// The orchestrator that acted for the agent.
    pub via: Option<AgentName>,
    /// What it brings to them once it is dispatched.
    pub brings: Vec<Label>,
}

/// What a call's first entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// An intent: the call is dispatched.
    Running,
    /// A hold: the call waits for people.
    Held,
    /// A refusal, of this kind.
    Refused(String),
}

impl Began {
    fn dispatched(intent: &Intent) -> Self {
        Self {
            call: intent.asked.call,
            agent: intent.asked.agent.clone(),
            tool: intent.asked.tool.clone(),
            how: How::Running,
            rules: intent.asked.rules.clone(),
            hold: intent.hold,
            workflow: intent.asked.workflow.clone(),
            compensates: intent.asked.compensates,
            via: intent.asked.via.as_ref().map(|via| via.agent.clone()),
            brings: intent.brings.clone(),
        }
    }
}

impl Mention {
    /// What an entry that says `event` tells of a call, where that changes how the call is listed.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        use crate::hold::StateName::{Approved, Unknown};
        let began = |began| Some(Self::Began(Box::new(began)));
        match event {
            Event::Intent(intent) => began(Began::dispatched(intent)),
            Event::Hold { hold, asked, .. } => began(Began {
                call: asked.call,
                agent: asked.agent.clone(),
                tool: asked.tool.clone(),
                how: How::Held,
                rules: asked.rules.clone(),
                hold: Some(*hold),
                workflow: asked.workflow.clone(),
                compensates: asked.compensates,
                via: asked.via.as_ref().map(|via| via.agent.clone()),
                brings: Vec::new(),
            }),
            Event::Refusal(refused) => began(Began {
                call: refused.call,
                agent: refused.agent.clone(),
                tool: refused.tool.clone(),
                how: How::Refused(refused.refusal.clone()),
                rules: refused.rules.clone(),
                hold: None,
                workflow: refused.workflow.clone(),
                compensates: refused.compensates,
                via: refused.via.as_ref().map(|via| via.agent.clone()),
                brings: Vec::new(),
            }),
            Event::Outcome { call, outcome: Outcome { status, .. }, .. } => {
                Some(Self::Ended { call: *call, status: *status })
            }
            Event::HoldChanged { hold, state: Approved | Unknown, .. } => {
                Some(Self::Lost { hold: *hold })
            }
            Event::HoldChanged { .. }
            | Event::Verdict { .. }
            | Event::VerdictRefused { .. }
            | Event::HoldAmended { .. }
            | Event::HoldResolved { .. }
            | Event::HoldsExtended { .. }
            | Event::StandingGranted { .. }
            | Event::StandingRevoked { .. }
            | Event::Halt { .. }
            | Event::Resume { .. }
            | Event::HaltEnded { .. }
            | Event::DefinitionsSeen { .. }
            | Event::DefinitionsQuarantined { .. }
            | Event::DefinitionAccepted { .. }
            | Event::RevisionLoaded { .. }
            | Event::AgentAdded { .. }
            | Event::AgentActsFor { .. }
            | Event::AgentRevoked { .. }
            | Event::AgentRotated { .. }
            | Event::ReviewerAdded { .. }
            | Event::ReviewerChanged { .. }
            | Event::ReviewerRevoked { .. }
            | Event::KeyRegistered { .. }
            | Event::KeyRemoved { .. }
            | Event::Access { .. }
            | Event::ClockSkew { .. }
            | Event::Absence { .. }
            | Event::BudgetAlert(_)
            | Event::TailRepaired { .. } => None,
        }
    }
}

impl Event {
    /// The holds that an entry tells of, and its kind as it is written; none for all other entries.
    #[must_use]
    pub fn of_holds(&self) -> Option<(&'static str, &[HoldId])> {
        let one = |kind, hold| Some((kind, std::slice::from_ref(hold)));
        match self {
            Self::Intent(intent) => intent.hold.as_ref().and_then(|hold| one("intent", hold)),
            Self::Outcome { hold, .. } => hold.as_ref().and_then(|hold| one("outcome", hold)),
            Self::Hold { hold, .. } => one("hold", hold),
            Self::Verdict { hold, .. } => one("verdict", hold),
            Self::VerdictRefused { hold, .. } => one("verdict_refused", hold),
            Self::HoldAmended { hold, .. } => one("hold_amended", hold),
            Self::HoldResolved { hold, .. } => one("hold_resolved", hold),
            Self::HoldChanged { hold, .. } => one("hold_changed", hold),
            Self::HoldsExtended { holds, .. } => Some(("holds_extended", holds)),
            Self::Refusal(_)
            | Self::StandingGranted { .. }
            | Self::StandingRevoked { .. }
            | Self::Halt { .. }
            | Self::Resume { .. }
            | Self::HaltEnded { .. }
            | Self::DefinitionsSeen { .. }
            | Self::DefinitionsQuarantined { .. }
            | Self::DefinitionAccepted { .. }
            | Self::RevisionLoaded { .. }
            | Self::AgentAdded { .. }
            | Self::AgentActsFor { .. }
            | Self::AgentRevoked { .. }
            | Self::AgentRotated { .. }
            | Self::ReviewerAdded { .. }
            | Self::ReviewerChanged { .. }
            | Self::ReviewerRevoked { .. }
            | Self::KeyRegistered { .. }
            | Self::KeyRemoved { .. }
            | Self::Access { .. }
            | Self::ClockSkew { .. }
            | Self::Absence { .. }
            | Self::BudgetAlert(_)
            | Self::TailRepaired { .. } => None,
        }
    }
}
