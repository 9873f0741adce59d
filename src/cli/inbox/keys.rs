//! What keys mean, and a line of text that a person types.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The longest reason, in characters; the gateway takes no longer one.
const MAX_REASON: usize = 2000;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    Open,
    Approve,
    Yes,
    Reject,
    Edit,
    Help,
    Back,
    Quit,
    Interrupt,
}

const KEYS: [(KeyCode, Act); 20] = [
    (KeyCode::Char('j'), Act::Down),
    (KeyCode::Down, Act::Down),
    (KeyCode::Char('k'), Act::Up),
    (KeyCode::Up, Act::Up),
    (KeyCode::PageDown, Act::PageDown),
    (KeyCode::Char(' '), Act::PageDown),
    (KeyCode::PageUp, Act::PageUp),
    (KeyCode::Char('g'), Act::Top),
    (KeyCode::Home, Act::Top),
    (KeyCode::Char('G'), Act::Bottom),
    (KeyCode::End, Act::Bottom),
    (KeyCode::Enter, Act::Open),
    (KeyCode::Char('a'), Act::Approve),
    (KeyCode::Char('y'), Act::Yes),
    (KeyCode::Char('r'), Act::Reject),
    (KeyCode::Char('e'), Act::Edit),
    (KeyCode::Char('?'), Act::Help),
    (KeyCode::F(1), Act::Help),
    (KeyCode::Esc, Act::Back),
    (KeyCode::Char('q'), Act::Quit),
];

/// The explanation behind `?`.
pub(super) const HELP: &str = "\
j k, arrows      move, or scroll
PageDown Space   a page on; PageUp a page back
g G              first, last (also Home, End)
Enter            show the whole held call
a                approve: shows the whole call first; a again, or y, approves it
r                reject, with a reason that the agent is told
e                edit the arguments in $VISUAL or $EDITOR, look at what changed, then approve
Esc q            back; q in the list leaves
Ctrl-C           leave from anywhere

A verdict counts for exactly the call that was shown. A call cannot be approved before its
last line was on the screen, and a key that is held down approves nothing.
×N in the list: N held calls are identical; each is decided for itself.";

fn is_press(key: &KeyEvent) -> bool {
    key.kind != KeyEventKind::Release
}

/// What a key asks for, if anything.
pub(super) fn act(key: &KeyEvent) -> Option<Act> {
    if !is_press(key) || key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER) {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Act::Interrupt);
    }
    KEYS.iter().find(|(code, _)| *code == key.code).map(|(_, act)| *act)
}

/// A line that a person types; its cursor stands at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    text: String,
}

/// What a key did to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// The line goes on.
    More,
    /// The line is complete.
    Done,
    /// The person does not want it.
    Dropped,
}

impl Entry {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds typed or pasted text; line breaks become spaces and other control characters are left out.
    pub(super) fn add(&mut self, text: &str) {
        let mut left = MAX_REASON.saturating_sub(self.text.chars().count());
        let mut last = '\0';
        for c in text.chars() {
            let line_break = matches!(c, '\r' | '\n' | '\t');
            let doubled = c == '\n' && last == '\r';
            last = c;
            if left == 0 || doubled || (c.is_control() && !line_break) {
                continue;
            }
            self.text.push(if line_break { ' ' } else { c });
            left -= 1;
        }
    }

    pub(super) fn key(&mut self, key: &KeyEvent) -> Entered {
        if !is_press(key) {
            return Entered::More;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Enter {
            return Entered::Done;
        }
        if key.code == KeyCode::Esc {
            return Entered::Dropped;
        }
        if key.code == KeyCode::Backspace {
            self.text.pop();
        } else if control && key.code == KeyCode::Char('u') {
            self.text.clear();
        } else if control && key.code == KeyCode::Char('w') {
            let kept = self.text.trim_end().rfind(' ').map_or(0, |space| space + 1);
            self.text.truncate(kept);
        } else if let KeyCode::Char(c) = key.code
            && !control
        {
            self.add(c.encode_utf8(&mut [0; 4]));
        }
        Entered::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn a_letter_with_control_or_alt_is_another_key() {
        assert_eq!(act(&press(KeyCode::Char('a'))), Some(Act::Approve));
        for modifiers in [KeyModifiers::CONTROL, KeyModifiers::ALT] {
            assert_eq!(act(&KeyEvent::new(KeyCode::Char('a'), modifiers)), None);
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(act(&interrupt), Some(Act::Interrupt));
    }

    #[test]
    fn a_line_is_typed_pasted_and_corrected() {
        let mut entry = Entry::default();
        for c in "größe q a".chars() {
            assert_eq!(entry.key(&press(KeyCode::Char(c))), Entered::More);
        }
        entry.add("\r\npaste\td \u{1b}[31mred\n");
        assert_eq!(entry.text(), "größe q a paste d [31mred ");
        entry.key(&press(KeyCode::Backspace));
        entry.key(&KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(entry.text(), "größe q a paste d ");
        entry.key(&KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        entry.add(&"日".repeat(3000));
        assert_eq!(entry.text().chars().count(), 2000);
        assert_eq!(entry.key(&press(KeyCode::Enter)), Entered::Done);
        assert_eq!(entry.key(&press(KeyCode::Esc)), Entered::Dropped);
    }
}
