//! Held calls that their agents follow by asking for them (tasks, SEP-2663): what their tools ask meanwhile is
//! kept until the agent comes by, and its answers until all of them are there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::backend::Contact;
use crate::backend::contact::{Abilities, Attendance, Client, NotAble, Round};
use crate::ids::HoldId;
use crate::json::Object;

/// How many held calls may be followed at once; what others ask reaches nobody.
const MAX_FOLLOWED: usize = 16 << 10;

/// All that are followed.
#[derive(Default)]
pub struct Followed(Mutex<HashMap<HoldId, Follow>>);

struct Follow {
    /// Kept until the hold has ended: who asks now and then is there all the time.
    attendance: Attendance,
    /// What the client can do that made the call.
    abilities: Abilities,
    /// What the names of its questions begin with: a call that runs again after a crash asks anew.
    mark: String,
    /// How many questions have been named.
    named: u64,
    rounds: Vec<Open>,
}

/// A round of questions that is not answered yet.
struct Open {
    round: Round,
    /// The name that each question goes by, and its answer once it has come.
    names: Vec<(String, Option<Value>)>,
}

impl Followed {
    /// Takes `client` for the one that follows `hold`, whose way back is `contact`, until [`Self::end`]. The
    /// names of its questions begin with `mark`, which must be a new one.
    pub fn follow(&self, hold: HoldId, contact: &Contact, client: &Client, mark: [u8; 8]) {
        let mut followed = self.lock();
        if let Some(follow) = followed.get_mut(&hold) {
            follow.attendance.goes_on(client.clone(), None);
            follow.abilities = client.abilities.clone();
        } else if followed.len() < MAX_FOLLOWED {
            let follow = Follow {
                attendance: contact.attend(client.clone(), None),
                abilities: client.abilities.clone(),
                mark: hex::encode(mark),
                named: 0,
                rounds: Vec::new(),
            };
            followed.insert(hold, follow);
        } else {
            tracing::warn!(%hold, "too many held calls are followed: nobody will be asked");
        }
    }

    /// Whether `hold` is followed.
    #[must_use]
    pub fn has(&self, hold: HoldId) -> bool {
        self.lock().contains_key(&hold)
    }

    /// What is asked of the client now, by name, as far as one that can do `able` can answer it. What neither it
    /// nor the client that made the call can answer is answered so.
    #[must_use]
    pub fn asks(&self, hold: HoldId, able: &Abilities) -> Object {
        let mut followed = self.lock();
        let Some(follow) = followed.get_mut(&hold) else { return Object::new() };
        follow.gather(able);
        let open =
            follow.rounds.iter().flat_map(|open| open.round.questions.iter().zip(&open.names));
        open.filter(|(question, (_, answer))| answer.is_none() && able.check(question).is_ok())
            .map(|(question, (name, _))| (name.clone(), question.request.clone()))
            .collect()
    }

    /// Hands answers to what is asked, by name. Names that are not asked for (any more) are passed over (SEP-2663,
    /// task update requests); a round goes to its tool when its last answer has come.
    pub fn answer(&self, hold: HoldId, answers: impl IntoIterator<Item = (String, Value)>) {
        let mut followed = self.lock();
        let Some(follow) = followed.get_mut(&hold) else { return };
        for (name, answer) in answers {
            let mut names = follow.rounds.iter_mut().flat_map(|open| &mut open.names);
            if let Some((_, place @ None)) = names.find(|(known, _)| *known == name) {
                *place = Some(answer);
            }
        }
        let whole = |open: &mut Open| open.names.iter().all(|(_, answer)| answer.is_some());
        for Open { round, names } in follow.rounds.extract_if(.., whole) {
            let keys = round.questions.iter().map(|question| question.key.clone());
            let answers = names.into_iter().filter_map(|(_, answer)| answer);
            let answers = keys.zip(answers).collect();
            round.answer(answers, Vec::new());
        }
    }

    /// Lets `hold` go, which has ended.
    pub fn end(&self, hold: HoldId) {
        self.lock().remove(&hold);
    }

    /// Plain data, whole between statements.
    fn lock(&self) -> MutexGuard<'_, HashMap<HoldId, Follow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follow {
    /// Takes what waits to be asked, and drops what nobody awaits any more.
    fn gather(&mut self, able: &Abilities) {
        self.rounds.retain(|open| open.round.is_awaited());
        while let Some(round) = self.attendance.more() {
            let unable: Vec<(String, NotAble)> = round
                .questions
                .iter()
                .filter(|question| able.check(question).is_err())
                .filter_map(|it| Some((it.key.clone(), self.abilities.check(it).err()?)))
                .collect();
            if !unable.is_empty() {
                round.answer(Object::new(), unable);
                continue;
            }
            let mut names = Vec::with_capacity(round.questions.len());
            for _ in &round.questions {
                self.named += 1;
                names.push((format!("{}-{}", self.mark, self.named), None));
            }
            self.rounds.push(Open { round, names });
        }
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("open", &self.lock().len()).finish()
    }
}
