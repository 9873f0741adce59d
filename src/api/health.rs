//! Whether the gateway lives, is ready, and what a person should look at.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Viewer;
use crate::authentication::jwks::{self, Jwks};
use crate::backend::confinement::Kernel;
use crate::backend::mcp::Health;
use crate::call::manned;
use crate::catalog::Binding;
use crate::clock::NEAR;
use crate::gateway::Gateway;
use crate::halts::{self, Scope};
use crate::hold::StateName;
use crate::storage::HoldQuery;
use crate::storage::history::RolledBack;

/// How many names one check tells.
const SHOWN: usize = 10;

/// One thing that was looked at.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What, as one word.
    pub id: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do about it, where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check that found `found` and is as it should be.
    #[must_use]
    pub fn good(id: &str, found: impl Into<String>) -> Self {
        Self { id: id.to_owned(), ok: true, found: found.into(), hint: None }
    }

    /// A check that found `found`, and what to do about it.
    #[must_use]
    pub fn bad(id: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { id: id.to_owned(), ok: false, found: found.into(), hint: Some(hint.into()) }
    }
}

/// The routes that probes use, without a credential: they tell nothing but whether the gateway is well.
pub fn probes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(gateway)
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.store.writable() {
        Ok(()) if gateway.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
        }
        // It serves all the same: what needs nobody runs, what nobody can approve waits.
        // A halted gateway is alive: it refuses, shows and resumes. Taken out of service it could do neither.
        Ok(()) => match halted(&gateway).or_else(|| manned::unmanned(&gateway)) {
            None => "ok\n".into_response(),
            Some(why) => format!("ok, but {why}\n").into_response(),
        },
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// That calls are stopped, if they are; without names and reasons, which a probe has no right to.
fn halted(gateway: &Gateway) -> Option<String> {
    let engaged = gateway.store.halts().engaged();
    let all = engaged.iter().any(|entry| entry.halt.scope == Scope::All);
    match engaged.len() {
        0 => None,
        _ if all => Some("everything is halted".to_owned()),
        1 => Some("1 halt is engaged".to_owned()),
        count => Some(format!("{count} halts are engaged")),
    }
}

fn halts(gateway: &Gateway) -> Check {
    let engaged = gateway.store.halts().engaged();
    let told =
        |entry: &halts::Entry| format!("{} ({})", entry.halt.scope.told(), entry.halt.reason);
    let all: Vec<String> = engaged.iter().take(SHOWN).map(told).collect();
    if all.is_empty() {
        return Check::good("halts", "nothing is halted");
    }
    let more = if engaged.len() > SHOWN { ", …" } else { "" };
    Check::bad(
        "halts",
        format!("stopped: {}{more}", all.join(", ")),
        "list them with `countersign halt`, end one with `countersign resume ID --reason TEXT`",
    )
}

fn definitions(gateway: &Gateway) -> Check {
    let waiting = gateway.quarantined();
    if waiting.is_empty() {
        return Check::good(
            "definitions",
            "every definition of a server is the one that was accepted",
        );
    }
    let names: Vec<_> = waiting.iter().take(SHOWN).map(|it| format!("`{}`", it.tool)).collect();
    let more = if waiting.len() > SHOWN { ", …" } else { "" };
    Check::bad(
        "definitions",
        format!("not as they were accepted: {}{more}", names.join(", ")),
        "look with `countersign catalog diff`, accept with `countersign catalog accept TOOL`",
    )
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, _: Viewer) -> Response {
    gateway.metrics.revisions.quarantined(gateway.quarantined().len());
    for (server, healthy) in gateway.revision().backends.health() {
        gateway.metrics.upstream_healthy(server, healthy);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let places = gateway.config.edge.max_calls.min(tokio::sync::Semaphore::MAX_PERMITS);
    let calls = places.saturating_sub(gateway.places.available_permits());
    ([(CONTENT_TYPE, kind)], gateway.metrics.exposition(calls)).into_response()
}

pub(super) async fn doctor(State(gateway): State<Arc<Gateway>>, _: Viewer) -> Json<Vec<Check>> {
    let mut checks =
        vec![record(&gateway), halts(&gateway), policy(&gateway), definitions(&gateway)];
    checks.extend(tools(&gateway));
    checks.push(confinement(&gateway));
    checks.extend(servers(&gateway));
    checks.extend(super::notifications::checks(&gateway).await);
    checks.push(manned(&gateway));
    checks.push(tokens(&gateway));
    checks.extend(issuers(&gateway));
    checks.push(clock(&gateway));
    checks.push(holds(&gateway).await);
    Json(checks)
}

fn record(gateway: &Gateway) -> Check {
    match gateway.store.writable() {
        Ok(()) => Check::good("record", "the audit log can be written"),
        Err(error) => {
            Check::bad("record", error.to_string(), "free space on the disk of the data directory")
        }
    }
}

fn policy(gateway: &Gateway) -> Check {
    if let Some(refused) = gateway.refused_reload() {
        return Check::bad(
            "policy",
            format!("since {} the files are not what is in force: {}", refused.at, refused.why),
            "mend the files; they are taken up by themselves, or with `countersign policy reload`",
        );
    }
    if let Some(back) = gateway.went_back() {
        let RolledBack { revision, at, by, reason } = &back.to;
        let waiting = match back.waiting {
            Some(at) => format!("; the files changed at {at:.0} and wait"),
            None => String::new(),
        };
        return Check::bad(
            "policy",
            format!("rolled back to {revision} by {by} at {at:.0} ({reason}){waiting}"),
            "mend the files, and end it with `countersign policy reload`",
        );
    }
    let revision = gateway.revision();
    let rules = revision.policy.rule_count();
    match revision.policy.warnings().len() {
        0 => Check::good("policy", format!("{rules} rules, revision {}", revision.digest)),
        count => Check::bad(
            "policy",
            format!("{rules} rules, {count} warnings"),
            "look at them with `countersign policy check`",
        ),
    }
}

fn manned(gateway: &Gateway) -> Check {
    match manned::unmanned(gateway) {
        None => Check::good("reviewers", "everything that rules hold can be approved"),
        Some(why) => Check::bad("reviewers", why, manned::MEND),
    }
}

fn tools(gateway: &Gateway) -> Vec<Check> {
    let revision = gateway.revision();
    let (mut callable, mut missing) = (0_usize, Vec::new());
    for tool in revision.catalog.tools() {
        match tool.unavailable() {
            None => callable += 1,
            Some(why) => missing.push(format!("{} ({why})", tool.name())),
        }
    }
    let mut checks = vec![Check::good("tools", format!("{callable} tools can be called"))];
    if !missing.is_empty() {
        // An offer that waits for its program is no fault: agents do not see it.
        let found = format!("{} tools are unavailable: {}", missing.len(), missing.join(", "));
        checks.push(Check::good("unavailable", found));
    }
    checks
}

fn confinement(gateway: &Gateway) -> Check {
    let kernel = Kernel::look();
    let revision = gateway.revision();
    let free = revision.catalog.tools().filter(|tool| match tool.binding() {
        Binding::Command { sandbox, .. } => sandbox.grants().is_none(),
        Binding::Mcp { .. } => false,
    });
    let free: Vec<&str> = free.map(|tool| tool.name()).collect();
    match kernel.lacks() {
        None if free.is_empty() => Check::good("confinement", kernel.shown()),
        None => {
            let found = format!("{}; not confined: {}", kernel.shown(), free.join(", "));
            Check::good("confinement", found)
        }
        Some(why) => Check::bad(
            "confinement",
            format!("{why}: tools that are programs are unavailable"),
            "start a newer kernel, or one that has Landlock among its `lsm=`; or write `sandbox: unconfined` \
             in a manifest whose programs may do all that the gateway's user may",
        ),
    }
}

fn servers(gateway: &Gateway) -> Vec<Check> {
    let backends = &gateway.revision().backends;
    backends
        .servers()
        .map(|(name, link)| match link.health() {
            Health::Connected { protocol_version, server } => {
                Check::good("server", format!("{name}: {server}, protocol {protocol_version}"))
            }
            Health::Idle | Health::Connecting => {
                Check::good("server", format!("{name}: connecting"))
            }
            Health::Down { since, why } => Check::bad(
                "server",
                format!("{name}: down since {since}: {why}"),
                "start it, or mend `mcp` in its manifest",
            ),
            Health::Closed => {
                Check::bad("server", format!("{name}: closed"), "restart the gateway")
            }
        })
        .collect()
}

fn tokens(gateway: &Gateway) -> Check {
    let ending = gateway.agents.ending(gateway.clock.now());
    if ending.is_empty() {
        return Check::good("tokens", "no agent's token ends soon");
    }
    let all: Vec<String> =
        ending.iter().take(SHOWN).map(|(name, end)| format!("{name} ({end:.0})")).collect();
    let more = if ending.len() > SHOWN { ", …" } else { "" };
    Check::bad(
        "tokens",
        format!("{} tokens of agents end soon: {}{more}", ending.len(), all.join(", ")),
        "give each a new one with `countersign agents rotate NAME --overlap 1d --expires 90d`",
    )
}

fn issuers(gateway: &Gateway) -> Vec<Check> {
    let check = |(issuer, keys): (&str, &Arc<Jwks>)| {
        let jwks::Health { keys, fault } = keys.health();
        match fault {
            None => Check::good("issuer", format!("{issuer}: {keys} keys")),
            Some(why) => Check::bad(
                "issuer",
                format!("{issuer}: {keys} keys, and no newer ones: {why}"),
                "start it, or mend `authentication.jwt` in the configuration",
            ),
        }
    };
    gateway.issuers.keys().map(check).collect()
}

fn clock(gateway: &Gateway) -> Check {
    let ahead = gateway.clock.ahead();
    if ahead.unsigned_abs() < NEAR {
        return Check::good("clock", "the machine's clock agrees with the gateway's");
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let (by, now) = (ahead.unsigned_abs().as_secs(), gateway.clock.now());
    Check::bad(
        "clock",
        format!("the machine's clock is {by} s {side} the gateway's, which shows {now:.0}"),
        "set the machine's clock right; if it is, restart the gateway",
    )
}

async fn holds(gateway: &Gateway) -> Check {
    let query = HoldQuery { states: vec![StateName::Unknown], agent: None, limit: 100 };
    match gateway.store.holds(query).await {
        Ok(unknown) if unknown.is_empty() => {
            Check::good("holds", "no held call of unknown outcome")
        }
        Ok(unknown) => Check::bad(
            "holds",
            format!("{} held calls have an unknown outcome", unknown.len()),
            "look at them with `countersign approvals list --state unknown`",
        ),
        Err(error) => Check::bad("holds", error.to_string(), "look at the data directory"),
    }
}
