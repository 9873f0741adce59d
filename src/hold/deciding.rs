//! What people do to a hold: approve or reject it, change its arguments, say what became of it.

use jiff::Timestamp;

use super::{
    Amendment, Change, Decision, Demand, Hold, Lost, People, Resolution, State, StateName, Terms,
    Verdict,
};
use crate::digest::Digest;
use crate::evidence::signature::{Resolves, Statement};
use crate::evidence::{Outcome, OutcomeStatus};
use crate::ids::CallId;
use crate::json::Object;
use crate::principal::{Capacity, Person, Via};

/// The arguments that a reviewer wants instead, with everything policy says of them.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The arguments.
    pub arguments: Object,
    /// The call digest over them.
    pub digest: Digest,
    /// The names of the rules that decide about them.
    pub rules: Vec<String>,
    /// Why they are held, in the words of the rules.
    pub reason: String,
    /// What these rules ask of the approval.
    pub terms: Terms,
}

/// What a person says of a hold whose outcome nobody recorded.
#[derive(Clone, Debug)]
pub struct Account {
    /// What became of the call, or that it may run again.
    pub resolution: Resolution,
    /// The person's verdict: it carries who, when and why; an approval where the call may run again.
    pub verdict: Verdict,
}

impl Hold {
    /// Whether this very verdict has been counted before, under its sender's name for it.
    #[must_use]
    pub fn has_heard(&self, verdict: &Verdict) -> bool {
        verdict.idempotency_key.is_some()
            && self.state.verdicts().iter().any(|known| {
                known.idempotency_key == verdict.idempotency_key
                    && known.person == verdict.person
                    && known.decision == verdict.decision
            })
    }

    /// A person's verdict on a pending hold. One rejection rejects; it is approved when every demand has
    /// as many approvals of people who may still decide as it asks for.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not pending, the digest is another, the time to decide is over, the
    /// person may not decide, has approved already, or did not sign what must be signed.
    pub fn decide(mut self, verdict: Verdict, people: &People<'_>) -> Result<Self, Lost> {
        self.must_be(StateName::Pending)?;
        let capacity = self.weigh(&verdict, None, people)?;
        if verdict.at > self.decide_by {
            return Err(Lost::TooLate(self.decide_by));
        }
        let State::Pending { mut verdicts } = self.state else {
            return Err(Lost::Already(self.state.name()));
        };
        if verdict.decision == Decision::Reject {
            self.state = State::Rejected { verdict };
            return Ok(self);
        }
        if verdicts.iter().any(|known| capacity.same_human.contains(&known.person.name)) {
            let missing = missing(
                &self.terms,
                &verdicts,
                owners(self.owner.as_deref(), self.via.as_ref()),
                people,
            );
            return Err(Lost::Again { person: verdict.person.name, missing });
        }
        let at = verdict.at;
        verdicts.push(verdict);
        self.state = match counted(
            &self.terms,
            &verdicts,
            owners(self.owner.as_deref(), self.via.as_ref()),
            people,
        ) {
            Some(verdicts) => {
                let execute_by = at.saturating_add(self.execute_within).unwrap_or(Timestamp::MAX);
                State::Approved { verdicts, at, execute_by }
            }
            None => State::Pending { verdicts },
        };
        Ok(self)
    }

    /// A reviewer's change of the arguments of a pending hold. Approvals of what it was count no more.
    ///
    /// # Errors
    /// [`Lost`] when the hold is not pending, its rules do not let it be changed, the person saw another
    /// digest, may not decide, or the time to decide is over.
    pub fn amend(
        mut self,
        edited: Edited,
        by: &Verdict,
        people: &People<'_>,
    ) -> Result<Self, Lost> {
        self.must_be(StateName::Pending)?;
        if !self.terms.allow_edit {
            return Err(Lost::NotEditable);
        }
        if by.digest != self.digest {
            return Err(Lost::OtherDigest { seen: by.digest, held: self.digest });
        }
        if by.at > self.decide_by {
            return Err(Lost::TooLate(self.decide_by));
        }
        self.admitted(&by.person, by.decision, people)?;
        self.amendments.push(Amendment {
            person: by.person.clone(),
            at: by.at,
            from: self.digest,
            to: edited.digest,
            changes: Change::between(&self.arguments, &edited.arguments),
        });
        self.arguments = edited.arguments;
        self.digest = edited.digest;
        self.rules = edited.rules;
        self.reason = edited.reason;
        self.terms = edited.terms;
        self.state = State::Pending { verdicts: Vec::new() };
        Ok(self)
    }

    /// What people say of a call whose outcome nobody recorded. To run again it needs the approvals that
    /// it needed at first; those given then count, of people who may still decide.
    ///
    /// # Errors
    /// [`Lost`] when the outcome is known, the person may not decide, or approvals are missing.
    pub fn resolve(mut self, account: Account, people: &People<'_>) -> Result<Self, Lost> {
        let Account { resolution, verdict } = account;
        self.must_be(StateName::Unknown)?;
        if verdict.decision != Decision::Approve {
            return Err(Lost::NotAllowed {
                person: verdict.person.name,
                why: "what became of a call is said with `approve`".to_owned(),
            });
        }
        let resolves = self.execution().map(|call| Resolves { resolution, call });
        let capacity = self.weigh(&verdict, resolves, people)?;
        let State::Unknown { mut verdicts, call, .. } = self.state else {
            return Err(Lost::Already(self.state.name()));
        };
        let at = verdict.at;
        self.state = match resolution {
            Resolution::RunAgain => {
                verdicts.retain(|known| !capacity.same_human.contains(&known.person.name));
                verdicts.push(verdict);
                let owners = owners(self.owner.as_deref(), self.via.as_ref());
                let Some(verdicts) = counted(&self.terms, &verdicts, owners, people) else {
                    let why = missing(&self.terms, &verdicts, owners, people);
                    return Err(Lost::NotAllowed { person: "one person alone".to_owned(), why });
                };
                let execute_by = at.saturating_add(self.execute_within).unwrap_or(Timestamp::MAX);
                State::Approved { verdicts, at, execute_by }
            }
            Resolution::Done | Resolution::Failed => {
                let outcome = said_by_people(resolution, &verdict);
                State::Finished { verdicts, call, outcome, at, collected: false }
            }
        };
        Ok(self)
    }

    /// Whether a person may grant a standing approval for calls like this one: who alone can approve it may.
    ///
    /// # Errors
    /// [`Lost`] when the person may not decide, or one approval is not enough.
    pub fn may_grant(&self, person: &Person, people: &People<'_>) -> Result<(), Lost> {
        let refused =
            |why: &str| Lost::NotAllowed { person: person.name.clone(), why: why.to_owned() };
        if self.terms.signature || self.terms.quorum() > 1 {
            return Err(refused("such calls need more than one person's word, each of them anew"));
        }
        let capacity = self.admitted(person, Decision::Approve, people)?;
        if self.terms.demands().iter().all(|demand| demand.admits(&capacity)) {
            return Ok(());
        }
        Err(refused("such calls need other reviewers too"))
    }

    /// The call that was dispatched for this hold last, if one was.
    #[must_use]
    pub const fn execution(&self) -> Option<CallId> {
        match &self.state {
            State::Executing { call, .. }
            | State::Finished { call, .. }
            | State::Unknown { call, .. } => Some(*call),
            State::Pending { .. }
            | State::Approved { .. }
            | State::Rejected { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Superseded { .. }
            | State::Halted { .. } => None,
        }
    }

    /// Whether the verdict is for this very call, of somebody who may give it, and signed if it must be.
    fn weigh(
        &self,
        verdict: &Verdict,
        resolves: Option<Resolves>,
        people: &People<'_>,
    ) -> Result<Capacity, Lost> {
        if verdict.digest != self.digest {
            return Err(Lost::OtherDigest { seen: verdict.digest, held: self.digest });
        }
        let capacity = self.admitted(&verdict.person, verdict.decision, people)?;
        let Some(signature) = &verdict.signature else {
            if self.terms.signature && verdict.decision == Decision::Approve {
                let why = "an approval of this hold must be signed: with a passkey on its page, \
                           or with an SSH key and `--sign-with KEYFILE`";
                return Err(Lost::Signature(why.to_owned()));
            }
            return Ok(capacity);
        };
        let statement = Statement {
            hold: self.id,
            digest: &verdict.digest,
            decision: verdict.decision,
            person: &verdict.person.name,
            reason: verdict.reason.as_deref(),
            decide_by: self.decide_by,
            resolves,
        };
        let refused = |why: String| Lost::Signature(why);
        let message = statement.message().map_err(|error| refused(error.to_string()))?;
        signature.verify(&message, &capacity.keys, &capacity.passkeys).map_err(refused)?;
        Ok(capacity)
    }

    fn admitted(
        &self,
        person: &Person,
        decision: Decision,
        people: &People<'_>,
    ) -> Result<Capacity, Lost> {
        let refused = |why: String| Lost::NotAllowed { person: person.name.clone(), why };
        let Some(capacity) = people(person).filter(|capacity| capacity.decides) else {
            return Err(refused("no reviewer of this name may decide (any more)".to_owned()));
        };
        if !self.terms.demands().iter().any(|demand| demand.admits(&capacity)) {
            return Err(refused(format!("it needs {}", self.terms.told())));
        }
        // To refuse one's own agent's call harms nobody.
        if decision == Decision::Approve
            && self.terms.four_eyes
            && is_owner(&capacity, owners(self.owner.as_deref(), self.via.as_ref()))
        {
            return Err(refused("the call is of your own agent, and needs other eyes".to_owned()));
        }
        Ok(capacity)
    }
}

/// The people whose agents made a call: the agent's owner, and that of who acted for it.
fn owners<'a>(owner: Option<&'a str>, via: Option<&'a Via>) -> [Option<&'a str>; 2] {
    [owner, via.and_then(|via| via.owner.as_deref())]
}

fn is_owner(capacity: &Capacity, owners: [Option<&str>; 2]) -> bool {
    let mut owners = owners.into_iter().flatten();
    owners.any(|owner| capacity.same_human.iter().any(|name| name == owner))
}

/// The approvals that count now, if they are enough for every demand.
fn counted(
    terms: &Terms,
    verdicts: &[Verdict],
    owners: [Option<&str>; 2],
    people: &People<'_>,
) -> Option<Vec<Verdict>> {
    let valid = valid(terms, verdicts, owners, people);
    let met = |demand: &Demand| still_missing(demand, &valid) == 0;
    terms
        .demands()
        .iter()
        .all(met)
        .then(|| valid.into_iter().map(|(verdict, _)| verdict.clone()).collect())
}

/// The approvals of people who may decide now, each in the capacity they have now.
fn valid<'v>(
    terms: &Terms,
    verdicts: &'v [Verdict],
    owners: [Option<&str>; 2],
    people: &People<'_>,
) -> Vec<(&'v Verdict, Capacity)> {
    let weighed = verdicts.iter().filter_map(|verdict| Some((verdict, people(&verdict.person)?)));
    let weighed = weighed.filter(|(_, capacity)| capacity.decides);
    weighed
        .filter(|(_, capacity)| !(terms.four_eyes && is_owner(capacity, owners)))
        .filter(|(_, capacity)| terms.demands().iter().any(|demand| demand.admits(capacity)))
        .collect()
}

fn still_missing(demand: &Demand, valid: &[(&Verdict, Capacity)]) -> u32 {
    let count = valid.iter().filter(|(_, capacity)| demand.admits(capacity)).count();
    demand.quorum.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX))
}

fn missing(
    terms: &Terms,
    verdicts: &[Verdict],
    owners: [Option<&str>; 2],
    people: &People<'_>,
) -> String {
    let valid = valid(terms, verdicts, owners, people);
    let left: u32 =
        terms.demands().iter().map(|demand| still_missing(demand, &valid)).max().unwrap_or(0);
    format!("it needs {}; approvals missing: {left}", terms.told())
}

fn said_by_people(resolution: Resolution, verdict: &Verdict) -> Outcome {
    let (status, what) = match resolution {
        Resolution::Done => (OutcomeStatus::Success, "it was done"),
        Resolution::Failed | Resolution::RunAgain => (OutcomeStatus::ToolError, "it failed"),
    };
    let reason = verdict.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
    Outcome {
        status,
        error: Some(format!("{} looked and says that {what}{reason}", verdict.person.name)),
        result_digest: None,
        result_bytes: None,
        backend_ms: 0,
        asked: Vec::new(),
        cached: false,
        charges: Vec::new(),
    }
}
