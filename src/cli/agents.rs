//! `countersign agents`: who may call tools.

use clap::Subcommand;

use super::Failed;
use super::approvals::percent;
use super::output::{self, Form, second, table};
use super::way::{Remote, Way};
use crate::api::{AgentEdit, AgentRotation, AgentView, NewAgent, NewToken};
use crate::config::Flags;
use crate::ids::AgentName;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an agent and print its token, which is shown this once
    Add {
        /// Its name
        name: AgentName,
        /// A group it belongs to; may be given more than once
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// The person it acts for; you, unless told otherwise
        #[arg(long, value_name = "PERSON")]
        owner: Option<String>,
        /// When its token ends, like `90d` or `12h`; never, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
        /// An agent that it may act for; may be given more than once
        #[arg(long = "acts-for", value_name = "AGENT")]
        acts_for: Vec<AgentName>,
    },
    /// Say for which agents an agent may act, in place of those before; for none, without any
    ActsFor {
        /// Its name
        name: AgentName,
        /// The agents that it may act for
        #[arg(value_name = "AGENT")]
        agents: Vec<AgentName>,
    },
    /// List agents
    List(Form),
    /// Print a new token of an agent; the old one ends
    Rotate {
        /// Its name
        name: AgentName,
        /// How long the old token lives on, like `1h`; at most 7d
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        overlap: Option<u64>,
        /// When the new token ends, like `90d`; as before, unless told otherwise
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// Revoke an agent's token
    Revoke {
        /// Its name
        name: AgentName,
    },
}

/// A length of time, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    if let Some(days) = days.filter(|days| (1..=36_500).contains(days)) {
        return Ok(days * 86_400);
    }
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "write it like `90d`, `12h` or `30m`".to_owned())?;
    u64::try_from(span.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "it must be longer than nothing".to_owned())
}

pub(super) async fn run(flags: &Flags, remote: &Remote, command: Command) -> Result<(), Failed> {
    let way = Way::reach(flags, remote).await?;
    let done = match command {
        Command::Add { name, groups, owner, expires, acts_for } => {
            let new = NewAgent { name, groups, owner, expires_in: expires, acts_for };
            match way.post::<NewToken>("/api/v1/agents", &new).await {
                Ok(added) => output::print(&added.token),
                Err(failed) => Err(failed),
            }
        }
        Command::ActsFor { name, agents } => {
            let path = format!("/api/v1/agents/{}", percent(name.as_str()));
            way.patch::<AgentView>(&path, &AgentEdit { acts_for: agents }).await.map(drop)
        }
        Command::List(form) => list(&way, form).await,
        Command::Rotate { name, overlap, expires } => {
            let rotation = AgentRotation { overlap, expires_in: expires };
            let path = format!("/api/v1/agents/{}/token", percent(name.as_str()));
            match way.post::<NewToken>(&path, &rotation).await {
                Ok(rotated) => output::print(&rotated.token),
                Err(failed) => Err(failed),
            }
        }
        Command::Revoke { name } => {
            way.delete(&format!("/api/v1/agents/{}", percent(name.as_str()))).await
        }
    };
    way.leave().await;
    done
}

async fn list(way: &Way, form: Form) -> Result<(), Failed> {
    let agents: Vec<AgentView> = way.get("/api/v1/agents").await?;
    form.print(&agents, |agents| {
        let rows = agents.iter().map(|agent| {
            let state = match (agent.revoked_at, agent.expires_at) {
                (Some(at), _) => format!("revoked {}", second(at)),
                (None, Some(at)) => format!("until {}", second(at)),
                (None, None) => "valid".to_owned(),
            };
            vec![
                agent.name.to_string(),
                agent.groups.join(", "),
                agent.owner.clone().unwrap_or_default(),
                agent.acts_for.iter().map(AgentName::as_str).collect::<Vec<_>>().join(", "),
                state,
                agent.last_used.map_or_else(|| "never".to_owned(), |at| second(at).to_string()),
            ]
        });
        table(&["NAME", "GROUPS", "OWNER", "ACTS FOR", "TOKEN", "LAST USED"], rows)
    })
}
