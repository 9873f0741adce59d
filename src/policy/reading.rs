//! Reads policy files strictly, going on after a fault so that all of them are told at once.

use serde::de::value::Error as NoValue;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::Value;

use super::budgets::{BudgetSpec, SpendSpec};
use super::condition::ActiveSpec;
use super::rules::{ApprovalSpec, LimitSpec, MatchSpec, PolicyFile, RuleSpec, Ruling};
use crate::json::Object;
use crate::source::{self, Places, Problem, SourceFile};

/// How many problems one load collects; each carries its file.
const MAX_PROBLEMS: usize = 100;

/// A value in one of the files.
#[derive(Clone, Debug)]
pub(super) struct At {
    file: usize,
    pointer: String,
}

impl At {
    /// The value at `key` inside.
    pub(super) fn below(&self, key: &str) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self { file: self.file, pointer: format!("{}/{key}", self.pointer) }
    }
}

/// The files, and what was found wrong with them.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<(SourceFile, Places)>,
    problems: Vec<Problem>,
}

/// Everything the files say.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) defaults: Vec<(Ruling, At)>,
    pub(super) rules: Vec<(RuleSpec, At)>,
    pub(super) limits: Vec<(LimitSpec, At)>,
    pub(super) budgets: Vec<(BudgetSpec, At)>,
}

impl Files {
    /// Reads `sources`. What could not be read is a problem and missing from the contents.
    pub(super) fn read(sources: Vec<SourceFile>) -> (Self, Contents) {
        let mut files = Self::default();
        let mut contents = Contents::default();
        for source in sources {
            match source::read::<Value>(&source) {
                Ok((value, places)) => {
                    let at = At { file: files.files.len(), pointer: String::new() };
                    files.files.push((source, places));
                    files.file(&value, &at, &mut contents);
                }
                Err(found) => files.problems.extend(found.into_all()),
            }
        }
        (files, contents)
    }

    /// Notes that the value at `at` is wrong.
    pub(super) fn wrong(&mut self, at: &At, message: impl Into<String>, hint: impl Into<String>) {
        self.note(at, Places::value, message, hint);
    }

    /// Notes that the key of the value at `at` is wrong.
    pub(super) fn wrong_key(
        &mut self,
        at: &At,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(at, Places::key, message, hint);
    }

    /// `file:line:column` of the value at `at`.
    pub(super) fn location(&self, at: &At) -> String {
        self.files.get(at.file).map_or_else(String::new, |(source, places)| {
            places.location(source, places.value(&at.pointer))
        })
    }

    /// The beginning of the first file, to say what concerns all of them.
    pub(super) fn beginning() -> At {
        At { file: 0, pointer: "-".to_owned() }
    }

    /// Whether no more problems are taken.
    pub(super) const fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// What was found wrong so far; the list begins anew.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// The files alone.
    pub(super) fn into_sources(self) -> Vec<SourceFile> {
        self.files.into_iter().map(|(source, _)| source).collect()
    }

    fn note(
        &mut self,
        at: &At,
        place: impl Fn(&Places, &str) -> source::Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.is_full() {
            return;
        }
        let problem = match self.files.get(at.file) {
            Some((source, places)) => Problem::new(source, place(places, &at.pointer), message),
            None => {
                let nowhere = SourceFile { name: "policies".to_owned(), text: "".into() };
                Problem::new(&nowhere, source::Place::default(), message)
            }
        };
        let hint = hint.into();
        self.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    fn file(&mut self, value: &Value, at: &At, contents: &mut Contents) {
        if value.is_null() {
            self.wrong(at, "the file is empty", "write `rules: []` if that is meant");
            return;
        }
        let Some(file) = self.mapping::<PolicyFile>(value, at) else { return };
        if let Some(default) = self.optional(file, at, "default") {
            contents.defaults.push((default, at.below("default")));
        }
        for (rule, at) in self.list(file, at, "rules") {
            if let Some(spec) = self.rule(rule, &at) {
                contents.rules.push((spec, at));
            }
        }
        for (limit, at) in self.list(file, at, "limits") {
            if let Some(spec) = self.limit(limit, &at) {
                contents.limits.push((spec, at));
            }
        }
        for (budget, at) in self.list(file, at, "budgets") {
            if let Some(spec) = self.budget(budget, &at) {
                contents.budgets.push((spec, at));
            }
        }
    }

    fn rule(&mut self, value: &Value, at: &At) -> Option<RuleSpec> {
        let before = self.problems.len();
        let rule = self.mapping::<RuleSpec>(value, at)?;
        let name = self.required(rule, at, "name");
        let matches = self.conditions(rule, at, "match");
        if matches.is_none() && !rule.contains_key("match") {
            self.wrong(at, "a rule needs `match`", "write `match: {}` if every call is meant");
        }
        let except = self.conditions(rule, at, "except");
        let decision = self.required(rule, at, "decision");
        let reason = self.optional(rule, at, "reason");
        let constraints = self.optional(rule, at, "constraints");
        let approval = rule.get("approval").and_then(|value| {
            let at = at.below("approval");
            let approval = self.mapping::<ApprovalSpec>(value, &at)?;
            Some(ApprovalSpec {
                reviewers: self.optional(approval, &at, "reviewers"),
                quorum: self.optional(approval, &at, "quorum"),
                four_eyes: self.optional(approval, &at, "four_eyes"),
                allow_edit: self.optional(approval, &at, "allow_edit"),
                signature: self.optional(approval, &at, "signature"),
                keep: self.optional(approval, &at, "keep"),
                decide_within: self.optional(approval, &at, "decide_within"),
                execute_within: self.optional(approval, &at, "execute_within"),
            })
        });
        let when = self.optional(rule, at, "when");
        let active = self.active(rule, at);
        let mode = self.optional(rule, at, "mode");
        // A rule read in part could match more than is meant, and lead to problems that are none.
        if self.problems.len() > before {
            return None;
        }
        Some(RuleSpec {
            name: name?,
            matches: matches?,
            except,
            decision: decision?,
            reason,
            constraints,
            approval,
            when,
            active,
            mode,
        })
    }

    fn active(&mut self, rule: &Object, at: &At) -> Option<ActiveSpec> {
        let at = at.below("active");
        let active = self.mapping::<ActiveSpec>(rule.get("active")?, &at)?;
        Some(ActiveSpec {
            from: self.optional(active, &at, "from"),
            until: self.optional(active, &at, "until"),
            weekdays: self.optional(active, &at, "weekdays"),
            hours: self.optional(active, &at, "hours"),
            time_zone: self.optional(active, &at, "time_zone"),
        })
    }

    fn limit(&mut self, value: &Value, at: &At) -> Option<LimitSpec> {
        let before = self.problems.len();
        let limit = self.mapping::<LimitSpec>(value, at)?;
        let name = self.required(limit, at, "name");
        let matches = self.conditions(limit, at, "match");
        if matches.is_none() && !limit.contains_key("match") {
            self.wrong(at, "a limit needs `match`", "write `match: {}` if every call is meant");
        }
        let except = self.conditions(limit, at, "except");
        let per = self.required(limit, at, "per");
        let rate = self.required(limit, at, "rate");
        let burst = self.optional(limit, at, "burst");
        if self.problems.len() > before {
            return None;
        }
        Some(LimitSpec { name: name?, matches: matches?, except, per: per?, rate: rate?, burst })
    }

    fn budget(&mut self, value: &Value, at: &At) -> Option<BudgetSpec> {
        let before = self.problems.len();
        let budget = self.mapping::<BudgetSpec>(value, at)?;
        let name = self.required(budget, at, "name");
        let matches = self.conditions(budget, at, "match");
        if matches.is_none() && !budget.contains_key("match") {
            self.wrong(at, "a budget needs `match`", "write `match: {}` if every call is meant");
        }
        let except = self.conditions(budget, at, "except");
        let per = self.required(budget, at, "per");
        if !budget.contains_key("spend") {
            self.wrong(at, "`spend` is missing", "add `spend: { calls: … }`");
        }
        let spend = budget.get("spend").and_then(|value| {
            let at = at.below("spend");
            let spend = self.mapping::<SpendSpec>(value, &at)?;
            Some(SpendSpec {
                calls: self.optional(spend, &at, "calls"),
                tokens: self.optional(spend, &at, "tokens"),
                cost_usd: self.optional(spend, &at, "cost_usd"),
                compute: self.optional(spend, &at, "compute"),
            })
        });
        let every = self.optional(budget, at, "every");
        let then = self.optional(budget, at, "then");
        let alert_at = self.optional(budget, at, "alert_at");
        if self.problems.len() > before {
            return None;
        }
        let (name, matches, per, spend) = (name?, matches?, per?, spend?);
        Some(BudgetSpec { name, matches, except, per, spend, every, then, alert_at })
    }

    fn conditions(&mut self, object: &Object, at: &At, key: &str) -> Option<MatchSpec> {
        let at = at.below(key);
        let keys = self.mapping::<MatchSpec>(object.get(key)?, &at)?;
        Some(MatchSpec {
            agent: self.optional(keys, &at, "agent"),
            group: self.optional(keys, &at, "group"),
            tool: self.optional(keys, &at, "tool"),
            backend: self.optional(keys, &at, "backend"),
            tags: self.optional(keys, &at, "tags"),
            risk: self.optional(keys, &at, "risk"),
            client: self.optional(keys, &at, "client"),
            capability: self.optional(keys, &at, "capability"),
            action: self.optional(keys, &at, "action"),
            action_type: self.optional(keys, &at, "action_type"),
            environment: self.optional(keys, &at, "environment"),
            workflow_holds: self.optional(keys, &at, "workflow_holds"),
        })
    }

    /// `value` as a mapping; keys that `T` does not have are noted.
    fn mapping<'v, T: DeserializeOwned>(
        &mut self,
        value: &'v Value,
        at: &At,
    ) -> Option<&'v Object> {
        let known = fields::<T>();
        let Some(object) = value.as_object() else {
            let hint = format!("its keys are {}", known.join(", "));
            self.wrong(at, "expected a mapping of keys to values", hint);
            return None;
        };
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = match source::nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            self.wrong_key(&at.below(key), format!("unknown key `{key}`"), hint);
        }
        Some(object)
    }

    fn list<'v>(&mut self, object: &'v Object, at: &At, key: &str) -> Vec<(&'v Value, At)> {
        let at = at.below(key);
        match object.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(i, item)| (item, at.below(&i.to_string()))).collect()
            }
            Some(_) => {
                self.wrong(&at, format!("`{key}` must be a list"), "begin each item with `- `");
                Vec::new()
            }
        }
    }

    fn required<T: DeserializeOwned>(&mut self, object: &Object, at: &At, key: &str) -> Option<T> {
        if !object.contains_key(key) {
            self.wrong(at, format!("`{key}` is missing"), format!("add `{key}: …`"));
        }
        self.optional(object, at, key)
    }

    /// The value of `key` as `T`. What follows a semicolon in the words of `T` is the hint.
    fn optional<T: DeserializeOwned>(&mut self, object: &Object, at: &At, key: &str) -> Option<T> {
        let read = T::deserialize(object.get(key)?);
        read.inspect_err(|error| {
            let told = error.to_string();
            let (message, hint) = told.split_once("; ").unwrap_or((&told, ""));
            self.wrong(&at.below(key), format!("`{key}`: {message}"), hint);
        })
        .ok()
    }
}

/// The names of the fields of a struct, as its `Deserialize` knows them.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The probe never has a value, so this is always an error; what counts is what `T` asked it for.
    drop(T::deserialize(FieldNames(&mut fields)));
    fields
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
