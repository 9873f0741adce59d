//! What an entry of the log is to people: the news in it, and the message that one or more of them make.

use jiff::Timestamp;

use super::settings::Kind;
use crate::digest::Digest;
use crate::evidence::{BudgetAlert, Event, OutcomeStatus};
use crate::halts::Scope;
use crate::hold::{Hold, StateName};
use crate::ids::{HaltId, HoldId};
use crate::storage::StoredEntry;

/// What one entry says about one hold.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// The entry's place in the log.
    pub(super) index: u64,
    /// The chain's value there, which tells this log from any other.
    pub(super) chain: Digest,
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    pub(super) hold: HoldId,
    pub(super) state: StateName,
    /// Who decided.
    pub(super) by: Option<String>,
    pub(super) why: Option<String>,
    pub(super) outcome: Option<OutcomeStatus>,
}

impl News {
    /// The news in an entry, if there are any.
    pub(super) fn of(stored: &StoredEntry) -> Option<Self> {
        let at = stored.entry.time;
        let news = |kind, hold: &HoldId, state| Self {
            index: stored.index,
            chain: stored.chain,
            at,
            kind,
            hold: *hold,
            state,
            by: None,
            why: None,
            outcome: None,
        };
        if let Event::Hold { hold, .. } = &stored.entry.event {
            return Some(news(Kind::Held, hold, StateName::Pending));
        }
        if let Event::Verdict { hold, verdict, state } = &stored.entry.event {
            // One verdict of several decides nothing yet.
            return matches!(state, StateName::Approved | StateName::Rejected).then(|| Self {
                by: Some(verdict.person.name.clone()),
                why: verdict.reason.clone(),
                ..news(Kind::Decided, hold, *state)
            });
        }
        if let Event::HoldChanged { hold, state, why } = &stored.entry.event {
            let kind = if *state == StateName::Unknown {
                Kind::Unknown
            } else if matches!(
                state,
                StateName::Expired
                    | StateName::Lapsed
                    | StateName::Withdrawn
                    | StateName::Superseded
                    | StateName::Halted
            ) {
                Kind::Ended
            } else {
                return None;
            };
            return Some(Self { why: why.clone(), ..news(kind, hold, *state) });
        }
        if let Event::Outcome { hold: Some(hold), outcome, .. } = &stored.entry.event {
            return Some(Self {
                why: outcome.error.clone(),
                outcome: Some(outcome.status),
                ..news(Kind::Finished, hold, StateName::Finished)
            });
        }
        None
    }
}

/// What one entry says that is about no hold.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) index: u64,
    pub(super) chain: Digest,
    pub(super) at: Timestamp,
    pub(super) about: About,
}

/// What a notice is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// Calls are halted.
    Halted { halt: HaltId, scope: Scope, by: String, reason: String, until: Option<Timestamp> },
    /// A halt has ended, by itself where nobody ended it.
    Resumed { halt: HaltId, ended: Option<(String, String)> },
    /// So much of a budget is spent.
    Budget(Box<BudgetAlert>),
}

impl Notice {
    fn of(stored: &StoredEntry) -> Option<Self> {
        let about = if let Event::Halt { halt, scope, reason, by, until } = &stored.entry.event {
            let (by, reason) = (by.name.clone(), reason.clone());
            About::Halted { halt: *halt, scope: scope.clone(), by, reason, until: *until }
        } else if let Event::Resume { halt, reason, by } = &stored.entry.event {
            About::Resumed { halt: *halt, ended: Some((by.name.clone(), reason.clone())) }
        } else if let Event::HaltEnded { halt } = &stored.entry.event {
            About::Resumed { halt: *halt, ended: None }
        } else if let Event::BudgetAlert(alert) = &stored.entry.event {
            About::Budget(Box::new(alert.clone()))
        } else {
            return None;
        };
        Some(Self { index: stored.index, chain: stored.chain, at: stored.entry.time, about })
    }
}

/// What one entry says.
#[derive(Clone, Debug)]
pub(super) enum Told {
    OfHold(News),
    Else(Notice),
}

impl Told {
    /// What the entry says, if people may be told of it.
    pub(super) fn of(stored: &StoredEntry) -> Option<Self> {
        let news = News::of(stored).map(Self::OfHold);
        news.or_else(|| Notice::of(stored).map(Self::Else))
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::OfHold(news) => news.kind,
            Self::Else(notice) => match notice.about {
                About::Halted { .. } | About::Resumed { .. } => Kind::Halted,
                About::Budget(_) => Kind::Budget,
            },
        }
    }

    /// The entry's place in the log.
    pub(super) const fn index(&self) -> u64 {
        match self {
            Self::OfHold(News { index, .. }) | Self::Else(Notice { index, .. }) => *index,
        }
    }

    /// The news of a call that is held with it.
    pub(super) fn held(&self) -> Option<&News> {
        match self {
            Self::OfHold(news) if news.kind == Kind::Held => Some(news),
            Self::OfHold(_) | Self::Else(_) => None,
        }
    }
}

/// One message to one channel.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// One piece of news, and the hold it is about.
    One(Box<News>, Box<Hold>),
    /// Many held calls at once: each set of identical ones, and how many are in it.
    Many {
        /// The newest of the news that are summed up.
        last: Box<News>,
        /// One hold of each set, oldest first.
        sets: Vec<(Hold, u64)>,
    },
    /// One notice.
    Notice(Box<Notice>),
    /// Somebody wants to see whether messages arrive.
    Test {
        /// What tells it from other tests.
        mark: String,
        at: Timestamp,
    },
}

impl Message {
    /// The message's id, the same at every attempt, so that a receiver can drop what it has already.
    /// Without dots, which part the text that is signed.
    pub(super) fn id(&self, channel: &str) -> String {
        let place = |index: u64, chain: &Digest| {
            let chain = hex::encode(chain.as_bytes());
            format!("{index}-{}", chain.get(..16).unwrap_or_default())
        };
        match self {
            Self::One(news, _) => format!("{channel}-{}", place(news.index, &news.chain)),
            Self::Many { last, .. } => {
                format!("{channel}-sum-{}", place(last.index, &last.chain))
            }
            Self::Notice(notice) => format!("{channel}-{}", place(notice.index, &notice.chain)),
            Self::Test { mark, .. } => format!("{channel}-test-{mark}"),
        }
    }

    /// When what it tells happened; of many, when the last did.
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::One(news, _) => news.at,
            Self::Many { last, .. } => last.at,
            Self::Notice(notice) => notice.at,
            Self::Test { at, .. } => *at,
        }
    }
}

/// The link to a hold's page.
pub(super) fn link(base_url: &str, hold: HoldId) -> String {
    format!("{base_url}/holds/{hold}")
}

/// The first `most` characters of a text, and whether there were more is shown.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
