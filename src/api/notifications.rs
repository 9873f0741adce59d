//! How the channels of notices stand, and a test message to each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::future::join_all;

use super::{Check, Failure, Operator};
use crate::gateway::Gateway;
use crate::notify::{self, ChannelHealth};

/// What doctor calls a channel.
const CHANNEL: &str = "channel";
/// How a failing channel is looked into.
const LOOK: &str =
    "mend its receiver or its settings, then try it with `countersign doctor --notify`";

/// What doctor says of notices: each channel, and whether people may miss held calls.
pub(super) async fn checks(gateway: &Gateway) -> Vec<Check> {
    let mut checks = Vec::new();
    for channel in gateway.notifier.channels() {
        checks.push(of(channel.health().await));
    }
    let revision = gateway.revision();
    let reviewers = gateway.people.deciding(gateway.clock.now());
    if let Some(why) = notify::unseen(&revision.policy, gateway.notifier.told_of_holds(), reviewers)
    {
        checks.push(Check::bad("notices", why, notify::MEND));
    }
    checks
}

fn of(health: ChannelHealth) -> Check {
    let ChannelHealth { name, unusable, last, given_up } = health;
    if let Some(why) = unusable {
        return Check::bad(CHANNEL, format!("{name}: nothing can be sent: {why}"), LOOK);
    }
    let given_up = match given_up {
        0 => String::new(),
        count => format!("; {count} notices were given up: look at `countersign approvals list`"),
    };
    match last {
        Some(last) => match last.failed {
            Some(why) => {
                let found = format!("{name}: not delivered at {:.0}: {why}{given_up}", last.at);
                Check::bad(CHANNEL, found, LOOK)
            }
            None => {
                let found = format!("{name}: delivered at {:.0}{given_up}", last.at);
                if given_up.is_empty() {
                    Check::good(CHANNEL, found)
                } else {
                    Check::bad(CHANNEL, found, LOOK)
                }
            }
        },
        None => Check::good(CHANNEL, format!("{name}: nothing was sent yet")),
    }
}

/// Sends a test message to each channel, to all at once.
pub(super) async fn test(
    State(gateway): State<Arc<Gateway>>,
    _: Operator,
) -> Result<Json<Vec<Check>>, Failure> {
    let mark = hex::encode(gateway.random::<8>()?);
    let sent = gateway.notifier.channels().map(|channel| {
        let mark = mark.clone();
        async move {
            match channel.test(mark).await {
                Ok(()) => Check::good(
                    CHANNEL,
                    format!("{}: a test message was delivered", channel.name()),
                ),
                Err(why) => {
                    let found =
                        format!("{}: a test message was not delivered: {why}", channel.name());
                    Check::bad(CHANNEL, found, "mend its receiver or its settings")
                }
            }
        }
    });
    let mut checks = join_all(sent).await;
    if checks.is_empty() {
        checks.push(Check::bad(CHANNEL, "there is no channel to test", notify::MEND));
    }
    Ok(Json(checks))
}
