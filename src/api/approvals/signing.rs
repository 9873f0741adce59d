//! What a person signs to decide, and under which address a passkey's signature was made.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use http::StatusCode;
use http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MAX_REASON, find};
use crate::api::{Body, Failure, Path, Reviewer};
use crate::authentication::browser::Site;
use crate::call::holding::{digest_of_edit, refuse_signature};
use crate::digest::Digest;
use crate::evidence::Signature;
use crate::evidence::signature::{Resolves, Statement};
use crate::gateway::Gateway;
use crate::hold::{Decision, Hold, Lost, Resolution, Verdict};
use crate::json::Object;
use crate::principal::{Capacity, Person};
use crate::storage::HoldError;

/// A verdict that is to be signed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementWanted {
    /// Approve or reject.
    decision: Decision,
    /// The call digest that was shown.
    digest: Digest,
    /// Why; shown to the agent.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    reason: Option<String>,
    /// The arguments that are approved in place of those that were shown.
    #[serde(default)]
    edit: Option<Object>,
    /// What became of the execution, where its outcome is unknown and that is what is said.
    #[serde(default)]
    resolution: Option<Resolution>,
}

fn resolves(hold: &Hold, resolution: Option<Resolution>) -> Result<Option<Resolves>, Failure> {
    let Some(resolution) = resolution else { return Ok(None) };
    let told = "the outcome of this call is not unknown";
    let call = hold.execution().ok_or_else(|| Failure::new(StatusCode::CONFLICT, told))?;
    Ok(Some(Resolves { resolution, call }))
}

/// What a person signs, and with which passkeys this can be done here.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatementMade {
    /// The text: canonical JSON (RFC 8785). An SSH key signs it as it is; the challenge for a passkey is the SHA-256
    /// of its UTF-8 bytes.
    pub message: String,
    /// The domain that passkeys must be of; absent under a bare address, where there are none.
    pub domain: Option<String>,
    /// The passkeys of the person that can sign it.
    pub passkeys: Vec<SigningPasskey>,
    /// How many more the person has: of another domain, or from before the record had what is needed to check
    /// them. They are added anew to sign.
    pub unfit: usize,
}

/// A passkey that verdicts can be signed with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SigningPasskey {
    /// Its identifier, in base64url.
    pub id: String,
    /// The person's name for it.
    pub name: String,
}

pub(in crate::api) async fn state(
    State(gateway): State<Arc<Gateway>>,
    Reviewer(person): Reviewer,
    Under(site): Under,
    Path(id): Path<String>,
    Body(wanted): Body<StatementWanted>,
) -> Result<Json<StatementMade>, Failure> {
    if wanted.reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(super::long("reason", MAX_REASON));
    }
    let hold = find(&gateway, &id).await?;
    if wanted.digest != hold.digest {
        let lost = Lost::OtherDigest { seen: wanted.digest, held: hold.digest };
        return Err(HoldError::Lost { lost, hold: Box::new(hold) }.into());
    }
    let digest = match wanted.edit {
        Some(arguments) => digest_of_edit(&gateway, &hold, arguments)?,
        None => hold.digest,
    };
    let statement = Statement {
        hold: hold.id,
        digest: &digest,
        decision: wanted.decision,
        person: &person.name,
        reason: wanted.reason.as_deref(),
        decide_by: hold.decide_by,
        resolves: resolves(&hold, wanted.resolution)?,
    };
    let unwritable = |error: &dyn std::fmt::Display| {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, format!("it has no canonical form: {error}"))
    };
    let message = statement.message().map_err(|error| unwritable(&error))?;
    let message = String::from_utf8(message).map_err(|error| unwritable(&error))?;
    let domain = site.as_ref().and_then(Site::domain).map(str::to_owned);
    let (passkeys, unfit) = passkeys_of(&gateway, &person, domain.as_deref()).await?;
    Ok(Json(StatementMade { message, domain, passkeys, unfit }))
}

/// The passkeys with which a person can sign under `domain`, and how many others there are.
async fn passkeys_of(
    gateway: &Gateway,
    person: &Person,
    domain: Option<&str>,
) -> Result<(Vec<SigningPasskey>, usize), Failure> {
    let capacity = gateway.people.capacity(person, gateway.clock.now());
    let Some(Capacity { known_as, passkeys, .. }) = capacity else { return Ok((Vec::new(), 0)) };
    let mut all = 0;
    for name in known_as.iter().filter_map(|name| name.parse().ok()) {
        all += gateway.store.credentials(&name).await?.passkeys.len();
    }
    let fit = passkeys.into_iter().filter(|passkey| Some(passkey.domain.as_str()) == domain);
    let fit: Vec<_> = fit.map(|it| SigningPasskey { id: it.id, name: it.name }).collect();
    let unfit = all.saturating_sub(fit.len());
    Ok((fit, unfit))
}

/// The address under which a request came, if it came to one.
pub(in crate::api) struct Under(Option<Site>);

impl FromRequestParts<Arc<Gateway>> for Under {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Failure> {
        Ok(Self(Site::of(parts, gateway.config.public_url.as_deref())))
    }
}

impl Under {
    /// The verdict, if a passkey's signature of it was asked for by a page of exactly this address; with the name
    /// of the passkey, for those who read it later.
    pub(super) async fn checked(
        &self,
        gateway: &Gateway,
        hold: &Hold,
        mut verdict: Verdict,
    ) -> Result<Verdict, Failure> {
        let Some(Signature::Passkey(assertion)) = &mut verdict.signature else {
            return Ok(verdict);
        };
        let known = gateway.store.passkey(&assertion.credential).await?;
        assertion.name = known.map(|(_, passkey)| passkey.name);
        let own = self.0.as_ref().map(Site::origin);
        let asked = assertion.origin();
        if own.is_some() && own == asked {
            return Ok(verdict);
        }
        let asked: String =
            asked.unwrap_or_else(|| "nobody".to_owned()).chars().take(256).collect();
        let own = own.unwrap_or_else(|| "no page".to_owned());
        let why =
            format!("the passkey's signature was asked for by {asked}; this gateway is {own} here");
        refuse_signature(gateway, hold.clone(), &verdict, why).await?;
        Ok(verdict)
    }
}
