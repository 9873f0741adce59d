//! Random sequences of what people, agents, time, files and crashes do to holds, beside a small model that
//! was written from the documents: the same states, the same runs, and a record that accounts for each.

mod faulty;
mod small;
mod world;

use std::collections::HashMap;

use countersign::hold::{Decision, Hold, Resolution, State as Real};
use countersign::ids::{HaltId, HoldId, StandingId};
use proptest::prelude::*;

use crate::harness::RUNTIME;
use faulty::Side;
use small::{Account, Asked, Call, Held, MISSING, Model, PEOPLE, POLICIES, Scope, State};
use world::World;

/// How many sequences there are, unless `PROPTEST_CASES` says otherwise, and how long each is.
const CASES: u32 = 48;
const EVENTS: usize = 30;

/// One thing that happens. Holds and standing approvals are counted from the newest.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(Call),
    Approve { hold: usize, person: usize },
    Reject { hold: usize, person: usize },
    ApproveBlindly { hold: usize, person: usize },
    Edit { hold: usize, person: usize, number: i64 },
    Resolve { hold: usize, person: usize, account: Account },
    Withdraw { hold: usize },
    Grant { hold: usize, person: usize, seconds: i64 },
    Revoke { standing: usize },
    Halt { scope: Scope },
    Resume { halt: usize },
    Role { person: usize, may_decide: bool },
    Pass { seconds: i64 },
    Start { policy: usize, definition: usize },
}

/// An event, and at which of the commits that it makes the process dies.
type Step = (Event, Option<(u8, Side)>);

fn event() -> impl Strategy<Value = Event> {
    let (hold, person, number) = (|| 0..4_usize, || 0..PEOPLE.len(), || 3..8_i64);
    let call =
        (any::<bool>(), number()).prop_map(|(idempotent, number)| Call { idempotent, number });
    let account = prop_oneof![Just(Account::Done), Just(Account::Again)];
    let scope = prop_oneof![
        Just(Scope::All),
        any::<bool>().prop_map(|idempotent| Scope::Tool { idempotent }),
    ];
    prop_oneof![
        8 => call.prop_map(Event::Ask),
        12 => (hold(), person()).prop_map(|(hold, person)| Event::Approve { hold, person }),
        2 => (hold(), person()).prop_map(|(hold, person)| Event::Reject { hold, person }),
        1 => (hold(), person()).prop_map(|(hold, person)| Event::ApproveBlindly { hold, person }),
        4 => (hold(), person(), number())
            .prop_map(|(hold, person, number)| Event::Edit { hold, person, number }),
        4 => (hold(), person(), account)
            .prop_map(|(hold, person, account)| Event::Resolve { hold, person, account }),
        1 => hold().prop_map(|hold| Event::Withdraw { hold }),
        3 => (hold(), person(), 1..200_i64)
            .prop_map(|(hold, person, seconds)| Event::Grant { hold, person, seconds }),
        1 => (0..2_usize).prop_map(|standing| Event::Revoke { standing }),
        1 => scope.prop_map(|scope| Event::Halt { scope }),
        2 => (0..3_usize).prop_map(|halt| Event::Resume { halt }),
        2 => (person(), any::<bool>())
            .prop_map(|(person, may_decide)| Event::Role { person, may_decide }),
        3 => prop_oneof![1..30_i64, 40..110_i64, 590..610_i64]
            .prop_map(|seconds| Event::Pass { seconds }),
        4 => (0..POLICIES.len(), prop_oneof![4 => Just(0_usize), 1 => Just(1), 1 => Just(MISSING)])
            .prop_map(|(policy, definition)| Event::Start { policy, definition }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Before), Just(Side::After)];
    let death = prop_oneof![3 => Just(None), 1 => (0..4_u8, side).prop_map(Some)];
    (event(), death)
}

/// The gateway and the model, side by side.
struct Pair {
    world: World,
    model: Model,
    /// What the gateway calls the holds of the model.
    names: Vec<Option<HoldId>>,
    standing: Vec<StandingId>,
    halts: Vec<HaltId>,
}

impl Pair {
    async fn new() -> Self {
        let (world, model) = (World::new().await, Model::new());
        Self { world, model, names: Vec::new(), standing: Vec::new(), halts: Vec::new() }
    }

    async fn take(mut self, (event, death): Step) -> Self {
        // No two things happen at the same moment.
        self.model.pass(1);
        self.world.pass(1).await;
        self.world.rest().await;
        self.compare().await;
        match event {
            Event::Pass { seconds } => {
                self.model.pass(seconds);
                self.world.pass(seconds).await;
            }
            Event::Role { person, may_decide } => {
                self.model.may_decide[person] = may_decide;
                self.world.role(person, may_decide).await;
            }
            Event::Start { policy, definition } => {
                (self.model.policy, self.model.definition) = (policy, definition);
                self.model.start();
                self.world = self.world.reopen(policy, definition).await;
            }
            Event::Ask(_)
            | Event::Approve { .. }
            | Event::Reject { .. }
            | Event::ApproveBlindly { .. }
            | Event::Edit { .. }
            | Event::Resolve { .. }
            | Event::Withdraw { .. }
            | Event::Grant { .. }
            | Event::Revoke { .. }
            | Event::Halt { .. }
            | Event::Resume { .. } => return self.take_mortal(event, death).await,
        }
        self.world.rest().await;
        self.compare().await;
        self
    }

    /// An event during which the process may die.
    async fn take_mortal(mut self, event: Event, death: Option<(u8, Side)>) -> Self {
        // Of two writes of one method nobody could tell at which the process died.
        let twice = matches!(event, Event::Halt { scope } if self.model.halts_twice(scope));
        let death = death.filter(|_| !twice);
        self.world.dies_at(death);
        let found = self.happens(event).await;
        self.world.rest().await;
        self.world.dies_at(None);
        self.model.death = self.world.died();
        self.follows(event, found);
        if self.model.death.is_some() {
            let (policy, definition) = (self.model.policy, self.model.definition);
            self.world = self.world.reopen(policy, definition).await;
            self.model.start();
        }
        self.compare().await;
        self
    }

    /// The hold that is meant, in the model's order.
    fn meant(&self, back: usize) -> Option<usize> {
        self.names.len().checked_sub(back + 1)
    }

    async fn real(&self, back: usize) -> Option<Hold> {
        let id = self.names[self.meant(back)?].unwrap();
        Some(self.world.gateway.store.hold(id).await.unwrap().unwrap())
    }

    /// Lets it happen to the gateway.
    async fn happens(&mut self, event: Event) -> Option<HoldId> {
        let hold = match event {
            Event::Ask(call) => return self.world.ask(call).await,
            Event::Revoke { standing } => {
                let standing = self.standing.len().checked_sub(standing + 1)?;
                self.world.revoke(self.standing[standing]).await;
                return None;
            }
            Event::Halt { scope } => {
                self.halts.extend(self.world.halt(scope).await);
                return None;
            }
            Event::Resume { halt } => {
                let halt = self.halts.len().checked_sub(halt + 1)?;
                self.world.resume(self.halts[halt]).await;
                return None;
            }
            Event::Approve { hold, .. }
            | Event::Reject { hold, .. }
            | Event::ApproveBlindly { hold, .. }
            | Event::Edit { hold, .. }
            | Event::Resolve { hold, .. }
            | Event::Withdraw { hold }
            | Event::Grant { hold, .. } => self.real(hold).await?,
            Event::Role { .. } | Event::Pass { .. } | Event::Start { .. } => return None,
        };
        match event {
            Event::Approve { person, .. } => {
                self.world.decide(&hold, person, Decision::Approve).await;
            }
            Event::Reject { person, .. } => {
                self.world.decide(&hold, person, Decision::Reject).await;
            }
            Event::ApproveBlindly { person, .. } => self.world.decide_blindly(&hold, person).await,
            Event::Edit { person, number, .. } => self.world.edit(&hold, person, number).await,
            Event::Resolve { person, account, .. } => {
                let resolution = match account {
                    Account::Done => Resolution::Done,
                    Account::Again => Resolution::RunAgain,
                };
                self.world.resolve(&hold, person, resolution).await;
            }
            Event::Withdraw { .. } => self.world.withdraw(&hold).await,
            Event::Grant { person, seconds, .. } => {
                let granted = self.world.grant(&hold, person, seconds).await;
                self.standing.extend(granted);
            }
            Event::Ask(_)
            | Event::Revoke { .. }
            | Event::Halt { .. }
            | Event::Resume { .. }
            | Event::Role { .. }
            | Event::Pass { .. }
            | Event::Start { .. } => {}
        }
        None
    }

    /// Lets it happen to the model.
    fn follows(&mut self, event: Event, found: Option<HoldId>) {
        let meant = |hold| self.meant(hold);
        match event {
            Event::Ask(call) => self.asked(call, found),
            Event::Approve { hold, person } => {
                if let Some(hold) = meant(hold) {
                    self.model.approve(hold, person);
                }
            }
            Event::Reject { hold, person } => {
                if let Some(hold) = meant(hold) {
                    self.model.reject(hold, person);
                }
            }
            Event::Edit { hold, person, number } => {
                if let Some(hold) = meant(hold) {
                    self.model.edit(hold, person, number);
                }
            }
            Event::Resolve { hold, person, account } => {
                if let Some(hold) = meant(hold) {
                    self.model.resolve(hold, person, account);
                }
            }
            Event::Withdraw { hold } => {
                if let Some(hold) = meant(hold) {
                    self.model.withdraw(hold);
                }
            }
            Event::Grant { hold, person, seconds } => {
                if let Some(hold) = meant(hold) {
                    self.model.grant(hold, person, seconds);
                }
            }
            Event::Revoke { standing } => {
                if let Some(standing) = self.model.standing.len().checked_sub(standing + 1) {
                    self.model.revoke(standing);
                }
            }
            Event::Halt { scope } => self.model.halt(scope),
            Event::Resume { halt } => {
                if let Some(halt) = self.model.halts.len().checked_sub(halt + 1) {
                    self.model.resume(halt);
                }
            }
            Event::ApproveBlindly { .. }
            | Event::Role { .. }
            | Event::Pass { .. }
            | Event::Start { .. } => {}
        }
    }

    fn asked(&mut self, call: Call, found: Option<HoldId>) {
        match self.model.ask(call) {
            Asked::Joined(candidates) => {
                let joined = candidates.into_iter().find(|hold| self.names[*hold] == found);
                self.model.told(joined.expect("the call joins one of the oldest holds"));
            }
            Asked::Opened(hold) => {
                let is_new = found.is_none_or(|id| !self.names.contains(&Some(id)));
                assert!(is_new, "opened in place of {hold}, but joined");
            }
            Asked::Refused | Asked::Ran => assert_eq!(found, None),
        }
    }

    /// Both say the same.
    async fn compare(&mut self) {
        let holds = self.world.holds().await;
        self.names.resize(self.model.holds.len(), None);
        self.name_new(&holds);
        let by_id: HashMap<HoldId, &Hold> = holds.iter().map(|hold| (hold.id, hold)).collect();
        assert_eq!(holds.len(), self.model.holds.len(), "{:#?}", self.model.holds);
        for (index, (held, name)) in self.model.holds.iter().zip(&self.names).enumerate() {
            let real = by_id[&name.expect("the model's hold in the store")];
            assert_eq!(state_of(real), held.state, "hold {index}: {held:?}");
            assert_eq!(real.arguments["n"].as_i64(), Some(held.last), "hold {index}");
            let by: Vec<&str> = held.by.iter().map(|person| PEOPLE[*person].0).collect();
            let verdicts = real.state.verdicts().iter().map(|verdict| verdict.person.name.as_str());
            if !matches!(held.state, State::Lapsed | State::Superseded { .. })
                && !matches!(held.state, State::Expired | State::Withdrawn | State::Halted)
            {
                assert_eq!(verdicts.collect::<Vec<_>>(), by, "hold {index}: {held:?}");
            }
        }
        let mut ran = self.model.ran.clone();
        ran.sort();
        assert_eq!(self.world.ran(), ran);
    }

    /// Finds out what the gateway calls the holds that are new.
    fn name_new(&mut self, holds: &[Hold]) {
        for hold in holds {
            if self.names.contains(&Some(hold.id)) {
                continue;
            }
            let is_it = |(held, name): (&Held, &Option<HoldId>)| {
                let of = held.anew_of.and_then(|of| self.names[of]);
                let tool = if held.call.idempotent { "again" } else { "plain" };
                name.is_none()
                    && hold.anew_of == of
                    && hold.tool == tool
                    && hold.requested_arguments["n"].as_i64() == Some(held.call.number)
            };
            let place = self.model.holds.iter().zip(&self.names).position(is_it);
            let place = place.unwrap_or_else(|| panic!("a hold that should not be: {hold:?}"));
            self.names[place] = Some(hold.id);
        }
    }
}

fn state_of(hold: &Hold) -> State {
    match &hold.state {
        Real::Pending { .. } => State::Pending,
        Real::Approved { execute_by, .. } => State::Approved { until: second(*execute_by) },
        Real::Executing { .. } => State::Executing,
        Real::Finished { collected, .. } => State::Finished { collected: *collected },
        Real::Unknown { .. } => State::Unknown,
        Real::Rejected { verdict } => State::Rejected { at: second(verdict.at) },
        Real::Expired { .. } => State::Expired,
        Real::Withdrawn { .. } => State::Withdrawn,
        Real::Lapsed { .. } => State::Lapsed,
        Real::Superseded { anew, .. } => State::Superseded { anew: anew.is_some() },
        Real::Halted { .. } => State::Halted,
    }
}

/// The second, counted from the start.
fn second(at: jiff::Timestamp) -> i64 {
    at.as_second() - "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second()
}

/// Lets all of it happen, and checks the record at the end.
fn happen(steps: Vec<Step>) {
    RUNTIME.block_on(async {
        let mut pair = Pair::new().await;
        for step in steps {
            pair = pair.take(step).await;
        }
        pair.world.check_record();
    });
}

/// Who alone could approve a call as it was held may grant nothing that waives the rules of a later policy,
/// which asks for two people.
#[test]
fn a_standing_approval_waives_no_rule_that_came_after_its_hold() {
    let call = |number| Event::Ask(Call { idempotent: false, number });
    let two_people = Event::Start { policy: 1, definition: 0 };
    let grant = Event::Grant { hold: 0, person: 0, seconds: 100 };
    happen([call(3), two_people, grant, call(4)].map(|event| (event, None)).to_vec());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn holds_do_what_the_model_says_whatever_happens(steps in prop::collection::vec(step(), 1..=EVENTS)) {
        happen(steps);
    }
}
