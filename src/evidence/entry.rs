//! What an audit entry says: one serde shape per kind, written as RFC 8785 JSON and stored as hashed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Access, Asked, BudgetAlert, Cause, DefinitionHeld, DefinitionSeen, Intent, Outcome, Refused,
};
use crate::catalog::DefinitionKey;
use crate::digest::Digest;
use crate::halts::Scope;
use crate::hold::{Amendment, Decision, Resolution, Standing, StateName, Terms, Verdict};
use crate::ids::{AgentName, CallId, HaltId, HoldId, PersonName, StandingId};
use crate::json::Object;
use crate::principal::{Person, Role};

/// One entry of the audit log: when, and what happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this form; 1.
    pub v: u8,
    /// When it was written, by the gateway's clock, in UTC.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A call is about to be dispatched; nothing runs without this entry before it.
    Intent(Intent),
    /// A dispatched call ended.
    Outcome {
        /// The call.
        call: CallId,
        /// The hold whose approval it spent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<HoldId>,
        /// What came out.
        outcome: Outcome,
    },
    /// A call was turned away.
    Refusal(Refused),
    /// A call waits for people.
    Hold {
        /// The hold.
        hold: HoldId,
        /// Who asked for what.
        #[serde(flatten)]
        asked: Asked,
        /// The arguments as the agent asked, where constraints changed them.
        requested_arguments: Object,
        /// Until when people may decide.
        decide_by: Timestamp,
        /// What rules ask of its approval, where they ask for more than one reviewer's.
        #[serde(default, skip_serializing_if = "is_default")]
        terms: Terms,
        /// The hold in whose place it was opened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anew_of: Option<HoldId>,
    },
    /// A person decided.
    Verdict {
        /// The hold.
        hold: HoldId,
        /// The verdict.
        verdict: Verdict,
        /// The state it led to.
        state: StateName,
    },
    /// A person tried to decide what that person may not.
    VerdictRefused {
        /// The hold.
        hold: HoldId,
        /// Who tried.
        person: Person,
        /// What.
        decision: Decision,
        /// Why it does not count.
        why: String,
    },
    /// A reviewer changed the arguments of a pending hold; earlier approvals count no more.
    HoldAmended {
        /// The hold.
        hold: HoldId,
        /// Who changed what.
        amendment: Amendment,
        /// The arguments since.
        arguments: Object,
        /// The rules that decide about them.
        rules: Vec<String>,
        /// What these rules ask of the approval.
        #[serde(default, skip_serializing_if = "is_default")]
        terms: Terms,
    },
    /// A person said what became of a call whose outcome was not recorded, or that it may run again.
    HoldResolved {
        /// The hold.
        hold: HoldId,
        /// The execution's call.
        call: CallId,
        /// What the person says.
        resolution: Resolution,
        /// Who, when and why.
        verdict: Verdict,
        /// The state it led to.
        state: StateName,
    },
    /// A person granted an approval for many calls.
    StandingGranted {
        /// The approval, with its bounds.
        standing: Standing,
        /// The rule that it is.
        rule: String,
    },
    /// A standing approval was revoked.
    StandingRevoked {
        /// The approval.
        standing: StandingId,
        /// Who revoked it.
        by: String,
    },
    /// From now on no call in this scope runs.
    Halt {
        /// The halt.
        halt: HaltId,
        /// What it stops.
        scope: Scope,
        /// Why.
        reason: String,
        /// Who engaged it.
        by: Person,
        /// When it ends by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// An operator ended a halt.
    Resume {
        /// The halt.
        halt: HaltId,
        /// Why.
        reason: String,
        /// Who ended it.
        by: Person,
    },
    /// A halt ended by itself, at the time that it was engaged until.
    HaltEnded {
        /// The halt.
        halt: HaltId,
    },
    /// Definitions that a server gave, each the first of its name, and accepted as that.
    DefinitionsSeen {
        /// Which.
        definitions: Vec<DefinitionSeen>,
    },
    /// A server says something else than was accepted: nothing of it is offered until an operator accepts it.
    #[serde(alias = "definition_quarantined")]
    DefinitionsQuarantined {
        /// What it says now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        definitions: Vec<DefinitionHeld>,
        /// What waits no more: the server says again what was accepted, or offers nothing of the name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ended: Vec<DefinitionKey>,
    },
    /// An operator accepted a definition.
    DefinitionAccepted {
        /// Which.
        #[serde(flatten)]
        definition: DefinitionSeen,
        /// The digest of what was accepted before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Digest>,
        /// Who.
        by: Person,
    },
    /// A hold ended, or went back, without a verdict.
    HoldChanged {
        /// The hold.
        hold: HoldId,
        /// The state it is in now.
        state: StateName,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A revision of policies and manifests came into force.
    RevisionLoaded {
        /// Its digest.
        revision: Digest,
        /// How many rules and tools it has.
        rules: u64,
        /// How many tools it has.
        tools: u64,
        /// What brought it into force, and who.
        #[serde(flatten)]
        cause: Cause,
    },
    /// An agent was added.
    AgentAdded {
        /// Its name.
        agent: AgentName,
        /// Its groups.
        groups: Vec<String>,
        /// The person it acts for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// The agents that it may act for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        acts_for: Vec<AgentName>,
        /// Who added it.
        by: String,
    },
    /// An agent's token was revoked.
    AgentRevoked {
        /// Its name.
        agent: AgentName,
        /// Who revoked it.
        by: String,
    },
    /// An agent has a new token.
    AgentRotated {
        /// Its name.
        agent: AgentName,
        /// Until when the old one is good too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overlap_until: Option<Timestamp>,
        /// Who asked for it.
        by: String,
    },
    /// An agent may act for exactly these from now on.
    AgentActsFor {
        /// Its name.
        agent: AgentName,
        /// For whom.
        acts_for: Vec<AgentName>,
        /// Who decided that.
        by: String,
    },
    /// A person was added to the register.
    ReviewerAdded {
        /// Who was added, and as what.
        #[serde(flatten)]
        listed: Listed,
        /// Who added them.
        by: String,
    },
    /// A person has another role, other groups or names, or a new token.
    ReviewerChanged {
        /// Who, and what they are from now on.
        #[serde(flatten)]
        listed: Listed,
        /// Whether the token is a new one, and the old one ended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new_token: bool,
        /// Who changed it.
        by: String,
    },
    /// A person's record was revoked: the token ended, and verdicts count no more.
    ReviewerRevoked {
        /// The person.
        reviewer: PersonName,
        /// Who revoked it.
        by: String,
    },
    /// From now on signatures of this key are the person's.
    KeyRegistered {
        /// The person.
        person: PersonName,
        /// The public key, in OpenSSH's one-line form.
        key: String,
        /// Its fingerprint, `SHA256:…`.
        fingerprint: String,
        /// Who registered it.
        by: String,
    },
    /// From now on signatures of this key are nobody's.
    KeyRemoved {
        /// The person.
        person: PersonName,
        /// Its fingerprint, `SHA256:…`.
        fingerprint: String,
        /// Who removed it.
        by: String,
    },
    /// How a person can sign in changed, or somebody signed in or out.
    Access {
        /// The person.
        person: Person,
        /// What happened.
        #[serde(flatten)]
        access: Access,
        /// Who did it.
        by: String,
    },
    /// The machine's wall clock was set; the gateway's time was not.
    ClockSkew {
        /// What the wall clock said.
        wall: Timestamp,
        /// What the gateway's clock said then.
        gateway: Timestamp,
    },
    /// People could decide nothing for a while in which the time of held calls ended.
    Absence {
        /// The last moment before it.
        from: Timestamp,
        /// The first moment after it.
        to: Timestamp,
        /// Why.
        why: String,
    },
    /// Held calls whose time to decide ended in an absence may be decided a while longer.
    HoldsExtended {
        /// The holds.
        holds: Vec<HoldId>,
        /// Until when people may decide now.
        decide_by: Timestamp,
        /// Why.
        why: String,
    },
    /// A share of a budget is spent that people wanted to be told of.
    BudgetAlert(BudgetAlert),
    /// The write-ahead log ended in a commit that was not whole; the record ends before it.
    TailRepaired {
        /// How many bytes were dropped.
        bytes: u64,
    },
}

/// What the register says of a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The name.
    pub reviewer: PersonName,
    /// The role.
    pub role: Role,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Other names of the same human.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// When the record ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
