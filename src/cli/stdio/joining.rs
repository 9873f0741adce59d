//! Own or join: the data directory has one owner, and whoever comes second joins it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::net::UnixStream;

use crate::cli::Failed;
use crate::cli::local::{self, LOOK_AGAIN, NotOpen};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Files};
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::server::joined::{self, Hello, Welcome};

/// How long it may take until there is a gateway: one that goes away drains, closes its backends and
/// writes what has queued, each within ten seconds.
const PATIENCE: Duration = Duration::from_secs(35);

/// How long a gateway that listened for others is given to come back: who supervises it starts it again, and
/// nobody else can listen in its place.
const COMES_BACK: Duration = Duration::from_secs(3);

/// What this process is on the data directory.
pub(super) enum Role {
    /// It is the gateway.
    Owner(Arc<Gateway>),
    /// Another process is.
    Joined(Link, Owner),
}

/// What is known of the process that is the gateway.
pub(super) struct Owner {
    /// What it was started with.
    pub(super) files: Files,
    /// Whether it listens for others.
    pub(super) listens: bool,
}

/// A stream of messages to and from a gateway.
pub(super) struct Link {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
}

impl From<DuplexStream> for Link {
    fn from(stream: DuplexStream) -> Self {
        let (from, to) = tokio::io::split(stream);
        Self { from: Box::new(from), to: Box::new(to) }
    }
}

/// Joins the owner of the data directory, or becomes it. If a gateway that `listened` has just gone, this
/// process is not the first to take its place.
pub(super) async fn own_or_join(
    config: &Config,
    agent: &AgentName,
    listened: bool,
) -> Result<Role, Failed> {
    let clock = SystemClock::new();
    let until = clock.monotonic() + PATIENCE;
    let from = clock.monotonic() + if listened { COMES_BACK } else { Duration::ZERO };
    loop {
        if let Some((link, owner)) = join(config, agent).await? {
            return Ok(Role::Joined(link, owner));
        }
        if clock.monotonic() < from {
            clock.sleep(LOOK_AGAIN).await;
            continue;
        }
        match local::open_now(config).await {
            Ok(gateway) => return Ok(Role::Owner(gateway)),
            Err(NotOpen::Owned(_)) if clock.monotonic() < until => clock.sleep(LOOK_AGAIN).await,
            Err(why) => return Err(why.into()),
        }
    }
}

/// Joins the owner, if one listens and answers. One that begins or goes away does neither.
async fn join(config: &Config, agent: &AgentName) -> Result<Option<(Link, Owner)>, Failed> {
    let Ok(stream) = UnixStream::connect(joined::path(&config.data)).await else {
        return Ok(None);
    };
    let greeted = tokio::time::timeout(joined::HELLO, greet(stream, agent)).await;
    let Ok(Some((link, answer))) = greeted else { return Ok(None) };
    match answer {
        Welcome::Joined { files, listens } => Ok(Some((link, Owner { files, listens }))),
        Welcome::Refused { code, told } => Err(Failed::new(code, told)),
    }
}

async fn greet(stream: UnixStream, agent: &AgentName) -> Option<(Link, Welcome)> {
    let (from, mut to) = stream.into_split();
    let hello = Hello { v: joined::VERSION, agent: agent.clone() };
    let mut line = serde_json::to_vec(&hello).ok()?;
    line.push(b'\n');
    to.write_all(&line).await.ok()?;
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    (&mut from).take(joined::MAX_LINE).read_until(b'\n', &mut line).await.ok()?;
    let answer = serde_json::from_slice(&line).ok()?;
    Some((Link { from: Box::new(from), to: Box::new(to) }, answer))
}
