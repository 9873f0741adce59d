//! What is asked of a provider over HTTP: where its endpoints are, and a code's tokens.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::OidcError;
use crate::authentication::jwks::address;
use crate::backend::outgoing::{self, Trust};
use crate::json;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a document may be, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// Where a provider's endpoints are, and what it does.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization: Url,
    token: Url,
    /// Whether its answers say who it is (RFC 9207).
    pub(super) names_itself: bool,
    /// Whether it takes the client's secret in the body alone.
    secret_in_body: bool,
}

/// What a code is exchanged with.
pub(super) struct Exchange<'a> {
    pub(super) code: &'a str,
    pub(super) redirect: &'a str,
    pub(super) verifier: &'a str,
    pub(super) client_id: &'a str,
    pub(super) secret: Option<&'a SecretString>,
}

/// A client that goes nowhere but where it is sent, and `trust` lets it.
pub(super) fn client(trust: &Trust) -> Result<Client, String> {
    let client = outgoing::client(trust).map_err(|error| error.to_string())?;
    client.timeout(TIMEOUT).build().map_err(|error| error.to_string())
}

impl Metadata {
    /// Asks the provider that `issuer` names, at `url`.
    pub(super) async fn fetch(client: &Client, issuer: &str, url: &Url) -> Result<Self, OidcError> {
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let told = document(client.get(place)).await?;
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(OidcError::Provider("its metadata names another issuer".to_owned()));
        }
        let endpoint = |name: &str| {
            let url = text(name).ok_or_else(|| format!("its metadata has no `{name}`"))?;
            address(url).map_err(|why| format!("`{name}`: {why}"))
        };
        let listed = |name: &str, value: &str| {
            let all = told.get(name).and_then(Value::as_array);
            all.map(|all| all.iter().any(|it| it == value))
        };
        let methods = "token_endpoint_auth_methods_supported";
        Ok(Self {
            authorization: endpoint("authorization_endpoint").map_err(OidcError::Provider)?,
            token: endpoint("token_endpoint")
                .and_then(|token| {
                    let token = outgoing::discovered(token.as_str(), url);
                    token.map_err(|why| format!("`token_endpoint`: {why}"))
                })
                .map_err(OidcError::Provider)?,
            names_itself: told
                .get("authorization_response_iss_parameter_supported")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            secret_in_body: listed(methods, "client_secret_basic") == Some(false),
        })
    }

    /// The ID token that a code is good for.
    pub(super) async fn exchange(
        &self,
        client: &Client,
        exchange: &Exchange<'_>,
    ) -> Result<String, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", exchange.code),
            ("redirect_uri", exchange.redirect),
            ("code_verifier", exchange.verifier),
        ];
        let mut request = client.post(self.token.clone());
        match exchange.secret {
            Some(secret) if !self.secret_in_body => {
                // Both are written as in a form first (RFC 6749, section 2.3.1).
                let [name, secret] = [exchange.client_id, secret.expose_secret()].map(form_encoded);
                request = request.basic_auth(name, Some(secret));
            }
            Some(secret) => {
                form.push(("client_id", exchange.client_id));
                form.push(("client_secret", secret.expose_secret()));
            }
            None => form.push(("client_id", exchange.client_id)),
        }
        let body = url_form(&form);
        let request = request
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let told = document(request).await?;
        let token = told.get("id_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or(OidcError::Token("there is none in the answer"))
    }
}

async fn document(request: RequestBuilder) -> Result<Value, OidcError> {
    let failed = |error: reqwest::Error| {
        OidcError::Provider(format!("{:#}", anyhow::Error::from(error.without_url())))
    };
    let mut response = request.send().await.map_err(failed)?;
    if response.status() != http::StatusCode::OK {
        return Err(OidcError::Provider(format!("it answered {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(OidcError::Provider(format!("it answered more than {MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    json::parse(&body).map_err(|_| OidcError::Provider("it answered no JSON".to_owned()))
}

fn form_encoded(text: &str) -> String {
    url_form(&[("", text)]).trim_start_matches('=').to_owned()
}

/// The pairs as a form writes them.
pub(super) fn url_form(pairs: &[(&str, &str)]) -> String {
    let mut query = Url::parse("http://localhost").map(|mut url| {
        url.query_pairs_mut().extend_pairs(pairs);
        url.query().unwrap_or_default().to_owned()
    });
    query.as_mut().map(std::mem::take).unwrap_or_default()
}
