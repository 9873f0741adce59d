//! How an OpenID provider is written in `countersign.yaml`, and whom its claims let in.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::authentication::Algorithm;
use crate::authentication::jwks::{address, configured};
use crate::backend::outgoing::Trust;
use crate::catalog::manifest::SecretSource;
use crate::principal::Role;
use crate::source::{Places, Problem, SourceFile};

/// How many rules there may be.
const MAX_RULES: usize = 100;
/// How many groups a rule may give.
const MAX_GROUPS: usize = 32;

/// The OpenID provider that people may sign in with.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Its name, exactly as `iss` of its tokens says it: `https`, or `http` on loopback.
    pub issuer: String,
    /// Whether its name may lead to addresses that are not public.
    #[serde(default)]
    pub allow_private: bool,
    /// A file of certificates (PEM) that are believed in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What people know it as.
    #[serde(default)]
    pub name: Option<String>,
    /// As what it knows this gateway.
    pub client_id: String,
    /// The secret that goes with it, `{ env: NAME }` or `{ file: PATH }`; none for a public client.
    #[serde(default)]
    pub client_secret: Option<SecretSource>,
    /// What it is asked for besides `openid`.
    #[serde(default = "profile")]
    pub scopes: Vec<String>,
    /// How its ID tokens may be signed.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Which claims of an ID token say who the person is.
    #[serde(default)]
    pub claims: PersonClaims,
    /// Who is let in without being in the register: the first rule that fits makes them what it says.
    #[serde(default)]
    pub people: Vec<PeopleRule>,
}

/// Which claims of an ID token say who the person is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PersonClaims {
    /// The person's name in the register. Take one that people cannot change by themselves.
    pub name: String,
    /// The groups that rules go by, an array of texts.
    pub groups: String,
}

impl Default for PersonClaims {
    fn default() -> Self {
        Self { name: "preferred_username".to_owned(), groups: "groups".to_owned() }
    }
}

/// Whom a group of the provider's lets in, as what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeopleRule {
    /// The provider's group that the person must be in.
    pub group: String,
    /// The role. Nobody becomes an operator by what a provider says.
    pub role: GivenRole,
    /// The groups here, which rules name as `group:NAME`.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A role that a rule may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GivenRole {
    /// Reads everything that people may read.
    Viewer,
    /// Decides about held calls.
    Reviewer,
}

impl From<GivenRole> for Role {
    fn from(role: GivenRole) -> Self {
        match role {
            GivenRole::Viewer => Self::Viewer,
            GivenRole::Reviewer => Self::Reviewer,
        }
    }
}

fn profile() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256]
}

impl ProviderSettings {
    /// What people know it as.
    #[must_use]
    pub fn shown(&self) -> String {
        let host = || address(&self.issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.name.clone().or_else(host).unwrap_or_else(|| self.issuer.clone())
    }

    /// Where it may be reached.
    pub(super) fn trust(&self) -> Trust {
        Trust { allow_private: self.allow_private, ca: self.ca.clone() }
    }

    /// Everything that is wrong, with its place in `file`.
    #[must_use]
    pub fn problems(&self, file: &SourceFile, places: &Places) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, message: String, hint: &'static str| {
            let place = places.value(&format!("/authentication/oidc/{key}"));
            found.push(Problem::new(file, place, message).hint(hint));
        };
        if let Err(why) = configured(&self.issuer, &self.trust()) {
            wrong("issuer", why, "use `https`, or `http` on a loopback address");
        }
        if self.client_id.is_empty() {
            let hint = "write what the provider calls this gateway";
            wrong("client_id", "an empty name".to_owned(), hint);
        }
        if matches!(self.client_secret, Some(SecretSource::Path(_))) {
            let message = "a path is no secret".to_owned();
            wrong("client_secret", message, "use `{ env: NAME }` or `{ file: PATH }`");
        }
        if self.algorithms.is_empty() {
            let message = "no algorithm, so no token would be valid".to_owned();
            wrong(
                "algorithms",
                message,
                "leave it out, or name those that the provider signs with",
            );
        }
        // RFC 6749, section 3.3.
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|it| it.is_ascii_graphic() && !b"\"\\".contains(&it))
        };
        if !self.scopes.iter().all(is_scope) {
            wrong("scopes", "not scopes".to_owned(), "write them one by one, like `profile`");
        }
        if self.claims.name.is_empty() || self.claims.groups.is_empty() {
            wrong("claims", "a claim without a name".to_owned(), "write a name like `email`");
        }
        let many = |rule: &PeopleRule| rule.groups.len() > MAX_GROUPS || rule.group.is_empty();
        if self.people.len() > MAX_RULES || self.people.iter().any(many) {
            let message = format!(
                "not up to {MAX_RULES} rules, each with a group of the provider's and up to {MAX_GROUPS} here"
            );
            wrong("people", message, "let people in by groups that have many of them");
        }
        found
    }
}
