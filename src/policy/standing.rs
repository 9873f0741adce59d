//! Whether a standing approval covers a call: its bounds are constraints that the call must keep to as it
//! is.

use super::applying::{self, Part};
use super::binding::{self, Binding};
use super::constraints::{Bounds, Constraint, Demand};
use crate::catalog::Tool;
use crate::hold::Standing;
use crate::json::Object;

/// How bounds are called in messages.
const NAME: &str = "standing approval";

/// Reads the bounds of a standing approval and binds them to the tool.
///
/// # Errors
/// In words, when one is no bound or binds to no parameter of the tool.
pub fn check_bounds(bounds: &Object, tool: &Tool) -> Result<(), String> {
    read(bounds, tool).map(drop)
}

/// Whether these final arguments keep to the bounds as they are.
#[must_use]
pub fn within(bounds: &Object, tool: &Tool, arguments: &Object) -> bool {
    let Ok((constraints, binding)) = read(bounds, tool) else { return false };
    let Binding::Bound(bound) = &binding else { return constraints.is_empty() };
    let parts: Vec<Part<'_>> = bound
        .iter()
        .filter_map(|bound| {
            let constraint = constraints.get(bound.constraint)?;
            let Demand::Parameter { bounds, .. } = &constraint.demand else { return None };
            let constraint = &constraint.name;
            Some(Part { rule: NAME, constraint, bounds, target: &bound.target })
        })
        .collect();
    let mut edited = arguments.clone();
    applying::apply(&parts, &mut edited).is_ok_and(|edits| edits.is_empty())
}

/// The first of `standing` that covers a call of `tool` with these final arguments, which the rules
/// `asking` would hold.
pub(super) fn covering<'s>(
    standing: &'s [Standing],
    tool: &Tool,
    arguments: &Object,
    asking: &[String],
) -> Option<&'s Standing> {
    standing.iter().find(|it| {
        it.tool == tool.name()
            && it.definition_fingerprint == *tool.fingerprint()
            && asking.iter().all(|rule| it.waives.contains(rule))
            && within(&it.bounds, tool, arguments)
    })
}

fn read(bounds: &Object, tool: &Tool) -> Result<(Vec<Constraint>, Binding), String> {
    let mut constraints = Vec::with_capacity(bounds.len());
    for (name, value) in bounds {
        let constraint = Constraint::parse(name, value)
            .map_err(|(message, hint)| format!("{message}; {hint}"))?;
        match &constraint.demand {
            Demand::Parameter {
                bounds: Bounds::Max(_) | Bounds::Min(_) | Bounds::Allowed(_) | Bounds::Denied(_),
                ..
            } => constraints.push(constraint),
            Demand::Parameter { bounds: Bounds::Set(_), .. }
            | Demand::Timeout(_)
            | Demand::MaxResultBytes(_)
            | Demand::Redact(_)
            | Demand::DryRun => {
                let hint = "bounds are max_P, min_P, allowed_P and denied_P";
                return Err(format!("`{name}` bounds no parameter; {hint}"));
            }
        }
    }
    let binding = binding::bind(NAME, &constraints, tool).map_err(|found| {
        let all: Vec<String> =
            found.into_iter().map(|it| format!("{}; {}", it.message, it.hint)).collect();
        all.join("; ")
    })?;
    match binding {
        Binding::Unknown { .. } => {
            Err(format!("the parameters of `{}` are not known", tool.name()))
        }
        Binding::Bound(_) => Ok((constraints, binding)),
    }
}
