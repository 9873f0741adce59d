//! How a channel delivers one message: tried until it arrives, is news no more, or is given up.
//!
//! A crash leaves the cursor of the last message that was delivered: the next is sent again, with the
//! same id.

use std::time::Duration;

use super::channel::Channel;
use super::following::Memory;
use super::news::Message;
use super::sending::Trouble;
use super::settings::Kind;
use crate::hold::Hold;
use crate::storage::{Delivery, StoreError, Told};

/// How many told holds are remembered; as many as one batch can tell.
const MAX_TOLD: usize = 200;
/// The wait before a second attempt, and the longest between two.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often a receiver may refuse one message before the next has its turn.
const MAX_REFUSALS: u32 = 5;

impl Channel {
    /// Sends a message until it is delivered, news no more, or given up.
    pub(super) async fn deliver(
        &self,
        message: Message,
        memory: &mut Memory,
    ) -> Result<(), StoreError> {
        let mut refusals = 0_u32;
        let mut message = Some(message);
        while let Some(current) = message {
            if memory.failures > 0 && self.is_old(current.at()) {
                // The channel does not work: what is old is not tried again, or it would never come to
                // what is new.
                self.give_up(&current, "it is too old").await;
                return Ok(());
            }
            let trouble = match self.post(&current).await {
                Ok(()) => {
                    self.delivered(&current, memory).await;
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            refusals = refusals.saturating_add(u32::from(trouble.refused));
            let wait = self.failed(&current, &trouble, memory).await;
            if refusals >= MAX_REFUSALS {
                self.give_up(&current, &trouble.told).await;
                return Ok(());
            }
            tokio::select! {
                () = self.parts.clock.sleep(wait) => {}
                () = self.works.notified() => {}
            }
            message = self.still(current).await?;
        }
        self.parts.counts.count(self.name(), "skipped");
        Ok(())
    }

    async fn delivered(&self, message: &Message, memory: &mut Memory) {
        if memory.failures > 0 {
            tracing::info!(channel = self.name(), "notices are delivered again");
            memory.failures = 0;
        }
        let (told, index) = told_by(message);
        if !told.is_empty() {
            memory.held.push_back(self.parts.clock.monotonic());
        }
        let last = Some(Delivery { at: self.parts.clock.now(), failed: None });
        self.change(|state| {
            state.remember(told, MAX_TOLD);
            (state.last, state.summing) = (last, None);
            state.cursor = index.unwrap_or(state.cursor);
        })
        .await;
        memory.kept = self.state.lock().await.cursor;
        // Counted when a crash would not send it again.
        self.parts.counts.count(self.name(), "delivered");
    }

    /// Takes note of a failed attempt, and says how long to wait.
    async fn failed(&self, message: &Message, trouble: &Trouble, memory: &mut Memory) -> Duration {
        self.parts.counts.count(self.name(), "failed");
        let told = trouble.told.clone();
        if memory.failures == 0 {
            tracing::warn!(channel = self.name(), why = %told, "a notice is not delivered; it is tried again");
        }
        let summing = match message {
            Message::Many { last, .. } => Some(last.index),
            Message::One(..) | Message::Notice(_) | Message::Test { .. } => None,
        };
        let at = self.parts.clock.now();
        let known = self.state.lock().await.last.clone();
        let news = known.is_none_or(|last| last.failed.as_ref() != Some(&told));
        let kept = self.state.lock().await.summing == summing;
        if memory.failures == 0 || news || !kept {
            self.change(|state| {
                state.last = Some(Delivery { at, failed: Some(told) });
                state.summing = summing;
            })
            .await;
        }
        memory.failures = memory.failures.saturating_add(1);
        let wait = backoff(memory.failures, jitter());
        wait.max(trouble.leave_alone.unwrap_or_default()).min(BACKOFF.1)
    }

    async fn give_up(&self, message: &Message, why: &str) {
        let id = message.id(self.name());
        tracing::error!(channel = self.name(), %id, why, "a notice is given up");
        self.parts.counts.count(self.name(), "given_up");
        let (told, index) = told_by(message);
        self.change(|state| {
            // What a summary tells stands further on in the log too. Of one nobody was told, so that an
            // identical one is news.
            if index.is_none() {
                state.remember(told, MAX_TOLD);
            }
            state.given_up = state.given_up.saturating_add(1);
            state.summing = None;
            state.cursor = index.unwrap_or(state.cursor);
        })
        .await;
    }
}

/// The holds that a message tells people to decide on, and the entry it stands at; a summary stands at
/// the first of those it sums up, which the caller knows.
fn told_by(message: &Message) -> (Vec<Told>, Option<u64>) {
    let told = |hold: &Hold| Told { digest: hold.digest, hold: hold.id };
    match message {
        Message::One(news, hold) if news.kind == Kind::Held => (vec![told(hold)], Some(news.index)),
        Message::One(news, _) => (Vec::new(), Some(news.index)),
        Message::Notice(notice) => (Vec::new(), Some(notice.index)),
        Message::Many { sets, .. } => (sets.iter().map(|(hold, _)| told(hold)).collect(), None),
        Message::Test { .. } => (Vec::new(), None),
    }
}

/// The wait after the `failures`-th attempt that failed: twice as long each time, up to the ceiling, of
/// which `jitter` (0 to 255) takes away up to a half, so that those who failed together do not return together.
fn backoff(failures: u32, jitter: u8) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = BACKOFF.0.saturating_mul(1 << doublings).min(BACKOFF.1);
    whole - whole / 2 * u32::from(jitter) / 255
}

/// A byte that differs from one process to the next; nothing secret hangs on it.
fn jitter() -> u8 {
    let mut byte = [0];
    if aws_lc_rs::rand::fill(&mut byte).is_err() {
        return 0;
    }
    let [byte] = byte;
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_are_never_nothing() {
        assert_eq!(backoff(1, 0), Duration::from_secs(1));
        assert_eq!(backoff(1, 255), Duration::from_millis(500));
        assert_eq!(backoff(4, 0), Duration::from_secs(8));
        assert_eq!(backoff(u32::MAX, 0), BACKOFF.1);
        assert_eq!(backoff(u32::MAX, 255), BACKOFF.1 / 2);
    }
}
