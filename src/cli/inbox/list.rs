//! The list of what is pending: one row for each set of identical holds, the oldest first.

use std::collections::HashMap;

use jiff::Timestamp;

use super::keys::Act;
use super::text::any_hides;
use crate::api::HoldView;
use crate::cli::output::visible;
use crate::digest::Digest;
use crate::hold::StateName;
use crate::ids::HoldId;

/// How many holds are listed.
pub(super) const MAX_ROWS: usize = 1000;
/// How much of the arguments a row keeps, in characters.
const SHORT: usize = 200;

/// What a row shows of its oldest hold.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: HoldId,
    pub(super) digest: Digest,
    pub(super) agent: String,
    pub(super) tool: String,
    pub(super) arguments: String,
    pub(super) hidden: bool,
    pub(super) identical: u32,
    pub(super) decide_by: Timestamp,
}

/// The pending holds and which of them is selected.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    pub(super) at: usize,
    /// Whether the gateway has been heard, and all it has is here.
    pub(super) complete: bool,
    pub(super) heard: bool,
    /// Each pending hold by its id and digest.
    known: Vec<(HoldId, Digest)>,
}

impl List {
    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.at)
    }

    /// Whether this hold is pending with this digest.
    pub(super) fn has(&self, id: HoldId, digest: &Digest) -> bool {
        self.known.iter().any(|known| known.0 == id && known.1 == *digest)
    }

    /// How many holds wait, identical ones counted each.
    pub(super) fn count(&self) -> u64 {
        self.rows.iter().map(|row| u64::from(row.identical)).sum()
    }

    pub(super) fn go(&mut self, act: Act, height: usize) {
        let last = self.rows.len().saturating_sub(1);
        let to = match act {
            Act::Down => self.at + 1,
            Act::Up => self.at.saturating_sub(1),
            Act::PageDown => self.at + height,
            Act::PageUp => self.at.saturating_sub(height),
            Act::Top => 0,
            Act::Bottom => last,
            Act::Open
            | Act::Approve
            | Act::Yes
            | Act::Reject
            | Act::Edit
            | Act::Help
            | Act::Back
            | Act::Quit
            | Act::Interrupt => self.at,
        };
        self.at = to.min(last);
    }

    /// Takes what the gateway listed, and keeps the selection on the same call.
    pub(super) fn replace(&mut self, holds: &[HoldView]) {
        let old = std::mem::take(&mut self.rows);
        let selected = old.get(self.at).map(|row| (row.id, row.digest));
        let before: HashMap<HoldId, &Row> = old.iter().map(|row| (row.id, row)).collect();
        let mut sorted: Vec<&HoldView> = holds.iter().take(MAX_ROWS).collect();
        sorted.sort_by_key(|hold| (hold.created_at, hold.id.to_string()));
        // Each call's row, how many holds of it are listed, and how many the gateway counts.
        let mut sets: HashMap<Digest, (usize, u32, u32)> = HashMap::new();
        for hold in &sorted {
            let set = sets.entry(hold.digest).or_insert((self.rows.len(), 0, 0));
            if set.1 == 0 {
                let known = before.get(&hold.id).filter(|row| row.digest == hold.digest);
                self.rows.push(row(hold, known.copied()));
            }
            *set = (set.0, set.1.saturating_add(1), set.2.max(hold.identical));
            if let Some(row) = self.rows.get_mut(set.0) {
                row.identical = set.1.max(set.2);
                row.decide_by = row.decide_by.min(hold.decide_by);
            }
        }
        self.known = sorted.iter().map(|hold| (hold.id, hold.digest)).collect();
        self.heard = true;
        self.complete = holds.len() < MAX_ROWS;
        let again = selected.and_then(|(id, digest)| {
            let by_id = self.rows.iter().position(|row| row.id == id);
            by_id.or_else(|| self.rows.iter().position(|row| row.digest == digest))
        });
        self.at = again.unwrap_or(self.at).min(self.rows.len().saturating_sub(1));
    }

    /// A hold was decided: it leaves its row at once.
    pub(super) fn decided(&mut self, hold: &HoldView) {
        if hold.state == StateName::Pending {
            return;
        }
        self.known.retain(|known| known.0 != hold.id);
        self.rows.retain(|row| row.id != hold.id || row.identical > 1);
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }
}

/// A row of one hold; `known` is the same row from before, whose arguments need not be read again.
fn row(hold: &HoldView, known: Option<&Row>) -> Row {
    let (arguments, hidden) = match known {
        Some(known) => (known.arguments.clone(), known.hidden),
        None => {
            let json = serde_json::to_string(&hold.arguments).unwrap_or_default();
            let short: String = json.chars().take(SHORT).collect();
            let cut = if short.len() < json.len() { "…" } else { "" };
            (format!("{}{cut}", visible(&short)), any_hides(&hold.arguments))
        }
    };
    Row {
        id: hold.id,
        digest: hold.digest,
        agent: visible(hold.agent.as_str()),
        tool: visible(&hold.tool),
        arguments,
        hidden,
        identical: 1,
        decide_by: hold.decide_by,
    }
}
