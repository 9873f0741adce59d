//! `countersign stdio`: the gateway for the client that spawned it. It owns the data directory, or joins the
//! process that does.

mod carrier;
mod joining;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::carrier::{Carrier, Ended};
use self::joining::{Link, Owner, Role};
use super::{Failed, serve};
use crate::config::{Config, Files, Flags};
use crate::gateway::Gateway;
use crate::ids::AgentName;
use crate::mcp::stdio::Stop;
use crate::principal::Principal;
use crate::{mcp, server};

/// How many bytes are under way between this process's client and its own gateway after it took over.
const PIPE: usize = 64 << 10;
/// How many gateways in a row may end the stream without having said anything.
const MAX_SILENT: u32 = 3;
/// How long the answers of a gateway may take to come after its client hung up.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the agent that the client speaks for
    #[arg(long, value_name = "NAME", env = "COUNTERSIGN_AGENT")]
    agent: AgentName,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let config = Config::load(flags)?;
    let shutdown = serve::stop_on_signal()?;
    let role = tokio::select! {
        role = joining::own_or_join(&config, &arguments.agent, false) => role?,
        () = shutdown.cancelled() => return Ok(()),
    };
    match role {
        Role::Owner(gateway) => own(gateway, &arguments.agent, shutdown).await,
        Role::Joined(link, owner) => {
            let own = Files::of(&config).map_err(anyhow::Error::from)?;
            if !owner.files.agree(&own) {
                eprintln!(
                    "warning: the gateway of {} runs with {}, not with {}; theirs hold here too",
                    config.data.display(),
                    owner.files.shown(),
                    own.shown()
                );
            }
            carry(config, &arguments.agent, (link, owner), shutdown).await
        }
    }
}

/// Is the gateway, and serves the client on the standard streams themselves.
async fn own(
    gateway: Arc<Gateway>,
    agent: &AgentName,
    shutdown: CancellationToken,
) -> Result<(), Failed> {
    let (principal, people) = begin(&gateway, agent, &shutdown).await?;
    let streams = (tokio::io::stdin(), tokio::io::stdout());
    let stop = Stop::Client(shutdown.clone());
    let served = mcp::stdio::serve(Arc::clone(&gateway), principal, streams, stop);
    let told_to_stop = async {
        shutdown.cancelled().await;
        gateway.clock.sleep(server::DRAIN).await;
    };
    let served = tokio::select! {
        served = served => served.map_err(anyhow::Error::from),
        () = told_to_stop => Ok(()),
    };
    shutdown.cancel();
    people.await.map_err(anyhow::Error::from)?;
    served?;
    Ok(())
}

/// Carries the client's messages to whoever is the gateway; if need be, becomes it.
async fn carry(
    mut config: Config,
    agent: &AgentName,
    (mut link, mut owner): (Link, Owner),
    shutdown: CancellationToken,
) -> Result<(), Failed> {
    let limit = config.edge.max_message_bytes;
    let mut carrier = Carrier::new(tokio::io::stdin(), tokio::io::stdout(), limit);
    let mut silent = 0;
    loop {
        let ended = tokio::select! {
            ended = carrier.carry(link) => ended,
            () = shutdown.cancelled() => return Ok(()),
        };
        match ended.map_err(anyhow::Error::from)? {
            Ended::Client => return Ok(()),
            Ended::Gateway { said_something: true } => silent = 0,
            Ended::Gateway { said_something: false } => silent += 1,
        }
        if silent == MAX_SILENT {
            return Err(Failed::new(1, "the gateway ends the client's stream; its log says why"));
        }
        tracing::info!("the gateway went away");
        config = owner.files.load(&config.data)?;
        let role = tokio::select! {
            role = joining::own_or_join(&config, agent, owner.listens) => role?,
            () = shutdown.cancelled() => return Ok(()),
        };
        match role {
            Role::Joined(next, its) => (link, owner) = (next, its),
            Role::Owner(gateway) => return take_over(gateway, agent, carrier, shutdown).await,
        }
    }
}

/// Is the gateway from now on, for the client whose messages this process has carried.
async fn take_over(
    gateway: Arc<Gateway>,
    agent: &AgentName,
    mut carrier: Carrier<tokio::io::Stdin, tokio::io::Stdout>,
    shutdown: CancellationToken,
) -> Result<(), Failed> {
    let (principal, people) = begin(&gateway, agent, &shutdown).await?;
    tracing::info!("took over the data directory");
    let (near, far) = tokio::io::duplex(PIPE);
    let served = mcp::stdio::serve(
        Arc::clone(&gateway),
        principal,
        tokio::io::split(far),
        Stop::Carrier(shutdown.clone()),
    );
    let served = tokio::spawn(served);
    let told_to_stop = async {
        shutdown.cancelled().await;
        gateway.clock.sleep(server::DRAIN).await;
    };
    let carried = tokio::select! {
        carried = carrier.carry(Link::from(near)) => carried.map(drop).map_err(anyhow::Error::from),
        () = told_to_stop => Ok(()),
    };
    served.abort();
    shutdown.cancel();
    people.await.map_err(anyhow::Error::from)?;
    carried?;
    Ok(())
}

/// Opens the gateway to others, and lets the own client in. If that may not be, what has begun ends well.
async fn begin(
    gateway: &Arc<Gateway>,
    agent: &AgentName,
    shutdown: &CancellationToken,
) -> Result<(Principal, JoinHandle<()>), Failed> {
    serve::check_people(gateway)?;
    let sockets = server::Sockets::bind(&gateway.config.data)?;
    let people = tokio::spawn(server::run(Arc::clone(gateway), sockets, None, shutdown.clone()));
    if let Some(principal) = gateway.agents.local(agent, &gateway.config.user) {
        return Ok((principal, people));
    }
    shutdown.cancel();
    people.await.map_err(anyhow::Error::from)?;
    Err(Failed::new(4, format!("the agent `{agent}` was revoked")))
}
