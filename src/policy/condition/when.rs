//! `when`: an expression in the Common Expression Language over one call.

use std::sync::Arc;

use cel::{IdedExpr, Program};

use super::super::reading::{At, Files};
use super::checking::{self, Fault, Found};
use super::scene::Scene;
use super::typing::Parameters;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 4 << 10;

/// An expression that may be evaluated.
#[derive(Debug)]
pub(super) struct When {
    text: String,
    expression: IdedExpr,
    found: Found,
    patterns: Arc<std::collections::BTreeMap<String, regex::Regex>>,
}

impl When {
    /// Compiles; what is wrong is noted in `files`.
    pub(super) fn compile(text: &str, at: &At, files: &mut Files) -> Option<Self> {
        let mut wrong = |message: &str, hint: &str| {
            files.wrong(at, format!("`when`: {message}"), hint);
            None
        };
        if text.len() > MAX_BYTES {
            let message = format!("an expression of more than {MAX_BYTES} bytes");
            return wrong(&message, "make several rules of it");
        }
        let program = match Program::compile(text) {
            Ok(program) => program,
            Err(errors) => {
                let first = errors.errors.first();
                let (line, column) = first.map_or((1, 1), |error| error.pos);
                let told = first.map_or("not an expression", |error| error.msg.as_str());
                let told: String =
                    told.lines().next().unwrap_or_default().chars().take(200).collect();
                let hint = format!("at line {line}, column {column} of the expression");
                return wrong(&told, &hint);
            }
        };
        let expression = program.expression().clone();
        match checking::check(&expression) {
            Ok(mut found) => {
                let patterns = Arc::new(std::mem::take(&mut found.patterns));
                Some(Self { text: text.to_owned(), expression, found, patterns })
            }
            Err((message, hint)) => wrong(&message, &hint),
        }
    }

    pub(super) fn holds(&self, scene: &Scene) -> Result<bool, String> {
        scene.evaluate(&self.expression, &self.found, &self.patterns)
    }

    /// As the rule says it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The arguments that it names.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.found.arguments.iter().map(String::as_str)
    }

    /// What in it can never go together, by the types of these arguments; and a hint.
    pub(super) fn fault(&self, of: &Parameters<'_>) -> Option<Fault> {
        of.fault(&self.expression)
    }

    /// What it refers to, with what the call has there.
    pub(super) fn values(&self, scene: &Scene) -> Vec<String> {
        let one =
            |(text, reference): &(String, IdedExpr)| format!("{text} = {}", scene.shown(reference));
        self.found.references.iter().map(one).collect()
    }
}
