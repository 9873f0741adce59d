//! One backend while the gateway runs: its worker slots, its secrets, and how a call reaches it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, Pass};
use super::command::{self, Command};
use super::confinement::{self, Confinement, Kept};
use super::links::{Server, Surroundings, Turn};
use super::mcp::{self, Health, Link, Update, Watching};
use super::pool::{Pool, Slot};
use super::secrets::{Named, Redactor, Secrets};
use super::{BackendError, Contact, Journey, RawResult};
use crate::catalog::manifest::BackendSpec;
use crate::catalog::template::Rendered;
use crate::catalog::{Binding, Sandbox};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::digest::Digest;
use crate::halts;
use crate::policy::Permit;
use crate::storage::Receipt;

/// How long a call waits for a worker slot at the most.
const QUEUE_DEADLINE: Duration = Duration::from_secs(30);
/// How much of a failed command's standard error is kept, in bytes.
const MAX_ERROR_BYTES: usize = 8 << 10;
/// How long a command has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// One backend.
pub(super) struct Running {
    kind: Kind,
    pool: Pool,
    secrets: Secrets,
    /// What looks for these secrets in results; its automaton is dear, so it is kept until they change.
    redactor: Mutex<Option<(Digest, Arc<Redactor>)>>,
    environment: Vec<(String, SecretString)>,
    directory: Option<PathBuf>,
    kept: Arc<Kept>,
    /// Of an MCP server: a program that is run once per call has nothing that could be broken.
    breaker: Option<Arc<Breaker>>,
}

enum Kind {
    Command,
    Mcp(Box<Server>),
}

/// A call that can be dispatched as soon as it is recorded.
pub struct Prepared {
    _slot: Slot,
    pass: Option<Pass>,
    secrets: Vec<Named>,
    redactor: Option<Arc<Redactor>>,
    how: How,
}

enum How {
    Command { program: PathBuf, rendered: Rendered, confinement: Option<Arc<Confinement>> },
    Mcp { link: Arc<Link>, _turn: Option<Turn> },
}

impl Running {
    pub(super) fn open(
        spec: &BackendSpec,
        sandboxes: &[Sandbox],
        config: &Config,
        clock: Arc<dyn Clock>,
        updates: &broadcast::Sender<Update>,
    ) -> Result<Self, BackendError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            BackendError::Unavailable(format!("backend `{}`: {error}", spec.name))
        };
        let directory = spec.working_directory.clone();
        if let Some(directory) = &directory {
            std::fs::create_dir_all(directory).map_err(|error| {
                let told = format!("{} cannot be made: {error}", directory.display());
                unavailable(&told)
            })?;
        }
        let kept = Arc::new(Kept::new(spec, sandboxes.iter(), &config.data));
        let kind = match &spec.mcp {
            None => Kind::Command,
            Some(mcp) => Kind::Mcp(Box::new(Server::new(
                (spec, mcp.clone()),
                Surroundings {
                    environment: environment(spec, config),
                    kept: Arc::clone(&kept),
                    sandbox: spec.sandbox.clone().map(|sandbox| {
                        let problem = confinement::problem(spec, &sandbox, config);
                        problem.map_or_else(|| Ok(Box::new(sandbox)), Err)
                    }),
                },
                (updates, Arc::clone(&clock)),
            ))),
        };
        Ok(Self {
            kind,
            pool: Pool::new(spec.concurrency, spec.queue),
            secrets: Secrets::new(spec.secrets.clone()).map_err(|error| unavailable(&error))?,
            redactor: Mutex::new(None),
            environment: environment(spec, config),
            kept,
            directory,
            breaker: spec.mcp.is_some().then(|| Breaker::new(clock)),
        })
    }

    /// Everything but the record; a call that a halt covers waits for nothing any more.
    pub(super) async fn prepare(
        &self,
        permit: &Permit,
        pass: &halts::Pass,
    ) -> Result<Prepared, BackendError> {
        self.prepared(permit, pass.cancel()).await.map_err(|error| stopped(error, pass, false))
    }

    async fn prepared(
        &self,
        permit: &Permit,
        cancel: &CancellationToken,
    ) -> Result<Prepared, BackendError> {
        let slot = self.pool.acquire(QUEUE_DEADLINE, cancel).await?;
        let pass = self.breaker.as_ref().map(Breaker::pass).transpose()?;
        let secrets = self.resolve()?;
        let digest = digest_of(&secrets);
        let mut redactor = self.redactor(&secrets, digest)?;
        if !permit.redactions().is_empty() {
            let with = Redactor::with(redactor.as_deref(), permit.redactions());
            redactor = Some(Arc::new(with));
        }
        let how = match (&self.kind, permit.tool().binding()) {
            (Kind::Command, Binding::Command { program: Some(program), template, sandbox, .. }) => {
                let rendered = template
                    .render(permit.arguments())
                    .map_err(|error| BackendError::Unfit(error.to_string()))?;
                let confinement = self.kept.of(sandbox)?;
                How::Command { program: program.clone(), rendered, confinement }
            }
            (Kind::Mcp(server), Binding::Mcp(_)) => {
                let (link, turn) = server.turn(permit.agent(), (&secrets, digest), cancel).await?;
                How::Mcp { link, _turn: turn }
            }
            (Kind::Command | Kind::Mcp(_), Binding::Command { .. } | Binding::Mcp(_)) => {
                return Err(BackendError::Unavailable("the tool's program is missing".into()));
            }
        };
        Ok(Prepared { _slot: slot, pass, secrets, redactor, how })
    }

    /// The only way out. A halt that covers the call is either seen here, the last thing before bytes leave, or
    /// finds the call in its register and ends it.
    pub(super) async fn dispatch(
        &self,
        permit: &Permit,
        receipt: &Receipt,
        prepared: Prepared,
        journey: Journey,
    ) -> Result<RawResult, BackendError> {
        let Journey { pass, contact } = journey;
        if let Some(halt) = pass.halt() {
            return Err(BackendError::Halted { halt: Arc::clone(halt), ran: false });
        }
        let way = (pass.cancel().clone(), contact);
        let gone = self.carried(permit, receipt, prepared, way).await;
        gone.map_err(|error| stopped(error, &pass, true))
    }

    async fn carried(
        &self,
        permit: &Permit,
        receipt: &Receipt,
        prepared: Prepared,
        (cancel, contact): (CancellationToken, Contact),
    ) -> Result<RawResult, BackendError> {
        let Prepared { _slot: slot, pass, secrets, redactor, how } = prepared;
        let raw = match (how, permit.tool().binding()) {
            (How::Command { program, rendered, confinement }, Binding::Command { output, .. }) => {
                let mut environment = self.environment.clone();
                environment.extend(secrets.iter().cloned());
                if confinement.is_some() {
                    self.kept.without_home(&mut environment);
                }
                let command = Command {
                    program: &program,
                    argv: rendered.argv,
                    stdin: rendered.stdin,
                    environment,
                    working_directory: self.directory.as_deref(),
                    call: receipt.call(),
                    confinement: confinement.as_deref(),
                };
                let limits = command::Limits {
                    deadline: permit.timeout(),
                    max_output_bytes: permit.max_result_bytes(),
                    max_error_bytes: MAX_ERROR_BYTES,
                    grace: GRACE,
                };
                let finished = command::run(command, limits, cancel).await?;
                command::into_result(finished, *output)?
            }
            (How::Mcp { link, _turn }, Binding::Mcp(remote)) => {
                contact.redact(redactor.clone());
                let call = mcp::Call {
                    max_result_bytes: permit.max_result_bytes(),
                    deadline: permit.timeout(),
                    cancel,
                    contact,
                    traceparent: None,
                };
                let result = link.call(remote, permit.arguments(), call).await;
                if let Some(pass) = pass {
                    pass.tell(&result);
                }
                result?
            }
            (How::Command { .. } | How::Mcp { .. }, Binding::Command { .. } | Binding::Mcp(_)) => {
                return Err(BackendError::Unavailable("the tool's program is missing".into()));
            }
        };
        drop(slot);
        match redactor {
            Some(redactor) => redacted(raw, &redactor),
            None => Ok(raw),
        }
    }

    /// The link to the MCP server, if this backend is one and its secrets can be had.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        match &self.kind {
            Kind::Command => None,
            Kind::Mcp(server) => {
                let secrets = self.resolve().ok()?;
                server.shared(&secrets, digest_of(&secrets)).ok()
            }
        }
    }

    /// Ends every long-lived link.
    pub(super) async fn close(&self) {
        if let Kind::Mcp(server) = &self.kind {
            server.close().await;
        }
    }

    /// Watches a resource of the server.
    pub(super) async fn watch(&self, uri: &str) -> Result<Watching, BackendError> {
        let (Kind::Mcp(server), Some(_)) = (&self.kind, self.link()) else {
            return Err(BackendError::Unavailable("no link to an MCP server".into()));
        };
        server.subscriptions().watch(uri).await
    }

    /// Whether calls reach the MCP server, if this backend is one.
    pub(super) fn is_healthy(&self) -> Option<bool> {
        let breaker = self.breaker.as_ref()?;
        let is_up = |link: Arc<Link>| match link.health() {
            Health::Idle | Health::Connecting | Health::Connected { .. } => true,
            Health::Down { .. } | Health::Closed => false,
        };
        Some(breaker.is_closed() && self.link().is_some_and(is_up))
    }

    fn resolve(&self) -> Result<Vec<Named>, BackendError> {
        self.secrets
            .resolve(&|name| config::variable(name))
            .map_err(|error| BackendError::Unavailable(error.to_string()))
    }

    /// What finds the secrets as they are now, if there are any.
    pub(super) fn secrets_of_now(&self) -> Result<Option<Arc<Redactor>>, BackendError> {
        let secrets = self.resolve()?;
        self.redactor(&secrets, digest_of(&secrets))
    }

    /// The redactor for these secrets, if there are any.
    fn redactor(
        &self,
        secrets: &[Named],
        digest: Digest,
    ) -> Result<Option<Arc<Redactor>>, BackendError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let mut kept = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, redactor)) = kept.as_ref().filter(|(of, _)| *of == digest) {
            return Ok(Some(Arc::clone(redactor)));
        }
        let made = Redactor::new(secrets);
        let made = made.map_err(|error| BackendError::Unavailable(error.to_string()))?;
        let made = Arc::new(made);
        *kept = Some((digest, Arc::clone(&made)));
        Ok(Some(made))
    }
}

/// What ended a call: a halt, if one did and the backend did not end first.
fn stopped(error: BackendError, pass: &halts::Pass, ran: bool) -> BackendError {
    match (&error, pass.halt()) {
        (BackendError::Cancelled, Some(halt)) => {
            BackendError::Halted { halt: Arc::clone(halt), ran }
        }
        _ => error,
    }
}

/// The whole plain environment of a command or child: nothing of the gateway's own but where programs are.
fn environment(spec: &BackendSpec, config: &Config) -> Vec<(String, SecretString)> {
    let mut environment: Vec<(String, SecretString)> = vec![
        ("PATH".into(), config.path.clone().into()),
        ("LANG".into(), "C.UTF-8".to_owned().into()),
    ];
    if let Some(home) = config::variable("HOME") {
        environment.push(("HOME".into(), home.into()));
    }
    for (name, value) in &spec.environment {
        environment.retain(|(known, _)| known != name);
        environment.push((name.clone(), value.clone().into()));
    }
    environment
}

/// What tells one set of secrets from another.
fn digest_of(secrets: &[Named]) -> Digest {
    let parts: Vec<&[u8]> = secrets
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), b"\0", value.expose_secret().as_bytes(), b"\0"])
        .collect();
    Digest::of_parts(&parts)
}

/// The result without the values of the gateway's own secrets.
fn redacted(raw: RawResult, redactor: &Redactor) -> Result<RawResult, BackendError> {
    if redactor.finds_nothing(raw.0.get()) {
        return Ok(raw);
    }
    let nonsense = |error: &dyn std::fmt::Display| BackendError::Nonsense(error.to_string());
    let mut value: Value = serde_json::from_str(raw.0.get()).map_err(|error| nonsense(&error))?;
    if !redactor.redact_json(&mut value) {
        return Ok(raw);
    }
    serde_json::value::to_raw_value(&value).map(RawResult).map_err(|error| nonsense(&error))
}
