//! The inbox drawn: a pure function of the model and the time.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::detail::{Asked, Detail, Doing};
use super::list::Row;
use super::model::{Model, Screen};
use super::page::Page;
use super::text::{PageLine, cut, tail, width};
use crate::cli::output::visible;

/// The widest column of agents, in columns of the terminal.
const MAX_AGENT: usize = 16;
/// The widest column of tools.
const MAX_TOOL: usize = 24;
/// The column of clocks.
const CLOCK: usize = 8;
/// Below this many columns a row shows no arguments.
const NARROW: usize = 50;

/// Draws everything that the person sees at `now`.
pub(super) fn draw(model: &Model, now: Timestamp, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut canvas = Canvas { frame, area };
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let title = format!("{:1$}", title(model, now), canvas.columns());
    canvas.line(0, Line::styled(cut(&title, canvas.columns()), reversed));
    let height = model.height();
    match (&model.help, &model.screen) {
        (Some(page), _) => canvas.page(page, height, ""),
        (None, Screen::List) => list(model, now, &mut canvas),
        (None, Screen::Opening(..)) => canvas.line(1, Line::raw("asking the gateway…")),
        (None, Screen::Detail(detail)) => {
            canvas.page(&detail.page, height, &left(detail.hold.decide_by, now));
        }
    }
    foot(model, &mut canvas);
}

/// A screen that nothing is drawn outside of.
struct Canvas<'a, 'b> {
    frame: &'a mut Frame<'b>,
    area: Rect,
}

impl Canvas<'_, '_> {
    fn columns(&self) -> usize {
        usize::from(self.area.width)
    }

    fn line(&mut self, y: u16, line: Line<'_>) {
        let place = Rect { x: 0, y, width: self.area.width, height: 1 }.intersection(self.area);
        if !place.is_empty() {
            self.frame.render_widget(line, place);
        }
    }

    fn page(&mut self, page: &Page, height: usize, clock: &str) {
        for (y, line) in (1_u16..).zip(page.lines.iter().skip(page.top).take(height)) {
            match line {
                PageLine::Still(line) => self.line(y, line.clone()),
                PageLine::Clock => self.line(y, Line::raw(format!("decide      {clock}"))),
            }
        }
    }
}

fn title(model: &Model, now: Timestamp) -> String {
    match &model.screen {
        Screen::Detail(detail) => {
            let hold = &detail.hold;
            let edited = if detail.edit.is_some() { " (your edit)" } else { "" };
            let clock = left(hold.decide_by, now);
            visible(&format!("{} → {}{edited} · decide {clock}", hold.agent, hold.tool))
        }
        Screen::List | Screen::Opening(..) => {
            let more = if model.list.complete || !model.list.heard { "" } else { " or more" };
            match model.list.count() {
                1 => "countersign · 1 held call waits".to_owned(),
                count => format!("countersign · {count}{more} held calls wait"),
            }
        }
    }
}

fn list(model: &Model, now: Timestamp, canvas: &mut Canvas<'_, '_>) {
    let height = model.height();
    if model.list.rows.is_empty() {
        let told =
            if model.list.heard { "nothing waits for a person" } else { "asking the gateway…" };
        canvas.line(1, Line::raw(told));
    }
    let followed: Vec<&str> = model.followed.iter().map(|it| it.text.as_str()).collect();
    let followed = if height > followed.len() + 5 { followed } else { Vec::new() };
    let room = height - followed.len();
    let top = (model.list.at + 1).saturating_sub(room);
    let columns = Columns::of(&model.list.rows, canvas.columns());
    let shown = model.list.rows.iter().enumerate().skip(top).take(room);
    for (y, (index, row)) in (1_u16..).zip(shown) {
        canvas.line(y, columns.line(row, index == model.list.at, model, now));
    }
    let below = u16::try_from(room + 1).unwrap_or(u16::MAX);
    for (y, text) in (below..).zip(followed.iter().rev()) {
        canvas.line(y, Line::raw(cut(text, canvas.columns())));
    }
}

/// How wide the columns of the list are.
struct Columns {
    agent: usize,
    tool: usize,
    arguments: usize,
}

impl Columns {
    fn of(rows: &[Row], columns: usize) -> Self {
        let widest = |of: fn(&Row) -> &str, max: usize| {
            rows.iter().map(|row| width(of(row))).max().unwrap_or(0).min(max)
        };
        let most = if columns < NARROW { columns / 3 } else { columns / 4 };
        let agent = widest(|row| &row.agent, MAX_AGENT.min(most));
        let tool = widest(|row| &row.tool, MAX_TOOL.min(most));
        let arguments = columns.saturating_sub(agent + tool + CLOCK + 5);
        Self { agent, tool, arguments: if columns < NARROW { 0 } else { arguments } }
    }

    fn line(&self, row: &Row, selected: bool, model: &Model, now: Timestamp) -> Line<'static> {
        let mark = if selected { "> " } else { "  " };
        let mut spans = vec![
            Span::raw(mark),
            Span::raw(format!("{} ", fit(&row.agent, self.agent))),
            Span::raw(format!("{} ", fit(&row.tool, self.tool))),
        ];
        let mut left_over = self.arguments;
        if row.identical > 1 {
            let times = format!("×{} ", row.identical);
            left_over = left_over.saturating_sub(width(&times));
            spans.push(Span::styled(times, Style::new().add_modifier(Modifier::BOLD)));
        }
        if row.hidden {
            let badge = "hidden characters";
            left_over = left_over.saturating_sub(badge.len() + 1);
            spans.push(Span::styled(badge, model.theme.badge()));
            spans.push(Span::raw(" "));
        }
        if left_over > 0 {
            spans.push(Span::raw(format!("{} ", fit(&row.arguments, left_over))));
        }
        spans.push(Span::raw(brief(row.decide_by, now)));
        let line = Line::from(spans);
        if selected { line.style(Style::new().add_modifier(Modifier::BOLD)) } else { line }
    }
}

/// `text` in exactly `columns`.
fn fit(text: &str, columns: usize) -> String {
    let mut text = cut(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

fn foot(model: &Model, canvas: &mut Canvas<'_, '_>) {
    let lines = canvas.area.height;
    let room = canvas.columns();
    if lines >= 3 {
        let silent = model.silent.as_deref().map(|why| format!("gateway does not answer: {why}"));
        let note = silent.as_deref().or(model.note.as_deref()).unwrap_or_default();
        canvas.line(lines - 2, Line::styled(cut(note, room), model.theme.label()));
    }
    if lines < 2 {
        return;
    }
    let y = lines - 1;
    if let (Screen::Detail(detail), None) = (&model.screen, &model.help)
        && let Doing::Reasoning(entry) = &detail.doing
    {
        let prompt = if room < 40 { "reason: " } else { "reject; reason for the agent: " };
        let typed = tail(&visible(entry.text()), room.saturating_sub(prompt.len() + 1));
        let cursor = u16::try_from(prompt.len() + width(&typed)).unwrap_or(u16::MAX);
        canvas.line(y, Line::raw(format!("{prompt}{typed}")));
        let x = cursor.min(canvas.area.width.saturating_sub(1));
        canvas.frame.set_cursor_position(Position { x, y });
        return;
    }
    canvas
        .line(y, Line::styled(cut(&keys(model), room), Style::new().add_modifier(Modifier::BOLD)));
}

/// The keys that mean something now, or the question that is asked.
fn keys(model: &Model) -> String {
    match (&model.help, &model.screen) {
        (Some(_), _) => "j/k scroll  q back".to_owned(),
        (None, Screen::List) => {
            "Enter show  a approve  r reject  e edit  ? help  q quit".to_owned()
        }
        (None, Screen::Opening(..)) => "q back".to_owned(),
        (None, Screen::Detail(detail)) => detail_keys(detail),
    }
}

fn detail_keys(detail: &Detail) -> String {
    let unseen = detail.page.unseen();
    match &detail.doing {
        Doing::Reading if unseen > 0 => {
            format!("{unseen} lines below  j/k PageDown End  a approve  r reject  e edit  q back")
        }
        Doing::Reading => "a approve  r reject  e edit  j/k scroll  q back".to_owned(),
        Doing::Confirming(_) if unseen > 0 => {
            format!("approve? {unseen} lines not shown yet: PageDown or End; Esc no")
        }
        Doing::Confirming(Asked::Armed) if detail.edit.is_some() => {
            "approve this edited call? a or y yes, e edit again, Esc no".to_owned()
        }
        Doing::Confirming(Asked::Armed) => {
            "approve exactly this call? a or y yes, Esc no".to_owned()
        }
        Doing::Confirming(Asked::Now | Asked::Shown(_)) => "approve? …".to_owned(),
        Doing::Broken { .. } => "e edit again  Esc drop the edit".to_owned(),
        Doing::Reasoning(_) | Doing::Sending => "q back".to_owned(),
    }
}

/// How long people still have, to the second.
fn left(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    if seconds <= 0 {
        return "no longer".to_owned();
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours >= 48 {
        format!("within {} d {} h", hours / 24, hours % 24)
    } else if hours > 0 {
        format!("within {hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("within {minutes}:{seconds:02}")
    }
}

/// The same for a row.
fn brief(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    match seconds {
        ..=0 => "over".to_owned(),
        n if n < 3600 => format!("{}:{:02}", n / 60, n % 60),
        n if n < 172_800 => format!("{}h{:02}m", n / 3600, n / 60 % 60),
        n => format!("{}d", n / 86_400),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
