//! What one call takes from budgets, from when it is asked for until its outcome.

use serde_json::value::RawValue;

use super::Request;
use super::tokens::Uncounted;
use crate::catalog::CheckedArguments;
use crate::digest;
use crate::evidence::Charge;
use crate::gateway::Gateway;
use crate::limits::budgets::{self, Reservation, Spender};
use crate::policy::{Exhausted, Permit, Policy};

/// What one call takes from budgets.
#[derive(Debug, Default)]
pub(super) struct Spending {
    reserved: Option<Reservation>,
    /// Nothing is paid for the call.
    free: bool,
}

/// What a call takes whose arguments and result are known.
pub(super) struct Took {
    /// What its outcome says.
    pub(super) charges: Vec<Charge>,
    uncounted: Option<Uncounted>,
}

impl Spending {
    /// Reserves what the call takes before it runs; gives the budgets that do not suffice.
    pub(super) fn afford(
        &mut self,
        gateway: &Gateway,
        policy: &Policy,
        request: &Request,
        checked: &CheckedArguments,
    ) -> Vec<Exhausted> {
        let reserved = gateway.budgets.reserve(policy, spender(request), checked);
        let exhausted = reserved.exhausted().to_vec();
        // An approved call was told of when it was asked for.
        if request.approval.is_none() {
            exhausted.iter().for_each(|it| gateway.metrics.budgets.exhausted(it.then));
        }
        self.reserved = Some(reserved);
        exhausted
    }

    /// The call does not run now: it takes nothing.
    pub(super) fn forgo(&mut self) {
        self.reserved = None;
    }

    /// Its backend is not asked: what its manifest says that it costs is given back.
    pub(super) fn costs_nothing(&mut self) {
        self.free = true;
        if let Some(reserved) = &mut self.reserved {
            reserved.costs_nothing();
        }
    }

    /// What its intent says.
    pub(super) fn charges(&self) -> Vec<Charge> {
        self.reserved.as_ref().map(Reservation::charges).unwrap_or_default()
    }

    /// The intent is recorded.
    pub(super) fn keep(&mut self, gateway: &Gateway, permit: &Permit) {
        if !self.free {
            gateway.metrics.budgets.cost(permit.tool());
        }
        if let Some(reserved) = &mut self.reserved {
            gateway.metrics.budgets.alerted(reserved.keep().len());
        }
    }

    /// The call ended; `result` is what it gave. From now on it counts.
    pub(super) fn took(
        &self,
        gateway: &Gateway,
        permit: &Permit,
        result: Option<&RawValue>,
        compute_ms: u64,
    ) -> Took {
        let Some(reserved) = &self.reserved else {
            return Took { charges: Vec::new(), uncounted: None };
        };
        let counts = reserved.counts_tokens();
        let arguments = if counts {
            digest::canonical(permit.arguments()).unwrap_or_default()
        } else {
            Vec::new()
        };
        let result = result.filter(|_| counts).map_or("", RawValue::get);
        let bytes = arguments.len().saturating_add(result.len());
        let tokens = budgets::estimated_tokens(u64::try_from(bytes).unwrap_or(u64::MAX));
        let charges = reserved.took(tokens, compute_ms);
        gateway.metrics.budgets.alerted(gateway.budgets.spend(&charges).len());
        let uncounted = counts.then(|| Uncounted {
            arguments: String::from_utf8(arguments).unwrap_or_default(),
            result: result.to_owned(),
            tool: permit.tool().name().to_owned(),
            charges: charges.clone(),
            estimated: tokens,
        });
        Took { charges, uncounted }
    }

    /// The outcome is recorded: its tokens are counted when there is time for it.
    pub(super) fn recorded(gateway: &Gateway, took: Option<Uncounted>) {
        if let Some(uncounted) = took {
            gateway.tokens.count_later(uncounted, &gateway.metrics.budgets);
        }
    }
}

impl Took {
    /// What its outcome says, and what is yet to be counted.
    pub(super) fn parts(self) -> (Vec<Charge>, Option<Uncounted>) {
        (self.charges, self.uncounted)
    }
}

/// Who spends when this is called.
pub(super) fn spender(request: &Request) -> Spender<'_> {
    Spender {
        agent: request.principal.agent(),
        groups: request.principal.groups(),
        client: request.client.as_deref(),
        workflow: request.workflow.as_deref(),
    }
}
