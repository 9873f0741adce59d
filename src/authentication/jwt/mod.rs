//! Access tokens of authorization servers (JWT) become principals: the gateway as an OAuth 2.1 resource server.
//!
//! In order, and nothing is believed before: the form; the issuer, which must be a configured one; the algorithm,
//! which the configuration lists and the token only names; the key, by issuer and name; the signature; audience,
//! time, subject, scopes; the name of the agent, which must be no registered one's.

mod claims;
mod settings;
mod token;

use std::sync::Arc;

use jiff::Timestamp;

use self::token::Unverified;
use super::Agents;
use super::denied::{Denied, Reason};
use super::jwks::Jwks;
use crate::clock::Clock;
use crate::principal::Principal;

pub use settings::{Claims, IssuerSettings, Settings};

/// All configured issuers.
pub struct Issuers {
    all: Vec<Issuer>,
    resource: String,
}

struct Issuer {
    settings: IssuerSettings,
    audience: String,
    keys: Arc<Jwks>,
}

impl Issuers {
    /// The issuers of `settings`, whose keys are fetched once [`Jwks::keep`] runs. `resource` is the address of the
    /// gateway's MCP endpoint as clients know it, for which tokens are issued (RFC 8707).
    ///
    /// # Errors
    /// In words, when an address of the settings is none that keys are fetched from, or there is no HTTP client.
    pub fn open(
        settings: &Settings,
        resource: String,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let open = |settings: &IssuerSettings| {
            let keys = Jwks::open(settings.source()?, &settings.trust(), Arc::clone(clock))
                .map_err(|error| format!("no HTTP client: {error}"))?;
            let audience = settings.audience.clone().unwrap_or_else(|| resource.clone());
            Ok::<_, String>(Issuer { settings: settings.clone(), audience, keys })
        };
        let all = settings.jwt.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { all, resource })
    }

    /// Whether there is none, and gateway tokens are the only ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The address of the gateway's MCP endpoint as clients know it.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The names of the issuers and where it stands with their keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Arc<Jwks>)> {
        self.all.iter().map(|issuer| (issuer.settings.issuer.as_str(), &issuer.keys))
    }

    /// All scopes that tokens may have to carry, each once.
    #[must_use]
    pub fn scopes(&self) -> Vec<&str> {
        let mut scopes: Vec<&str> = Vec::new();
        for scope in self.all.iter().flat_map(|issuer| &issuer.settings.scopes) {
            if !scopes.contains(&scope.as_str()) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// The principal of the bearer of `token` at `now`.
    ///
    /// # Errors
    /// With why it lets nobody in.
    pub(super) async fn verify(
        &self,
        token: &str,
        agents: &Agents,
        now: Timestamp,
    ) -> Result<Principal, Denied> {
        let unverified = Unverified::read(token)?;
        let issuer = unverified.issuer();
        let issuer = self.all.iter().find(|it| Some(it.settings.issuer.as_str()) == issuer);
        let issuer = issuer.ok_or(Reason::Issuer)?;
        let (algorithm, key) = unverified.header(&issuer.settings.algorithms)?;
        let key = issuer.keys.key(key, algorithm).await.ok_or(Reason::Key)?;
        let claims = unverified.verify(&key, algorithm)?;
        let bearer = claims::bearer(&claims, &issuer.settings, &issuer.audience, now)?;
        // A registered name is that of whoever has its gateway tokens, also after they were revoked.
        if agents.has_registered(&bearer.agent) {
            return Err(Reason::Registered.into());
        }
        Ok(Principal::authenticated(bearer.agent, bearer.groups, bearer.owner))
    }
}
