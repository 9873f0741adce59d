//! What an entry of the log is to people: the news in it, and the message that one or more of them make.

use jiff::Timestamp;

use super::settings::Kind;
use crate::digest::Digest;
use crate::evidence::{Event, OutcomeStatus};
use crate::hold::{Hold, StateName};
use crate::ids::HoldId;
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
        let place = |news: &News| {
            let chain = hex::encode(news.chain.as_bytes());
            format!("{}-{}", news.index, chain.get(..16).unwrap_or_default())
        };
        match self {
            Self::One(news, _) => format!("{channel}-{}", place(news)),
            Self::Many { last, .. } => format!("{channel}-sum-{}", place(last)),
            Self::Test { mark, .. } => format!("{channel}-test-{mark}"),
        }
    }

    /// When what it tells happened; of many, when the last did.
    pub(super) const fn at(&self) -> Timestamp {
        match self {
            Self::One(news, _) => news.at,
            Self::Many { last, .. } => last.at,
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
