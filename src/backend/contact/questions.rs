//! What a tool asks of its caller's client, and what the client answers.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::Ability;
use crate::digest::Digest;
use crate::evidence::AskedClient;
use crate::json::Object;

/// The JSON-RPC code for a method that the other side does not have.
const METHOD_NOT_FOUND: i64 = -32601;
/// The JSON-RPC code for parameters that the other side does not take.
const INVALID_PARAMS: i64 = -32602;

/// What a client says it can do for servers: the members of its `ClientCapabilities` that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities(Object);

impl Abilities {
    /// What `capabilities` say.
    #[must_use]
    pub fn of(capabilities: Option<&Value>) -> Self {
        let named = |it: &Ability| Some((it.as_str().to_owned(), capabilities?.get(it.as_str())?));
        let said = Ability::ALL.iter().filter_map(named).filter(|(_, how)| how.is_object());
        Self(said.map(|(name, how)| (name, how.clone())).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are among `allowed`, as `ClientCapabilities`.
    #[must_use]
    pub fn among(&self, allowed: impl Fn(Ability) -> bool) -> Object {
        let names = Ability::ALL.into_iter().filter(|it| allowed(*it)).map(Ability::as_str);
        names.filter_map(|name| Some((name.to_owned(), self.0.get(name)?.clone()))).collect()
    }

    /// Whether some of `needed`, which are `ClientCapabilities`, are not among these.
    #[must_use]
    pub fn lacking(&self, needed: &Object) -> bool {
        needed.iter().any(|(name, ways)| {
            let Some(how) = self.0.get(name) else { return true };
            // A client that does not say how it asks its person shows forms (MCP, elicitation).
            let plain = how.as_object().is_some_and(Object::is_empty);
            let has = |way: &String| how.get(way).is_some() || plain && way == "form";
            ways.as_object().is_some_and(|ways| !ways.keys().all(has))
        })
    }

    /// Whether a client that can do this can answer `question`.
    ///
    /// # Errors
    /// With the JSON-RPC error that it would answer with (MCP 2025-11-25, sampling, elicitation, roots).
    pub fn check(&self, question: &Question) -> Result<(), NotAble> {
        let name = question.ability.as_str();
        let Some(how) = self.0.get(name) else {
            let message = format!("the client does not support {name}");
            return Err(NotAble { code: METHOD_NOT_FOUND, message, data: None });
        };
        let by_page = question.request.pointer("/params/mode").is_some_and(|mode| mode == "url");
        let form = how.get("form").is_some() || how.as_object().is_some_and(Object::is_empty);
        let can = match question.ability {
            Ability::Elicitation if by_page => how.get("url").is_some(),
            Ability::Elicitation => form,
            Ability::Sampling | Ability::Roots => true,
        };
        if can {
            return Ok(());
        }
        let message = "the client does not support this mode of elicitation".to_owned();
        Err(NotAble { code: INVALID_PARAMS, message, data: None })
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its name within the round.
    pub key: String,
    /// What for.
    pub ability: Ability,
    /// `method` and `params`, as the tool wrote them.
    pub request: Value,
}

impl Question {
    /// A question with these parameters.
    #[must_use]
    pub fn new(key: String, ability: Ability, params: Option<Value>) -> Self {
        let mut request = json!({ "method": ability.method() });
        if let (Value::Object(request), Some(params)) = (&mut request, params) {
            request.insert("params".into(), params);
        }
        Self { key, ability, request }
    }

    /// How long its text is.
    pub(super) fn bytes(&self) -> usize {
        self.request.to_string().len()
    }

    /// What the record says of it.
    pub(super) fn noted(&self) -> AskedClient {
        let digest = Digest::of(self.request.to_string().as_bytes());
        AskedClient { ability: self.ability, digest, answered: false }
    }
}

/// Why a client gave no result to one question: a JSON-RPC error, its own or ours in its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotAble {
    /// The code.
    pub code: i64,
    /// In words.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The answers to one round.
#[derive(Debug, Default)]
pub struct Answers {
    asked: Vec<String>,
    /// Results, by the names of their questions; names that nobody asked for too.
    pub results: Object,
    /// Errors, by the names of their questions.
    pub errors: Vec<(String, NotAble)>,
}

impl Answers {
    /// Whether each question has a result, in the order they were asked.
    pub(super) fn of_each(&self) -> impl Iterator<Item = bool> {
        self.asked.iter().map(|key| self.results.contains_key(key))
    }
}

/// Why there are no answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// No client waits for the call.
    #[error("nobody was there to answer")]
    Nobody,
    /// The client did not answer in time.
    #[error("the client did not answer within {0:?}")]
    Late(Duration),
    /// More was asked than one call may.
    #[error("more than {0} questions")]
    TooMany(usize),
    /// A question is too long.
    #[error("a question of more than {0} bytes")]
    TooLarge(usize),
    /// The call has ended.
    #[error("the call has ended")]
    Over,
}

/// Questions that are answered together.
#[derive(Debug)]
pub struct Round {
    /// The questions.
    pub questions: Vec<Question>,
    answer: oneshot::Sender<Answers>,
    /// Cancelled when nobody awaits the answers any more.
    pub over: CancellationToken,
}

/// What arrives for one round.
pub(super) struct Arriving {
    asked: Vec<String>,
    answers: oneshot::Receiver<Answers>,
    _over: DropGuard,
}

impl Round {
    pub(super) fn new(questions: Vec<Question>) -> (Self, Arriving) {
        let (answer, answers) = oneshot::channel();
        let over = CancellationToken::new();
        let asked = questions.iter().map(|question| question.key.clone()).collect();
        let arriving = Arriving { asked, answers, _over: over.clone().drop_guard() };
        (Self { questions, answer, over }, arriving)
    }

    /// Whether anybody still awaits the answers.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.over.is_cancelled()
    }

    /// Answers all of it.
    pub fn answer(self, results: Object, errors: Vec<(String, NotAble)>) {
        // Who no longer waits has been told already.
        let _ = self.answer.send(Answers { asked: Vec::new(), results, errors });
    }
}

impl Arriving {
    pub(super) async fn arrive(self) -> Result<Answers, Silence> {
        let Self { asked, answers, _over } = self;
        match answers.await {
            Ok(answers) => Ok(Answers { asked, ..answers }),
            Err(_) => Err(Silence::Nobody),
        }
    }
}
