//! What is spent of budgets: looked at and taken at once, so that calls that come together do not spend more than
//! there is. What stands here is what the store has, and what calls have reserved that are not recorded yet.

mod reservation;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::reservation::Reservation;
use crate::catalog::CheckedArguments;
use crate::clock::Clock;
use crate::evidence::{Amounts, Charge, Correction, Spent, Window};
use crate::ids::AgentName;
use crate::policy::{Budget, Dimension, Exhausted, Policy};

/// How many accounts are kept at the most. One more is refused, as if its budget were spent.
pub const MAX_ACCOUNTS: usize = 200_000;
/// For how many names of its own choice an agent is counted apart by one budget; all further names are counted as one.
pub const MAX_NAMES: usize = 1_000;
/// How long an account is kept that counts for such a name, when nothing is spent any more.
pub const IDLE: Duration = Duration::from_secs(30 * 86_400);
/// The name that stands for those further ones.
const OTHER_NAMES: &str = "(other names)";

/// Whom a budget is counted for.
pub type Who = BTreeMap<String, String>;
/// The budget's name, and who.
type Account = (String, Who);

/// The share that is spent, by whom, and how much.
type Found<'a> = (u64, &'a Who, Amounts);
/// Who spent how much, and whether there are more of them.
pub type Read = (Vec<(Who, Amounts)>, bool);

/// What is spent of budgets.
pub struct Budgets {
    clock: Arc<dyn Clock>,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    spent: HashMap<Account, Spent>,
    /// By budget and agent: how many accounts count for names that the agent chose.
    names: HashMap<(String, String), usize>,
}

/// Whose call spends.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    /// The verified agent.
    pub agent: &'a AgentName,
    /// Its groups.
    pub groups: &'a [String],
    /// The client program, as it names itself.
    pub client: Option<&'a str>,
    /// The workflow, as the caller names it.
    pub workflow: Option<&'a str>,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").finish_non_exhaustive()
    }
}

impl Budgets {
    /// What the store has.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, stored: Vec<(Account, Spent)>) -> Self {
        let mut accounts = Accounts::default();
        for (account, spent) in stored {
            accounts.open(account, spent);
        }
        Self { clock, accounts: Mutex::new(accounts) }
    }

    /// Takes what a call takes before it runs, and says which budgets do not suffice for it.
    #[must_use]
    pub fn reserve(
        self: &Arc<Self>,
        policy: &Policy,
        caller: Spender<'_>,
        checked: &CheckedArguments,
    ) -> Reservation {
        let (charges, exhausted) = self.weigh(policy, caller, checked, true);
        Reservation { all: Arc::clone(self), charges, exhausted, kept: false }
    }

    /// Which budgets do not suffice for a call that is only asked about.
    #[must_use]
    pub fn look(
        &self,
        policy: &Policy,
        caller: Spender<'_>,
        checked: &CheckedArguments,
    ) -> Vec<Exhausted> {
        self.weigh(policy, caller, checked, false).1
    }

    fn weigh(
        &self,
        policy: &Policy,
        caller: Spender<'_>,
        checked: &CheckedArguments,
        takes: bool,
    ) -> (Vec<Charge>, Vec<Exhausted>) {
        let (mut charges, mut exhausted) = (Vec::new(), Vec::new());
        let who = (caller.agent, caller.groups);
        let matching = |budget: &&Budget| budget.matches(who, caller.client, checked);
        let mut budgets = policy.budgets().iter().filter(matching).peekable();
        if budgets.peek().is_none() {
            return (charges, exhausted);
        }
        let now = self.clock.now();
        let mut accounts = self.lock();
        for budget in budgets {
            let charge = accounts.charge(budget, caller, checked, now);
            let account = (charge.budget.clone(), charge.who.clone());
            let known = accounts.spent.get(&account);
            let spent = known.map_or_else(Amounts::default, |it| it.counted_in(&charge.window));
            let full = known.is_none() && accounts.spent.len() >= MAX_ACCOUNTS;
            if full || exceeds(&spent, &charge.amounts, &budget.of()) {
                exhausted.push(Exhausted::of(budget, &spent, now));
            }
            if takes && !full {
                if known.is_none() {
                    accounts.open(account.clone(), Spent::default());
                }
                if let Some(spent) = accounts.spent.get_mut(&account) {
                    spent.add(&charge, now);
                }
                charges.push(charge);
            }
        }
        (charges, exhausted)
    }

    /// Adds what a call took beside what it reserved; gives the budgets that reached a share people are told of.
    pub fn spend(&self, charges: &[Charge]) -> Vec<String> {
        let now = self.clock.now();
        let mut accounts = self.lock();
        let mut told = Vec::new();
        for charge in charges {
            let account = (charge.budget.clone(), charge.who.clone());
            let Some(spent) = accounts.spent.get_mut(&account) else { continue };
            spent.add(charge, now);
            told.extend(spent.alert(&charge.alerts).iter().map(|_| charge.budget.clone()));
        }
        told
    }

    /// Puts counted tokens in the place of estimated ones; gives the budgets that reached a share people are told of.
    pub fn correct(&self, corrections: &[Correction]) -> Vec<String> {
        let mut accounts = self.lock();
        let mut told = Vec::new();
        for fix in corrections {
            let account = (fix.budget.clone(), fix.who.clone());
            let Some(spent) = accounts.spent.get_mut(&account) else { continue };
            spent.correct(fix);
            told.extend(spent.alert(&fix.alerts).iter().map(|_| fix.budget.clone()));
        }
        told
    }

    /// Forgets at most `most` accounts whose window is over, or that count for a name that an agent chose and are
    /// idle for [`IDLE`]; gives them.
    #[must_use]
    pub fn forget(&self, most: usize) -> Vec<Account> {
        let now = self.clock.now();
        let mut accounts = self.lock();
        let gone: Vec<Account> = accounts
            .spent
            .iter()
            .filter(|((_, who), spent)| {
                let idle = now.duration_since(spent.used)
                    >= jiff::SignedDuration::try_from(IDLE).unwrap_or_default();
                spent.window.until.is_some_and(|until| until <= now) || (idle && chosen(who))
            })
            .map(|(account, _)| account.clone())
            .take(most)
            .collect();
        for account in &gone {
            accounts.close(account);
        }
        gone
    }

    /// Of each of `budgets` what is spent in its present window, by whom, the largest share first: `most` of those
    /// that are `wanted`, and whether there are more.
    #[must_use]
    pub fn read(
        &self,
        budgets: &[&Budget],
        wanted: impl Fn(&Who) -> bool,
        most: usize,
    ) -> Vec<Read> {
        let now = self.clock.now();
        let mut found: HashMap<&str, (&Budget, Window, Vec<Found<'_>>)> = HashMap::new();
        for budget in budgets {
            found.insert(&budget.name, (budget, budget.window(now), Vec::new()));
        }
        // Gone over once, and only what is shown is copied: calls wait meanwhile.
        let accounts = self.lock();
        for ((name, who), spent) in &accounts.spent {
            let Some((budget, window, found)) = found.get_mut(name.as_str()) else { continue };
            let amounts = spent.counted_in(window);
            if !amounts.is_nothing() && wanted(who) {
                found.push((amounts.largest_share(&budget.of()), who, amounts));
            }
        }
        let read = |budget: &&Budget| {
            let Some((_, _, mut all)) = found.remove(budget.name.as_str()) else {
                return (Vec::new(), false);
            };
            all.sort_unstable_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
            let more = all.len() > most;
            let shown = all.into_iter().take(most);
            (shown.map(|(_, who, amounts)| (who.clone(), amounts)).collect(), more)
        };
        budgets.iter().map(read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn open(&mut self, account: Account, spent: Spent) {
        if let Some(agent) = agent_of_names(&account.1) {
            *self.names.entry((account.0.clone(), agent.to_owned())).or_default() += 1;
        }
        self.spent.insert(account, spent);
    }

    fn close(&mut self, account: &Account) {
        if self.spent.remove(account).is_none() {
            return;
        }
        let Some(agent) = agent_of_names(&account.1) else { return };
        let of = (account.0.clone(), agent.to_owned());
        if let Some(names) = self.names.get_mut(&of) {
            *names = names.saturating_sub(1);
            if *names == 0 {
                self.names.remove(&of);
            }
        }
    }

    /// What a call takes of `budget` before it runs.
    fn charge(
        &self,
        budget: &Budget,
        caller: Spender<'_>,
        checked: &CheckedArguments,
        now: Timestamp,
    ) -> Charge {
        let mut who = who(budget, caller, checked);
        let account = (budget.name.clone(), who);
        let known = self.spent.contains_key(&account);
        who = account.1;
        if !known && let Some(agent) = agent_of_names(&who) {
            let names = self.names.get(&(budget.name.clone(), agent.to_owned()));
            if names.is_some_and(|names| *names >= MAX_NAMES) {
                for chosen in [Dimension::Client, Dimension::Workflow] {
                    if let Some(name) = who.get_mut(chosen.as_str()) {
                        OTHER_NAMES.clone_into(name);
                    }
                }
            }
        }
        let of = budget.of();
        let amounts = Amounts {
            calls: u64::from(of.calls > 0),
            micro_usd: if of.micro_usd > 0 { checked.tool().cost().micros() } else { 0 },
            ..Amounts::default()
        };
        let window = budget.window(now);
        Charge { budget: budget.name.clone(), who, window, amounts, alerts: budget.alerts.clone() }
    }
}

/// Whether a budget does not suffice. What a call will take of tokens and time is not known before it ran, so
/// there one is spent when nothing is left.
fn exceeds(spent: &Amounts, takes: &Amounts, of: &Amounts) -> bool {
    let beyond = |spent: u64, takes: u64, of: u64| of > 0 && spent.saturating_add(takes) > of;
    beyond(spent.calls, takes.calls, of.calls)
        || (takes.micro_usd > 0 && beyond(spent.micro_usd, takes.micro_usd, of.micro_usd))
        || beyond(spent.tokens, 1, of.tokens)
        || beyond(spent.compute_ms, 1, of.compute_ms)
}

/// Whom a call is counted for: only what was verified, or is the gateway's own; names that a caller chooses within
/// its verified agent only.
fn who(budget: &Budget, caller: Spender<'_>, checked: &CheckedArguments) -> Who {
    let agent = caller.agent.as_str();
    let mut who = Who::new();
    for dimension in &budget.per {
        let (name, within) = match dimension {
            Dimension::Agent => (agent, false),
            Dimension::Tool => (checked.tool().known_as(), false),
            Dimension::Backend => (&**checked.tool().backend(), false),
            Dimension::Client => (caller.client.unwrap_or_default(), true),
            Dimension::Workflow => (caller.workflow.unwrap_or_default(), true),
            Dimension::Gateway => continue,
        };
        who.insert(dimension.as_str().to_owned(), name.to_owned());
        if within {
            who.insert(Dimension::Agent.as_str().to_owned(), agent.to_owned());
        }
    }
    who
}

fn chosen(who: &Who) -> bool {
    [Dimension::Client, Dimension::Workflow].iter().any(|it| who.contains_key(it.as_str()))
}

/// The agent that chose a name of those that are counted apart.
fn agent_of_names(who: &Who) -> Option<&str> {
    chosen(who).then(|| who.get(Dimension::Agent.as_str()).map(String::as_str)).flatten()
}

/// What an estimate of tokens comes to: bytes by four, as texts have on average.
#[must_use]
pub const fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

/// What corrects the tokens of `charges` from an estimate to what was counted.
#[must_use]
pub fn corrections(charges: &[Charge], counted: u64) -> Vec<Correction> {
    let counts = charges.iter().filter(|charge| charge.amounts.tokens > 0);
    let fix = |charge: &Charge| Correction {
        budget: charge.budget.clone(),
        who: charge.who.clone(),
        window: charge.window,
        estimated: charge.amounts.tokens,
        counted,
        alerts: charge.alerts.clone(),
    };
    counts.map(fix).filter(|fix| fix.estimated != fix.counted).collect()
}

#[cfg(test)]
mod tests;
