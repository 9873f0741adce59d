//! How a channel follows the log: from where it has come to, in order, and what in it is still news.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::channel::Channel;
use super::news::{About, Message, News, Notice, Told};
use super::settings::Kind;
use crate::hold::{Hold, StateName};
use crate::ids::HoldId;
use crate::json::Object;
use crate::storage::StoreError;

/// How often the log is looked at for news.
const POLL: Duration = Duration::from_millis(500);
/// How many entries are dealt with at once.
const BATCH: u32 = 200;
/// After how many entries without news the cursor is kept, so that a restart looks at no more.
const KEEP_EVERY: u64 = 10_000;
/// More held calls than this are told in one message.
const FEW: usize = 5;
/// In how long a time no more than [`FEW`] messages about held calls are sent, and no more than that about budgets.
const PACE: Duration = Duration::from_secs(10);
/// For how long after it happened news are tried to be delivered, and how old they may be to be sent at
/// all unless they still wait for people.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// How long a store that failed is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What one channel remembers while the process lives.
#[derive(Default)]
pub(super) struct Memory {
    /// Attempts that failed since the last that went well.
    pub(super) failures: u32,
    /// When messages about held calls were sent, oldest first, on the monotonic clock.
    pub(super) held: VecDeque<Duration>,
    /// The same of messages about budgets.
    budgets: VecDeque<Duration>,
    /// The cursor that was kept last.
    pub(super) kept: u64,
}

impl Channel {
    /// Follows the log until the process ends.
    pub async fn run(&self) {
        let mut memory = Memory { kept: self.state.lock().await.cursor, ..Memory::default() };
        loop {
            if let Err(error) = self.turn(&mut memory).await {
                tracing::error!(channel = self.name(), %error, "the log could not be followed");
                self.parts.clock.sleep(STORE_PAUSE).await;
            }
        }
    }

    /// Deals with what has come after the cursor, or waits for a moment if nothing has.
    async fn turn(&self, memory: &mut Memory) -> Result<(), StoreError> {
        let cursor = self.state.lock().await.cursor;
        let found = self.parts.store.told_entries(cursor, BATCH).await?;
        if found.reached == cursor {
            self.parts.clock.sleep(POLL).await;
            return Ok(());
        }
        let told: Vec<Told> = found
            .entries
            .iter()
            .filter_map(Told::of)
            .filter(|told| self.is_told(told.kind()))
            .collect();
        let mut rest = told.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let message = match first {
                Told::OfHold(news) => self.message(news, rest).await?,
                Told::Else(notice) => self.notice(notice, memory),
            };
            if let Some(message) = message {
                if first.kind() == Kind::Held && self.paused(memory).await {
                    // What came meanwhile goes into the same message.
                    return Ok(());
                }
                self.deliver(message, memory).await?;
            }
            self.state.lock().await.cursor = first.index();
            rest = after;
        }
        self.state.lock().await.cursor = found.reached;
        if found.reached.saturating_sub(memory.kept) >= KEEP_EVERY {
            memory.kept = found.reached;
            self.change(|state| state.cursor = found.reached).await;
        }
        Ok(())
    }

    /// Waits if so much was told of held calls just now that the next are better told together.
    async fn paused(&self, memory: &mut Memory) -> bool {
        let now = self.parts.clock.monotonic();
        memory.held.retain(|sent| now.saturating_sub(*sent) < PACE);
        let Some(oldest) = memory.held.front().copied().filter(|_| memory.held.len() >= FEW) else {
            return false;
        };
        self.parts.clock.sleep(PACE.saturating_sub(now.saturating_sub(oldest))).await;
        true
    }

    /// The message that `first` makes, together with those of `rest`, which begins with it; none if it
    /// is news no more.
    async fn message(&self, first: &News, rest: &[Told]) -> Result<Option<Message>, StoreError> {
        if first.kind != Kind::Held {
            return self.of_one(first).await;
        }
        let Some(hold) = self.untold(first).await? else {
            if !self.is_told_itself(first).await {
                self.parts.counts.count(self.name(), "skipped");
            }
            return Ok(None);
        };
        let until = self.state.lock().await.summing.unwrap_or(u64::MAX);
        let mut last = first;
        let mut sets: Vec<(Hold, u64)> = vec![(hold, 1)];
        let others = rest.iter().skip(1).filter_map(Told::held);
        for news in others.take_while(|news| news.index <= until) {
            let Some(mut hold) = self.untold(news).await? else { continue };
            last = news;
            if sets.len() >= super::generic::LISTED {
                hold.arguments = Object::new();
            }
            match sets.iter_mut().find(|(known, _)| known.digest == hold.digest) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => sets.push((hold, 1)),
            }
        }
        if sets.len() > FEW {
            return Ok(Some(Message::Many { last: Box::new(last.clone()), sets }));
        }
        let first_set = sets.into_iter().next();
        Ok(first_set.map(|(hold, _)| Message::One(Box::new(first.clone()), Box::new(hold))))
    }

    /// The message that a notice makes; none if it is too old, or one more of too many about budgets.
    fn notice(&self, notice: &Notice, memory: &mut Memory) -> Option<Message> {
        let now = self.parts.clock.monotonic();
        memory.budgets.retain(|sent| now.saturating_sub(*sent) < PACE);
        let is_of_budget = matches!(notice.about, About::Budget(_));
        // Agents spend as fast as they like: what they do must not keep people from held calls.
        if self.is_old(notice.at) || (is_of_budget && memory.budgets.len() >= FEW) {
            self.parts.counts.count(self.name(), "skipped");
            return None;
        }
        if is_of_budget {
            memory.budgets.push_back(now);
        }
        Some(Message::Notice(Box::new(notice.clone())))
    }

    async fn of_one(&self, news: &News) -> Result<Option<Message>, StoreError> {
        let Some(hold) = self.hold(news.hold).await? else { return Ok(None) };
        let waits = news.kind == Kind::Unknown && hold.state.name() == StateName::Unknown;
        if !waits && (news.kind == Kind::Unknown || self.is_old(news.at)) {
            self.parts.counts.count(self.name(), "skipped");
            return Ok(None);
        }
        Ok(Some(Message::One(Box::new(news.clone()), Box::new(hold))))
    }

    /// The hold that `news` tells of, if it still waits and neither it nor an identical one that waits
    /// was told.
    async fn untold(&self, news: &News) -> Result<Option<Hold>, StoreError> {
        if self.is_told_itself(news).await {
            return Ok(None);
        }
        let Some(hold) = self.pending(news.hold).await? else { return Ok(None) };
        let state = self.state.lock().await.clone();
        for told in state.told.iter().filter(|told| told.digest == hold.digest) {
            if self.pending(told.hold).await?.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(hold))
    }

    async fn is_told_itself(&self, news: &News) -> bool {
        self.state.lock().await.told.iter().any(|told| told.hold == news.hold)
    }

    pub(super) async fn pending(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        let hold = self.hold(id).await?;
        Ok(hold.filter(|hold| hold.state.name() == StateName::Pending))
    }

    /// A hold without what is not told of it, which may be large.
    async fn hold(&self, id: HoldId) -> Result<Option<Hold>, StoreError> {
        let mut hold = self.parts.store.hold(id).await?;
        if let Some(hold) = &mut hold {
            hold.requested_arguments = Object::new();
            hold.edits = Vec::new();
            if !self.settings.arguments {
                hold.arguments = Object::new();
            }
        }
        Ok(hold)
    }

    /// The message as it is after a wait; none if nothing in it waits for people any more.
    pub(super) async fn still(&self, message: Message) -> Result<Option<Message>, StoreError> {
        match message {
            Message::One(news, hold) if news.kind == Kind::Held => {
                let pending = self.pending(hold.id).await?;
                Ok(pending.map(|hold| Message::One(news, Box::new(hold))))
            }
            Message::Many { last, sets } => {
                let mut waiting = Vec::new();
                for (hold, count) in sets {
                    waiting.extend(self.pending(hold.id).await?.map(|hold| (hold, count)));
                }
                Ok((!waiting.is_empty()).then_some(Message::Many { last, sets: waiting }))
            }
            other @ (Message::One(..) | Message::Notice(_) | Message::Test { .. }) => {
                Ok(Some(other))
            }
        }
    }

    pub(super) fn is_old(&self, at: Timestamp) -> bool {
        self.parts.clock.now().duration_since(at) > MAX_AGE
    }
}
