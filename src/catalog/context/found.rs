//! Finds what a server says of a resource or prompt that a manifest lists.

use super::{Described, Offer, Remote, UriTemplate};
use crate::catalog::offered::Offered;
use crate::catalog::pins::{Changed, DefinitionKind};
use crate::catalog::{Binding, Tool};

/// What a server says of an item, or that it waits for an operator.
pub(super) enum Found<'o> {
    Said(&'o Described),
    Waits(&'o Changed),
}

/// What it says of a resource, or of a template of resources.
///
/// # Errors
/// When it offers none such.
pub(super) fn resource<'o>(
    offered: &'o Offered,
    template: &UriTemplate,
    is_template: bool,
) -> Result<Found<'o>, String> {
    let text = template.text();
    let templates = offered.templates.as_ref().map_err(Clone::clone);
    if is_template {
        if let Some(changed) = offered.quarantined(DefinitionKind::Template, text) {
            return Ok(Found::Waits(changed));
        }
        let found = templates?.iter().find(|it| it.key == text);
        return found
            .map(Found::Said)
            .ok_or_else(|| format!("its server offers no resource template `{text}`"));
    }
    if let Some(changed) = offered.quarantined(DefinitionKind::Resource, text) {
        return Ok(Found::Waits(changed));
    }
    let resources = offered.resources.as_ref().map_err(Clone::clone)?;
    let fits =
        |key: &str| UriTemplate::parse(key).is_ok_and(|template| template.values(text).is_some());
    if let Some(said) = resources.iter().find(|it| it.key == text) {
        return Ok(Found::Said(said));
    }
    // Of a template that waits, every resource that it stands for does too.
    let mut waiting = offered.quarantined.iter();
    let of_template =
        |it: &&Changed| it.now.key.of == DefinitionKind::Template && fits(&it.now.key.name);
    if let Some(changed) = waiting.find(of_template) {
        return Ok(Found::Waits(changed));
    }
    templates
        .ok()
        .and_then(|templates| templates.iter().find(|it| fits(&it.key)))
        .map(Found::Said)
        .ok_or_else(|| format!("its server offers no resource `{text}`"))
}

impl Offered {
    /// What waits for an operator and keeps `tool` from being had: its own definition, or that of the template
    /// that stands for a resource.
    #[must_use]
    pub fn waiting(&self, tool: &Tool) -> Option<&Changed> {
        let found = match (tool.binding(), tool.offer()) {
            (Binding::Mcp(Remote::Tool { from }), _) => {
                return self.quarantined(DefinitionKind::Tool, from);
            }
            (Binding::Mcp(Remote::Prompt { from }), _) => prompt(self, from),
            (Binding::Mcp(Remote::Resource(template)), offer) => {
                resource(self, template, matches!(offer, Offer::Template(_)))
            }
            (Binding::Mcp(Remote::TemplateCompletion(_) | Remote::PromptCompletion { .. }), _)
            | (Binding::Command { .. }, _) => return None,
        };
        match found {
            Ok(Found::Waits(changed)) => Some(changed),
            Ok(Found::Said(_)) | Err(_) => None,
        }
    }
}

/// What it says of a prompt.
///
/// # Errors
/// When it offers none such.
pub(super) fn prompt<'o>(offered: &'o Offered, from: &str) -> Result<Found<'o>, String> {
    let prompts = offered.prompts.as_ref().map_err(Clone::clone)?;
    if let Some(changed) = offered.quarantined(DefinitionKind::Prompt, from) {
        return Ok(Found::Waits(changed));
    }
    let found = prompts.iter().find(|it| it.key == from);
    found.map(Found::Said).ok_or_else(|| format!("its server offers no prompt `{from}`"))
}
