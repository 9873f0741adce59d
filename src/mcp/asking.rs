//! What a tool asks of its caller's client while it runs, in the way of the client's era: requests of ours on
//! the call's own stream before 2026-07-28; since then an answer that asks, and a retry that brings the
//! answers and joins the call that runs on.
//!
//! Nothing that a client answers is read here, or counts for any decision: it goes to the tool.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::json;

use super::calls::{Caller, Carried, Era, Held, Line, Params, held};
use super::sealed;
use super::wire::{INTERNAL_ERROR, INVALID_PARAMS, Members, RpcError, members};
use crate::backend::Contact;
use crate::backend::contact::{Attendance, Listener, NotAble, Question, Round};
use crate::call::asking::{Asked, Asker, Running, What};
use crate::call::{Answer, Waiting, holding};
use crate::digest::{self, Digest};
use crate::gateway::Gateway;
use crate::hold::Hold;
use crate::ids::HoldId;
use crate::json::Object;

/// What begins the state of a call that runs on, and tells it from that of a hold.
const STATE: &str = "asked:";

/// One request of a client about a call.
pub(super) struct Leg<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) caller: &'a Caller,
    pub(super) line: &'a Line,
    /// The digest of what it asks for; a retry asks for the same.
    pub(super) request: Digest,
    /// Whether it is the first about its call: one that comes back with a state was shown the page before.
    pub(super) first: bool,
}

impl<'a> Leg<'a> {
    pub(super) fn of(
        gateway: &'a Arc<Gateway>,
        caller: &'a Caller,
        line: &'a Line,
        params: &Params,
    ) -> Self {
        let asked = (params.name(), params.arguments());
        let text = digest::canonical(&asked).or_else(|_| serde_json::to_vec(&asked));
        let request = Digest::of(&text.unwrap_or_default());
        Self { gateway, caller, line, request, first: params.request_state().is_none() }
    }

    fn listener(&self) -> Option<Arc<dyn Listener>> {
        self.line.outlet.clone().map(|outlet| Arc::new(outlet) as Arc<dyn Listener>)
    }

    /// Takes this request's place with a call.
    pub(super) fn attend(&self, contact: &Contact) -> Attendance {
        contact.attend(self.caller.peer.clone(), self.listener())
    }

    /// Keeps the run of a held call for the client's retry, and gives the answer that asks for it.
    pub(super) fn park_hold(
        &self,
        id: HoldId,
        rounds: Vec<Round>,
        attendance: Attendance,
    ) -> Result<Members, RpcError> {
        self.park(What::Hold(id), rounds, attendance)
    }

    fn asker(&self) -> Asker {
        Asker { agent: self.caller.principal.agent().clone(), request: self.request }
    }

    /// Keeps a call for the client's retry, and gives the answer that asks for it.
    fn park(
        &self,
        what: What,
        rounds: Vec<Round>,
        attendance: Attendance,
    ) -> Result<Members, RpcError> {
        let failed = |why: String| RpcError::new(INTERNAL_ERROR, why);
        let token = self.gateway.random::<16>().map_err(|error| failed(error.to_string()))?;
        let token = hex::encode(token);
        let mut requests = Object::new();
        for (place, round) in rounds.iter().enumerate() {
            for question in &round.questions {
                requests.insert(name(rounds.len(), place, &question.key), question.request.clone());
            }
        }
        let asked = Asked { what, rounds, attendance };
        if !self.gateway.parked.park(token.clone(), self.asker(), asked) {
            return Err(failed("too many calls wait for their clients".to_owned()));
        }
        let agent = self.caller.principal.agent();
        let state = sealed::seal(&self.gateway.seal, agent, &format!("{STATE}{token}"));
        Ok(members(&json!({
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": state,
        })))
    }
}

/// The name of a question among those of several rounds.
fn name(rounds: usize, place: usize, key: &str) -> String {
    if rounds == 1 { key.to_owned() } else { format!("{place}.{key}") }
}

/// The call that a sealed state names, taken up with the answers that came with it.
///
/// # Errors
/// When there is none such any more, or it is another's.
pub(super) fn resumed(
    leg: &Leg<'_>,
    state: &str,
    answers: Object,
) -> Result<Option<Asked>, RpcError> {
    let Some(token) = state.strip_prefix(STATE) else { return Ok(None) };
    let told =
        "Invalid params: `requestState` is not valid for this call, was used, or came too late";
    let asked = leg.gateway.parked.take(token, &leg.asker());
    let mut asked = asked.ok_or_else(|| RpcError::new(INVALID_PARAMS, told))?;
    asked.attendance.goes_on(leg.caller.peer.clone(), leg.listener());
    let rounds = std::mem::take(&mut asked.rounds);
    let count = rounds.len();
    for (place, round) in rounds.into_iter().enumerate() {
        if count == 1 {
            round.answer(answers, Vec::new());
            break;
        }
        let own = round.questions.iter().filter_map(|question| {
            let answer = answers.get(&name(count, place, &question.key))?;
            Some((question.key.clone(), answer.clone()))
        });
        let own = own.collect();
        round.answer(own, Vec::new());
    }
    Ok(Some(asked))
}

/// Follows a call, or the run of a held one, that was taken up again.
pub(super) async fn go_on(leg: &Leg<'_>, asked: Asked) -> Result<Carried, RpcError> {
    let Asked { what, attendance, .. } = asked;
    match what {
        What::Call(running) => follow(leg, running, attendance).await,
        What::Hold(id) => {
            drop(attendance);
            let unread = |error: String| RpcError::new(INTERNAL_ERROR, error);
            let hold = leg.gateway.store.hold(id).await.map_err(|it| unread(it.to_string()))?;
            let hold = hold.ok_or_else(|| unread("the hold is gone".to_owned()))?;
            wait_for(leg, hold, false).await
        }
    }
}

async fn wait_for(leg: &Leg<'_>, hold: Hold, first: bool) -> Result<Carried, RpcError> {
    Ok(match held(leg, hold, first).await? {
        Held::Ended(hold) => Carried::Ended(holding::tell(leg.gateway, *hold).await),
        Held::Said(members) => Carried::Said(members),
        Held::Waits(hold) => Carried::Waits(hold),
    })
}

/// Follows a call to its answer, or to what it asks of a client that has to come back.
pub(super) async fn follow(
    leg: &Leg<'_>,
    mut running: Running,
    attendance: Attendance,
) -> Result<Carried, RpcError> {
    let modern = leg.caller.era == Era::Modern;
    // Since 2026-07-28 a client that hangs up takes its call back.
    let leaving = modern.then(|| running.cancel.clone().drop_guard());
    let cancel = running.cancel.clone();
    let carried = {
        let carrying = carry(leg, &attendance, &mut running);
        tokio::pin!(carrying);
        tokio::select! {
            biased;
            carried = &mut carrying => carried,
            () = leg.line.cancel.cancelled() => {
                cancel.cancel();
                carrying.await
            }
        }
    };
    if let Some(leaving) = leaving {
        leaving.disarm();
    }
    let answer = match carried {
        Came::Asked(rounds) => {
            return leg.park(What::Call(running), rounds, attendance).map(Carried::Said);
        }
        Came::Done(answer) => answer,
    };
    drop(attendance);
    match answer {
        Answer::Held(waiting) => {
            let Waiting { hold, seat } = *waiting;
            let carried = wait_for(leg, hold, leg.first).await?;
            drop(seat);
            Ok(carried)
        }
        ended @ (Answer::Result(_) | Answer::Refused(_)) => Ok(Carried::Ended(ended)),
    }
}

/// What came of waiting.
pub(super) enum Came<T> {
    /// What was waited for.
    Done(T),
    /// Questions for a client that has to come back with the answers.
    Asked(Vec<Round>),
}

/// Waits for `future`, and carries what is asked meanwhile. Questions that are under way end first, which
/// they do at once when the call has ended.
pub(super) async fn carry<T>(
    leg: &Leg<'_>,
    attendance: &Attendance,
    mut future: impl Future<Output = T> + Unpin,
) -> Came<T> {
    let mut open = FuturesUnordered::new();
    let done = loop {
        tokio::select! {
            biased;
            done = &mut future => break done,
            Some(()) = open.next(), if !open.is_empty() => {}
            round = attendance.asked() => match leg.caller.era {
                Era::Legacy => open.push(ask(leg, round)),
                Era::Modern => {
                    let rounds: Vec<Round> = std::iter::once(round)
                        .chain(std::iter::from_fn(|| attendance.more()))
                        .filter_map(|round| able(leg, round))
                        .collect();
                    if !rounds.is_empty() {
                        return Came::Asked(rounds);
                    }
                }
            },
        }
    };
    while !open.is_empty() {
        tokio::select! {
            _ = open.next() => {}
            () = leg.line.cancel.cancelled() => break,
        }
    }
    Came::Done(done)
}

/// The round, unless the client cannot answer it: then it is answered so.
fn able(leg: &Leg<'_>, round: Round) -> Option<Round> {
    let abilities = &leg.caller.peer.abilities;
    let errors: Vec<(String, NotAble)> = round
        .questions
        .iter()
        .filter_map(|it| abilities.check(it).err().map(|error| (it.key.clone(), error)))
        .collect();
    if errors.is_empty() {
        return Some(round);
    }
    round.answer(Object::new(), errors);
    None
}

/// Asks a client of an earlier protocol, all questions of the round at once.
async fn ask(leg: &Leg<'_>, mut round: Round) {
    let questions = std::mem::take(&mut round.questions);
    let over = round.over.clone();
    let asked = questions.into_iter().map(|question| {
        let over = &over;
        async move { (question.key.clone(), ask_one(leg, question, over).await) }
    });
    let (mut results, mut errors) = (Object::new(), Vec::new());
    for (key, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(result) => drop(results.insert(key, result)),
            Err(error) => errors.push((key, error)),
        }
    }
    round.answer(results, errors);
}

async fn ask_one(
    leg: &Leg<'_>,
    question: Question,
    over: &tokio_util::sync::CancellationToken,
) -> Result<serde_json::Value, NotAble> {
    leg.caller.peer.abilities.check(&question)?;
    match (&leg.line.outlet, &leg.line.questions) {
        (Some(outlet), Some(questions)) => questions.ask(outlet, question.request, over).await,
        (_, _) => {
            let message = "the client cannot be asked on this stream".to_owned();
            Err(NotAble { code: INTERNAL_ERROR, message, data: None })
        }
    }
}
