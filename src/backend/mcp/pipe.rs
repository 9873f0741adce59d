//! The transport over a child's pipes: one JSON-RPC message per line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};

use super::ledger::{Incoming, Ledger};
use super::lines::{Line, Lines};
use super::process::{Leash, Running};
use crate::backend::BackendError;

/// How many messages wait to be written, in messages.
const MAX_OUTBOX: usize = 1024;
/// How long a child may leave a message unread, in seconds.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the end of a child is waited for after the end of its output, in milliseconds.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

struct Outgoing {
    line: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// The pipes of one child, and the child.
pub(super) struct Pipe {
    outbox: Option<mpsc::Sender<Outgoing>>,
    lines: Lines<ChildStdout>,
    limit: usize,
    leash: Leash,
    ledger: Arc<Ledger>,
}

impl Pipe {
    /// Speaks with `running`, no message of it longer than `limit` bytes.
    pub(super) fn new(running: Running, limit: usize, ledger: Arc<Ledger>) -> Self {
        let (outbox, waiting) = mpsc::channel(MAX_OUTBOX);
        tokio::spawn(write(running.input, waiting, Arc::clone(&ledger)));
        let lines = Lines::new(running.output, limit);
        Self { outbox: Some(outbox), lines, limit, leash: running.leash, ledger }
    }

    fn post(&self, message: &ClientJsonRpcMessage) -> io::Result<oneshot::Receiver<()>> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let (written, done) = oneshot::channel();
        let outbox = self.outbox.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        // Queued here and not in the future, so that messages keep their order.
        outbox.try_send(Outgoing { line, written }).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(done)
    }

    async fn read(&mut self) -> Result<Option<ServerJsonRpcMessage>, BackendError> {
        let incoming = match self.lines.next().await {
            Ok(Line::Whole(line)) => match self.ledger.incoming(&line, None) {
                Incoming::Pass => return Ok(serde_json::from_slice(&line).ok()),
                Incoming::Replace(message) => return Ok(Some(*message)),
                Incoming::Done => return Ok(None),
            },
            Ok(Line::TooLong(start)) => {
                self.ledger.broken(&start, BackendError::TooLarge { limit: self.limit })
            }
            Ok(Line::End) => return Err(self.end().await),
            Err(error) => return Err(BackendError::Died(format!("its output broke: {error}"))),
        };
        match incoming {
            Incoming::Replace(message) => Ok(Some(*message)),
            // Whose answer this was cannot be known, so all who wait are told.
            Incoming::Pass | Incoming::Done => {
                let limit = self.limit;
                Err(BackendError::Died(format!("it sent a message of more than {limit} bytes")))
            }
        }
    }

    async fn end(&mut self) -> BackendError {
        let how = self.leash.how_it_ended(EXIT_PATIENCE).await;
        BackendError::Died(how.unwrap_or_else(|| "it closed its output".to_owned()))
    }
}

impl Transport<RoleClient> for Pipe {
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let posted = self.post(&message);
        async move { posted?.await.map_err(|_| io::ErrorKind::BrokenPipe.into()) }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            match self.read().await {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(error) => {
                    self.ledger.lose(error);
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.outbox = None;
        self.leash.end().await;
        Ok(())
    }
}

/// Writes until the queue is closed; a child that does not read is given up.
async fn write(mut input: ChildStdin, mut waiting: mpsc::Receiver<Outgoing>, ledger: Arc<Ledger>) {
    while let Some(Outgoing { line, written }) = waiting.recv().await {
        let writing = async {
            input.write_all(&line).await?;
            input.flush().await
        };
        let why = match tokio::time::timeout(WRITE_TIMEOUT, writing).await {
            Ok(Ok(())) => {
                // The sender may have stopped waiting for this.
                let _ = written.send(());
                continue;
            }
            // The reader will see the end too, and knows more about it.
            Ok(Err(_)) => return,
            Err(_) => "it does not read its input",
        };
        return ledger.lose(BackendError::Died(why.to_owned()));
    }
}
