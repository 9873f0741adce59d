//! The address under which clients and people know the gateway.

use std::borrow::Cow;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::jwks::address;

/// An address under which the gateway is known: `https`, or `http` on this machine; no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl std::ops::Deref for PublicUrl {
    type Target = str;

    /// The address without a slash at its end.
    fn deref(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl PublicUrl {
    /// Its host, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let why = match address(&text) {
            Ok(url) if url.query().is_none() => return Ok(Self(url)),
            Ok(_) => "it has a query".to_owned(),
            Err(why) => why,
        };
        let told = format!("not an address like `https://gate.example.com`: {why}");
        Err(serde::de::Error::custom(told))
    }
}

impl JsonSchema for PublicUrl {
    fn schema_name() -> Cow<'static, str> {
        "PublicUrl".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An address like `https://gate.example.com`."
        })
    }
}
