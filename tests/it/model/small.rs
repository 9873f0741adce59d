//! The small model: what must become of holds, in as few words as possible. It knows nothing of the gateway
//! but what its documents say.

use super::faulty::{Death, Side};

/// For how long people may decide, and an approved call may begin to run, in seconds.
pub(super) const DECIDE_WITHIN: i64 = 100;
pub(super) const EXECUTE_WITHIN: i64 = 50;
/// For how long a rejected call is remembered, in seconds.
const REMEMBERED: i64 = 600;

/// The people, and the groups of each. `own` is the agent's owner.
pub(super) const PEOPLE: [(&str, &[&str]); 4] =
    [("ada", &["sre"]), ("bob", &["sre", "ops"]), ("cyd", &["ops"]), ("own", &["sre"])];
const OWNER: usize = 3;

/// What a policy says of every call.
pub(super) enum Says {
    Deny,
    Allow,
    Hold(Terms),
}

/// On what terms.
pub(super) struct Terms {
    /// Each: the group whose members count, if not everybody, and how many.
    pub(super) demands: &'static [(Option<&'static str>, usize)],
    pub(super) four_eyes: bool,
    pub(super) allow_edit: bool,
}

const fn hold(demands: &'static [(Option<&'static str>, usize)], four_eyes: bool) -> Says {
    Says::Hold(Terms { demands, four_eyes, allow_edit: !four_eyes })
}

/// The policies, and the greatest number that a call may have under each.
pub(super) const POLICIES: [(Says, i64); 6] = [
    (hold(&[(None, 1)], false), 9),
    (hold(&[(Some("sre"), 2)], true), 9),
    (hold(&[(Some("sre"), 1), (Some("ops"), 1)], false), 9),
    (Says::Deny, 9),
    (Says::Allow, 9),
    (hold(&[(None, 1)], false), 5),
];

/// How tools are defined: two ways, and not at all because their program is missing.
pub(super) const MISSING: usize = 2;

/// A call: whether its tool is idempotent, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) idempotent: bool,
    pub(super) number: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Approved { until: i64 },
    Executing,
    Finished { collected: bool },
    Unknown,
    Rejected { at: i64 },
    Expired,
    Withdrawn,
    Lapsed,
    Superseded { anew: bool },
    Halted,
}

/// What a halt is about: everything, or one of the two tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Tool { idempotent: bool },
}

impl Scope {
    fn covers(self, call: Call) -> bool {
        match self {
            Self::All => true,
            Self::Tool { idempotent } => call.idempotent == idempotent,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) call: Call,
    /// The number that would run.
    pub(super) last: i64,
    pub(super) edited: bool,
    pub(super) definition: usize,
    /// The policy whose terms it has.
    pub(super) terms: usize,
    pub(super) by: Vec<usize>,
    pub(super) state: State,
    pub(super) opened: i64,
    /// In whose place it was opened.
    pub(super) anew_of: Option<usize>,
    decide_by: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Standing {
    idempotent: bool,
    definition: usize,
    policy: usize,
    until: i64,
    revoked: bool,
}

/// What a call that is asked leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Refused,
    Ran,
    /// One of these holds.
    Joined(Vec<usize>),
    Opened(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Done,
    Again,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: i64,
    pub(super) policy: usize,
    pub(super) definition: usize,
    pub(super) holds: Vec<Held>,
    pub(super) standing: Vec<Standing>,
    /// The halts, and whether each is engaged.
    pub(super) halts: Vec<(Scope, bool)>,
    pub(super) may_decide: [bool; 4],
    /// Every run, in the words of the tool.
    pub(super) ran: Vec<String>,
    /// Where the process dies during the present event.
    pub(super) death: Option<Death>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            policy: 0,
            definition: 0,
            holds: Vec::new(),
            standing: Vec::new(),
            halts: Vec::new(),
            may_decide: [true; 4],
            ran: Vec::new(),
            death: None,
        }
    }

    /// Something is to be written: whether it is, and whether anything follows.
    fn writes(&self, method: &str) -> (bool, bool) {
        match self.death {
            Some((at, side)) if at == method => (side == Side::After, false),
            Some(_) | None => (true, true),
        }
    }

    fn says(&self) -> &'static Says {
        &POLICIES[self.policy].0
    }

    fn terms(&self, hold: usize) -> &'static Terms {
        match &POLICIES[self.holds[hold].terms].0 {
            Says::Hold(terms) => terms,
            Says::Deny | Says::Allow => unreachable!("held under a policy that holds nothing"),
        }
    }

    fn capped(&self, number: i64) -> i64 {
        number.min(POLICIES[self.policy].1)
    }

    pub(super) fn ask(&mut self, call: Call) -> Asked {
        if self.definition == MISSING {
            return Asked::Refused;
        }
        let joined = self.joined(call);
        if !joined.is_empty() {
            return Asked::Joined(joined);
        }
        if self.halted(call) {
            return Asked::Refused;
        }
        match self.says() {
            Says::Deny => Asked::Refused,
            Says::Allow => self.run_without_people("begin_call", call),
            Says::Hold(_) if self.stands(call) => {
                self.run_without_people("begin_standing_call", call)
            }
            Says::Hold(_) => {
                let last = self.capped(call.number);
                if self.writes("open_hold").0 {
                    self.open(call, last, false, None)
                }
                Asked::Opened(self.holds.len().saturating_sub(1))
            }
        }
    }

    /// The oldest holds that the call joins.
    fn joined(&self, call: Call) -> Vec<usize> {
        let joins = |hold: &Held| match hold.state {
            State::Pending
            | State::Approved { .. }
            | State::Executing
            | State::Unknown
            | State::Finished { collected: false } => true,
            State::Rejected { at } => self.now - at <= REMEMBERED,
            State::Finished { collected: true }
            | State::Expired
            | State::Withdrawn
            | State::Lapsed
            | State::Superseded { .. }
            | State::Halted => false,
        };
        let same = |hold: &Held| hold.call == call && hold.definition == self.definition;
        let all = || self.holds.iter().enumerate().filter(|(_, it)| same(it) && joins(it));
        let oldest = all().map(|(_, hold)| hold.opened).min();
        all().filter(|(_, hold)| Some(hold.opened) == oldest).map(|(index, _)| index).collect()
    }

    fn stands(&self, call: Call) -> bool {
        self.standing.iter().any(|standing| {
            !standing.revoked
                && standing.idempotent == call.idempotent
                && standing.definition == self.definition
                && standing.policy == self.policy
                && self.now <= standing.until
        })
    }

    fn run_without_people(&mut self, begins: &str, call: Call) -> Asked {
        let last = self.capped(call.number);
        if self.writes(begins) == (true, true) {
            self.runs(Call { number: last, ..call });
        }
        Asked::Ran
    }

    fn runs(&mut self, call: Call) {
        let tool = if call.idempotent { "again" } else { "plain" };
        self.ran.push(format!("{tool}-{}", call.number));
    }

    fn open(&mut self, call: Call, last: i64, edited: bool, anew_of: Option<usize>) {
        let (opened, decide_by) = (self.now, self.now + DECIDE_WITHIN);
        let (definition, terms) = (self.definition, self.policy);
        let (by, state) = (Vec::new(), State::Pending);
        self.holds.push(Held {
            call,
            last,
            edited,
            definition,
            terms,
            by,
            state,
            opened,
            anew_of,
            decide_by,
        });
    }

    /// The agent has had what it is told of a hold.
    pub(super) fn told(&mut self, hold: usize) {
        if self.holds[hold].state == (State::Finished { collected: false })
            && self.writes("collect_hold").0
        {
            self.holds[hold].state = State::Finished { collected: true };
        }
    }

    fn counts(&self, person: usize, demand: Option<&str>) -> bool {
        demand.is_none_or(|group| PEOPLE[person].1.contains(&group))
    }

    fn may_say(&self, person: usize, terms: &Terms) -> bool {
        self.may_decide[person]
            && terms.demands.iter().any(|(group, _)| self.counts(person, *group))
    }

    fn may_approve(&self, person: usize, terms: &Terms) -> bool {
        self.may_say(person, terms) && !(terms.four_eyes && person == OWNER)
    }

    /// Those of `by` who count now, if they are enough.
    fn enough(&self, by: &[usize], terms: &Terms) -> Option<Vec<usize>> {
        let valid: Vec<usize> =
            by.iter().copied().filter(|person| self.may_approve(*person, terms)).collect();
        let met = |(group, quorum): &(Option<&str>, usize)| {
            valid.iter().filter(|person| self.counts(**person, *group)).count() >= *quorum
        };
        terms.demands.iter().all(met).then_some(valid)
    }

    pub(super) fn approve(&mut self, hold: usize, person: usize) {
        if let Some(next) = self.approved_by(hold, person) {
            self.becomes(hold, next, "decide_hold");
        }
    }

    fn approved_by(&self, hold: usize, person: usize) -> Option<Held> {
        let terms = self.terms(hold);
        let mut next = self.holds[hold].clone();
        let in_time = self.now <= next.decide_by && next.state == State::Pending;
        if self.halted(next.call)
            || !in_time
            || !self.may_approve(person, terms)
            || next.by.contains(&person)
        {
            return None;
        }
        next.by.push(person);
        if let Some(enough) = self.enough(&next.by, terms) {
            next.by = enough;
            next.state = State::Approved { until: self.now + EXECUTE_WITHIN };
        }
        Some(next)
    }

    /// A hold becomes `next` in one step, and runs if it is approved then.
    fn becomes(&mut self, hold: usize, next: Held, method: &str) {
        let (is_there, goes_on) = self.writes(method);
        if is_there {
            self.holds[hold] = next;
        }
        if goes_on {
            self.run(hold);
        }
    }

    pub(super) fn reject(&mut self, hold: usize, person: usize) {
        let held = &self.holds[hold];
        let may = self.may_say(person, self.terms(hold));
        let open = held.state == State::Pending && !self.halted(held.call);
        if open && self.now <= held.decide_by && may {
            let next =
                Held { state: State::Rejected { at: self.now }, by: vec![person], ..held.clone() };
            self.becomes(hold, next, "decide_hold");
        }
    }

    pub(super) fn edit(&mut self, hold: usize, person: usize, number: i64) {
        let held = &self.holds[hold];
        let old = self.terms(hold);
        let fits = held.definition == self.definition && self.capped(number) == number;
        let in_time = held.state == State::Pending && self.now <= held.decide_by;
        if !fits || !in_time || !old.allow_edit || !self.may_approve(person, old) {
            return;
        }
        let terms = match self.says() {
            Says::Deny => return,
            Says::Allow => held.terms,
            Says::Hold(_) => self.policy,
        };
        let before = held.clone();
        let by = Vec::new();
        self.holds[hold] = Held { last: number, edited: true, terms, by, ..before.clone() };
        let next = self.approved_by(hold, person);
        self.holds[hold] = before;
        if let Some(next) = next {
            self.becomes(hold, next, "amend_hold");
        }
    }

    pub(super) fn resolve(&mut self, hold: usize, person: usize, account: Account) {
        let terms = self.terms(hold);
        let mut next = self.holds[hold].clone();
        if next.state != State::Unknown || !self.may_approve(person, terms) {
            return;
        }
        if account == Account::Again && self.halted(next.call) {
            return;
        }
        if account == Account::Done {
            next.state = State::Finished { collected: false };
        } else {
            next.by.retain(|other| *other != person);
            next.by.push(person);
            let Some(enough) = self.enough(&next.by, terms) else { return };
            next.by = enough;
            next.state = State::Approved { until: self.now + EXECUTE_WITHIN };
        }
        self.becomes(hold, next, "resolve_hold");
    }

    pub(super) fn withdraw(&mut self, hold: usize) {
        if self.holds[hold].state == State::Pending && self.writes("end_hold").0 {
            self.holds[hold].state = State::Withdrawn;
        }
    }

    /// An approved hold runs, if it may and can.
    fn run(&mut self, hold: usize) {
        let State::Approved { until } = self.holds[hold].state else { return };
        if self.now > until || self.definition == MISSING {
            return;
        }
        let held = self.holds[hold].clone();
        if self.halted(held.call) {
            if self.writes("end_hold").0 {
                self.holds[hold].state = State::Halted;
            }
            return;
        }
        let would = self.capped(if held.edited { held.last } else { held.call.number });
        let covered = held.definition == self.definition && would == held.last;
        if !covered || matches!(self.says(), Says::Deny) {
            return self.supersede(hold, would);
        }
        let (spent, goes_on) = self.writes("spend_approval");
        if spent {
            self.holds[hold].state = State::Executing;
        }
        if !goes_on {
            return;
        }
        self.runs(Call { number: held.last, ..held.call });
        if self.writes("finish_hold").0 {
            self.holds[hold].state = State::Finished { collected: false };
        }
    }

    fn supersede(&mut self, hold: usize, would: i64) {
        let anew = matches!(self.says(), Says::Hold(_));
        let (ended, goes_on) = self.writes("end_hold");
        if ended {
            self.holds[hold].state = State::Superseded { anew };
        }
        if goes_on && anew && self.writes("open_hold").0 {
            let Held { call, edited, .. } = self.holds[hold];
            self.open(call, would, edited, Some(hold));
        }
    }

    fn halted(&self, call: Call) -> bool {
        self.halts.iter().any(|(scope, engaged)| *engaged && scope.covers(call))
    }

    /// Everything in scope stops: from then on nothing of it begins, and what waits or is approved ends.
    pub(super) fn halt(&mut self, scope: Scope) {
        let (is_there, goes_on) = self.writes("engage_halt");
        if is_there {
            self.halts.push((scope, true));
        }
        if goes_on {
            self.end_halted();
        }
    }

    /// Ends what waits, and then what is approved, where a halt covers it.
    fn end_halted(&mut self) {
        for approved in [false, true] {
            let ends: Vec<usize> = self.open_and_halted(approved).collect();
            if ends.is_empty() {
                continue;
            }
            let (ended, goes_on) = self.writes("halt_holds");
            for hold in ends.into_iter().filter(|_| ended) {
                self.holds[hold].state = State::Halted;
            }
            if !goes_on {
                return;
            }
        }
    }

    fn open_and_halted(&self, approved: bool) -> impl Iterator<Item = usize> {
        let is_open = move |held: &Held| match approved {
            false => held.state == State::Pending,
            true => matches!(held.state, State::Approved { .. }),
        };
        let holds = self.holds.iter().enumerate();
        let open = holds.filter(move |(_, held)| is_open(held) && self.halted(held.call));
        open.map(|(index, _)| index)
    }

    /// Whether a halt of this scope would end what waits and, by a write of its own, what is approved.
    pub(super) fn halts_twice(&self, scope: Scope) -> bool {
        let covered = || self.holds.iter().filter(|held| scope.covers(held.call));
        covered().any(|held| held.state == State::Pending)
            && covered().any(|held| matches!(held.state, State::Approved { .. }))
    }

    pub(super) fn resume(&mut self, halt: usize) {
        if self.halts[halt].1 && self.writes("end_halt").0 {
            self.halts[halt].1 = false;
        }
    }

    /// Time passes, and it is looked what that means.
    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        self.end_halted();
        for hold in 0..self.holds.len() {
            let held = &mut self.holds[hold];
            match held.state {
                State::Pending if self.now > held.decide_by => held.state = State::Expired,
                State::Approved { until } if self.now > until => held.state = State::Lapsed,
                State::Approved { .. } => self.run(hold),
                State::Pending
                | State::Executing
                | State::Finished { .. }
                | State::Unknown
                | State::Rejected { .. }
                | State::Expired
                | State::Withdrawn
                | State::Lapsed
                | State::Superseded { .. }
                | State::Halted => {}
            }
        }
    }

    /// The gateway starts.
    pub(super) fn start(&mut self) {
        self.death = None;
        for held in &mut self.holds {
            if held.state == State::Executing {
                let until = self.now + EXECUTE_WITHIN;
                held.state =
                    if held.call.idempotent { State::Approved { until } } else { State::Unknown };
            }
        }
        for hold in 0..self.holds.len() {
            self.run(hold);
        }
    }

    /// Whoever alone can approve such a call, as it was held and as it would be now, may grant them all.
    pub(super) fn grant(&mut self, hold: usize, person: usize, seconds: i64) {
        let held = &self.holds[hold];
        let unchanged = held.terms == self.policy && self.definition != MISSING;
        if !unchanged || self.enough(&[person], self.terms(hold)).is_none() {
            return;
        }
        if self.writes("grant_standing").0 {
            self.standing.push(Standing {
                idempotent: held.call.idempotent,
                definition: self.definition,
                policy: self.policy,
                until: self.now + seconds,
                revoked: false,
            });
        }
    }

    pub(super) fn revoke(&mut self, standing: usize) {
        if self.now <= self.standing[standing].until && self.writes("revoke_standing").0 {
            self.standing[standing].revoked = true;
        }
    }
}
