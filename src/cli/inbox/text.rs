//! Text for a terminal: measured, cut and wrapped by columns, and one hold as lines.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::edit::Difference;
use crate::api::HoldView;
use crate::cli::approvals::amended;
use crate::cli::output::{is_hidden, second, visible, visible_lines};
use crate::hold::{Decision, StateName};
use crate::json::Object;

/// How many columns the names of what is shown take.
const LABEL: usize = 12;

/// How things stand out; without colour, by weight and reversal alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether colours may be used (`NO_COLOR` is not set).
    pub(super) colour: bool,
}

impl Theme {
    /// What warns.
    pub(super) fn badge(self) -> Style {
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        if self.colour { style.fg(Color::Red) } else { style }
    }

    /// The name of what stands beside it.
    pub(super) fn label(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colour { style.fg(Color::Cyan) } else { style }
    }
}

/// One line of a page.
#[derive(Clone, Debug)]
pub(super) enum PageLine {
    /// A line that stays as it is.
    Still(Line<'static>),
    /// How long people still have to decide.
    Clock,
}

/// How many columns `text` takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of `text` that fits into `columns`, with a mark where it was cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut cut = wrap(text, columns.saturating_sub(1)).into_iter().next().unwrap_or_default();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The end of `text` that fits into `columns`.
pub(super) fn tail(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = text.chars().rev().take_while(|c| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    });
    let mut end: Vec<char> = fits.collect();
    end.reverse();
    end.into_iter().collect()
}

/// All of `text` in lines of at most `columns`; nothing is dropped.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for part in text.split('\n') {
        let (mut line, mut used) = (String::new(), 0);
        for c in part.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
        lines.push(line);
    }
    lines
}

/// Whether a text in `value` has characters that a reader does not see as they are; the line break and the
/// tabulator are not among them.
pub(super) fn hides(value: &Value) -> bool {
    match value {
        Value::String(text) => hides_in(text),
        Value::Array(items) => items.iter().any(hides),
        Value::Object(object) => object.iter().any(|(key, value)| hides_in(key) || hides(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn hides_in(text: &str) -> bool {
    text.chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// Whether any of `arguments` has hidden characters.
pub(super) fn any_hides(arguments: &Object) -> bool {
    arguments.iter().any(|(key, value)| hides_in(key) || hides(value))
}

/// JSON for people, every hidden character escaped, at full length.
fn pretty(object: &Object) -> String {
    visible_lines(&serde_json::to_string_pretty(object).unwrap_or_default())
}

/// Lines under construction.
struct Lines {
    theme: Theme,
    columns: usize,
    lines: Vec<PageLine>,
}

impl Lines {
    fn new(theme: Theme, columns: usize) -> Self {
        Self { theme, columns, lines: Vec::new() }
    }

    /// A named text; what comes from outside is made visible here.
    fn named(&mut self, label: &str, text: &str) {
        let text = visible(text);
        let room = self.columns.saturating_sub(LABEL);
        if room < 20 {
            self.block(label, &text);
            return;
        }
        for (number, part) in wrap(&text, room).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            self.push(Line::from(vec![
                Span::styled(format!("{label:LABEL$}"), self.theme.label()),
                Span::raw(part),
            ]));
        }
    }

    /// A heading, and under it text that is visible already, from the first column on.
    fn block(&mut self, label: &str, text: &str) {
        for part in wrap(label, self.columns) {
            self.push(Line::styled(part, self.theme.label()));
        }
        self.plain(text);
    }

    fn plain(&mut self, text: &str) {
        for part in wrap(text, self.columns) {
            self.push(Line::raw(part));
        }
    }

    fn badge(&mut self, text: &str) {
        for part in wrap(text, self.columns) {
            self.push(Line::styled(part, self.theme.badge()));
        }
    }

    fn push(&mut self, line: Line<'static>) {
        self.lines.push(PageLine::Still(line));
    }
}

/// A whole hold: who, what, the exact arguments, edits, why, clocks, digest.
pub(super) fn hold(hold: &HoldView, theme: Theme, columns: usize) -> Vec<PageLine> {
    let mut lines = Lines::new(theme, columns);
    let owner = hold.owner.as_deref().unwrap_or("nobody known");
    lines.named("owner", owner);
    if let Some(via) = &hold.via {
        lines.named("via", via.agent.as_str());
    }
    lines.named("agent", hold.agent.as_str());
    lines.named("client", hold.client.as_deref().unwrap_or("unknown"));
    lines.named("tool", &hold.tool);
    if any_hides(&hold.arguments) || any_hides(&hold.requested_arguments) {
        lines.badge("hidden characters in the arguments, shown as \\u…");
    }
    lines.block("arguments that will run", &pretty(&hold.arguments));
    for edit in &hold.edits {
        let from = edit.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let edited = format!(
            "{}: asked for {from}, will be {} (rule `{}`, {})",
            edit.pointer, edit.to, edit.rule, edit.constraint
        );
        lines.named("edited", &edited);
    }
    for it in &hold.amendments {
        lines.named("changed", &amended(it));
    }
    if hold.arguments != hold.requested_arguments {
        lines.block("arguments as asked", &pretty(&hold.requested_arguments));
    }
    lines.named("rules", &hold.rules.join(", "));
    lines.named("why held", &hold.reason);
    if let Some(reason) = &hold.agent_reason {
        lines.named("agent says", &format!("{reason} (its own words, unverified)"));
    }
    lines.named("needs", &hold.needs);
    if let Some(before) = hold.anew_of {
        lines.named("anew of", &format!("{before}, which is no longer what was approved"));
    }
    if hold.state == StateName::Pending {
        lines.lines.push(PageLine::Clock);
        lines.named("until", &second(hold.decide_by));
    }
    if let Some(extended) = &hold.extended {
        lines.named("extended", &format!("was {}: {}", second(extended.before), extended.why));
    }
    lines.named("asked", &second(hold.created_at));
    if hold.identical > 1 {
        let others =
            format!("{} held calls are identical; a verdict is for this one", hold.identical);
        lines.named("identical", &others);
    }
    state(&mut lines, hold);
    lines.named("digest", &hold.digest.to_string());
    lines.named("hold", &hold.id.to_string());
    lines.lines
}

/// Where a hold stands, and who said what about it.
fn state(lines: &mut Lines, hold: &HoldView) {
    lines.named("state", hold.state.as_str());
    for verdict in &hold.verdicts {
        let what = match verdict.decision {
            Decision::Approve => "approved",
            Decision::Reject => "rejected",
        };
        let reason = verdict.reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        let signed =
            verdict.signature.as_ref().map(|it| format!(", {}", it.told())).unwrap_or_default();
        let at = second(verdict.at);
        lines.named(what, &format!("by {} at {at}{signed}{reason}", verdict.person.name));
    }
    if let Some(why) = &hold.why {
        lines.named("why ended", why);
    }
    if let Some(anew) = hold.anew {
        lines.named("held anew", &format!("as {anew}"));
    }
    if let Some(outcome) = &hold.outcome {
        let error = outcome.error.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        lines.named("outcome", &format!("{}{error}", outcome.status.as_str()));
    }
    if let Some(result) = &hold.result {
        lines.named("result", result.get());
    }
}

/// What a person's edit changes, and what would run then.
pub(super) fn edited(
    new: &Object,
    differences: &[Difference],
    theme: Theme,
    columns: usize,
) -> Vec<PageLine> {
    let mut lines = Lines::new(theme, columns);
    if any_hides(new) {
        lines.badge("hidden characters in the arguments, shown as \\u…");
    }
    lines.block("your edit changes", "");
    let shown = |value: &Option<Value>| {
        let text = value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        visible(&text)
    };
    for difference in differences {
        lines.plain(&visible(&difference.pointer));
        lines.plain(&format!("  - {}", shown(&difference.from)));
        lines.plain(&format!("  + {}", shown(&difference.to)));
    }
    lines.block("arguments that would run", &pretty(new));
    lines.lines
}

/// A text that was written for people, wrapped.
pub(super) fn prose(text: &str, theme: Theme, columns: usize) -> Vec<PageLine> {
    let mut lines = Lines::new(theme, columns);
    lines.plain(text);
    lines.lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_by_columns_and_drops_nothing() {
        for text in
            ["", "abc", "日本語のテキスト", "e\u{301}e\u{301}e\u{301}", "a\nbb\n\nccc", "🙂🙂🙂"]
        {
            for columns in 0..9 {
                let lines = wrap(text, columns);
                assert_eq!(lines.concat(), text.replace('\n', ""), "{text} in {columns}");
                assert!(lines.iter().all(|line| line.width() <= columns.max(2)), "{lines:?}");
            }
        }
    }

    #[test]
    fn cuts_with_a_mark() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("日本", 3), "本");
    }

    #[test]
    fn knows_what_hides() {
        assert!(!hides(&serde_json::json!({ "größe": ["a\n\tb", 1, null, "مرحبا"] })));
        for text in ["\u{202e}", "\u{1b}[31m", "\u{e0041}", "\u{200b}", "\r"] {
            assert!(hides(&serde_json::json!([{ "a": text }])), "{text:?}");
            assert!(hides(&serde_json::json!({ text: 1 })), "{text:?}");
        }
    }
}
