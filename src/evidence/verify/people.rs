//! Who the people are, as the log says: whose keys may sign a verdict.

use std::collections::HashMap;

use super::story::Twist;
use crate::evidence::passkey::Registered;
use crate::evidence::signature::{Resolves, Statement};
use crate::evidence::{Access, Event};
use crate::hold::Verdict;
use crate::ids::HoldId;

/// The register of people, as far as signatures depend on it.
#[derive(Debug, Default)]
pub(super) struct Register {
    /// By name: the other names of the same human.
    also: HashMap<String, Vec<String>>,
    /// By fingerprint: whose key it is, and the key.
    keys: HashMap<String, (String, String)>,
    /// By identifier: whose passkey it is, and the passkey.
    passkeys: HashMap<String, (String, Registered)>,
}

impl Register {
    /// Takes an entry into account, if it is about people.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::ReviewerAdded { listed, .. } | Event::ReviewerChanged { listed, .. } => {
                self.also.insert(listed.reviewer.to_string(), listed.also.clone());
            }
            Event::KeyRegistered { person, key, fingerprint, .. } => {
                self.keys.insert(fingerprint.clone(), (person.to_string(), key.clone()));
            }
            Event::KeyRemoved { fingerprint, .. } => drop(self.keys.remove(fingerprint)),
            Event::Access { person, access, .. } => self.follow_access(&person.name, access),
            // Whoever is added again under the name has none of the passkeys and keys from before.
            Event::ReviewerRevoked { reviewer, .. } => {
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
            | Event::RevisionLoaded { .. }
            | Event::ClockSkew { .. }
            | Event::Absence { .. }
            | Event::HoldsExtended { .. }
            | Event::TailRepaired { .. }
            | Event::AgentAdded { .. }
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

    /// Checks the signature of a verdict, if it has one or must.
    pub(super) fn check(
        &self,
        hold: HoldId,
        verdict: &Verdict,
        decide_by: jiff::Timestamp,
        required: bool,
        resolves: Option<Resolves>,
    ) -> Result<(), Twist> {
        let person = &verdict.person.name;
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
        let names = self.same_human(person);
        let keys: Vec<String> = of(&self.keys, &names);
        let passkeys: Vec<Registered> = of(&self.passkeys, &names);
        let wrong = |why: String| Twist::WrongSignature { hold, person: person.clone(), why };
        let message = statement.message().map_err(|error| wrong(error.to_string()))?;
        signature.verify(&message, &keys, &passkeys).map_err(wrong)
    }

    fn same_human(&self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned()];
        loop {
            let before = names.len();
            for (record, also) in &self.also {
                let all = || also.iter().chain([record]);
                if all().any(|name| names.contains(name)) {
                    let new: Vec<String> =
                        all().filter(|name| !names.contains(name)).cloned().collect();
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
