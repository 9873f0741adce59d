//! The socket by which other processes join: each carries the messages of one client.
//!
//! A process says hello in one line, is answered in one line, and from then on both sides speak MCP as on
//! standard streams. When the gateway goes away it says so ([`crate::mcp::stdio::LEAVING`]), answers what
//! it was sent, and closes the stream.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::Peer;
use crate::config::Files;
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::json;
use crate::mcp::stdio::{self, Stop};
use crate::principal::Principal;

/// The socket's name in the data directory.
const SOCKET: &str = "stdio.sock";
/// The version of the two lines.
pub const VERSION: u32 = 1;
/// How many processes may have joined at once.
const MAX_JOINED: usize = 256;
/// How long the first line and its answer may be, in bytes.
pub const MAX_LINE: u64 = 64 << 10;
/// How long a process that connected may take to say its first line, and the gateway to answer it.
pub const HELLO: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`VERSION`].
    pub v: u32,
    /// For which agent the client speaks.
    pub agent: AgentName,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Welcome {
    /// The stream is open.
    Joined {
        /// What the gateway was started with; who takes over starts with the same.
        files: Files,
        /// Whether the gateway also listens for agents on a network address.
        listens: bool,
    },
    /// The stream is closed.
    Refused {
        /// The exit code for the process.
        code: u8,
        /// Why, in words.
        told: String,
    },
}

/// The socket that other processes join, in the data directory `data`.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Serves whoever joins, until `shutdown` is cancelled and all that joined have their answers.
pub(super) async fn serve(
    gateway: Arc<Gateway>,
    (listener, listens): (UnixListener, bool),
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_JOINED));
    let mut streams = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = streams.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let place = Arc::clone(&places).try_acquire_owned().ok();
                let joining = Joining { stream, listens, has_place: place.is_some() };
                let stream = serve_one(Arc::clone(&gateway), joining, shutdown.clone());
                streams.spawn(async move {
                    stream.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a process could not join");
                gateway.clock.sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Whoever comes now is not kept waiting for a gateway that goes away.
    drop(listener);
    while streams.join_next().await.is_some() {}
}

/// A process that has connected.
struct Joining {
    stream: UnixStream,
    listens: bool,
    has_place: bool,
}

async fn serve_one(gateway: Arc<Gateway>, joining: Joining, shutdown: CancellationToken) {
    let Joining { stream, listens, has_place } = joining;
    let peer = Peer::of(&stream);
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    let hello = async {
        let principal = let_in(&gateway, &peer, &mut input, has_place).await?;
        let files = Files::of(&gateway.config).map_err(|error| refused(1, error.to_string()))?;
        Ok((principal, files))
    };
    let greeted = async {
        match hello.await {
            Ok((principal, files)) => {
                say(&mut output, &Welcome::Joined { files, listens }).await.ok().map(|()| principal)
            }
            Err(refusal) => {
                drop(say(&mut output, &refusal).await);
                None
            }
        }
    };
    let Ok(Some(principal)) = tokio::time::timeout(HELLO, greeted).await else { return };
    let served = stdio::serve(gateway, principal, (input, output), Stop::Carrier(shutdown)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a joined client did not speak the protocol");
    }
}

fn refused(code: u8, told: impl Into<String>) -> Welcome {
    Welcome::Refused { code, told: told.into() }
}

async fn let_in(
    gateway: &Gateway,
    peer: &Peer,
    input: &mut BufReader<OwnedReadHalf>,
    has_place: bool,
) -> Result<Principal, Welcome> {
    let user = peer.person().map_err(|why| refused(4, why))?;
    if !has_place {
        let told =
            format!("{MAX_JOINED} processes have joined the gateway already; end one of them");
        return Err(refused(1, told));
    }
    let mut line = Vec::new();
    let read = input.take(MAX_LINE).read_until(b'\n', &mut line).await;
    let hello = read.ok().and_then(|_| json::parse(&line).ok());
    let hello = hello.and_then(|hello| serde_json::from_value::<Hello>(hello).ok());
    let Some(hello) = hello.filter(|hello| hello.v == VERSION) else {
        let told = "the gateway that owns the data directory is of another version; end it, and start \
                    all with the same program";
        return Err(refused(1, told));
    };
    gateway
        .agents
        .local(&hello.agent, &user)
        .ok_or_else(|| refused(4, format!("the agent `{}` was revoked", hello.agent)))
}

async fn say(output: &mut OwnedWriteHalf, answer: &Welcome) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line).await
}
