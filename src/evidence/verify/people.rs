//! Who the people are, as the log says: whose keys may sign a verdict.

use std::collections::HashMap;

use jiff::Timestamp;

use super::story::Twist;
use crate::evidence::passkey::Registered;
use crate::evidence::signature::{Resolves, Statement};
use crate::evidence::{Access, Event, Listed};
use crate::hold::Verdict;
use crate::ids::HoldId;
use crate::principal::{Person, Role};

/// The register of people, as far as signatures depend on it.
#[derive(Debug, Default)]
pub(super) struct Register {
    /// By name: everybody who ever was in it, as they were last.
    records: HashMap<String, Record>,
    /// By fingerprint: whose key it is, and the key.
    keys: HashMap<String, (String, String)>,
    /// By identifier: whose passkey it is, and the passkey.
    passkeys: HashMap<String, (String, Registered)>,
}

#[derive(Debug)]
struct Record {
    listed: Listed,
    revoked: bool,
}

impl Record {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.listed.reviewer.as_str())
            .chain(self.listed.also.iter().map(String::as_str))
    }

    fn is(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    fn stands(&self, at: Timestamp) -> bool {
        !self.revoked && self.listed.expires_at.is_none_or(|end| at < end)
    }
}

impl Register {
    /// Takes an entry into account, if it is about people.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::ReviewerAdded { listed, .. } | Event::ReviewerChanged { listed, .. } => {
                let record = Record { listed: listed.clone(), revoked: false };
                self.records.insert(listed.reviewer.to_string(), record);
            }
            Event::KeyRegistered { person, key, fingerprint, .. } => {
                self.keys.insert(fingerprint.clone(), (person.to_string(), key.clone()));
            }
            Event::KeyRemoved { fingerprint, .. } => drop(self.keys.remove(fingerprint)),
            Event::Access { person, access, .. } => self.follow_access(&person.name, access),
            // Whoever is added again under the name has none of the passkeys and keys from before.
            Event::ReviewerRevoked { reviewer, .. } => {
                if let Some(record) = self.records.get_mut(reviewer.as_str()) {
                    record.revoked = true;
                }
                self.passkeys.retain(|_, (owner, _)| owner != reviewer.as_str());
                self.keys.retain(|_, (owner, _)| owner != reviewer.as_str());
            }
            Event::Intent(_)
            | Event::Outcome { .. }
            | Event::Refusal(_)
            | Event::Hold { .. }
            | Event::Verdict { .. }
            | Event::VerdictRefused { .. }
            | Event::HoldAmended { .. }
            | Event::HoldResolved { .. }
            | Event::StandingGranted { .. }
            | Event::StandingRevoked { .. }
            | Event::HoldChanged { .. }
            | Event::Halt { .. }
            | Event::Resume { .. }
            | Event::HaltEnded { .. }
            | Event::DefinitionsSeen { .. }
            | Event::DefinitionsQuarantined { .. }
            | Event::DefinitionAccepted { .. }
            | Event::RevisionLoaded { .. }
            | Event::ClockSkew { .. }
            | Event::Absence { .. }
            | Event::BudgetAlert(_)
            | Event::HoldsExtended { .. }
            | Event::TailRepaired { .. }
            | Event::AgentAdded { .. }
            | Event::AgentActsFor { .. }
            | Event::AgentRotated { .. }
            | Event::AgentRevoked { .. } => {}
        }
    }

    fn follow_access(&mut self, person: &str, access: &Access) {
        match access {
            Access::PasskeyAdded { passkey, name, key, domain: Some(domain), .. } => {
                let registered = Registered {
                    id: passkey.clone(),
                    name: name.clone(),
                    key: key.clone(),
                    domain: domain.clone(),
                };
                self.passkeys.insert(passkey.clone(), (person.to_owned(), registered));
            }
            Access::PasskeyRemoved { passkey } => drop(self.passkeys.remove(passkey)),
            Access::PasskeyAdded { domain: None, .. }
            | Access::Invited { .. }
            | Access::LinkMade { .. }
            | Access::SignedIn { .. }
            | Access::SignedOut { .. }
            | Access::PasswordSet
            | Access::PasskeyCopied { .. }
            | Access::SubjectBound { .. } => {}
        }
    }

    /// Whether a person could decide at `at`: who came over the local socket unless a record of their name was
    /// revoked, others while their record stands and its role lets them.
    pub(super) fn may_decide(&self, person: &Person, at: Timestamp) -> bool {
        let own = self.records.get(&person.name);
        if person.local {
            return own.is_none_or(|record| !record.revoked);
        }
        own.is_some_and(|record| record.stands(at) && record.listed.role >= Role::Reviewer)
    }

    /// The names whose keys sign for a person: the own, and for a local one those of the records that stand for
    /// the same human.
    fn signing_as(&self, person: &Person, at: Timestamp) -> Vec<String> {
        if !person.local {
            return vec![person.name.clone()];
        }
        let given = self.records.iter().filter(|(_, it)| it.stands(at) && it.is(&person.name));
        given.map(|(name, _)| name.clone()).collect()
    }

    /// Checks that whoever gave a verdict could, and its signature, if it has one or must.
    pub(super) fn check(
        &self,
        hold: HoldId,
        verdict: &Verdict,
        decide_by: Timestamp,
        required: bool,
        resolves: Option<Resolves>,
    ) -> Result<(), Twist> {
        let person = &verdict.person.name;
        if !self.may_decide(&verdict.person, verdict.at) {
            return Err(Twist::MayNotDecide { hold, person: person.clone() });
        }
        let Some(signature) = &verdict.signature else {
            let missing = Twist::WithoutSignature { hold, person: person.clone() };
            return if required { Err(missing) } else { Ok(()) };
        };
        let statement = Statement {
            hold,
            digest: &verdict.digest,
            decision: verdict.decision,
            person,
            reason: verdict.reason.as_deref(),
            decide_by,
            resolves,
        };
        let names = self.signing_as(&verdict.person, verdict.at);
        let keys: Vec<String> = of(&self.keys, &names);
        let passkeys: Vec<Registered> = of(&self.passkeys, &names);
        let wrong = |why: String| Twist::WrongSignature { hold, person: person.clone(), why };
        let message = statement.message().map_err(|error| wrong(error.to_string()))?;
        signature.verify(&message, &keys, &passkeys).map_err(wrong)
    }

    /// Every name that is reached from `name` over records that share one, revoked ones too.
    pub(super) fn same_human(&self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned()];
        loop {
            let before = names.len();
            for record in self.records.values() {
                if names.iter().any(|name| record.is(name)) {
                    let new = record.names().filter(|name| !names.iter().any(|it| it == name));
                    let new: Vec<String> = new.map(str::to_owned).collect();
                    names.extend(new);
                }
            }
            if names.len() == before {
                return names;
            }
        }
    }
}

/// What belongs to one of the people with these names.
fn of<T: Clone>(all: &HashMap<String, (String, T)>, names: &[String]) -> Vec<T> {
    all.values().filter(|(owner, _)| names.contains(owner)).map(|(_, it)| it.clone()).collect()
}
