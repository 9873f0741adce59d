//! Lines of which the terminal shows a window, and how many of them were ever in it.

use super::keys::Act;
use super::text::PageLine;

/// Lines of which a window is shown.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) lines: Vec<PageLine>,
    pub(super) top: usize,
    /// How many lines from the first on have been in the window.
    seen: usize,
}

impl Page {
    pub(super) fn new(lines: Vec<PageLine>, height: usize) -> Self {
        let mut page = Self { lines, top: 0, seen: 0 };
        page.look(height);
        page
    }

    /// How many lines have never been shown.
    pub(super) fn unseen(&self) -> usize {
        self.lines.len().saturating_sub(self.seen)
    }

    /// A page with nothing on it: whatever comes is new.
    pub(super) const fn empty() -> Self {
        Self { lines: Vec::new(), top: 0, seen: 0 }
    }

    /// Puts other lines in, at about the same place. What was seen counts on only if it was everything.
    pub(super) fn replace(&mut self, lines: Vec<PageLine>, height: usize) {
        let all = self.unseen() == 0 && !self.lines.is_empty();
        let place = self.top * lines.len() / self.lines.len().max(1);
        self.lines = lines;
        self.seen = if all { self.lines.len() } else { 0 };
        self.top = place.min(self.lines.len().saturating_sub(height));
        self.look(height);
    }

    /// Scrolls if `act` asks for it.
    pub(super) fn scroll(&mut self, act: Act, height: usize) -> bool {
        let last = self.lines.len().saturating_sub(height);
        let page = height.saturating_sub(1).max(1);
        let to = match act {
            Act::Down => self.top + 1,
            Act::Up => self.top.saturating_sub(1),
            Act::PageDown => self.top + page,
            Act::PageUp => self.top.saturating_sub(page),
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
            | Act::Interrupt => return false,
        };
        self.top = to.min(last);
        self.look(height);
        true
    }

    /// All lines as text.
    pub(super) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| match line {
            PageLine::Still(line) => line.to_string(),
            PageLine::Clock => String::new(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn look(&mut self, height: usize) {
        self.seen = self.seen.max(self.top + height).min(self.lines.len());
    }
}
