//! Counts the tokens of calls that have ended, apart from calls: what is not counted yet is estimated.

use std::sync::{Arc, Mutex, PoisonError};

use tiktoken_rs::CoreBPE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::evidence::Charge;
use crate::gateway::Gateway;
use crate::limits::budgets;
use crate::storage::StoreError;
use crate::telemetry::BudgetMetrics;

/// How many calls wait to be counted at the most; of one more the estimate stays.
const MAX_WAITING: usize = 1_024;
/// How many bytes of arguments and results wait at the most.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// How many calls are counted before what was found is stored.
const BATCH: usize = 64;
/// How much of a text is looked at at once, in bytes: one word of very many letters costs the square of its length.
/// Each cut adds one token at the most.
const SLICE: usize = 2_048;
/// How many accounts of budgets one sweep forgets.
const FORGOTTEN: usize = 1_000;

/// A call whose tokens are estimated.
#[derive(Debug)]
pub(super) struct Uncounted {
    pub(super) arguments: String,
    pub(super) result: String,
    pub(super) tool: String,
    pub(super) charges: Vec<Charge>,
    pub(super) estimated: u64,
}

/// The calls that wait to be counted.
pub struct Tokens {
    queue: mpsc::Sender<(Uncounted, OwnedSemaphorePermit)>,
    waiting: Mutex<Option<mpsc::Receiver<(Uncounted, OwnedSemaphorePermit)>>>,
    room: Arc<Semaphore>,
}

impl Default for Tokens {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Self { queue, waiting: Mutex::new(Some(waiting)), room }
    }
}

impl Tokens {
    /// Counts a call later, if there is room for it; otherwise its estimate stays.
    pub(super) fn count_later(&self, uncounted: Uncounted, metrics: &BudgetMetrics) {
        let bytes = uncounted.arguments.len().saturating_add(uncounted.result.len());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (tool, estimated) = (uncounted.tool.clone(), uncounted.estimated);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).ok();
        let queued = room.is_some_and(|room| self.queue.try_send((uncounted, room)).is_ok());
        if !queued {
            metrics.left_estimated(&tool, estimated);
        }
    }
}

/// Counts what waits, for as long as the gateway runs.
pub async fn count(gateway: Arc<Gateway>) {
    let waiting = gateway.tokens.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    let mut batch = Vec::with_capacity(BATCH);
    let mut tokenizer = None;
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let jobs = std::mem::take(&mut batch);
        let known = tokenizer.take();
        let counted = tokio::task::spawn_blocking(move || counted(known, jobs)).await;
        match counted {
            Ok((known, jobs)) => {
                tokenizer = known;
                correct(&gateway, &jobs).await;
            }
            Err(error) => tracing::error!(%error, "tokens could not be counted"),
        }
    }
}

/// Each call with how many tokens it has; the tokenizer is made for the first one.
fn counted(
    known: Option<CoreBPE>,
    jobs: Vec<(Uncounted, OwnedSemaphorePermit)>,
) -> (Option<CoreBPE>, Vec<(Uncounted, Option<u64>)>) {
    let made = || {
        let made = tiktoken_rs::o200k_base();
        made.inspect_err(|error| tracing::error!(%error, "there is no tokenizer")).ok()
    };
    let tokenizer = known.or_else(made);
    let count = |job: &Uncounted| {
        let tokenizer = tokenizer.as_ref()?;
        let each = [&job.arguments, &job.result].map(|text| tokens(tokenizer, text));
        Some(each.into_iter().fold(0, u64::saturating_add))
    };
    let jobs = jobs.into_iter().map(|(job, _)| {
        let tokens = count(&job);
        (job, tokens)
    });
    let jobs = jobs.collect();
    (tokenizer, jobs)
}

fn tokens(tokenizer: &CoreBPE, mut text: &str) -> u64 {
    let mut count = 0_u64;
    while !text.is_empty() {
        let cut = text.floor_char_boundary(SLICE.min(text.len()));
        let (slice, rest) = text.split_at(cut);
        let found = tokenizer.encode_ordinary(slice).len();
        count = count.saturating_add(u64::try_from(found).unwrap_or(u64::MAX));
        text = rest;
    }
    count
}

async fn correct(gateway: &Gateway, jobs: &[(Uncounted, Option<u64>)]) {
    let mut corrections = Vec::new();
    for (job, counted) in jobs {
        let Some(counted) = counted else {
            gateway.metrics.budgets.left_estimated(&job.tool, job.estimated);
            continue;
        };
        gateway.metrics.budgets.counted(&job.tool, *counted);
        corrections.extend(budgets::corrections(&job.charges, *counted));
    }
    if corrections.is_empty() {
        return;
    }
    gateway.metrics.budgets.alerted(gateway.budgets.correct(&corrections).len());
    if let Err(error) = gateway.store.settle_spent(corrections, Vec::new()).await {
        tracing::error!(%error, "counted tokens could not be stored; the estimate stays");
    }
}

/// Forgets what was spent in windows that are over, and by names that are idle.
///
/// # Errors
/// When the store fails.
pub async fn forget(gateway: &Gateway) -> Result<(), StoreError> {
    let gone = gateway.budgets.forget(FORGOTTEN);
    if gone.is_empty() {
        return Ok(());
    }
    gateway.store.settle_spent(Vec::new(), gone).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_as_models_read_them_and_in_bounded_time() {
        let tokenizer = tiktoken_rs::o200k_base().unwrap();
        assert_eq!(tokens(&tokenizer, ""), 0);
        assert_eq!(tokens(&tokenizer, "hello world"), 2);
        // What has a meaning to models is text like any other here.
        assert!(tokens(&tokenizer, "<|endoftext|>") > 1);
        let long = "many words of some text ".repeat(2_000);
        let whole = u64::try_from(tokenizer.encode_ordinary(&long).len()).unwrap();
        let cuts = u64::try_from(long.len() / SLICE).unwrap();
        let counted = tokens(&tokenizer, &long);
        assert!((whole..=whole + 2 * cuts).contains(&counted), "{counted} of {whole}");
        // One word of very many letters, and letters of several bytes across the cuts.
        assert!(tokens(&tokenizer, &"x".repeat(1 << 18)) > 1_000);
        assert!(tokens(&tokenizer, &"a\u{fc}\u{20ac}\u{1f600}".repeat(4_000)) > 1_000);
    }
}
