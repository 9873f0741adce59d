//! The only way out: what really runs a tool.

use serde_json::value::RawValue;

/// What a backend gave back: the text of an MCP `CallToolResult` object, not yet checked.
#[derive(Debug)]
pub struct RawResult(pub Box<RawValue>);

/// One progress notification on its way to the caller (MCP `notifications/progress`).
#[derive(Clone, Debug)]
pub struct Progress {
    /// How far, in units of the tool's choosing; must grow.
    pub progress: f64,
    /// Out of how much, if known.
    pub total: Option<f64>,
    /// In words.
    pub message: Option<String>,
}

/// Where progress goes. Bounded; what does not fit is dropped.
pub type ProgressSink = tokio::sync::mpsc::Sender<Progress>;

/// Why a backend gave no result. The texts are for operators; agents get a fixed sentence per kind.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// It cannot be reached or started now. Nothing ran.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All worker slots are taken and the queue is full or its deadline passed. Nothing ran.
    #[error("busy: {waiting} calls wait already")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The time limit passed; it was stopped. It may have had an effect.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The caller took the call back; it was stopped. It may have had an effect.
    #[error("cancelled")]
    Cancelled,
    /// It ended or lost its connection before it answered. It may have had an effect.
    #[error("died: {0}")]
    Died(String),
    /// It answered what is not an MCP result. It may have had an effect.
    #[error("nonsense: {0}")]
    Nonsense(String),
    /// Its result is larger than the limit, in bytes.
    #[error("a result of more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// What travels with a call to its backend.
#[derive(Debug)]
pub struct Journey {
    /// Cancelled when the caller takes the call back.
    pub cancel: CancellationToken,
    /// Where progress goes.
    pub progress: Option<ProgressSink>,
}

/// Every backend of the manifests, each with its worker slots.
pub struct Backends {
    running: HashMap<String, Running>,
    clock: Arc<dyn Clock>,
}

/// One backend.
struct Running {
    kind: Kind,
    pool: Pool,
    queue_deadline: Duration,
}

enum Kind {
    Command { environment: Vec<(String, String)>, secrets: Secrets, directory: Option<PathBuf> },
    Mcp(Arc<mcp::Link>),
}

impl Backends {
    /// Prepares every backend; nothing is started or connected yet.
    ///
    /// # Errors
    /// When a working directory cannot be made.
    pub fn open(
        manifests: &Manifests,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let running = manifests
            .backends()
            .map(|spec| Ok((spec.name.clone(), Running::open(spec, config)?)))
            .collect::<std::io::Result<_>>()?;
        Ok(Self { running, clock })
    }

    /// A worker slot for the permitted call, waiting in the backend's bounded queue.
    ///
    /// # Errors
    /// When the queue is full, its deadline passes or the call is cancelled. Nothing ran.
    pub async fn slot(
        &self,
        permit: &Permit,
        cancel: &CancellationToken,
    ) -> Result<Slot, BackendError> {
        let running = self.running(permit)?;
        running.pool.acquire(running.queue_deadline, cancel).await
    }

    /// Carries the permitted and recorded call to its backend. The only way out.
    ///
    /// # Errors
    /// When the backend gives no result.
    pub async fn dispatch(
        &self,
        permit: &Permit,
        receipt: &Receipt,
        slot: Slot,
        journey: Journey,
    ) -> Result<RawResult, BackendError> {
        let running = self.running(permit)?;
        let outcome = match (&running.kind, permit.tool().binding()) {
            (
                Kind::Command { environment, secrets, directory },
                Binding::Command { program: Some(program), template, output },
            ) => {
                let command = command::Prepared {
                    program,
                    template,
                    output: *output,
                    environment,
                    secrets,
                    directory: directory.as_deref(),
                };
                command.run(permit, receipt.call(), journey).await
            }
            (Kind::Mcp(link), Binding::Mcp { from }) => {
                let call = mcp::Call {
                    max_result_bytes: permit.max_result_bytes(),
                    deadline: permit.timeout(),
                    cancel: journey.cancel,
                    progress: journey.progress,
                    traceparent: None,
                };
                link.call(from, permit.arguments(), call).await
            }
            (
                Kind::Command { .. } | Kind::Mcp(_),
                Binding::Command { .. } | Binding::Mcp { .. },
            ) => Err(BackendError::Unavailable("the tool's program is missing".into())),
        };
        drop(slot);
        outcome
    }
}
