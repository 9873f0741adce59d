//! Whether enough people may decide what rules hold: an approval that nobody can give only looks like a way.

use crate::gateway::Gateway;
use crate::hold::Terms;
use crate::principal::{Capacity, Person};

/// How many rules are named.
const NAMED: usize = 5;

/// What to do about it.
pub const MEND: &str = "register who is missing with `countersign reviewers add NAME --group GROUP`, or mend the rules";

/// Why calls may be held that nobody can approve, if they may: which rules ask for more people than there
/// are. The user whom the gateway runs as is one of them.
#[must_use]
pub fn unmanned(gateway: &Gateway) -> Option<String> {
    let now = gateway.clock.now();
    let local = Person::local(gateway.config.user.clone());
    let people = gateway.people.all(now);
    let local = gateway.people.capacity(&local, now);
    let deciding: Vec<Capacity> =
        people.into_iter().chain(local).filter(|capacity| capacity.decides).collect();
    let revision = gateway.revision();
    let missing: Vec<String> = revision
        .policy
        .approvals()
        .filter(|(_, terms)| !can_approve(terms, &deciding))
        .map(|(rule, terms)| format!("rule `{rule}` needs {}", terms.told()))
        .collect();
    let shown = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match missing.len() {
        0 => None,
        1..=NAMED => Some(format!("{shown}, and not so many people may decide")),
        count => Some(format!(
            "{shown} and {} more rules, and not so many people may decide",
            count - NAMED
        )),
    }
}

/// Whether the people there are could meet every demand. Who is known by several names is one human.
fn can_approve(terms: &Terms, deciding: &[Capacity]) -> bool {
    terms.demands().iter().all(|demand| {
        let mut humans: Vec<&[String]> = deciding
            .iter()
            .filter(|capacity| demand.admits(capacity))
            .filter(|capacity| !terms.signature || can_sign(capacity))
            .map(|capacity| capacity.same_human.as_slice())
            .collect();
        humans.sort_unstable();
        humans.dedup();
        u32::try_from(humans.len()).unwrap_or(u32::MAX) >= demand.quorum
    })
}

const fn can_sign(capacity: &Capacity) -> bool {
    !capacity.keys.is_empty() || !capacity.passkeys.is_empty()
}
