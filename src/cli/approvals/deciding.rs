//! Verdicts on one held call: shown first, bound to what was shown, signed if asked, sent so that they count once.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::rand;
use serde_json::Value;

use super::describe::{became, described, edited};
use super::percent;
use crate::api::{HoldView, ResolutionGiven, VerdictGiven, WhoAmI};
use crate::cli::Failed;
use crate::cli::output;
use crate::cli::sign::sign;
use crate::cli::way::Way;
use crate::clock::{Clock, SystemClock};
use crate::digest::{Digest, call_digest};
use crate::evidence::Signature;
use crate::evidence::signature::{Resolves, Statement};
use crate::hold::{Decision, Rendered, Resolution, StateName};
use crate::json::{self, Object};

/// How long an approved call is followed, so that its outcome can be shown.
const FOLLOWED: Duration = Duration::from_secs(10);
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(50);
/// The largest edit, in bytes; a call from outside cannot be larger either.
const MAX_EDIT: u64 = 4 << 20;

/// Which call, and what is said of it.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Chosen {
    /// The hold, or the first digits of its id
    pub(super) id: String,
    /// Why; the agent is told
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// The digest of the call that you looked at; the verdict counts for nothing else
    #[arg(long)]
    pub(super) digest: Option<Digest>,
    /// Sign with this SSH key: a private key, or the public half of one that an ssh-agent holds
    #[arg(long, value_name = "KEYFILE")]
    sign_with: Option<PathBuf>,
}

impl Chosen {
    pub(super) async fn hold(&self, way: &Way) -> Result<HoldView, Failed> {
        way.get(&format!("/api/v1/approvals/{}", percent(&self.id))).await
    }

    /// What is said of it, of `digest`; what was shown of it is bound to it too.
    pub(super) fn verdict(
        &self,
        decision: Decision,
        digest: Digest,
        shown: &str,
    ) -> Result<VerdictGiven, Failed> {
        Ok(VerdictGiven {
            reason: self.reason.clone(),
            rendered: (!shown.is_empty()).then(|| rendered(shown)),
            idempotency_key: Some(name_of_verdict()?),
            ..VerdictGiven::new(decision, digest)
        })
    }

    /// The signature over `given`, if one is asked for; `digest` is that of the call which would run.
    async fn signature(
        &self,
        way: &Way,
        hold: &HoldView,
        decision: Decision,
        digest: &Digest,
        resolution: Option<Resolution>,
    ) -> Result<Option<Signature>, Failed> {
        let Some(key) = self.sign_with.clone() else { return Ok(None) };
        // Nothing is signed but what was shown, whatever digest the gateway gives it.
        let shown =
            call_digest(&hold.agent, &hold.tool, &hold.definition_fingerprint, &hold.arguments);
        if shown.map_err(anyhow::Error::from)? != hold.digest {
            let told = "the digest that the gateway gives is not of the call that it shows; nothing was signed";
            return Err(Failed::new(1, told));
        }
        let me: WhoAmI = way.get("/api/v1/whoami").await?;
        let statement = Statement {
            hold: hold.id,
            digest,
            decision,
            person: &me.name,
            reason: self.reason.as_deref(),
            decide_by: hold.decide_by,
            resolves: resolution.map(|resolution| Resolves { resolution, call: hold.call }),
        };
        let message = statement.message().map_err(anyhow::Error::from)?;
        // It may wait for a passphrase or a touch.
        let signed = tokio::task::spawn_blocking(move || sign(&key, &message)).await;
        Ok(Some(Signature::Ssh(signed.map_err(anyhow::Error::from)??)))
    }
}

/// Everything of a hold in words, also why it was held anew if it was.
pub(super) async fn told(way: &Way, hold: &HoldView) -> Result<String, Failed> {
    let before: Option<HoldView> = match hold.anew_of {
        Some(id) => Some(way.get(&format!("/api/v1/approvals/{id}")).await?),
        None => None,
    };
    Ok(described(hold, before.as_ref(), SystemClock::new().now()))
}

/// What a person was shown, as a verdict carries it.
pub(in crate::cli) fn rendered(shown: &str) -> Rendered {
    Rendered {
        by: concat!("countersign-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
        digest: Digest::of(shown.as_bytes()),
    }
}

/// A name for one verdict, under which it counts once however often it arrives.
pub(in crate::cli) fn name_of_verdict() -> Result<String, Failed> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Failed::new(1, "the system gives no random bytes"))?;
    Ok(hex::encode(bytes))
}

/// Approves or rejects, with other arguments in place of those that were asked for if `edit` has some.
pub(super) async fn decide(
    way: &Way,
    chosen: Chosen,
    decision: Decision,
    edit: Option<String>,
) -> Result<(), Failed> {
    let edit = edit.as_deref().map(arguments).transpose()?;
    let hold = chosen.hold(way).await?;
    let mut shown = String::new();
    if chosen.digest.is_none() {
        shown = told(way, &hold).await?;
    }
    let mut runs = chosen.digest.unwrap_or(hold.digest);
    if let Some(edit) = &edit {
        shown.push_str(&edited(&hold.arguments, edit));
        runs = call_digest(&hold.agent, &hold.tool, &hold.definition_fingerprint, edit)
            .map_err(anyhow::Error::from)?;
    }
    // What is about to be decided is shown first: a verdict is bound to what was seen.
    eprint!("{shown}");
    let digest = chosen.digest.unwrap_or(hold.digest);
    let given = VerdictGiven {
        edit,
        signature: chosen.signature(way, &hold, decision, &runs, None).await?,
        ..chosen.verdict(decision, digest, &shown)?
    };
    let path = format!("/api/v1/approvals/{}/verdict", hold.id);
    let decided: HoldView = way.post_again(&path, &given).await?;
    output::print(&became(&followed(way, decided).await?))
}

/// Says what became of a call whose outcome nobody recorded.
pub(super) async fn resolve(
    way: &Way,
    chosen: Chosen,
    resolution: Resolution,
) -> Result<(), Failed> {
    let hold = chosen.hold(way).await?;
    let mut shown = String::new();
    if chosen.digest.is_none() {
        shown = told(way, &hold).await?;
        eprint!("{shown}");
    }
    let digest = chosen.digest.unwrap_or(hold.digest);
    let verdict = VerdictGiven {
        signature: chosen
            .signature(way, &hold, Decision::Approve, &digest, Some(resolution))
            .await?,
        ..chosen.verdict(Decision::Approve, digest, &shown)?
    };
    let path = format!("/api/v1/approvals/{}/resolution", hold.id);
    let given = ResolutionGiven { resolution, verdict };
    let resolved: HoldView = way.post_again(&path, &given).await?;
    output::print(&became(&followed(way, resolved).await?))
}

/// Follows an approved call for a moment, so that its outcome can be shown.
async fn followed(way: &Way, mut hold: HoldView) -> Result<HoldView, Failed> {
    let clock = SystemClock::new();
    let until = clock.monotonic() + FOLLOWED;
    let ran = |hold: &HoldView| hold.state.is_terminal() || hold.state == StateName::Pending;
    while !ran(&hold) && clock.monotonic() < until {
        clock.sleep(EVERY).await;
        hold = way.get(&format!("/api/v1/approvals/{}", hold.id)).await?;
    }
    Ok(hold)
}

/// The arguments that `--edit` gives: JSON, `-` for standard input, `@FILE` for a file.
fn arguments(given: &str) -> Result<Object, Failed> {
    let wrong = |why: String| Failed::new(2, format!("--edit: {why}"));
    let text = match (given, given.strip_prefix('@')) {
        ("-", _) => bounded(std::io::stdin()),
        (_, Some(file)) => std::fs::File::open(file).and_then(bounded),
        (text, None) => Ok(text.to_owned()),
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let value = json::parse(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let Value::Object(arguments) = value else {
        return Err(wrong("the arguments are a JSON object, like '{\"path\": \"a\"}'".to_owned()));
    };
    json::check_i_json(&arguments).map_err(|error| wrong(error.to_string()))?;
    Ok(arguments)
}

fn bounded(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MAX_EDIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_EDIT {
        let told = format!("it is larger than {MAX_EDIT} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, told));
    }
    Ok(text)
}
