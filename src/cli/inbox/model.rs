//! The inbox as a state machine: keys and news in, what to show and what to ask out. No I/O, no clock reads.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

use super::detail::{Detail, Doing, Then, Wish};
use super::followed::{Followed, became};
use super::keys::{self, Act, HELP};
use super::list::List;
use super::page::Page;
use super::text::{Theme, prose};
use crate::api::{HoldView, VerdictGiven};
use crate::cli::output::visible;
use crate::hold::{Decision, StateName};
use crate::ids::HoldId;

/// How many decided calls are shown with what became of them.
const FOLLOWED: usize = 3;
/// Lines that are not part of a page: the title, the note, the keys.
const AROUND: u16 = 3;

/// What the gateway is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// The whole hold.
    Show(HoldId),
    /// That this verdict be taken.
    Decide(HoldId, Box<VerdictGiven>),
}

/// What a key asks of the program around the model.
#[derive(Debug)]
pub(super) enum Effect {
    Ask(Ask),
    /// Sign this message, and ask for the verdict with the signature.
    Sign(HoldId, Box<VerdictGiven>, Vec<u8>),
    /// Let the person edit this text.
    Edit(String),
    Quit,
}

/// What comes from the gateway.
#[derive(Debug)]
pub(super) enum News {
    /// What is pending.
    Listed(Vec<HoldView>),
    /// A hold that was asked for.
    Shown(Box<HoldView>),
    /// A hold was decided as asked.
    Decided(Box<HoldView>),
    /// A decided hold, a moment later.
    Followed(Box<HoldView>),
    /// The gateway refused what was asked about a hold.
    Refused { id: HoldId, told: String },
    /// The gateway does not answer.
    Silent(String),
}

/// What the person looks at.
#[derive(Debug)]
pub(super) enum Screen {
    List,
    /// A hold was asked for, to do something with it.
    Opening(HoldId, Then),
    Detail(Box<Detail>),
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) list: List,
    pub(super) screen: Screen,
    pub(super) help: Option<Page>,
    /// What happened last, in words.
    pub(super) note: Option<String>,
    /// Why the gateway cannot be asked at the moment.
    pub(super) silent: Option<String>,
    pub(super) followed: VecDeque<Followed>,
    pub(super) theme: Theme,
    /// Columns and lines of the terminal.
    pub(super) size: (u16, u16),
    /// The name under which verdicts are signed, if they are.
    signs_as: Option<String>,
}

impl Model {
    pub(super) fn new(theme: Theme, size: (u16, u16), signs_as: Option<String>) -> Self {
        Self {
            list: List::default(),
            screen: Screen::List,
            help: None,
            note: None,
            silent: None,
            followed: VecDeque::new(),
            theme,
            size,
            signs_as,
        }
    }

    /// How many lines of a page fit.
    pub(super) fn height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(AROUND)).max(1)
    }

    fn columns(&self) -> usize {
        usize::from(self.size.0)
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: &KeyEvent) -> Option<Effect> {
        if keys::act(key) == Some(Act::Interrupt) {
            return Some(Effect::Quit);
        }
        let height = self.height();
        if let Some(page) = &mut self.help {
            if let Some(act) = keys::act(key)
                && !page.scroll(act, height)
            {
                self.help = None;
            }
            return None;
        }
        if let Screen::Detail(detail) = &mut self.screen
            && let Doing::Reasoning(_) = detail.doing
        {
            let wish = detail.reason_key(key);
            return self.granted(wish);
        }
        let act = keys::act(key)?;
        if act == Act::Help {
            self.help = Some(Page::new(prose(HELP, self.theme, self.columns()), height));
            return None;
        }
        self.act(act)
    }

    fn act(&mut self, act: Act) -> Option<Effect> {
        let height = self.height();
        match &mut self.screen {
            Screen::List => self.list_act(act),
            Screen::Opening(..) => {
                if matches!(act, Act::Back | Act::Quit) {
                    self.screen = Screen::List;
                }
                None
            }
            Screen::Detail(detail) => {
                if detail.page.scroll(act, height) {
                    detail.disarm();
                    return None;
                }
                self.note = None;
                let wish = detail.act(act);
                self.granted(wish)
            }
        }
    }

    fn list_act(&mut self, act: Act) -> Option<Effect> {
        if act == Act::Quit {
            return Some(Effect::Quit);
        }
        let then = match act {
            Act::Open => Then::Read,
            Act::Approve => Then::Confirm,
            Act::Reject => Then::Reason,
            Act::Edit => Then::Edit,
            Act::Down
            | Act::Up
            | Act::PageDown
            | Act::PageUp
            | Act::Top
            | Act::Bottom
            | Act::Yes
            | Act::Help
            | Act::Back
            | Act::Quit
            | Act::Interrupt => {
                self.list.go(act, self.height());
                return None;
            }
        };
        let id = self.list.selected()?.id;
        self.note = None;
        self.screen = Screen::Opening(id, then);
        Some(Effect::Ask(Ask::Show(id)))
    }

    /// Does what the detail view wishes.
    fn granted(&mut self, wish: Wish) -> Option<Effect> {
        match wish {
            Wish::Nothing => None,
            Wish::Leave => {
                self.screen = Screen::List;
                None
            }
            Wish::Say(told) => {
                self.note = Some(told);
                None
            }
            Wish::Edit(text) => Some(Effect::Edit(text)),
            Wish::Decide(id, given) => self.decide(id, given),
        }
    }

    fn decide(&mut self, id: HoldId, given: Box<VerdictGiven>) -> Option<Effect> {
        self.note = Some("sending the verdict…".to_owned());
        let Screen::Detail(detail) = &self.screen else { return None };
        let unsigned = match &self.signs_as {
            Some(name) => match detail.message(&given, name) {
                Ok(message) => return Some(Effect::Sign(id, given, message)),
                Err(error) => error.to_string(),
            },
            None if detail.hold.signature && given.decision == Decision::Approve => {
                "it must be signed: leave, and start with `watch --sign-with KEYFILE`".to_owned()
            }
            None => return Some(Effect::Ask(Ask::Decide(id, given))),
        };
        self.unsigned(&unsigned);
        None
    }

    /// The verdict was not signed, and so not sent.
    pub(super) fn unsigned(&mut self, told: &str) {
        if let Screen::Detail(detail) = &mut self.screen {
            detail.settle();
        }
        self.note = Some(visible(told));
    }

    /// Text was pasted; it is only ever part of a reason.
    pub(super) fn paste(&mut self, text: &str) {
        if let Screen::Detail(detail) = &mut self.screen
            && let Doing::Reasoning(entry) = &mut detail.doing
            && self.help.is_none()
        {
            entry.add(text);
        }
    }

    /// The terminal has another size.
    pub(super) fn resized(&mut self, size: (u16, u16)) {
        self.size = size;
        let (theme, columns, height) = (self.theme, self.columns(), self.height());
        if let Some(page) = &mut self.help {
            page.replace(prose(HELP, theme, columns), height);
        }
        if let Screen::Detail(detail) = &mut self.screen {
            detail.lay_out(theme, columns, height);
        }
    }

    /// What stands here is on the screen at `now`, in monotonic time; says whether it looks different from now on.
    pub(super) fn drawn(&mut self, now: Duration) -> bool {
        match &mut self.screen {
            Screen::Detail(detail) if self.help.is_none() => detail.arm(now),
            Screen::List | Screen::Opening(..) | Screen::Detail(_) => false,
        }
    }

    /// The editor has ended.
    pub(super) fn edited(&mut self, left: Result<String, String>) {
        let (theme, columns, height) = (self.theme, self.columns(), self.height());
        let Screen::Detail(detail) = &mut self.screen else { return };
        self.note = match left {
            Ok(text) => detail.edited(text),
            Err(told) => Some(visible(&told)),
        };
        detail.lay_out(theme, columns, height);
        detail.page.scroll(Act::Top, height);
    }

    /// What was asked cannot be asked now.
    pub(super) fn unasked(&mut self) {
        if let Screen::Detail(detail) = &mut self.screen {
            detail.settle();
        }
        if let Screen::Opening(..) = self.screen {
            self.screen = Screen::List;
        }
        self.note = Some("the gateway is slow to answer; nothing was asked, try again".to_owned());
    }

    /// The gateway said something.
    pub(super) fn see(&mut self, news: News) -> Option<Effect> {
        let speaks = !matches!(news, News::Silent(_) | News::Refused { .. });
        if speaks && self.silent.take().is_some() {
            // What could not be asked then can be asked now.
            self.note = None;
        }
        match news {
            News::Silent(told) => {
                self.silent = Some(visible(&told));
                None
            }
            News::Listed(holds) => {
                self.list.replace(&holds);
                self.reloaded()
            }
            News::Shown(hold) => self.shown(*hold),
            News::Decided(hold) => {
                self.decided(&hold);
                None
            }
            News::Followed(hold) => {
                if let Some(followed) = self.followed.iter_mut().find(|it| it.id == hold.id) {
                    followed.text = became(&hold);
                }
                None
            }
            News::Refused { id, told } => self.refused(id, &told),
        }
    }

    /// A hold that is looked at and no longer listed as it is shown has to be read again.
    fn reloaded(&self) -> Option<Effect> {
        let Screen::Detail(detail) = &self.screen else { return None };
        let stale = detail.hold.state == StateName::Pending
            && self.list.complete
            && !self.list.has(detail.hold.id, &detail.hold.digest);
        stale.then_some(Effect::Ask(Ask::Show(detail.hold.id)))
    }

    fn shown(&mut self, hold: HoldView) -> Option<Effect> {
        let (theme, columns, height) = (self.theme, self.columns(), self.height());
        match &mut self.screen {
            Screen::Opening(id, then) if *id == hold.id => {
                let then = *then;
                let mut detail = Detail::new(hold, theme, columns, height);
                let wish = detail.begin(then);
                self.screen = Screen::Detail(Box::new(detail));
                self.granted(wish)
            }
            Screen::Detail(detail) if detail.hold.id == hold.id => {
                if detail.reload(hold) {
                    detail.lay_out(theme, columns, height);
                }
                None
            }
            Screen::List | Screen::Opening(..) | Screen::Detail(_) => None,
        }
    }

    fn decided(&mut self, hold: &HoldView) {
        self.followed.retain(|it| it.id != hold.id);
        self.followed.push_front(Followed { id: hold.id, text: became(hold) });
        self.followed.truncate(FOLLOWED);
        self.list.decided(hold);
        if self.looks_at(hold.id) {
            self.note = None;
            self.screen = Screen::List;
        }
    }

    fn refused(&mut self, id: HoldId, told: &str) -> Option<Effect> {
        self.note = Some(visible(told));
        match &mut self.screen {
            Screen::Detail(detail) if detail.hold.id == id => {
                let reload = detail.doing.is_sending();
                detail.settle();
                reload.then_some(Effect::Ask(Ask::Show(id)))
            }
            Screen::Opening(opening, _) if *opening == id => {
                self.screen = Screen::List;
                None
            }
            Screen::List | Screen::Opening(..) | Screen::Detail(_) => None,
        }
    }

    fn looks_at(&self, id: HoldId) -> bool {
        match &self.screen {
            Screen::List => false,
            Screen::Opening(opening, _) => *opening == id,
            Screen::Detail(detail) => detail.hold.id == id,
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
