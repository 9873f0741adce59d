//! Signing in with an `OpenID` provider: the authorization code flow with PKCE, from the way there to who came back.
//!
//! Over our own HTTP client, JSON reader and keys, as tokens of agents are; a library for it would bring all three
//! again.

mod provider;
mod settings;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use self::provider::{Exchange, Metadata, url_form};
use self::token::{Expected, IdToken};
use super::browser::Site;
use super::jwks::{Jwks, Source, configured};
use super::new_person_token;
use super::sign_in::new_secret;
use crate::backend::secrets::Secrets;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::ids::PersonName;
use crate::json::Object;
use crate::storage::{Ruled, StoreError, Subject};

pub use settings::{GivenRole, PeopleRule, PersonClaims, ProviderSettings};

/// Where the provider sends people back to.
pub const CALLBACK: &str = "/sign-in/oidc/callback";
/// How long the way there and back may take.
pub const BACK_WITHIN: Duration = Duration::from_secs(600);
/// How many may be on the way; beyond that the first that left is forgotten.
const MAX_LEFT: usize = 10_000;
/// How many groups of a token are looked at.
const MAX_GROUPS: usize = 1000;
/// The name under which the client's secret is resolved.
const SECRET: &str = "CLIENT_SECRET";

/// Why nobody signed in. People are told less: the log has the cause.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OidcError {
    /// The answer belongs to no sign-in that this browser began, or one of long ago.
    #[error("this sign-in was not begun in this browser, or took too long; begin again")]
    NotBegun,
    /// The provider, or the person there, said no.
    #[error("the provider did not sign you in")]
    Refused(String),
    /// The provider cannot be asked.
    #[error("the provider cannot be asked: {0}")]
    Provider(String),
    /// The ID token is not good.
    #[error("the provider's token is not good: {0}")]
    Token(&'static str),
    /// The token names nobody.
    #[error("the provider's token does not say who you are")]
    Nameless,
    /// The system has no random bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The provider, and who is on the way there.
pub struct Provider {
    settings: ProviderSettings,
    /// The issuer as an address.
    url: Url,
    secrets: Secrets,
    environment: fn(&str) -> Option<String>,
    client: reqwest::Client,
    keys: Arc<Jwks>,
    clock: Arc<dyn Clock>,
    left: Mutex<HashMap<String, Left>>,
}

/// Someone on the way there.
struct Left {
    browser: Digest,
    nonce: String,
    verifier: String,
    redirect: String,
    metadata: Metadata,
    until: Duration,
}

/// The way to the provider.
#[derive(Debug)]
pub struct Way {
    /// Where the browser goes.
    pub url: String,
    /// What it keeps in a cookie until it is back.
    pub secret: String,
}

/// What the provider sends back (RFC 6749, section 4.1.2; RFC 9207).
#[derive(Debug, Deserialize)]
pub struct Back {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Who came back.
#[derive(Debug)]
pub struct Identity {
    /// The name.
    pub name: PersonName,
    /// The account.
    pub subject: Subject,
    /// What the first rule that fits makes of them.
    pub ruled: Option<Ruled>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

impl Provider {
    /// The provider that `settings` name. It is asked nothing before somebody signs in.
    ///
    /// # Errors
    /// In words, when it can never be asked.
    pub fn open(
        settings: ProviderSettings,
        environment: fn(&str) -> Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let sources: BTreeMap<_, _> =
            settings.client_secret.iter().map(|it| (SECRET.to_owned(), it.clone())).collect();
        let trust = settings.trust();
        let url = configured(&settings.issuer, &trust)?;
        let source = Source::Discovered { issuer: settings.issuer.clone(), url: url.clone() };
        let keys = Jwks::open(source, &trust, Arc::clone(&clock))?;
        Ok(Self {
            secrets: Secrets::new(sources).map_err(|error| error.to_string())?,
            client: provider::client(&trust)?,
            left: Mutex::default(),
            settings,
            url,
            environment,
            keys,
            clock,
        })
    }

    /// What people know it as.
    #[must_use]
    pub fn name(&self) -> String {
        self.settings.shown()
    }

    /// The way there, for a browser at `site`.
    ///
    /// # Errors
    /// When the provider cannot be asked where that is.
    pub async fn leave(&self, site: &Site) -> Result<Way, OidcError> {
        let metadata = Metadata::fetch(&self.client, &self.settings.issuer, &self.url).await?;
        let [secret, state, nonce, verifier] =
            [new_secret()?, new_secret()?, new_secret()?, new_secret()?].map(|made| made.0);
        let redirect = format!("{}{CALLBACK}", site.origin());
        let scopes: Vec<&str> = std::iter::once("openid")
            .chain(self.settings.scopes.iter().map(String::as_str).filter(|it| *it != "openid"))
            .collect();
        let challenge = URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes());
        let asked = url_form(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &redirect),
            ("scope", &scopes.join(" ")),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let mut url = metadata.authorization.clone();
        let own = url.query().map(|own| format!("{own}&")).unwrap_or_default();
        url.set_query(Some(&format!("{own}{asked}")));
        let browser = Digest::of(secret.as_bytes());
        let until = self.clock.monotonic() + BACK_WITHIN;
        self.note(state, Left { browser, nonce, verifier, redirect, metadata, until });
        Ok(Way { url: url.into(), secret })
    }

    fn note(&self, state: String, left: Left) {
        let now = self.clock.monotonic();
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_LEFT {
            all.retain(|_, left| left.until > now);
        }
        if all.len() >= MAX_LEFT
            && let Some(first) =
                all.iter().min_by_key(|(_, it)| it.until).map(|(state, _)| state.clone())
        {
            all.remove(&first);
        }
        all.insert(state, left);
    }

    /// Who came back, to the browser with `secret` in its cookie.
    ///
    /// # Errors
    /// When the browser did not leave from here, the provider refused, or its token is not good.
    pub async fn back(&self, back: &Back, secret: Option<&str>) -> Result<Identity, OidcError> {
        let (state, secret) = back.state.as_deref().zip(secret).ok_or(OidcError::NotBegun)?;
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(state);
        let browser = Digest::of(secret.as_bytes());
        let left = left
            .filter(|left| left.browser == browser && self.clock.monotonic() < left.until)
            .ok_or(OidcError::NotBegun)?;
        // Another provider's answer must not be taken for this one's (RFC 9207, section 2.4).
        let named = back.iss.as_deref();
        if named.map_or(left.metadata.names_itself, |named| named != self.settings.issuer) {
            return Err(OidcError::Refused("the answer is another provider's".to_owned()));
        }
        if let Some(error) = &back.error {
            return Err(OidcError::Refused(error.chars().take(100).collect()));
        }
        let code = back.code.as_deref().ok_or(OidcError::NotBegun)?;
        let client_secret = self.client_secret()?;
        let exchange = Exchange {
            code,
            redirect: &left.redirect,
            verifier: &left.verifier,
            client_id: &self.settings.client_id,
            secret: client_secret.as_ref(),
        };
        let token = left.metadata.exchange(&self.client, &exchange).await?;
        let token = IdToken::read(&token)?;
        let (algorithm, id) = token.header(&self.settings.algorithms)?;
        let key = self.keys.key(id, algorithm).await;
        let key = key.ok_or(OidcError::Token("its key is not known"))?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &left.nonce,
            now: self.clock.now(),
        };
        self.identity(&token.claims((&key, algorithm), &expected)?)
    }

    fn client_secret(&self) -> Result<Option<SecretString>, OidcError> {
        let named = self.secrets.resolve(&self.environment);
        let named = named.map_err(|error| OidcError::Provider(error.to_string()))?;
        Ok(named.into_iter().next().map(|(_, secret)| secret))
    }

    fn identity(&self, claims: &Object) -> Result<Identity, OidcError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let names = &self.settings.claims;
        let name: PersonName =
            text(&names.name).and_then(|name| name.parse().ok()).ok_or(OidcError::Nameless)?;
        // Whoever says to have an address that nobody checked could be anybody.
        let unverified = claims.get("email_verified").is_none_or(|it| *it != Value::Bool(true));
        let subject = text("sub").filter(|it| !it.is_empty()).ok_or(OidcError::Nameless)?;
        if names.name == "email" && unverified {
            return Err(OidcError::Token("it does not say that the address was verified"));
        }
        let groups: Vec<&str> = match claims.get(&names.groups) {
            Some(Value::Array(all)) => {
                all.iter().take(MAX_GROUPS).filter_map(Value::as_str).collect()
            }
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        };
        let rule = self.settings.people.iter().find(|rule| groups.contains(&rule.group.as_str()));
        let ruled = match rule {
            Some(rule) => Some(Ruled {
                role: rule.role.into(),
                groups: rule.groups.clone(),
                token_digest: new_person_token()?.1,
            }),
            None => None,
        };
        let issuer = self.settings.issuer.clone();
        let subject = Subject { issuer, subject: subject.to_owned(), managed: false };
        Ok(Identity { name, subject, ruled })
    }
}
