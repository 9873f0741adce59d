//! Whether a rule is about a call: known for certain, ruled out, or open until more of the call is known.

use super::patterns::{self, Names};
use super::reading::{At, Files};
use super::rules::{MatchSpec, Patterns};
use crate::catalog::manifest::AttributeValue;
use crate::catalog::{ActionType, Attributes, CheckedArguments, Risk, Tool};
use crate::ids::AgentName;
use crate::principal::Principal;

/// How sure it is that something matches, as far as the subject is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    Never,
    Maybe,
    Always,
}

impl Certainty {
    const fn of(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }

    const fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }
}

/// What is known of a call: the tool always; who calls, and with which attributes, perhaps.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) tool: &'a Tool,
    pub(super) caller: Option<Caller<'a>>,
    pub(super) attributes: Option<&'a Attributes>,
}

/// Who calls.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) agent: &'a AgentName,
    pub(super) groups: &'a [String],
    pub(super) client: Client<'a>,
}

/// By which client program.
#[derive(Clone, Copy)]
pub(super) enum Client<'a> {
    /// As it named itself, if it did.
    Said(Option<&'a str>),
    /// By any: asked of an agent and not of a call.
    Any,
}

impl<'a> Caller<'a> {
    pub(super) fn of(principal: &'a Principal, client: Option<&'a str>) -> Self {
        let (agent, groups) = (principal.agent(), principal.groups());
        Self { agent, groups, client: Client::Said(client) }
    }
}

/// Every key of `match`, and how sure it is that its condition holds: `Always` where there is none.
pub(super) type Keyed = [(&'static str, Certainty); 11];

/// `match` and `except` of a rule or limit, compiled.
#[derive(Debug)]
pub(super) struct Scope {
    matches: Matcher,
    except: Option<Matcher>,
    /// Whether its owner asks for more, which a subject does not tell.
    open: bool,
}

impl Scope {
    /// Compiles; what is wrong is noted in `files`, with the scope's owner at `at`.
    pub(super) fn compile(
        matches: &MatchSpec,
        except: Option<&MatchSpec>,
        at: &At,
        files: &mut Files,
    ) -> Self {
        let except = except.map(|spec| {
            let at = at.below("except");
            super::condition::refuse_holds(spec.workflow_holds.as_ref(), &at, files);
            let matcher = Matcher::compile(spec, &at, files);
            if matcher.is_empty() {
                files.wrong(&at, "an empty `except` excepts every call", "leave `except` out");
            }
            matcher
        });
        let matches = Matcher::compile(matches, &at.below("match"), files);
        Self { matches, except, open: false }
    }

    /// The same; where its owner asks for more, what it is about is never certain.
    pub(super) fn open_beyond(self, open: bool) -> Self {
        Self { open, ..self }
    }

    /// Whether its owner is about `subject`.
    pub(super) fn covers(&self, subject: &Subject<'_>) -> Certainty {
        let met = self.meets(subject);
        if self.open { met.min(Certainty::Maybe) } else { met }
    }

    /// Whether its owner is about this call, of which everything is known.
    pub(super) fn covers_call(&self, caller: Caller<'_>, checked: &CheckedArguments) -> bool {
        let tool = checked.tool();
        let attributes = Some(checked.attributes());
        self.covers(&Subject { tool, caller: Some(caller), attributes }) == Certainty::Always
    }

    /// Whether its owner can be about some call of `tool` by this agent, by whatever client and with whatever
    /// arguments.
    pub(super) fn concerns(&self, agent: &AgentName, groups: &[String], tool: &Tool) -> bool {
        let caller = Some(Caller { agent, groups, client: Client::Any });
        self.covers(&Subject { tool, caller, attributes: None }) != Certainty::Never
    }

    /// Whether `match` and `except` are met, whatever else its owner asks.
    pub(super) fn meets(&self, subject: &Subject<'_>) -> Certainty {
        let matched = self.matches.evaluate(subject);
        match &self.except {
            Some(except) if matched != Certainty::Never => {
                matched.min(except.evaluate(subject).not())
            }
            Some(_) | None => matched,
        }
    }

    /// How sure it is that each condition of `match`, and each of `except`, holds, by its key.
    pub(super) fn each(&self, subject: &Subject<'_>) -> (Keyed, Option<Keyed>) {
        (self.matches.each(subject), self.except.as_ref().map(|except| except.each(subject)))
    }
}

/// Conditions, all of which must hold; one that is absent always does.
#[derive(Debug)]
struct Matcher {
    agent: Option<Names>,
    group: Option<Names>,
    tool: Option<Names>,
    backend: Option<Names>,
    tags: Option<Names>,
    risk: Option<Vec<Risk>>,
    client: Option<Names>,
    capability: Option<Names>,
    action: Option<Names>,
    action_type: Option<Vec<ActionType>>,
    environment: Option<Names>,
}

impl Matcher {
    fn compile(spec: &MatchSpec, at: &At, files: &mut Files) -> Self {
        let mut names = |key: &str, patterns: &Option<Patterns>| {
            patterns.as_ref().map(|patterns| Names::compile(patterns, &at.below(key), files))
        };
        let agent = names("agent", &spec.agent);
        let group = names("group", &spec.group);
        let tool = names("tool", &spec.tool);
        let backend = names("backend", &spec.backend);
        let tags = names("tags", &spec.tags);
        let client = names("client", &spec.client);
        let capability = names("capability", &spec.capability);
        let action = names("action", &spec.action);
        let environment = names("environment", &spec.environment);
        let risk = spec.risk.as_ref().map(|it| patterns::risks(it, &at.below("risk"), files));
        let action_type = spec
            .action_type
            .as_ref()
            .map(|it| patterns::action_types(it, &at.below("action_type"), files));
        Self {
            agent,
            group,
            tool,
            backend,
            tags,
            risk,
            client,
            capability,
            action,
            action_type,
            environment,
        }
    }

    const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                agent: None,
                group: None,
                tool: None,
                backend: None,
                tags: None,
                risk: None,
                client: None,
                capability: None,
                action: None,
                action_type: None,
                environment: None,
            }
        )
    }

    fn evaluate(&self, subject: &Subject<'_>) -> Certainty {
        let all = self.each(subject).into_iter().map(|(_, certainty)| certainty);
        all.min().unwrap_or(Certainty::Always)
    }

    /// How sure it is that each condition holds, by its key as rules write it.
    fn each(&self, subject: &Subject<'_>) -> Keyed {
        /// A tool without an action type does not load; were it to, it would count as a write.
        const WRITE: &AttributeValue<ActionType> = &AttributeValue::Fixed(ActionType::Write);
        let tool = subject.tool;
        let specs = tool.attribute_specs();
        let known = subject.attributes;
        let text = |names: &Option<Names>, known, spec| {
            attribute(names.as_ref(), known, spec, |names, value: &String| names.fit(value))
        };
        let capability = known.map(|it| it.capability.as_ref());
        let action = known.map(|it| it.action.as_ref());
        let environment = known.map(|it| it.environment.as_ref());
        let action_type = attribute(
            self.action_type.as_ref(),
            known.map(|it| Some(&it.action_type)),
            specs.action_type.as_ref().or(Some(WRITE)),
            |types, value| types.contains(value),
        );
        let risk = attribute(
            self.risk.as_ref(),
            known.map(|it| it.risk.as_ref()),
            specs.risk.as_ref(),
            |risks, value| risks.contains(value),
        );
        let agent = dynamic(&self.agent, subject, |names, caller| {
            Certainty::of(names.fit(caller.agent.as_str()))
        });
        let group = dynamic(&self.group, subject, |names, caller| {
            Certainty::of(caller.groups.iter().any(|group| names.fit(group)))
        });
        let client = dynamic(&self.client, subject, |names, caller| match caller.client {
            Client::Said(client) => Certainty::of(client.is_some_and(|client| names.fit(client))),
            Client::Any => Certainty::Maybe,
        });
        [
            ("tool", fixed(&self.tool, |names| names.fit(tool.known_as()))),
            ("backend", fixed(&self.backend, |names| names.fit(tool.backend()))),
            ("tags", fixed(&self.tags, |names| specs.tags.iter().any(|tag| names.fit(tag)))),
            ("capability", text(&self.capability, capability, specs.capability.as_ref())),
            ("action", text(&self.action, action, specs.action.as_ref())),
            ("environment", text(&self.environment, environment, specs.environment.as_ref())),
            ("action_type", action_type),
            ("risk", risk),
            ("agent", agent),
            ("group", group),
            ("client", client),
        ]
    }
}

fn fixed(names: &Option<Names>, holds: impl Fn(&Names) -> bool) -> Certainty {
    names.as_ref().map_or(Certainty::Always, |names| Certainty::of(holds(names)))
}

fn dynamic(
    names: &Option<Names>,
    subject: &Subject<'_>,
    holds: impl Fn(&Names, Caller<'_>) -> Certainty,
) -> Certainty {
    match (names, subject.caller) {
        (None, _) => Certainty::Always,
        (Some(_), None) => Certainty::Maybe,
        (Some(names), Some(caller)) => holds(names, caller),
    }
}

/// A condition on an attribute: on the call's value where that is `known`, else on all it may have.
fn attribute<C, T>(
    condition: Option<&C>,
    known: Option<Option<&T>>,
    spec: Option<&AttributeValue<T>>,
    holds: impl Fn(&C, &T) -> bool,
) -> Certainty {
    let Some(condition) = condition else { return Certainty::Always };
    match (known, spec) {
        (Some(value), _) => Certainty::of(value.is_some_and(|value| holds(condition, value))),
        (None, None) => Certainty::Never,
        (None, Some(AttributeValue::Fixed(value))) => Certainty::of(holds(condition, value)),
        (None, Some(AttributeValue::Chosen(chosen))) => {
            let mut values = chosen.values.values();
            if !values.clone().any(|value| holds(condition, value)) {
                Certainty::Never
            } else if values.all(|value| holds(condition, value)) {
                Certainty::Always
            } else {
                Certainty::Maybe
            }
        }
    }
}
