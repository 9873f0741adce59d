//! The inbox's conversation with the gateway: what is pending each second, and what the person asks.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{Receiver, Sender};

use super::list::MAX_ROWS;
use super::model::{Ask, News};
use crate::api::HoldView;
use crate::cli::Failed;
use crate::cli::approvals::name_of_verdict;
use crate::cli::way::Way;
use crate::clock::{Clock, SystemClock};
use crate::ids::HoldId;

/// How often what is pending is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How often a decided call is looked at while it runs.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// How long the gateway may take to say what is pending.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many decided calls are looked at until they have ended.
const FOLLOWED: usize = 16;

/// Talks to the gateway until the inbox goes away.
pub(super) async fn keep(way: &Way, mut asks: Receiver<Ask>, news: Sender<News>) {
    let mut link = Link { way, clock: SystemClock::new(), followed: Vec::new() };
    let mut listed: Option<Duration> = None;
    loop {
        let now = link.clock.monotonic();
        let due = listed.map_or(Duration::ZERO, |at| (at + EVERY).saturating_sub(now));
        let wait = if link.followed.is_empty() { due } else { due.min(FOLLOW_EVERY) };
        tokio::select! {
            biased;
            ask = asks.recv() => {
                let Some(ask) = ask else { return };
                let decides = matches!(ask, Ask::Decide(..));
                drop(news.send(link.ask(ask).await).await);
                if decides {
                    listed = None;
                }
            }
            () = link.clock.sleep(wait) => {
                for told in link.follow().await {
                    drop(news.send(told).await);
                }
                if listed.is_none_or(|at| link.clock.monotonic() >= at + EVERY) {
                    drop(news.send(link.list().await).await);
                    listed = Some(link.clock.monotonic());
                }
            }
        }
    }
}

struct Link<'a> {
    way: &'a Way,
    clock: SystemClock,
    followed: Vec<HoldId>,
}

impl Link<'_> {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        tokio::select! {
            told = self.way.get(path) => told,
            () = self.clock.sleep(PATIENCE) => {
                Err(Failed::new(1, format!("no answer within {} s", PATIENCE.as_secs())))
            }
        }
    }

    async fn list(&self) -> News {
        match self.get(&format!("/api/v1/approvals?state=pending&limit={MAX_ROWS}")).await {
            Ok(holds) => News::Listed(holds),
            Err(failed) => News::Silent(failed.told),
        }
    }

    async fn ask(&mut self, ask: Ask) -> News {
        match ask {
            Ask::Show(id) => match self.get(&format!("/api/v1/approvals/{id}")).await {
                Ok(hold) => News::Shown(Box::new(hold)),
                Err(failed) => News::Refused { id, told: failed.told },
            },
            Ask::Decide(id, mut given) => {
                match name_of_verdict() {
                    Ok(name) => given.idempotency_key = Some(name),
                    Err(failed) => return News::Refused { id, told: failed.told },
                }
                let path = format!("/api/v1/approvals/{id}/verdict");
                match self.way.post_again::<HoldView>(&path, &given).await {
                    Ok(hold) => {
                        if !hold.state.is_terminal() && self.followed.len() < FOLLOWED {
                            self.followed.push(id);
                        }
                        News::Decided(Box::new(hold))
                    }
                    Err(failed) if failed.code == 1 => {
                        let told = format!("{}; the verdict may have arrived or not", failed.told);
                        News::Refused { id, told }
                    }
                    Err(failed) => News::Refused { id, told: failed.told },
                }
            }
        }
    }

    /// What became of the calls that were decided. One that ended, or cannot be asked about, is left.
    async fn follow(&mut self) -> Vec<News> {
        let mut told = Vec::new();
        let mut silent = false;
        for id in std::mem::take(&mut self.followed) {
            if silent {
                self.followed.push(id);
                continue;
            }
            match self.get::<HoldView>(&format!("/api/v1/approvals/{id}")).await {
                Ok(hold) => {
                    if !hold.state.is_terminal() {
                        self.followed.push(id);
                    }
                    told.push(News::Followed(Box::new(hold)));
                }
                Err(failed) if failed.code == 1 => {
                    silent = true;
                    self.followed.push(id);
                    told.push(News::Silent(failed.told));
                }
                Err(_) => {}
            }
        }
        told
    }
}
