//! Notices for people, through webhooks: what waits for them, and what became of it.
//!
//! Nothing here is part of a hold's transactions. The log is a durable stream in order, and each channel
//! follows it with a cursor of its own, so a receiver that is slow or away delays nobody else.

mod channel;
mod delivering;
mod following;
mod generic;
mod news;
mod sending;
mod settings;
mod slack;
#[cfg(test)]
mod tests;
mod unseen;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::secrets::Secrets;
use crate::clock::Clock;
use crate::ids::HoldId;
use crate::storage::{ChannelState, EntryQuery, Store, StoreError};
use crate::telemetry::NotificationCounts;

pub use channel::{Channel, ChannelHealth};
pub use settings::{Address, ChannelSettings, Form, Kind, Settings};
pub use unseen::{MEND, unseen};

/// The names of a channel's secrets.
const URL: &str = "url";
const SECRET: &str = "secret";

/// What every channel works with.
#[derive(Clone)]
pub struct Parts {
    /// Where the log and the cursors are.
    pub store: Arc<dyn Store>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counts: NotificationCounts,
}

/// Why the channels could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A channel cannot be set up.
    #[error("channel `{name}`: {why}")]
    Channel {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
}

/// All channels.
pub struct Notifier {
    channels: Vec<Arc<Channel>>,
    /// What links begin with, where a page is served.
    served_at: Option<String>,
}

impl Notifier {
    /// Opens the channels of `settings`, each where it has come to, a new one at the log's present end.
    /// Nothing is sent until they are run. `url` is where links lead unless the settings say otherwise, and
    /// `listens` whether this gateway serves there.
    ///
    /// # Errors
    /// When the store fails, or a channel's HTTP client cannot be made.
    pub async fn open(
        settings: &Settings,
        (url, listens): (&str, bool),
        environment: fn(&str) -> Option<String>,
        parts: &Parts,
    ) -> Result<Self, NotifyError> {
        let base_url = match &settings.base_url {
            Some(url) => settings::base(url)
                .map_err(|why| NotifyError::Channel { name: "base_url".to_owned(), why })?,
            None => url.to_owned(),
        };
        let mut channels = Vec::with_capacity(settings.channels.len());
        for settings in &settings.channels {
            let wrong = |why: String| NotifyError::Channel { name: settings.name.clone(), why };
            let state = match parts.store.channel(&settings.name).await? {
                Some(state) => state,
                None => at_the_end(&settings.name, parts).await?,
            };
            let mut sources = BTreeMap::new();
            if let Address::Secret(source) = &settings.url {
                sources.insert(URL.to_owned(), source.clone());
            }
            if let Some(source) = &settings.secret {
                sources.insert(SECRET.to_owned(), source.clone());
            }
            parts.counts.begin(&settings.name);
            channels.push(Arc::new(Channel {
                settings: settings.clone(),
                base_url: base_url.clone(),
                secrets: Secrets::new(sources).map_err(|error| wrong(error.to_string()))?,
                environment,
                client: sending::client(&settings.trust()).map_err(wrong)?,
                parts: parts.clone(),
                state: tokio::sync::Mutex::new(state),
                works: tokio::sync::Notify::new(),
            }));
        }
        let served_at = (listens || settings.base_url.is_some()).then_some(base_url);
        Ok(Self { channels, served_at })
    }

    /// The channels, in the order of the file.
    pub fn channels(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.channels.iter()
    }

    /// Where the page of a hold is, if this gateway or one that the settings name serves it.
    #[must_use]
    pub fn link(&self, hold: HoldId) -> Option<String> {
        self.served_at.as_ref().map(|base_url| news::link(base_url, hold))
    }

    /// How many of them are told of held calls.
    #[must_use]
    pub fn told_of_holds(&self) -> usize {
        self.channels.iter().filter(|channel| channel.is_told(Kind::Held)).count()
    }
}

async fn at_the_end(name: &str, parts: &Parts) -> Result<ChannelState, StoreError> {
    let newest = EntryQuery { newest: true, limit: 1, ..EntryQuery::default() };
    let newest = parts.store.entries(newest).await?;
    let cursor = newest.last().map_or(0, |entry| entry.index);
    let state = ChannelState { cursor, ..ChannelState::default() };
    parts.store.keep_channel(name, state.clone()).await?;
    Ok(state)
}
