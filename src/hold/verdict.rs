//! What people say about a hold: verdicts, changes of its arguments, and what became of a call that
//! nobody can know of.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::evidence::Signature;
use crate::json::Object;
use crate::principal::{Authentication, Person};

/// Approve or reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The exact call may run, once.
    Approve,
    /// It may not.
    Reject,
}

/// One person's decision on one hold, bound to the digest that person saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Who.
    pub person: Person,
    /// What.
    pub decision: Decision,
    /// The call digest the person saw.
    pub digest: Digest,
    /// Why, in the person's words; shown to the agent.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What the person looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<Rendered>,
    /// The person's signature over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The sender's name for it: sent again under the same one, it is the same verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How the person showed who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<Authentication>,
}

impl Verdict {
    /// A verdict without a reason, unsigned.
    #[must_use]
    pub const fn new(person: Person, decision: Decision, digest: Digest, at: Timestamp) -> Self {
        Self {
            person,
            decision,
            digest,
            reason: None,
            at,
            rendered: None,
            signature: None,
            idempotency_key: None,
            authenticated: None,
        }
    }
}

/// What a person looked at when deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rendered {
    /// The program that rendered the hold, and its version.
    #[schemars(length(max = 128))]
    pub by: String,
    /// The SHA-256 of what it rendered.
    pub digest: Digest,
}

/// A change that a reviewer made to the arguments of a pending hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Amendment {
    /// Who changed them.
    pub person: Person,
    /// When.
    pub at: Timestamp,
    /// What the digest was before.
    pub from: Digest,
    /// What it is since.
    pub to: Digest,
    /// What changed.
    pub changes: Vec<Change>,
}

/// One member of the arguments that was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Where, as a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// The value before; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// The value since; absent when it was taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl Change {
    /// What differs between two sets of arguments, member by member.
    #[must_use]
    pub fn between(before: &Object, after: &Object) -> Vec<Self> {
        let pointer = |key: &str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let gone_or_other = before.iter().filter_map(|(key, from)| {
            let to = after.get(key);
            (to != Some(from)).then(|| Self {
                pointer: pointer(key),
                from: Some(from.clone()),
                to: to.cloned(),
            })
        });
        let new = after
            .iter()
            .filter(|(key, _)| !before.contains_key(*key))
            .map(|(key, to)| Self { pointer: pointer(key), from: None, to: Some(to.clone()) });
        gone_or_other.chain(new).collect()
    }
}

/// What people say of a call whose outcome nobody recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It took effect.
    Done,
    /// It did not, or not wholly.
    Failed,
    /// It may run again.
    RunAgain,
}

impl Resolution {
    /// The resolution as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::RunAgain => "run_again",
        }
    }
}
