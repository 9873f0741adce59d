//! What an expression may be made of. The interpreter has no limits of its own, so the tree is looked at when a
//! policy is loaded: nothing in it may take longer than its size times what it looks at.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr};
use regex::{Regex, RegexBuilder};

/// How many nodes an expression may have, counted after its macros are written out.
pub(super) const MAX_NODES: usize = 400;
/// How deep an expression may be nested, counted in the same way.
pub(super) const MAX_DEPTH: usize = 48;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256 << 10;
/// How many references an explanation shows.
const MAX_REFERENCES: usize = 20;
/// What an expression may look at.
pub(super) const ROOTS: [&str; 6] = ["arguments", "agent", "tool", "client", "workflow", "time"];
/// What each root but `arguments` and `time` has.
const MEMBERS: [(&str, &[&str]); 4] = [
    ("agent", &["name", "groups", "owner"]),
    ("client", &["name"]),
    ("workflow", &["name"]),
    (
        "tool",
        &["name", "backend", "capability", "action", "action_type", "environment", "risk", "tags"],
    ),
];
const OPERATORS: [&str; 18] = [
    "_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_+_", "_-_", "_*_",
    "_/_", "_%_", "-_", "_[_]", "_?_:_",
];
/// The functions, without the operators; the first four give true or false.
const FUNCTIONS: [&str; 19] = [
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "size",
    "int",
    "double",
    "string",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
];
const OF_TEXTS: usize = 4;

/// What is wrong with an expression, and a hint.
pub(super) type Fault = (String, String);

/// What was found in an expression that may be evaluated.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The arguments it names.
    pub(super) arguments: BTreeSet<String>,
    /// Whether it looks at arguments that it does not name.
    pub(super) any_argument: bool,
    /// Whether it looks at arguments at all.
    pub(super) on_arguments: bool,
    /// Whether it goes over a list.
    pub(super) repeats: bool,
    /// How many functions and comparisons it has, that take longer with longer values.
    pub(super) calls: usize,
    /// The patterns of `matches`, compiled.
    pub(super) patterns: BTreeMap<String, Regex>,
    /// What it refers to, as text and as an expression.
    pub(super) references: Vec<(String, IdedExpr)>,
    nodes: usize,
    variable: Option<String>,
    internal: Option<String>,
}

/// Looks at a whole expression.
pub(super) fn check(expression: &IdedExpr) -> Result<Found, Fault> {
    let mut found = Found::default();
    found.look(expression, 0)?;
    if let Some(what) = not_boolean(expression, 0) {
        let hint = "compare it with something".to_owned();
        return Err((format!("{what} is neither true nor false"), hint));
    }
    Ok(found)
}

impl Found {
    fn look(&mut self, node: &IdedExpr, depth: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            let hint = "make several rules of it".to_owned();
            return Err(("an expression that is too large".to_owned(), hint));
        }
        let depth = depth + 1;
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.root(name, node),
            Expr::Select(select) => self.select(select, node, depth),
            Expr::Call(call) => self.call(call, node, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|it| self.look(it, depth)),
            Expr::Comprehension(all) => self.repeat(all, depth),
            Expr::Unspecified | Expr::Map(_) | Expr::Struct(_) => Err((
                "conditions make no maps or messages".to_owned(),
                "compare values one by one".to_owned(),
            )),
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.variable.as_deref() == Some(name) || self.internal.as_deref() == Some(name)
    }

    fn root(&mut self, name: &str, node: &IdedExpr) -> Result<(), Fault> {
        if self.is_own(name) {
            return Ok(());
        }
        match name {
            "arguments" => {
                self.on_arguments = true;
                self.any_argument = true;
            }
            "time" => self.refers("time".to_owned(), node),
            name if ROOTS.contains(&name) => {}
            name => {
                let hint = match crate::source::nearest(name, ROOTS.into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("conditions look at {}; a text stands in quotes", ROOTS.join(", "))
                    }
                };
                return Err((format!("unknown name `{name}`"), hint));
            }
        }
        Ok(())
    }

    fn select(&mut self, select: &SelectExpr, node: &IdedExpr, depth: usize) -> Result<(), Fault> {
        if let Expr::Ident(root) = &select.operand.expr
            && !self.is_own(root)
            && ROOTS.contains(&root.as_str())
        {
            self.nodes += 1;
            return self.member(root, &select.field, (!select.test).then_some(node));
        }
        self.look(&select.operand, depth)
    }

    fn member(&mut self, root: &str, field: &str, node: Option<&IdedExpr>) -> Result<(), Fault> {
        if root == "arguments" {
            self.on_arguments = true;
            self.arguments.insert(field.to_owned());
        } else {
            let members = MEMBERS.iter().find(|(name, _)| *name == root).map(|(_, all)| *all);
            let members = members.unwrap_or_default();
            if !members.contains(&field) {
                let hint = match crate::source::nearest(field, members.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if members.is_empty() => format!("`{root}` has functions only"),
                    None => format!("`{root}` has {}", members.join(", ")),
                };
                return Err((format!("`{root}` has no `{field}`"), hint));
            }
        }
        if let Some(node) = node {
            self.refers(format!("{root}.{field}"), node);
        }
        Ok(())
    }

    fn refers(&mut self, text: String, node: &IdedExpr) {
        let known = self.references.iter().any(|(other, _)| *other == text);
        if !known && self.references.len() < MAX_REFERENCES {
            self.references.push((text, node.clone()));
        }
    }

    fn call(&mut self, call: &CallExpr, node: &IdedExpr, depth: usize) -> Result<(), Fault> {
        let name = call.func_name.as_str();
        let internal = name == "@not_strictly_false" && self.internal.is_some();
        if !internal && !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let hint = match crate::source::nearest(name, FUNCTIONS.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the functions are {}", FUNCTIONS.join(", ")),
            };
            return Err((format!("conditions have no function `{name}`"), hint));
        }
        self.calls += 1;
        // `arguments["x"]` names an argument as `arguments.x` does.
        if let ("_[_]", [of, key]) = (name, call.args.as_slice())
            && let Expr::Ident(root) = &of.expr
            && root == "arguments"
            && let Expr::Literal(LiteralValue::String(key)) = &key.expr
        {
            return self.member("arguments", key.inner(), Some(node));
        }
        let parts = call.target.as_deref().into_iter().chain(&call.args);
        if name == "matches" {
            self.pattern(call)?;
        }
        parts.into_iter().try_for_each(|part| self.look(part, depth))
    }

    fn pattern(&mut self, call: &CallExpr) -> Result<(), Fault> {
        let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(pattern)), .. }) =
            call.args.last()
        else {
            let hint = "write it like `arguments.name.matches('^[a-z]+$')`".to_owned();
            return Err(("the pattern of `matches` must stand there as a text".to_owned(), hint));
        };
        let compiled = RegexBuilder::new(pattern.inner())
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|error| {
                let told = error.to_string();
                let told = told.lines().last().unwrap_or_default().trim().to_owned();
                let told = told.trim_start_matches("error: ").to_owned();
                (
                    format!("`{}` is not a usable pattern", pattern.inner()),
                    format!("{told}; patterns are RE2's"),
                )
            })?;
        self.patterns.insert(pattern.inner().to_owned(), compiled);
        Ok(())
    }

    fn repeat(&mut self, all: &ComprehensionExpr, depth: usize) -> Result<(), Fault> {
        let hint = "use one `all`, `exists` or `exists_one` in a rule".to_owned();
        if self.repeats || all.iter_var2.is_some() {
            return Err(("more than one list is gone over".to_owned(), hint));
        }
        self.look(&all.iter_range, depth)?;
        if matches!(all.accu_init.expr, Expr::List(_)) {
            return Err(("conditions make no lists by `map` or `filter`".to_owned(), hint));
        }
        if ROOTS.contains(&all.iter_var.as_str()) {
            let hint = "give it another name".to_owned();
            return Err((format!("`{}` stands for something else already", all.iter_var), hint));
        }
        self.repeats = true;
        self.variable = Some(all.iter_var.clone());
        self.internal = Some(all.accu_var.clone());
        for part in [&all.accu_init, &all.loop_cond, &all.loop_step, &all.result] {
            self.look(part, depth)?;
        }
        self.variable = None;
        self.internal = None;
        Ok(())
    }
}

/// What cannot be true or false, in words; none where it can, or nobody knows.
fn not_boolean(node: &IdedExpr, depth: usize) -> Option<&'static str> {
    if depth > MAX_DEPTH {
        return None;
    }
    match &node.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(LiteralValue::String(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Null) => Some("`null`"),
        Expr::Literal(LiteralValue::Bytes(_)) => Some("a text of bytes"),
        Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)) => {
            Some("a number")
        }
        Expr::List(_) => Some("a list"),
        Expr::Ident(name) if name == "time" => Some("a moment"),
        Expr::Ident(_) => Some("all of them together"),
        Expr::Call(call) => match call.func_name.as_str() {
            "_&&_" | "_||_" | "!_" => call.args.iter().find_map(|it| not_boolean(it, depth + 1)),
            "_?_:_" => call.args.iter().skip(1).find_map(|it| not_boolean(it, depth + 1)),
            "_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "-_" => Some("what is calculated"),
            name if FUNCTIONS.iter().skip(OF_TEXTS).any(|other| *other == name) => {
                Some("what the function gives")
            }
            _ => None,
        },
        Expr::Unspecified
        | Expr::Comprehension(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => None,
    }
}
