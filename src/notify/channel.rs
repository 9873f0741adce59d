//! One channel: where its messages go, how far it has come, and how its last message went.

use secrecy::{ExposeSecret as _, SecretString};

use super::news::Message;
use super::sending::{self, Parcel, Trouble};
use super::settings::{Address, ChannelSettings, Form, Kind};
use super::{Parts, generic, slack};
use crate::backend::secrets::Secrets;
use crate::storage::{ChannelState, Delivery};

/// One receiver of notices.
pub struct Channel {
    pub(super) settings: ChannelSettings,
    pub(super) base_url: String,
    pub(super) secrets: Secrets,
    pub(super) environment: fn(&str) -> Option<String>,
    pub(super) client: reqwest::Client,
    pub(super) parts: Parts,
    pub(super) state: tokio::sync::Mutex<ChannelState>,
    /// Ends a wait for the next attempt: a test message has just arrived.
    pub(super) works: tokio::sync::Notify,
}

/// How a channel stands.
#[derive(Debug)]
pub struct ChannelHealth {
    /// Its name.
    pub name: String,
    /// Why nothing can be sent at all, if so.
    pub unusable: Option<String>,
    /// How the last message went.
    pub last: Option<Delivery>,
    /// How many messages were given up since somebody last tested the channel.
    pub given_up: u64,
}

impl Channel {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it is told of `kind`.
    #[must_use]
    pub fn is_told(&self, kind: Kind) -> bool {
        self.settings.on.contains(&kind)
    }

    /// How it stands.
    pub async fn health(&self) -> ChannelHealth {
        let state = self.state.lock().await.clone();
        ChannelHealth {
            name: self.name().to_owned(),
            unusable: self.unusable(),
            last: state.last,
            given_up: state.given_up,
        }
    }

    /// Why nothing can be sent at all, if so: a secret is missing, or cannot be used.
    #[must_use]
    pub fn unusable(&self) -> Option<String> {
        let (url, secret) = match self.resolve() {
            Ok(resolved) => resolved,
            Err(trouble) => return Some(trouble.told),
        };
        let bad_url = super::settings::receiver(url.expose_secret()).err();
        let bad_url = bad_url.map(|why| format!("`url` cannot be used: {why}"));
        bad_url.or_else(|| secret.as_ref().and_then(sending::unusable))
    }

    /// Sends one test message, once. That it arrives clears what was told of earlier trouble.
    ///
    /// # Errors
    /// In words, when it was not delivered.
    pub async fn test(&self, mark: String) -> Result<(), String> {
        let at = self.parts.clock.now();
        let message = Message::Test { mark, at };
        self.post(&message).await.map_err(|trouble| trouble.told)?;
        self.parts.counts.count(self.name(), "delivered");
        let last = Some(Delivery { at: self.parts.clock.now(), failed: None });
        self.change(|state| (state.given_up, state.last) = (0, last)).await;
        self.works.notify_waiters();
        Ok(())
    }

    /// Changes the state and keeps it. If it cannot be kept, it counts while the process lives.
    pub(super) async fn change(&self, change: impl FnOnce(&mut ChannelState)) {
        let mut state = self.state.lock().await;
        change(&mut state);
        if let Err(error) = self.parts.store.keep_channel(self.name(), state.clone()).await {
            tracing::error!(channel = self.name(), %error, "how far a channel has come is not kept");
        }
    }

    pub(super) async fn post(&self, message: &Message) -> Result<(), Trouble> {
        let (url, secret) = self.resolve()?;
        let body = match self.settings.form {
            Form::Generic => generic::body(message, &self.base_url, self.settings.arguments),
            Form::Slack => slack::body(message, &self.base_url),
        };
        let body = serde_json::to_vec(&body).map_err(|error| Trouble::new(error.to_string()))?;
        let id = message.id(self.name());
        let parcel = Parcel { id: &id, at: self.parts.clock.now(), body };
        parcel.post(&self.client, url.expose_secret(), secret.as_ref()).await
    }

    /// The URL and the key as they are now.
    fn resolve(&self) -> Result<(SecretString, Option<SecretString>), Trouble> {
        let named = self.secrets.resolve(&self.environment);
        let named = named.map_err(|error| Trouble::new(error.to_string()))?;
        let (mut url, mut secret) = (None, None);
        for (name, value) in named {
            if name == super::URL { url = Some(value) } else { secret = Some(value) }
        }
        let url = match (&self.settings.url, url) {
            (_, Some(url)) => url,
            (Address::Plain(url), None) => SecretString::from(url.as_str()),
            (Address::Secret(_), None) => return Err(Trouble::new("`url` is not known")),
        };
        Ok((url, secret))
    }
}
