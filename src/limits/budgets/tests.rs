//! What is reserved, given back and forgotten, and what happens at the bounds.

use std::path::PathBuf;

use super::*;
use crate::catalog::{Catalog, Environment, Manifests};
use crate::clock::ManualClock;
use crate::json::Object;
use crate::source::SourceFile;

const TOOLS: &str = "
backend: { name: files, command: { program: p } }
attributes: { action_type: write }
tools:
  - { name: write, description: d, run: [x], input_schema: { type: object }, cost: { usd: 0.4 } }
";

struct Spending {
    catalog: Catalog,
    policy: Policy,
    budgets: Arc<Budgets>,
    clock: Arc<ManualClock>,
}

impl Spending {
    fn of(budget: &str, stored: Vec<(Account, Spent)>) -> Self {
        let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
        let environment = Environment {
            find_program: &|name| Some(PathBuf::from(name)),
            missing_secret: &|_| None,
            unconfinable: &|_, _| None,
            learned: &HashMap::new(),
        };
        let manifests = Manifests::read(vec![file("tools.yaml", TOOLS)]).unwrap();
        let catalog = manifests.catalog(&environment).unwrap();
        let text = format!("budgets: [{{ name: some, match: {{}}, {budget} }}]\n");
        let policy = Policy::load(vec![file("policy.yaml", &text)], &catalog).unwrap();
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let budgets = Arc::new(Budgets::new(Arc::clone(&clock) as Arc<dyn Clock>, stored));
        Self { catalog, policy, budgets, clock }
    }

    fn reserve(&self, agent: &str, workflow: &str) -> Reservation {
        let checked = self.catalog.tool("write").unwrap().check(Object::new()).unwrap();
        let agent = agent.parse().unwrap();
        let workflow = Some(workflow);
        let spender = Spender { agent: &agent, groups: &[], client: None, workflow };
        self.budgets.reserve(&self.policy, spender, &checked)
    }

    /// Whether the call may run; if so, it does.
    fn runs(&self, agent: &str, workflow: &str) -> bool {
        let mut reserved = self.reserve(agent, workflow);
        let runs = reserved.exhausted().is_empty();
        if runs {
            reserved.keep();
        }
        runs
    }

    fn accounts(&self) -> usize {
        self.budgets.lock().spent.len()
    }

    fn read(&self) -> Vec<(Who, Amounts)> {
        self.budgets.read(&[&self.policy.budgets()[0]], |_| true, 10).remove(0).0
    }
}

fn stored(agent: &str, used: &str) -> (Account, Spent) {
    let who = Who::from([("agent".to_owned(), agent.to_owned())]);
    let amounts = Amounts { calls: 1, ..Amounts::default() };
    let used = used.parse().unwrap();
    (("some".to_owned(), who), Spent { amounts, used, ..Spent::default() })
}

#[test]
fn what_is_reserved_counts_at_once_and_is_given_back_when_nothing_runs() {
    let spending = Spending::of("per: agent, spend: { calls: 2, cost_usd: 1 }", Vec::new());
    let first = spending.reserve("bot", "");
    let mut second = spending.reserve("bot", "");
    assert!(first.exhausted().is_empty() && second.exhausted().is_empty());
    let third = spending.reserve("bot", "");
    assert_eq!(third.exhausted()[0].told, "2 of 2 calls, 0.8 of 1 US dollars");
    drop(third);
    drop(first);
    second.keep();
    drop(second);
    let spent = Amounts { calls: 1, micro_usd: 400_000, ..Amounts::default() };
    assert_eq!(spending.read()[0].1, spent);
    assert!(spending.runs("bot", "") && !spending.runs("bot", ""));
    // Of whom nothing ran there is nothing to keep.
    let accounts = spending.accounts();
    drop(spending.reserve("other", ""));
    assert_eq!(spending.accounts(), accounts);
}

#[test]
fn what_costs_nothing_is_given_back_and_the_call_counts() {
    let spending = Spending::of("per: agent, spend: { calls: 9, cost_usd: 1 }", Vec::new());
    let mut reserved = spending.reserve("bot", "");
    reserved.costs_nothing();
    assert_eq!(reserved.charges()[0].amounts, Amounts { calls: 1, ..Amounts::default() });
    reserved.keep();
    drop(reserved);
    assert_eq!(spending.read()[0].1, Amounts { calls: 1, ..Amounts::default() });
}

#[test]
fn names_that_an_agent_chooses_are_bounded_for_each_agent() {
    let spending = Spending::of("per: workflow, spend: { calls: 1 }", Vec::new());
    for n in 0..MAX_NAMES {
        assert!(spending.runs("bot", &format!("w{n}")));
    }
    assert!(spending.runs("bot", "one more"), "all further ones are one");
    assert!(!spending.runs("bot", "and another"), "which is spent");
    assert!(!spending.runs("bot", "w7"), "those that are known stay apart");
    assert!(spending.runs("other", "w7"), "another agent has its own");
    assert_eq!(spending.accounts(), MAX_NAMES + 2);
    // They are forgotten when they are idle, and not before.
    assert!(spending.budgets.forget(10_000).is_empty());
    spending.clock.advance(IDLE);
    assert_eq!(spending.budgets.forget(10).len(), 10);
    assert_eq!(spending.budgets.forget(10_000).len(), MAX_NAMES - 8);
    assert!(spending.runs("bot", "w7"));
    assert_eq!(spending.accounts(), 1);
}

#[test]
fn only_windows_that_are_over_are_forgotten_of_verified_names() {
    let old = stored("bot", "2020-01-01T00:00:00Z");
    let spending = Spending::of("per: agent, spend: { calls: 1 }", vec![old]);
    assert!(spending.budgets.forget(10).is_empty(), "it never renews");
    assert!(!spending.runs("bot", ""));
    let spending = Spending::of("per: agent, spend: { calls: 1 }, every: 1h", Vec::new());
    assert!(spending.runs("bot", "") && !spending.runs("bot", ""));
    assert!(spending.budgets.forget(10).is_empty());
    spending.clock.advance(Duration::from_secs(3_600));
    assert!(spending.read().is_empty());
    assert_eq!(spending.budgets.forget(10).len(), 1);
    assert!(spending.runs("bot", ""));
}

#[test]
fn beyond_so_many_accounts_a_new_one_is_refused() {
    let one = |n: usize| stored(&format!("a{n}"), "2026-01-01T00:00:00Z");
    let all = (0..MAX_ACCOUNTS).map(one).collect();
    let spending = Spending::of("per: agent, spend: { calls: 2 }", all);
    assert!(spending.runs("a7", ""), "a known one goes on");
    assert!(!spending.runs("new", ""));
    assert_eq!(spending.accounts(), MAX_ACCOUNTS);
}

#[test]
fn a_count_takes_the_place_of_its_estimate() {
    let budget = "per: agent, spend: { tokens: 100 }, alert_at: [50%]";
    let spending = Spending::of(budget, Vec::new());
    let mut reserved = spending.reserve("bot", "");
    assert!(reserved.charges().is_empty() && reserved.counts_tokens());
    reserved.keep();
    let took = reserved.took(estimated_tokens(161), 7);
    assert_eq!(took[0].amounts, Amounts { tokens: 41, ..Amounts::default() });
    assert!(spending.budgets.spend(&took).is_empty());
    assert_eq!(spending.budgets.correct(&corrections(&took, 60)), ["some"]);
    assert_eq!(spending.read()[0].1.tokens, 60);
    assert!(corrections(&took, 41).is_empty());
}

#[test]
fn who_spent_the_largest_share_is_read_first() {
    let spending = Spending::of("per: agent, spend: { calls: 4 }", Vec::new());
    for agent in ["a", "b", "c", "b", "c", "c"] {
        assert!(spending.runs(agent, ""));
    }
    let budgets = [&spending.policy.budgets()[0]];
    let read = spending.budgets.read(&budgets, |_| true, 2).remove(0);
    let shown: Vec<_> = read.0.iter().map(|(who, spent)| (&*who["agent"], spent.calls)).collect();
    assert_eq!((shown, read.1), (vec![("c", 3), ("b", 2)], true));
    let read = spending.budgets.read(&budgets, |who| who["agent"] == "a", 2).remove(0);
    assert_eq!((read.0.len(), read.1), (1, false));
}
