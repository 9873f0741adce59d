//! The messages of our page's program: register a passkey, and sign in with one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Wrong, message};
use super::invitation::find;
use super::visiting::{Caller, Sent};
use crate::authentication::passkeys::{ALGORITHMS, Asked, Purpose, Registered, Signed, new_handle};
use crate::authentication::{SignInError, Visitor, registered};
use crate::digest::Digest;
use crate::gateway::Gateway;
use crate::ids::PersonName;
use crate::principal::{Authentication, Person};
use crate::storage::{AccessError, Credential, Proof};

/// An empty message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What a browser needs to make a passkey.
#[derive(Serialize)]
struct ToRegister {
    #[serde(flatten)]
    asked: Asked,
    name: String,
    handle: String,
    algorithms: [i32; 3],
    known: Vec<String>,
}

pub(super) async fn ask_to_sign_in(
    State(gateway): State<Arc<Gateway>>,
    Sent { caller, .. }: Sent<Nothing>,
) -> Response {
    let begun = || {
        let address = caller.from.address;
        gateway.sign_in.attempts.from_address(address).map_err(SignInError::from)?;
        let asked =
            gateway.sign_in.passkeys.begin(&caller.site, &caller.browser, Purpose::SignIn)?;
        asked.ok_or_else(no_name)
    };
    message(begun().map(|asked| (Json(json!(asked)), caller.cookies())))
}

pub(super) async fn sign_in(
    State(gateway): State<Arc<Gateway>>,
    Sent { caller, message: answer }: Sent<Signed>,
) -> Response {
    message(signed_in(&gateway, &caller, &answer).await)
}

async fn signed_in(
    gateway: &Gateway,
    caller: &Caller,
    answer: &Signed,
) -> Result<(Json<serde_json::Value>, Vec<String>), Wrong> {
    let refused = || {
        gateway.sign_in.failed(Authentication::Passkey);
        Wrong::from(AccessError::NotProven)
    };
    let answered =
        gateway.sign_in.passkeys.answered(answer, &caller.browser).ok_or_else(refused)?;
    let known = gateway.store.passkey(&answered.id).await?;
    let (name, passkey) = known.ok_or_else(refused)?;
    let counter = answered.signed_by(&passkey).ok_or_else(refused)?;
    let proof = Proof::Passkey { id: passkey.id, counter };
    let (person, from) = (Person::registered(&name), caller.from.clone());
    let opened = gateway.sign_in.begin(person, Authentication::Passkey, from, proof).await;
    // Who is in the register no more is told what everybody is told whose passkey opens nothing.
    if matches!(opened, Err(AccessError::NotListed)) {
        return Err(AccessError::NotProven.into());
    }
    let visitor = opened?;
    entered(gateway, caller, &visitor).await
}

async fn entered(
    gateway: &Gateway,
    caller: &Caller,
    visitor: &Visitor,
) -> Result<(Json<serde_json::Value>, Vec<String>), Wrong> {
    let cookies = caller.let_in(gateway, visitor).await?;
    Ok((Json(json!({ "next": caller.next() })), cookies))
}

pub(super) async fn ask_to_add(
    State(gateway): State<Arc<Gateway>>,
    Sent { caller, .. }: Sent<Nothing>,
) -> Response {
    let begun = async {
        let (visitor, _) = caller.visitor.as_ref().ok_or_else(Wrong::not_ours)?;
        super::account::fresh(&gateway, visitor)?;
        let (name, under) = own(&caller)?;
        to_register(&gateway, &caller, (&name, under)).await
    };
    message(begun.await.map(|asked| (Json(json!(asked)), caller.cookies())))
}

pub(super) async fn add(
    State(gateway): State<Arc<Gateway>>,
    Sent { caller, message: answer }: Sent<Registered>,
) -> Response {
    let added = async {
        let (_, under) = own(&caller)?;
        let (visitor, _) = caller.visitor.as_ref().ok_or_else(Wrong::not_ours)?;
        let credential = made(&gateway, &caller, (&answer, under))?;
        gateway.sign_in.set_credential(visitor, credential).await?;
        // Whose signatures are whose is known from memory too.
        gateway.people.reload(gateway.store.as_ref()).await?;
        Ok((Json(json!({ "next": "/account?done=passkey-added" })), Vec::new()))
    };
    message(added.await)
}

pub(super) async fn ask_invited(
    State(gateway): State<Arc<Gateway>>,
    Path(code): Path<String>,
    Sent { caller, .. }: Sent<Nothing>,
) -> Response {
    let begun = async {
        let (link, invited) = find(&gateway, &caller, &code).await?;
        to_register(&gateway, &caller, (&invited.name, link.digest)).await
    };
    message(begun.await.map(|asked| (Json(json!(asked)), caller.cookies())))
}

pub(super) async fn accept_invitation(
    State(gateway): State<Arc<Gateway>>,
    Path(code): Path<String>,
    Sent { caller, message: answer }: Sent<Registered>,
) -> Response {
    let accepted = async {
        let (link, _) = find(&gateway, &caller, &code).await?;
        let credential = made(&gateway, &caller, (&answer, link.digest))?;
        let visitor = gateway.sign_in.accept(&link, credential, caller.from.clone()).await?;
        gateway.people.reload(gateway.store.as_ref()).await?;
        entered(&gateway, &caller, &visitor).await
    };
    message(accepted.await)
}

/// Who is signed in, and the session's digest.
fn own(caller: &Caller) -> Result<(PersonName, Digest), Wrong> {
    let (visitor, _) = caller.visitor.as_ref().ok_or_else(Wrong::not_ours)?;
    Ok((registered(&visitor.session.person)?, visitor.session.digest))
}

async fn to_register(
    gateway: &Gateway,
    caller: &Caller,
    (name, under): (&PersonName, Digest),
) -> Result<ToRegister, Wrong> {
    let passkeys = gateway.store.credentials(name).await?.passkeys;
    let handle = match passkeys.first() {
        Some(passkey) => passkey.handle.clone(),
        None => new_handle()?,
    };
    let purpose = Purpose::Register { under, handle: handle.clone() };
    let asked = gateway.sign_in.passkeys.begin(&caller.site, &caller.browser, purpose)?;
    Ok(ToRegister {
        asked: asked.ok_or_else(no_name)?,
        name: name.to_string(),
        handle,
        algorithms: ALGORITHMS,
        known: passkeys.into_iter().map(|passkey| passkey.id).collect(),
    })
}

fn made(
    gateway: &Gateway,
    caller: &Caller,
    (answer, under): (&Registered, Digest),
) -> Result<Credential, Wrong> {
    let now = gateway.clock.now();
    let passkey = gateway.sign_in.passkeys.registered(answer, (&caller.browser, under), now);
    Ok(Credential::Passkey(passkey.ok_or(AccessError::NotProven)?))
}

fn no_name() -> Wrong {
    let told = "Passkeys need a name: open this page under `localhost` or the name of the gateway.";
    Wrong::new(StatusCode::BAD_REQUEST, told)
}
