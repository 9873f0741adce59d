//! A `tools/call` of any protocol version: its parameters become a call, and what the call gives becomes
//! a result that this client understands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::asking::{self, Came, Leg};
use super::outlet::Outlet;
use super::questions::Questions;
use super::wire::{INVALID_PARAMS, Members, RpcError};
use super::{answers, done, sealed, tasks, waiting, workflow};
use crate::backend::Contact;
use crate::backend::contact::{Client, Listener as _, News, Progress};
use crate::call::asking::{Asked, Running};
use crate::call::refusal::{self, Refusal};
use crate::call::{Answer, Request, holding};
use crate::catalog::Kind;
use crate::gateway::Gateway;
use crate::hold::{Hold, StateName};
use crate::ids::{CallId, HoldId};
use crate::json::Object;
use crate::principal::Principal;

/// How long a request of protocol 2026-07-28 waits for people at the most: clients give up at 60 s.
const MAX_LEG: Duration = Duration::from_secs(50);
/// How often a waiting client that asked for progress hears some.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// The longest texts that callers may attach to a call, in characters.
const MAX_NOTE: usize = 2000;

/// The protocol eras, as far as answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: a handshake, sessions.
    Legacy,
    /// 2026-07-28 and after: every request stands for itself.
    Modern,
}

/// Who calls, and what their client can do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub principal: Principal,
    /// The era its request speaks.
    pub era: Era,
    /// The name its client gives itself.
    pub client: Option<String>,
    /// Whether the request declares the tasks extension.
    pub tasks: bool,
    /// Whether its client can open a page for its person (elicitation by URL).
    pub opens_pages: bool,
    /// What its client can do for tools, and wants to hear of them.
    pub peer: Client,
    /// The session, where the era has one; of a stream, its connection.
    pub session: Option<String>,
}

/// How a caller takes a call back, and how it hears of progress.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Cancelled when the caller took the call back or is gone; stops what runs.
    pub cancel: CancellationToken,
    /// Whether the caller took it back; a caller who is merely gone leaves its hold.
    pub withdrawn: Arc<AtomicBool>,
    /// Where messages go that come before the answer.
    pub(super) outlet: Option<Outlet>,
    /// The requests that its client has yet to answer, where its era has such.
    pub(super) questions: Option<Arc<Questions>>,
}

impl Line {
    /// The caller takes the call back.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
        self.cancel.cancel();
    }
}

/// The parameters of a `tools/call`.
#[derive(Debug, Default)]
pub struct Params {
    name: String,
    arguments: Object,
    meta: Object,
    request_state: Option<String>,
    /// Nothing reads what is in them: they go to the tool that asked, and decide nothing.
    input_responses: Object,
}

impl Params {
    /// Reads them.
    ///
    /// # Errors
    /// When a member has the wrong type.
    pub fn read(mut params: Object) -> Result<Self, RpcError> {
        let wrong = |what: &str| RpcError::new(INVALID_PARAMS, format!("Invalid params: {what}"));
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(wrong("`name` must be a text"));
        };
        let mut object = |key: &str| match params.remove(key) {
            None => Ok(Object::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(wrong(&format!("`{key}` must be an object"))),
        };
        let (arguments, meta) = (object("arguments")?, object("_meta")?);
        let input_responses = object("inputResponses")?;
        let request_state = match params.remove("requestState") {
            None => None,
            Some(Value::String(state)) => Some(state),
            Some(_) => return Err(wrong("`requestState` must be a text")),
        };
        Ok(Self { name, arguments, meta, request_state, input_responses })
    }

    /// The same for the item `name` of the catalog, with `arguments`.
    #[must_use]
    pub(super) fn of_item(self, (name, arguments): (String, Object)) -> Self {
        Self { name, arguments, ..self }
    }

    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `_meta` that came with the call.
    #[must_use]
    pub const fn meta(&self) -> &Object {
        &self.meta
    }

    /// The arguments, as they came.
    #[must_use]
    pub const fn arguments(&self) -> &Object {
        &self.arguments
    }

    pub(super) fn request_state(&self) -> Option<&str> {
        self.request_state.as_deref()
    }

    fn note(&self, key: &str) -> Option<String> {
        let text = self.meta.get(key)?.as_str()?;
        Some(text.chars().take(MAX_NOTE).collect())
    }
}

/// Runs the call and gives the result object for the wire.
///
/// # Errors
/// With a JSON-RPC error for what is no answer to a model: unknown tools, malformed requests.
pub async fn answer(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    params: Params,
    line: &Line,
) -> Result<Members, RpcError> {
    let Ok(_place) = gateway.places.try_acquire() else {
        let refusal = busy();
        return Ok(answers::refused(caller.era, &refusal, Object::new()));
    };
    if params.name == waiting::NAME {
        let leg = Leg::of(gateway, caller, line, &params);
        return waiting::answer(&leg, params).await;
    }
    if params.name == done::NAME && gateway.config.workflows.done {
        return done::answer(gateway, caller, &params).await;
    }
    // What has a name of another kind is no tool, and is recorded as it was asked for.
    let name = match Kind::of(&params.name) {
        Kind::Tool => params.name.clone(),
        Kind::Resource | Kind::Prompt | Kind::Completion => format!("tools/call:{}", params.name),
    };
    let params = Params { name, ..params };
    let carried = carried(gateway, caller, params, line).await?;
    said(gateway, caller, carried)
}

/// What came of carrying a call of a tool, as its client understands it.
pub(super) fn said(
    gateway: &Gateway,
    caller: &Caller,
    carried: Carried,
) -> Result<Members, RpcError> {
    match carried {
        Carried::Ended(answer) => answers::finished(gateway, caller.era, answer),
        Carried::Said(members) => Ok(members),
        Carried::Waits(hold) => Ok(answers::pending(gateway, caller.era, &hold)),
    }
}

/// What came of carrying a call.
pub(super) enum Carried {
    /// It has ended.
    Ended(Answer),
    /// It has not, and this tells the client so.
    Said(Members),
    /// It has not, and the client has to ask again.
    Waits(Box<Hold>),
}

/// Runs the call, and waits for people where it is held; or takes it up where its client was asked something
/// and comes back.
pub(super) async fn carried(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    mut params: Params,
    line: &Line,
) -> Result<Carried, RpcError> {
    let leg = Leg::of(gateway, caller, line, &params);
    let state = match back(&leg, &mut params)? {
        Back::Asked(asked) => return asking::go_on(&leg, *asked).await,
        Back::Other(state) => state,
    };
    let hold = joined_hold(state.as_deref(), &params)?;
    let request = Request {
        call: CallId::new(),
        principal: caller.principal.clone(),
        client: caller.client.clone(),
        workflow: workflow::named(&params.meta, caller.session.as_deref())?,
        compensates: None,
        reason: params.note("countersign/reason"),
        tool: params.name,
        arguments: params.arguments,
        hold,
        approval: None,
        cancel: line.cancel.clone(),
        contact: Contact::new(caller.peer.clone(), params.input_responses),
    };
    let running = Running::begin(gateway, request);
    let attendance = leg.attend(&running.contact);
    asking::follow(&leg, running, attendance).await
}

/// Too many calls are under way.
pub(super) fn busy() -> Refusal {
    let told = "The gateway is busy: too many calls are under way. Nothing ran; try again in 1 s.";
    Refusal::new(refusal::Kind::Unavailable, told).after(Duration::from_secs(1))
}

/// How a request comes back to an earlier answer.
pub(super) enum Back {
    /// With answers to what was asked.
    Asked(Box<Asked>),
    /// With this state of something else, or with none.
    Other(Option<String>),
}

/// What a request comes back to; what it answers is handed on.
pub(super) fn back(leg: &Leg<'_>, params: &mut Params) -> Result<Back, RpcError> {
    let state = opened_state(leg.gateway, leg.caller, params)?;
    let Some(state) = state else { return Ok(Back::Other(None)) };
    let answers = std::mem::take(&mut params.input_responses);
    let asked = asking::resumed(leg, &state, answers)?;
    Ok(asked.map_or(Back::Other(Some(state)), |asked| Back::Asked(Box::new(asked))))
}

/// What an earlier answer sealed for this caller.
fn opened_state(
    gateway: &Gateway,
    caller: &Caller,
    params: &Params,
) -> Result<Option<String>, RpcError> {
    let Some(sealed) = &params.request_state else { return Ok(None) };
    let opened = sealed::opened(&gateway.seal, caller.principal.agent(), sealed);
    opened.map(Some).ok_or_else(invalid_state)
}

fn invalid_state() -> RpcError {
    RpcError::new(INVALID_PARAMS, "Invalid params: `requestState` is not valid")
}

/// The hold that the caller says the call belongs to: by the sealed state of an earlier answer, or by name.
fn joined_hold(state: Option<&str>, params: &Params) -> Result<Option<HoldId>, RpcError> {
    match state {
        Some(state) => state.parse().map(Some).map_err(|_| invalid_state()),
        None => Ok(params.note("countersign/hold").and_then(|text| text.parse().ok())),
    }
}

/// What came of waiting for a hold.
pub(super) enum Held {
    /// It has ended.
    Ended(Box<Hold>),
    /// It has not, and this tells the client so.
    Said(Members),
    /// It has not, and the client has to ask again.
    Waits(Box<Hold>),
}

/// How a held call answers (design §7), by what the client can do; `first` when it is the first answer on
/// this hold.
pub(super) async fn held(leg: &Leg<'_>, hold: Hold, first: bool) -> Result<Held, RpcError> {
    let Leg { gateway, caller, .. } = leg;
    let hold = current(gateway, hold).await?;
    if hold.state.name().is_terminal() {
        return Ok(Held::Ended(Box::new(hold)));
    }
    if caller.tasks && caller.era == Era::Modern {
        gateway.board.attend(hold.id, gateway.clock.monotonic());
        tasks::follow(gateway, hold.id, &caller.peer)?;
        return answers::created_task(gateway, &hold).map(Held::Said);
    }
    let window = gateway.config.holds.window_for(caller.client.as_deref());
    let window = if caller.era == Era::Modern { window.min(MAX_LEG) } else { window };
    let hold = match wait(leg, hold, window).await? {
        Held::Ended(hold) if hold.state.name().is_terminal() => return Ok(Held::Ended(hold)),
        Held::Ended(hold) => hold,
        other @ (Held::Said(_) | Held::Waits(_)) => return Ok(other),
    };
    match caller.era {
        Era::Modern => {
            let page = first && caller.opens_pages;
            let agent = caller.principal.agent();
            Ok(Held::Said(answers::input_required(gateway, agent, &hold, page)))
        }
        Era::Legacy => Ok(Held::Waits(hold)),
    }
}

/// Waits for people, telling the client now and then that it still does, and carries what the approved call
/// asks. Gives the hold as it is when waiting ends.
async fn wait(leg: &Leg<'_>, hold: Hold, window: Duration) -> Result<Held, RpcError> {
    let Leg { gateway, line, .. } = leg;
    let until = gateway.clock.monotonic() + window;
    let wants_progress = line.outlet.as_ref().is_some_and(Outlet::wants_progress);
    let mut count = 0_u32;
    let mut hold = hold;
    loop {
        say_waiting(line, &hold, count);
        count += 1;
        let left = until.saturating_sub(gateway.clock.monotonic());
        let patience = if wants_progress { left.min(PROGRESS_EVERY) } else { left };
        let attendance = leg.attend(&gateway.board.contact(hold.id));
        let waiting = Box::pin(holding::wait(gateway, hold.id, patience, &line.cancel));
        hold = match asking::carry(leg, &attendance, waiting).await {
            Came::Done(waited) => waited.map_err(unread)?,
            Came::Asked(rounds) => {
                return leg.park_hold(hold.id, rounds, attendance).map(Held::Said);
            }
        };
        drop(attendance);
        hold = current(gateway, hold).await?;
        if line.cancel.is_cancelled() {
            if !line.withdrawn.load(Ordering::SeqCst) || hold.terms.keep {
                return Ok(Held::Ended(Box::new(hold)));
            }
            // Too late is fine: then the hold says what became of it.
            let withdrawn = holding::withdraw(gateway, hold.id).await;
            return Ok(Held::Ended(Box::new(withdrawn.unwrap_or(hold))));
        }
        let ended = hold.state.name().is_terminal() || gateway.clock.monotonic() >= until;
        if ended || holding::is_left(gateway, &hold) {
            return Ok(Held::Ended(Box::new(hold)));
        }
    }
}

/// The hold in place of this one now, if its call was held anew.
async fn current(gateway: &Gateway, hold: Hold) -> Result<Hold, RpcError> {
    holding::current(gateway, hold).await.map_err(unread)
}

fn unread(error: impl std::fmt::Display) -> RpcError {
    RpcError::new(super::wire::INTERNAL_ERROR, format!("the hold cannot be read: {error}"))
}

fn say_waiting(line: &Line, hold: &Hold, count: u32) {
    if let Some(outlet) = &line.outlet {
        let message = if hold.state.name() == StateName::Pending {
            format!("waiting for a person to approve (hold {})", hold.id)
        } else {
            format!("approved; running (hold {})", hold.id)
        };
        let progress = Progress { progress: f64::from(count), total: None, message: Some(message) };
        outlet.tell(News::Progress(progress));
    }
}
