//! How issuers of agents' tokens are written in `countersign.yaml`, and what is wrong with one before any token
//! comes.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::authentication::Algorithm;
use crate::authentication::jwks::{Source, configured};
use crate::authentication::oidc::ProviderSettings;
use crate::authentication::settings::SessionSettings;
use crate::backend::outgoing::Trust;
use crate::catalog::manifest::Span;
use crate::ids::AgentName;
use crate::source::{Places, Problem, SourceFile};

/// How many issuers there may be.
const MAX_ISSUERS: usize = 16;
/// How far the clocks of an issuer and the gateway may be apart at the most.
const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// The longest prefix of agents' names, in bytes.
const MAX_PREFIX_BYTES: usize = 32;
/// How many scopes may be demanded.
const MAX_SCOPES: usize = 16;

/// How agents are let in besides gateway tokens, and how people sign in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Authorization servers whose access tokens (JWT) let agents in.
    pub jwt: Vec<IssuerSettings>,
    /// How long people stay signed in.
    pub sessions: SessionSettings,
    /// The OpenID provider that people may sign in with.
    pub oidc: Option<ProviderSettings>,
}

/// One authorization server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its name, exactly as `iss` of its tokens says it: `https`, or `http` on loopback.
    pub issuer: String,
    /// What `aud` of its tokens must contain; the gateway's own address, `PUBLIC_URL/mcp`, when absent.
    #[serde(default)]
    pub audience: Option<String>,
    /// Where its keys are; found by its metadata (RFC 8414, OpenID Connect Discovery) when absent.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// Whether its name may lead to addresses that are not public.
    #[serde(default)]
    pub allow_private: bool,
    /// A file of certificates (PEM) that are believed in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How its tokens may be signed.
    #[serde(default = "es256")]
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and the gateway's may be apart; at most 5 m.
    #[serde(default = "a_minute")]
    pub leeway: Span,
    /// The scopes that a token must carry, all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What the names of its agents begin with. With several issuers each needs its own.
    #[serde(default)]
    pub prefix: String,
    /// Which claims say who the bearer is.
    #[serde(default)]
    pub claims: Claims,
}

/// Which claims say who the bearer is: names of claims, or JSON Pointers into them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// The agent's name, a text.
    pub agent: String,
    /// The agent's groups, an array of texts; no groups when absent.
    pub groups: Option<String>,
    /// The person the agent acts for, a text; nobody is known when absent.
    pub owner: Option<String>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { agent: "sub".to_owned(), groups: None, owner: None }
    }
}

fn es256() -> Vec<Algorithm> {
    vec![Algorithm::ES256]
}

const fn a_minute() -> Span {
    Span(Duration::from_secs(60))
}

impl Settings {
    /// Everything that is wrong, with its place in `file`.
    #[must_use]
    pub fn problems(&self, file: &SourceFile, places: &Places) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |at: &str, message: String, hint: &'static str| {
            let place = places.value(&format!("/authentication/jwt{at}"));
            found.push(Problem::new(file, place, message).hint(hint));
        };
        if self.jwt.len() > MAX_ISSUERS {
            wrong("", format!("more than {MAX_ISSUERS} issuers"), "name those that are used");
        }
        for (index, issuer) in self.jwt.iter().enumerate() {
            issuer.problems(&mut |key, message, hint| {
                wrong(&format!("/{index}/{key}"), message, hint);
            });
            for before in self.jwt.iter().take(index) {
                if before.issuer == issuer.issuer {
                    let message = format!("a second issuer `{}`", issuer.issuer);
                    wrong(&format!("/{index}/issuer"), message, "write each issuer once");
                } else if overlap(&before.prefix, &issuer.prefix) {
                    let message = format!(
                        "agents of `{}` could have the names of agents of `{}`",
                        issuer.issuer, before.issuer
                    );
                    let hint = "give each a `prefix` that no other begins with, like `corp.`";
                    wrong(&format!("/{index}"), message, hint);
                }
            }
        }
        if let Some(provider) = &self.oidc {
            found.extend(provider.problems(file, places));
        }
        found
    }
}

/// Whether a name could begin with both.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    one.starts_with(&other) || other.starts_with(&one)
}

impl IssuerSettings {
    fn problems(&self, wrong: &mut dyn FnMut(&str, String, &'static str)) {
        let fetched = "use `https`, or `http` on a loopback address";
        match configured(&self.issuer, &self.trust()) {
            Err(why) => wrong("issuer", why, fetched),
            Ok(url) if url.query().is_some() => {
                wrong("issuer", "an issuer has no query".to_owned(), "write it as `iss` has it");
            }
            Ok(_) => {}
        }
        if let Some(Err(why)) = self.jwks_url.as_deref().map(|url| configured(url, &self.trust())) {
            wrong("jwks_url", why, fetched);
        }
        if self.audience.as_deref() == Some("") {
            let message = "an empty audience".to_owned();
            wrong("audience", message, "leave it out, or write what `aud` says");
        }
        if self.algorithms.is_empty() {
            let message = "no algorithm, so no token would be valid".to_owned();
            wrong("algorithms", message, "name those that the issuer signs with, like `ES256`");
        }
        if self.leeway.0 > MAX_LEEWAY {
            let message = format!("more than {} s", MAX_LEEWAY.as_secs());
            wrong("leeway", message, "set the machine's clocks right instead");
        }
        let fits = self.prefix.len() <= MAX_PREFIX_BYTES
            && (self.prefix.is_empty() || self.prefix.parse::<AgentName>().is_ok());
        if !fits {
            let message = format!("`{}` begins no agent's name", self.prefix);
            wrong("prefix", message, "use up to 32 letters, digits, `.`, `_` and `-`");
        }
        // RFC 6749, section 3.3.
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|it| it.is_ascii_graphic() && !b"\"\\".contains(&it))
        };
        if self.scopes.len() > MAX_SCOPES || !self.scopes.iter().all(is_scope) {
            let message = format!("not up to {MAX_SCOPES} scopes");
            wrong("scopes", message, "write them as the issuer grants them, one by one");
        }
        let names =
            [Some(&self.claims.agent), self.claims.groups.as_ref(), self.claims.owner.as_ref()];
        if names.into_iter().flatten().any(String::is_empty) {
            let message = "a claim without a name".to_owned();
            wrong("claims", message, "write a name like `sub`, or a pointer like `/realm/roles`");
        }
    }

    /// Where its keys may come from.
    pub(super) fn trust(&self) -> Trust {
        Trust { allow_private: self.allow_private, ca: self.ca.clone() }
    }

    /// Where its keys are.
    ///
    /// # Errors
    /// In words, when that is no address that keys are fetched from.
    pub(super) fn source(&self) -> Result<Source, String> {
        match &self.jwks_url {
            Some(url) => configured(url, &self.trust()).map(Source::At),
            None => {
                let url: Url = configured(&self.issuer, &self.trust())?;
                Ok(Source::Discovered { issuer: self.issuer.clone(), url })
            }
        }
    }
}
