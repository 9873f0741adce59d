//! Types in expressions, as far as they are known when a policy is loaded: those of literals, of what a call has
//! beside its arguments, and of arguments by the schemas of the tools that a rule can match.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};

use super::super::types;
use super::checking::{Fault, MAX_DEPTH};
use crate::catalog::Tool;

/// What a value can be: kinds of JSON, and those that CEL has besides. None where nobody knows.
type Kinds = Option<BTreeSet<&'static str>>;

const TRUTH: &str = "boolean";
const NUMBER: &str = "number";
const TEXT: &str = "text";
const LIST: &str = "list";
const OBJECT: &str = "object";
const MOMENT: &str = "moment";
const DURATION: &str = "duration";
const NULL: &str = "null";

/// The arguments of all tools that a rule can match.
#[derive(Default)]
pub(super) struct Parameters<'t> {
    known: BTreeMap<&'t str, Kinds>,
    /// Whether a tool among them takes arguments that its schema does not name.
    open: bool,
}

impl<'t> Parameters<'t> {
    pub(super) fn of(tools: &'t [Arc<Tool>]) -> Self {
        let mut all = Self::default();
        for tool in tools {
            let schema = tool.input().text();
            let open =
                ["additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"];
            let closes =
                |key: &str| schema.get(key).is_none_or(|it| *it == serde_json::Value::Bool(false));
            let properties = schema.get("properties").and_then(serde_json::Value::as_object);
            let Some(properties) = properties.filter(|_| open.iter().all(|key| closes(key))) else {
                return Self { known: BTreeMap::new(), open: true };
            };
            for (name, node) in properties {
                let kinds = node.as_object().and_then(|node| types::own(schema, node));
                let kinds: Kinds = kinds.and_then(|all| all.into_iter().map(kind_of).collect());
                let known = all.known.entry(name).or_insert_with(|| Some(BTreeSet::new()));
                *known = known.take().zip(kinds).map(|(mut one, other)| {
                    one.extend(other);
                    one
                });
            }
        }
        all
    }

    /// Whether some tool may have an argument of this name; of no tools nobody knows.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.open || self.known.is_empty() || self.known.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> {
        self.known.keys().copied()
    }

    fn kinds(&self, name: &str) -> Kinds {
        self.known.get(name).cloned().flatten()
    }

    /// What in an expression can never go together, or can never be true or false.
    pub(super) fn fault(&self, expression: &IdedExpr) -> Option<Fault> {
        match self.infer(expression, 0) {
            Err(fault) => Some(fault),
            Ok(Some(kinds)) if !kinds.contains(TRUTH) => {
                let hint = "compare it with something".to_owned();
                Some((format!("{} is neither true nor false", words(&kinds)), hint))
            }
            Ok(_) => None,
        }
    }

    fn infer(&self, node: &IdedExpr, depth: usize) -> Result<Kinds, Fault> {
        if depth > MAX_DEPTH {
            return Ok(None);
        }
        let one = |kind| Ok(Some(BTreeSet::from([kind])));
        match &node.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => one(TRUTH),
                LiteralValue::String(_) => one(TEXT),
                LiteralValue::Null => one(NULL),
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_) => {
                    one(NUMBER)
                }
                LiteralValue::Bytes(_) => Ok(None),
            },
            Expr::Ident(name) if name == "time" => one(MOMENT),
            Expr::List(list) => {
                for element in &list.elements {
                    self.infer(element, depth + 1)?;
                }
                one(LIST)
            }
            Expr::Select(select) if select.test => one(TRUTH),
            Expr::Select(select) => match (&select.operand.expr, select.field.as_str()) {
                (Expr::Ident(root), name) if root == "arguments" => Ok(self.kinds(name)),
                (Expr::Ident(root), "groups") if root == "agent" => one(LIST),
                (Expr::Ident(root), "tags") if root == "tool" => one(LIST),
                (Expr::Ident(root), _)
                    if ["agent", "client", "tool", "workflow"].contains(&root.as_str()) =>
                {
                    Ok(Some(BTreeSet::from([TEXT, NULL])))
                }
                _ => Ok(None),
            },
            Expr::Call(call) => self.call(call, depth + 1),
            // What goes over a list knows nothing of its elements.
            Expr::Comprehension(all) => {
                self.infer(&all.iter_range, depth + 1)?;
                Ok(None)
            }
            Expr::Ident(_) | Expr::Unspecified | Expr::Map(_) | Expr::Struct(_) => Ok(None),
        }
    }

    fn call(&self, call: &CallExpr, depth: usize) -> Result<Kinds, Fault> {
        let name = call.func_name.as_str();
        if let ("_[_]", [of, key]) = (name, call.args.as_slice())
            && let (Expr::Ident(root), Expr::Literal(LiteralValue::String(key))) =
                (&of.expr, &key.expr)
            && root == "arguments"
        {
            return Ok(self.kinds(key.inner()));
        }
        let target = call.target.as_deref().map(|it| self.infer(it, depth)).transpose()?.flatten();
        let given: Vec<Kinds> =
            call.args.iter().map(|it| self.infer(it, depth)).collect::<Result<_, _>>()?;
        let first = target.or_else(|| given.first().cloned().flatten());
        let second = given.get(1).cloned().flatten();
        let needs = |kinds: &Kinds, wanted: &[&'static str], what: &str| match kinds {
            Some(kinds) if !wanted.iter().any(|it| kinds.contains(it)) => {
                let wanted: BTreeSet<&'static str> = wanted.iter().copied().collect();
                let message =
                    format!("{what} goes with {}, not with {}", words(&wanted), words(kinds));
                Err((message, "compare it with `catalog show`".to_owned()))
            }
            _ => Ok(()),
        };
        let gives = match name {
            "_&&_" | "_||_" | "!_" => {
                given.iter().try_for_each(|it| needs(it, &[TRUTH], &operator(name)))?;
                TRUTH
            }
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => {
                if let (Some(one), Some(other)) = (&first, &second)
                    && one.is_disjoint(other)
                {
                    let (one, other) = (words(one), words(other));
                    let hint = "compare values of one type; `int(…)` and `string(…)` make others"
                        .to_owned();
                    return Err((format!("{one} is compared with {other}"), hint));
                }
                TRUTH
            }
            "@in" => {
                needs(&second, &[LIST, OBJECT], "`in`")?;
                TRUTH
            }
            "contains" => {
                needs(&first, &[TEXT, LIST, OBJECT], "`contains`")?;
                TRUTH
            }
            "matches" | "startsWith" | "endsWith" => {
                needs(&first, &[TEXT], &format!("`{name}`"))?;
                TRUTH
            }
            "size" => {
                needs(&first, &[TEXT, LIST, OBJECT], "`size`")?;
                NUMBER
            }
            "int" | "double" => NUMBER,
            "string" => TEXT,
            "timestamp" => MOMENT,
            "duration" => DURATION,
            name if name.starts_with("get") => {
                needs(&first, &[MOMENT, DURATION], &format!("`{name}`"))?;
                NUMBER
            }
            _ => return Ok(None),
        };
        Ok(Some(BTreeSet::from([gives])))
    }
}

fn operator(name: &str) -> String {
    format!("`{}`", name.trim_matches('_'))
}

/// The kind that a type of JSON Schema is to an expression.
fn kind_of(schema: &str) -> Option<&'static str> {
    Some(match schema {
        "boolean" => TRUTH,
        "integer" | "number" => NUMBER,
        "string" => TEXT,
        "array" => LIST,
        "object" => OBJECT,
        "null" => NULL,
        _ => return None,
    })
}

fn words(kinds: &BTreeSet<&'static str>) -> String {
    kinds
        .iter()
        .map(|kind| format!("a {kind}"))
        .collect::<Vec<_>>()
        .join(" or ")
        .replace("a object", "an object")
}
