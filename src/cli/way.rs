//! The way from a person's command to the gateway: over HTTP with a token, or the socket in the data directory.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Failed;
use super::local::{self, Opened};
use crate::api;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Flags};
use crate::server;

/// How long one request to the gateway may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest file of a token, in bytes.
const MAX_TOKEN: u64 = 4096;
/// Who may read a file besides its owner.
const OTHERS: u32 = 0o077;
/// How often at most a verdict is sent while the connection breaks.
const TRIES: u32 = 3;
/// How long it is waited before it is sent again.
const PAUSE: Duration = Duration::from_millis(300);

/// Where the gateway is, if not in the data directory.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Remote {
    /// Reach a gateway over HTTP, like `https://gateway.example`, and not the one of the data directory
    #[arg(long, value_name = "URL", global = true)]
    pub(super) url: Option<String>,
    /// The file that holds your token for `--url`; only you may be able to read it
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
}

/// The commands of a person, who may be elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct FromAfar<C: clap::Subcommand> {
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    pub(super) command: C,
}

/// A connection to a gateway.
pub(super) struct Way {
    http: reqwest::Client,
    base: String,
    opened: Option<Opened>,
}

impl Way {
    /// Reaches the gateway that `remote` names; else the one of the data directory that runs, or opens one.
    pub(super) async fn reach(flags: &Flags, remote: &Remote) -> Result<Self, Failed> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        let (client, base, opened) = match (&remote.url, &remote.token_file) {
            (Some(url), Some(file)) => {
                let base = checked(url)?;
                let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer(file)?)]);
                // A token goes to the gateway that was named and nowhere else.
                (client.default_headers(headers).redirect(Policy::none()), base, None)
            }
            (None, None) => {
                let config = Config::load(flags)?;
                let socket = server::socket_path(&config.data);
                let opened = local::reach(config, &socket).await?;
                (client.unix_socket(socket), "http://localhost".to_owned(), opened)
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failed::new(2, "`--url` and `--token-file` go together"));
            }
        };
        let http = client.build().map_err(anyhow::Error::from)?;
        Ok(Self { http, base, opened })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        self.send(self.http.get(self.url(path))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failed> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// Sends what counts once however often it arrives, and sends it again when the connection breaks.
    pub(super) async fn post_again<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failed> {
        let clock = SystemClock::new();
        let mut tries = 1;
        loop {
            match answer(self.http.post(self.url(path)).json(body)).await {
                Err(error) if tries < TRIES && is_broken(&error) => {
                    tries += 1;
                    clock.sleep(PAUSE).await;
                }
                answered => return read(answered.map_err(unreachable)?),
            }
        }
    }

    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failed> {
        self.send(self.http.patch(self.url(path)).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Failed> {
        let (status, text) = answer(self.http.delete(self.url(path))).await.map_err(unreachable)?;
        refused(status, text).map(drop)
    }

    /// Ends the gateway that this command opened, if it did, after it has finished what it began.
    pub(super) async fn leave(self) {
        if let Some(opened) = self.opened {
            opened.close().await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failed> {
        read(answer(request).await.map_err(unreachable)?)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(StatusCode, String), reqwest::Error> {
    let response = request.send().await?;
    let status = response.status();
    Ok((status, response.text().await?))
}

/// Whether no answer came because the connection broke. One that is late may still come.
fn is_broken(error: &reqwest::Error) -> bool {
    !error.is_timeout() && !error.is_builder()
}

fn read<T: DeserializeOwned>((status, text): (StatusCode, String)) -> Result<T, Failed> {
    let text = refused(status, text)?;
    serde_json::from_str(&text).map_err(|error| {
        Failed::new(1, format!("what answers is no gateway of this version: {error}"))
    })
}

/// The gateway's address without a path.
fn checked(url: &str) -> Result<String, Failed> {
    let wrong = |why: &str| Failed::new(2, format!("`{url}` {why}"));
    let parsed: http::Uri = url
        .parse()
        .map_err(|_| wrong("is not the address of a gateway, like `https://gateway.example`"))?;
    let (scheme, host) = (parsed.scheme_str(), parsed.host());
    let here = host.is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    match (scheme, parsed.authority()) {
        (Some("http"), Some(_)) if !here => {
            Err(wrong("is not encrypted, and your token would be for all to read: use https"))
        }
        (Some(scheme @ ("http" | "https")), Some(authority)) => {
            Ok(format!("{scheme}://{authority}"))
        }
        _ => Err(wrong("does not begin with `https://` or `http://`")),
    }
}

/// The token in `file`, as the value of a header.
fn bearer(file: &Path) -> Result<HeaderValue, Failed> {
    let wrong = |why: String| Failed::new(2, format!("{}: {why}", file.display()));
    let opened = File::open(file).map_err(|error| wrong(error.to_string()))?;
    let mode = opened.metadata().map_err(|error| wrong(error.to_string()))?.permissions().mode();
    if mode & OTHERS != 0 {
        let (name, mode) = (file.display(), mode & 0o777);
        return Err(wrong(format!(
            "others may read this token (mode {mode:04o}), and who has it is you: chmod 600 {name}"
        )));
    }
    let mut text = String::new();
    opened.take(MAX_TOKEN).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| wrong("this is not a token".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreachable(error: reqwest::Error) -> Failed {
    Failed::new(
        1,
        format!("the gateway does not answer: {:#}", anyhow::anyhow!(error.without_url())),
    )
}

/// The text of an answer; a refusal of the API has its exit code.
fn refused(status: StatusCode, text: String) -> Result<String, Failed> {
    if status.is_success() {
        return Ok(text);
    }
    let told = serde_json::from_str::<api::FailureBody>(&text).map_or(text, |body| body.error);
    let told = if told.is_empty() { format!("the gateway answers {status}") } else { told };
    let code = match status.as_u16() {
        400 => 2,
        401 | 403 => 4,
        404 => 3,
        409 => 5,
        _ => 1,
    };
    Err(Failed::new(code, told))
}
