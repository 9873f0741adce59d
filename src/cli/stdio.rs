//! `countersign stdio`: the gateway for one client, which spawned it.

use std::sync::Arc;

use super::{Failed, local, serve};
use crate::config::{Config, Flags};
use crate::ids::AgentName;
use crate::{mcp, server};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the agent that the client speaks for
    #[arg(long, value_name = "NAME", env = "COUNTERSIGN_AGENT")]
    agent: AgentName,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let config = Config::load(flags)?;
    let user = config.user.clone();
    let gateway = local::open(config).await?;
    serve::warn_of_notices(&gateway);
    let principal = gateway
        .agents
        .local(&arguments.agent, &user)
        .ok_or_else(|| Failed::new(4, format!("the agent `{}` was revoked", arguments.agent)))?;
    let shutdown = serve::stop_on_signal()?;
    let socket = server::bind_socket(&gateway.config.data)?;
    let people = tokio::spawn(server::run(Arc::clone(&gateway), socket, None, shutdown.clone()));
    let served = tokio::select! {
        served = mcp::stdio::serve(gateway, principal, tokio::io::stdin(), tokio::io::stdout()) => {
            served.map_err(anyhow::Error::from)
        }
        () = shutdown.cancelled() => Ok(()),
    };
    shutdown.cancel();
    people.await.map_err(anyhow::Error::from)?;
    served?;
    Ok(())
}
