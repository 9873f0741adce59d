//! How channels are written in `countersign.yaml`, and what is wrong with one before anything is sent.

use std::collections::HashSet;
use std::path::PathBuf;

use reqwest::Url;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::backend::outgoing::{self, Trust};
use crate::catalog::manifest::SecretSource;
use crate::source::{Place, Places, Problem, SourceFile};

/// How many channels there may be.
const MAX_CHANNELS: usize = 20;
/// The longest name of a channel, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// How people are told of held calls, halts and budgets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What links to holds begin with; `http://` and the listening address by default.
    pub base_url: Option<String>,
    /// Where notices go.
    pub channels: Vec<ChannelSettings>,
}

/// One receiver of notices.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// Its name, in logs, metrics and the ids of messages.
    pub name: String,
    /// The form of a message.
    pub form: Form,
    /// Where messages are posted: `https`, or `http` on loopback. Written out, or as a secret.
    pub url: Address,
    /// Whether a name in `url` may lead to addresses that are not public.
    #[serde(default)]
    pub allow_private: bool,
    /// A file of certificates (PEM) that are believed in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What messages are signed with: `{ env: NAME }` or `{ file: PATH }`.
    #[serde(default)]
    pub secret: Option<SecretSource>,
    /// What is told.
    #[serde(default = "what_waits")]
    pub on: Vec<Kind>,
    /// Whether the arguments of calls are sent; in the generic form only.
    #[serde(default)]
    pub arguments: bool,
}

/// The form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// JSON of our own, for programs.
    Generic,
    /// What Slack and those like it take.
    Slack,
}

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A call waits for people.
    Held,
    /// It was approved or rejected.
    Decided,
    /// It will not run: expired, lapsed, withdrawn, superseded or halted.
    Ended,
    /// It ran.
    Finished,
    /// The gateway stopped while it ran: people must say what happened.
    Unknown,
    /// Calls are halted, or a halt has ended.
    Halted,
    /// A budget is spent to a share that it tells of.
    Budget,
}

impl Kind {
    /// The kind as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Decided => "decided",
            Self::Ended => "ended",
            Self::Finished => "finished",
            Self::Unknown => "unknown",
            Self::Halted => "halted",
            Self::Budget => "budget",
        }
    }
}

fn what_waits() -> Vec<Kind> {
    vec![Kind::Held, Kind::Unknown]
}

/// A URL, or where it is kept when it is a secret itself.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Address {
    /// Written out.
    Plain(String),
    /// Kept as a secret.
    Secret(SecretSource),
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Address;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a URL, `{ env: NAME }` or `{ file: PATH }`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Address, E> {
                Ok(Address::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Address, A::Error> {
                SecretSource::deserialize(MapAccessDeserializer::new(map)).map(Address::Secret)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A URL that messages may be posted to.
///
/// # Errors
/// In words, when it is none, or would carry messages across a network in the clear.
pub(super) fn receiver(text: &str) -> Result<Url, String> {
    let trust = Trust { allow_private: true, ca: None };
    let url = outgoing::configured(text, &trust).map_err(|why| why.to_string())?;
    let on_loopback = match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some(host) => {
            host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if on_loopback => Ok(url),
        "http" => Err("`http` beyond loopback would send messages in the clear".to_owned()),
        _ => Err("neither `https` nor `http`".to_owned()),
    }
}

/// What links to holds begin with, without a slash at its end.
///
/// # Errors
/// In words, when nothing could follow it.
pub(super) fn base(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if matches!(url.scheme(), "https" | "http") && plain {
        return Ok(url.as_str().trim_end_matches('/').to_owned());
    }
    Err("not an `https` or `http` URL without user, query and fragment".to_owned())
}

impl Settings {
    /// Everything that is wrong, with its place in `file`.
    #[must_use]
    pub fn problems(&self, file: &SourceFile, places: &Places) -> Vec<Problem> {
        let mut found = Vec::new();
        if let Some(Err(why)) = self.base_url.as_deref().map(base) {
            let place = places.value("/notifications/base_url");
            let hint = "write it like `https://gate.example.com`";
            found.push(Problem::new(file, place, why).hint(hint));
        }
        if self.channels.len() > MAX_CHANNELS {
            let place = places.value("/notifications/channels");
            found.push(Problem::new(file, place, format!("more than {MAX_CHANNELS} channels")));
        }
        let mut names = HashSet::new();
        for (index, channel) in self.channels.iter().enumerate() {
            let at = format!("/notifications/channels/{index}");
            let place = |key: &str| places.value(&format!("{at}/{key}"));
            if !names.insert(&channel.name) {
                let message = format!("a second channel `{}`", channel.name);
                let hint = "give each channel a name of its own";
                found.push(Problem::new(file, place("name"), message).hint(hint));
            }
            channel.problems(&place, &mut |place, message, hint| {
                found.push(Problem::new(file, place, message).hint(hint));
            });
        }
        found
    }
}

impl ChannelSettings {
    /// Where the channel may connect to, and whom it believes.
    pub(super) fn trust(&self) -> Trust {
        Trust { allow_private: self.allow_private, ca: self.ca.clone() }
    }

    fn problems(
        &self,
        place: &dyn Fn(&str) -> Place,
        wrong: &mut dyn FnMut(Place, String, &'static str),
    ) {
        let fits = (1..=MAX_NAME_BYTES).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !fits {
            let message = format!("`{}` is not the name of a channel", self.name);
            wrong(place("name"), message, "use 1 to 32 letters, digits, `_` and `-`");
        }
        match &self.url {
            Address::Plain(url) => {
                if let Err(why) = receiver(url) {
                    wrong(place("url"), why, "use `https`, or `http` on a loopback address");
                }
            }
            Address::Secret(source) => read_by_us(source, "url", place, wrong),
        }
        match &self.secret {
            Some(source) => read_by_us(source, "secret", place, wrong),
            None if self.form == Form::Generic => {
                let message = "a generic channel without `secret`: nobody could check its messages";
                let hint = "add `secret: { env: NAME }` or `secret: { file: PATH }`";
                wrong(place("form"), message.to_owned(), hint);
            }
            None => {}
        }
        if self.on.is_empty() {
            let message = "a channel that is told nothing".to_owned();
            wrong(place("on"), message, "leave `on` out, or name what is told");
        }
        if self.arguments && self.form == Form::Slack {
            let message = "arguments are sent in the generic form only".to_owned();
            wrong(place("arguments"), message, "leave `arguments` out; the link leads to them");
        }
    }
}

fn read_by_us(
    source: &SecretSource,
    key: &str,
    place: &dyn Fn(&str) -> Place,
    wrong: &mut dyn FnMut(Place, String, &'static str),
) {
    if matches!(source, SecretSource::Path(_)) {
        let message = format!("`{key}` is read by the gateway itself, so `path` says nothing");
        wrong(place(key), message, "use `{ env: NAME }` or `{ file: PATH }`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_receivers_that_keep_messages_private() {
        for good in [
            "https://hooks.example.com/x",
            "http://127.0.0.1:9/x",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(receiver(good).is_ok(), "{good}");
        }
        for bad in
            ["http://hooks.example.com/", "ftp://127.0.0.1/", "/x", "http://10.0.0.1/", "file:///x"]
        {
            assert!(receiver(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_begin_with_a_plain_url() {
        assert_eq!(base("https://gate.example.com/").unwrap(), "https://gate.example.com");
        assert_eq!(base("https://example.com/gate/").unwrap(), "https://example.com/gate");
        for bad in
            ["gate.example.com", "https://u:p@example.com", "https://example.com/?a", "ftp://x"]
        {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
