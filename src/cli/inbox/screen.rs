//! The terminal as a full screen, given back as it was found however the inbox ends.

use std::io::{Stdout, stdout};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use ratatui::{Frame, Terminal};

use crate::cli::Failed;

/// The terminal while it is a full screen.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    entered: bool,
}

impl Screen {
    pub(super) fn enter() -> Result<Self, Failed> {
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).map_err(broken)?;
        let mut screen = Self { terminal, entered: false };
        screen.come_back()?;
        Ok(screen)
    }

    /// Takes the terminal, at first or after another program had it.
    pub(super) fn come_back(&mut self) -> Result<(), Failed> {
        self.entered = true;
        enable_raw_mode().map_err(broken)?;
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, Clear(ClearType::All), Hide)
            .map_err(broken)?;
        // Nothing of what was drawn before is there.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout())).map_err(broken)?;
        Ok(())
    }

    /// Gives the terminal back.
    pub(super) fn leave(&mut self) -> Result<(), Failed> {
        self.entered = false;
        let shown = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        // Both are tried, whatever becomes of the first.
        disable_raw_mode().and(shown).map_err(broken)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> Result<(u16, u16), Failed> {
        size().map_err(broken)
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failed> {
        self.terminal.draw(view).map(drop).map_err(broken)
    }

    /// What the terminal sent, if it sends anything within `wait`.
    pub(super) fn event(&self, wait: Duration) -> Result<Option<Event>, Failed> {
        if !event::poll(wait).map_err(broken)? {
            return Ok(None);
        }
        event::read().map(Some).map_err(broken)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.entered {
            // There is nobody left to tell.
            drop(self.leave());
        }
    }
}

fn broken(error: std::io::Error) -> Failed {
    Failed::new(1, format!("the terminal: {error}"))
}
