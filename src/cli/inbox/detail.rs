//! One hold on the whole screen, and the way to a verdict on it: nothing is approved that was not shown.

use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;

use super::edit::{self, Difference};
use super::keys::{Act, Entered, Entry};
use super::page::Page;
use super::text::{self, Theme};
use crate::api::{HoldView, VerdictGiven};
use crate::cli::approvals::rendered;
use crate::digest::{NotCanonical, call_digest};
use crate::evidence::signature::Statement;
use crate::hold::{Decision, StateName};
use crate::ids::HoldId;
use crate::json::Object;

/// How long a question must have stood on the screen before it can be answered. A key that is held down
/// repeats about thirty times a second, and each repetition asks anew.
const ARMING: Duration = Duration::from_millis(200);

/// What a hold is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Read,
    Confirm,
    Reason,
    Edit,
}

/// How far a question is from being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is not on the screen.
    Now,
    /// It is, and counts from this moment on, in monotonic time.
    Shown(Duration),
    /// It can be answered.
    Armed,
}

/// What the person is doing with the hold.
#[derive(Debug)]
pub(super) enum Doing {
    Reading,
    /// The question whether to approve is asked.
    Confirming(Asked),
    /// A reason to reject is being typed.
    Reasoning(Entry),
    /// The edited text is not what it must be.
    Broken {
        text: String,
        told: String,
    },
    Sending,
}

impl Doing {
    pub(super) fn is_sending(&self) -> bool {
        matches!(self, Self::Sending)
    }
}

/// What the detail view wants done.
#[derive(Debug)]
pub(super) enum Wish {
    Nothing,
    Leave,
    Say(String),
    Edit(String),
    Decide(HoldId, Box<VerdictGiven>),
}

/// A person's own version of the arguments.
#[derive(Debug)]
pub(super) struct Edited {
    arguments: Object,
    differences: Vec<Difference>,
}

/// One hold on the whole screen.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) hold: HoldView,
    pub(super) page: Page,
    pub(super) doing: Doing,
    pub(super) edit: Option<Edited>,
}

impl Detail {
    pub(super) fn new(hold: HoldView, theme: Theme, columns: usize, height: usize) -> Self {
        let page = Page::new(text::hold(&hold, theme, columns), height);
        Self { hold, page, doing: Doing::Reading, edit: None }
    }

    /// Lays the lines out for a terminal of this size.
    pub(super) fn lay_out(&mut self, theme: Theme, columns: usize, height: usize) {
        let lines = match (&self.edit, &self.doing) {
            (Some(edit), _) => text::edited(&edit.arguments, &edit.differences, theme, columns),
            (None, Doing::Broken { told, text }) => {
                text::prose(&broken(told, text), theme, columns)
            }
            (None, _) => text::hold(&self.hold, theme, columns),
        };
        self.page.replace(lines, height);
    }

    /// Takes the hold as it is now; says whether it differs from what is shown.
    pub(super) fn reload(&mut self, hold: HoldView) -> bool {
        let same = hold.digest == self.hold.digest
            && hold.state == self.hold.state
            && hold.verdicts.len() == self.hold.verdicts.len();
        if same {
            return false;
        }
        self.hold = hold;
        self.edit = None;
        self.doing = Doing::Reading;
        self.page = Page::empty();
        true
    }

    /// Does what the hold was opened for.
    pub(super) fn begin(&mut self, then: Then) -> Wish {
        match then {
            Then::Read => Wish::Nothing,
            Then::Confirm => self.act(Act::Approve),
            Then::Reason => self.act(Act::Reject),
            Then::Edit => self.act(Act::Edit),
        }
    }

    pub(super) fn act(&mut self, act: Act) -> Wish {
        match act {
            Act::Back | Act::Quit => self.back(),
            Act::Approve | Act::Yes | Act::Reject | Act::Edit
                if self.hold.state != StateName::Pending =>
            {
                Wish::Say(format!("nothing to decide: the call is {}", self.hold.state.as_str()))
            }
            Act::Approve | Act::Yes => self.approve(act),
            Act::Reject => self.reject(),
            Act::Edit => self.open_editor(),
            Act::Open
            | Act::Help
            | Act::Interrupt
            | Act::Down
            | Act::Up
            | Act::PageDown
            | Act::PageUp
            | Act::Top
            | Act::Bottom => Wish::Nothing,
        }
    }

    /// One step back: from the question to the call, from an edit to the call, from the call to the list.
    fn back(&mut self) -> Wish {
        match self.doing {
            Doing::Reading | Doing::Sending if self.edit.is_none() => Wish::Leave,
            Doing::Confirming(_) if self.edit.is_none() => {
                self.doing = Doing::Reading;
                Wish::Nothing
            }
            Doing::Sending => Wish::Leave,
            Doing::Reading | Doing::Confirming(_) | Doing::Reasoning(_) | Doing::Broken { .. } => {
                self.edit = None;
                self.doing = Doing::Reading;
                Wish::Say("the edit is dropped".to_owned())
            }
        }
    }

    fn approve(&mut self, act: Act) -> Wish {
        let answered = match &mut self.doing {
            Doing::Reading => {
                if act == Act::Approve {
                    self.doing = Doing::Confirming(Asked::Now);
                }
                false
            }
            // Not yet to be answered: asked anew, so that a key that is held down never gets there.
            Doing::Confirming(asked) => std::mem::replace(asked, Asked::Now) == Asked::Armed,
            Doing::Reasoning(_) | Doing::Broken { .. } | Doing::Sending => false,
        };
        if !answered {
            return Wish::Nothing;
        }
        if self.page.unseen() > 0 {
            return Wish::Say("read to the end first: PageDown, or End".to_owned());
        }
        self.send(Decision::Approve, None)
    }

    fn reject(&mut self) -> Wish {
        if let Doing::Reading | Doing::Confirming(_) = self.doing {
            self.edit = None;
            self.doing = Doing::Reasoning(Entry::default());
        }
        Wish::Nothing
    }

    fn open_editor(&mut self) -> Wish {
        match &self.doing {
            Doing::Broken { text, .. } => Wish::Edit(text.clone()),
            Doing::Reading | Doing::Confirming(_) if !self.hold.allow_edit => {
                let told = "its rules do not let the arguments be changed; r rejects with a reason";
                Wish::Say(told.to_owned())
            }
            Doing::Reading | Doing::Confirming(_) => {
                let arguments = self.edit.as_ref().map(|edit| &edit.arguments);
                Wish::Edit(edit::document(arguments.unwrap_or(&self.hold.arguments)))
            }
            Doing::Reasoning(_) | Doing::Sending => Wish::Nothing,
        }
    }

    /// Takes what the editor left; what there is to say about it.
    pub(super) fn edited(&mut self, text: String) -> Option<String> {
        self.edit = None;
        self.page = Page::empty();
        match edit::read_back(&text, &self.hold.arguments) {
            Ok(None) => {
                self.doing = Doing::Reading;
                Some("nothing was changed".to_owned())
            }
            Ok(Some(arguments)) => {
                let differences = edit::differences(&self.hold.arguments, &arguments);
                self.edit = Some(Edited { arguments, differences });
                self.doing = Doing::Confirming(Asked::Now);
                None
            }
            Err(told) => {
                self.doing = Doing::Broken { text, told };
                None
            }
        }
    }

    /// A key while a reason is typed.
    pub(super) fn reason_key(&mut self, key: &KeyEvent) -> Wish {
        let Doing::Reasoning(entry) = &mut self.doing else { return Wish::Nothing };
        match entry.key(key) {
            Entered::More => Wish::Nothing,
            Entered::Dropped => {
                self.doing = Doing::Reading;
                Wish::Nothing
            }
            Entered::Done => {
                let reason = entry.text().trim().to_owned();
                self.send(Decision::Reject, (!reason.is_empty()).then_some(reason))
            }
        }
    }

    fn send(&mut self, decision: Decision, reason: Option<String>) -> Wish {
        self.doing = Doing::Sending;
        let edit = self.edit.as_ref().map(|edit| edit.arguments.clone());
        let rendered = (self.page.unseen() == 0).then(|| rendered(&self.page.text()));
        let given = VerdictGiven {
            reason,
            edit,
            rendered,
            ..VerdictGiven::new(decision, self.hold.digest)
        };
        Wish::Decide(self.hold.id, Box::new(given))
    }

    /// What `person` signs with this verdict: it names the call that would run.
    pub(super) fn message(
        &self,
        given: &VerdictGiven,
        person: &str,
    ) -> Result<Vec<u8>, NotCanonical> {
        let hold = &self.hold;
        let digest = match &given.edit {
            None => given.digest,
            Some(edit) => call_digest(&hold.agent, &hold.tool, &hold.definition_fingerprint, edit)?,
        };
        let statement = Statement {
            hold: hold.id,
            digest: &digest,
            decision: given.decision,
            person,
            reason: given.reason.as_deref(),
            decide_by: hold.decide_by,
            resolves: None,
        };
        statement.message()
    }

    /// The verdict was not taken: back to where it can be given again.
    pub(super) fn settle(&mut self) {
        if self.doing.is_sending() {
            self.doing = match self.edit {
                Some(_) => Doing::Confirming(Asked::Now),
                None => Doing::Reading,
            };
        }
    }

    /// What stands here is on the screen at `now`; says whether the question can be answered from now on.
    pub(super) fn arm(&mut self, now: Duration) -> bool {
        let Doing::Confirming(asked) = &mut self.doing else { return false };
        match *asked {
            Asked::Now => *asked = Asked::Shown(now + ARMING),
            Asked::Shown(due) if now >= due => {
                *asked = Asked::Armed;
                return true;
            }
            Asked::Shown(_) | Asked::Armed => {}
        }
        false
    }

    /// Another key came in between.
    pub(super) fn disarm(&mut self) {
        if let Doing::Confirming(asked) = &mut self.doing {
            *asked = Asked::Now;
        }
    }
}

fn broken(told: &str, text: &str) -> String {
    let text = crate::cli::output::visible_lines(text);
    format!("{}\n\n{text}", crate::cli::output::visible(told))
}
