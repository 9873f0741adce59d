//! `countersign serve`: the gateway for agents over HTTP.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failed, local};
use crate::call::manned;
use crate::config::{Config, Flags};
use crate::gateway::Gateway;
use crate::principal::Person;
use crate::{api, notify, server};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", env = "COUNTERSIGN_LISTEN")]
    listen: Option<String>,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let mut config = Config::load(flags)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    let listening = server::Listening::bind(&config).await?;
    // Port 0 is none that a link could lead to.
    config.listen = listening.address().to_string();
    config.listens = true;
    let url = config.url();
    let gateway = local::open(config).await?;
    for warning in gateway.revision().policy.warnings() {
        eprintln!("warning: {}: {}", warning.location(), warning.message());
    }
    check_people(&gateway)?;
    let shutdown = stop_on_signal()?;
    let sockets = server::Sockets::bind(&gateway.config.data)?;
    let link = sign_in_link(&gateway).await?;
    // In one piece, so that whoever waits for the first line has both.
    let told = format!("listening on {url}\n{link}");
    eprint!("{told}");
    server::run(gateway, sockets, Some(listening), shutdown).await;
    Ok(())
}

/// The line with the link with which the person at this terminal can sign in at a browser.
async fn sign_in_link(gateway: &Gateway) -> Result<String, Failed> {
    let user = Person::local(gateway.config.user.clone());
    let Some(site) = api::site(&gateway.config) else { return Ok(String::new()) };
    let made = gateway.sign_in.sign_in_link(&user, &user.name).await;
    let (code, _) = made.map_err(anyhow::Error::from)?;
    Ok(format!("sign in: {site}/sign-in?code={code}\n"))
}

/// Says loudly when held calls may wait unseen, or for people who are not there.
///
/// # Errors
/// When nobody could approve what rules hold, and the configuration demands somebody.
pub(super) fn check_people(gateway: &Gateway) -> Result<(), Failed> {
    for channel in gateway.notifier.channels() {
        if let Some(why) = channel.unusable() {
            eprintln!("warning: channel `{}`: nothing can be sent: {why}", channel.name());
        }
    }
    let reviewers = gateway.people.deciding(gateway.clock.now());
    let channels = gateway.notifier.told_of_holds();
    if let Some(why) = notify::unseen(&gateway.revision().policy, channels, reviewers) {
        eprintln!("warning: {why}; {}", notify::MEND);
    }
    match manned::unmanned(gateway) {
        None => Ok(()),
        Some(why) if gateway.config.holds.require_reviewer => {
            Err(Failed::new(1, format!("{why}, and `require_reviewer` is set; {}", manned::MEND)))
        }
        Some(why) => {
            eprintln!("warning: {why}; {}", manned::MEND);
            Ok(())
        }
    }
}

/// A token that is cancelled when the process is asked to stop.
pub(super) fn stop_on_signal() -> Result<CancellationToken, Failed> {
    let token = CancellationToken::new();
    let stop = token.clone();
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(token)
}
