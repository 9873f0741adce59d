//! What listens, what runs in the background, and how it all ends.

mod addresses;
mod admission;
mod bodies;
mod connection;
mod headers;
pub mod joined;
mod learning;
mod listening;
mod pulse;
mod resource;
mod stream;
mod tls;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::middleware;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use self::addresses::Addresses;
pub use self::admission::AGENT_HEADER;
use self::admission::{check_names, let_agent_in, let_local_in, let_person_in};
use self::connection::Front;
pub use self::listening::{ListenError, Listening};
use crate::api;
use crate::call::time::Watch;
use crate::call::{self, holding, workflows};
use crate::config::Span;
use crate::edge::{HostRule, Names};
use crate::gateway::Gateway;
use crate::mcp::http::{Endpoint, handle};
use crate::page;

/// The local socket's name in the data directory.
const SOCKET: &str = "countersign.sock";
/// The longest path of a socket that the operating system takes, in bytes.
const MAX_SOCKET_PATH: usize = 107;
/// How often holds are looked at whose clock ran out.
const SWEEP: Duration = Duration::from_secs(1);
/// How often results are looked for that are kept no longer.
const RESULT_SWEEP: Duration = Duration::from_secs(60);
/// How often idle workflows are looked for.
const WORKFLOW_SWEEP: Duration = Duration::from_secs(10);
/// How often idle sessions are looked for.
const SESSION_SWEEP: Duration = Duration::from_secs(60);
/// How long open connections and approved calls may finish what they began when the gateway stops.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The local socket of the gateway that owns `data`.
#[must_use]
pub fn socket_path(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// The sockets in the data directory.
#[derive(Debug)]
pub struct Sockets {
    /// For people, and local agents that speak HTTP.
    people: UnixListener,
    /// For processes that join.
    joining: UnixListener,
}

impl Sockets {
    /// Binds them. Whoever holds the lock of the data directory may put sockets there; what an earlier
    /// owner left goes.
    ///
    /// # Errors
    /// When a path is too long for a socket, or a socket cannot be made.
    pub fn bind(data: &Path) -> anyhow::Result<Self> {
        let people = bind_socket(&socket_path(data))?;
        Ok(Self { people, joining: bind_socket(&joined::path(data))? })
    }
}

/// Serves until `shutdown` is cancelled: agents on `tcp`, if given, and people, local agents and
/// processes that join on `sockets`. All are bound before, so that whoever says that the gateway listens
/// says the truth.
pub async fn run(
    gateway: Arc<Gateway>,
    sockets: Sockets,
    tcp: Option<Listening>,
    shutdown: CancellationToken,
) {
    // The doors close after everybody could see that they will; at the end, who is still there has to go.
    let (closing, ending) = (CancellationToken::new(), CancellationToken::new());
    let endpoint = Endpoint::new(Arc::clone(&gateway), closing.child_token());
    let mut background = start_background(&gateway, &endpoint, &shutdown);
    if let Some(certificates) = tcp.as_ref().and_then(|tcp| tcp.certificates.as_ref()) {
        let following = Arc::clone(certificates).follow(Arc::clone(&gateway));
        background.push(tokio::spawn(following));
    }
    let addresses = addresses_of(&gateway);
    let front = |routes| Front::new(&gateway, routes, Arc::clone(&addresses), ending.clone());
    let local = front(local_routes(&gateway, &endpoint));
    let local = tokio::spawn(listening::local(local, sockets.people, closing.clone()));
    let (tcp_listens, notice) = (tcp.is_some(), gateway.config.edge.drain_notice);
    let joining = (sockets.joining, tcp_listens);
    let joined = joined::serve(Arc::clone(&gateway), joining, shutdown.clone());
    let joined = tokio::spawn(joined);
    let joined_ends = joined.abort_handle();
    let remote = tcp.map(|tcp| {
        let routes = remote_routes(&gateway, &endpoint, tcp.address());
        tokio::spawn(listening::remote(front(routes), tcp, closing.clone()))
    });
    shutdown.cancelled().await;
    gateway.drain();
    for task in background {
        task.abort();
    }
    if let Some(Span(notice)) = notice.filter(|_| tcp_listens) {
        tokio::time::sleep(notice.min(DRAIN)).await;
    }
    closing.cancel();
    let drained = async {
        drop(joined.await);
        while gateway.board.runs_any() {
            gateway.clock.sleep(LOOK_AGAIN).await;
        }
        drop(local.await);
        if let Some(remote) = remote {
            drop(remote.await);
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("connections were still open after {DRAIN:?}");
    }
    ending.cancel();
    joined_ends.abort();
    tokens::look(&gateway).await;
    gateway.revision().backends.close().await;
    // The process ends without waiting for who still holds the store: what nobody waited for goes first.
    match tokio::time::timeout(DRAIN, gateway.store.settle()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the last entries could not be written"),
        Err(_) => tracing::error!("the last entries were not written after {DRAIN:?}"),
    }
    for path in [socket_path, joined::path] {
        drop(std::fs::remove_file(path(&gateway.config.data)));
    }
}

fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        bail!("{} is too long for a socket; use a shorter data directory", path.display());
    }
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn addresses_of(gateway: &Gateway) -> Arc<Addresses> {
    let edge = &gateway.config.edge;
    let trusted = edge.trusted_proxy.as_ref().map(|proxy| proxy.addresses.clone());
    Addresses::new(edge.limits.connections_per_address, trusted.unwrap_or_default())
}

fn local_routes(gateway: &Arc<Gateway>, endpoint: &Arc<Endpoint>) -> Router {
    let names = Arc::new(names(gateway, None));
    Router::new()
        .route("/mcp", axum::routing::any(handle).with_state(Arc::clone(endpoint)))
        .merge(api::routes(Arc::clone(gateway)))
        .merge(api::probes(Arc::clone(gateway)))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), let_local_in))
        .layer(middleware::from_fn_with_state(names, check_names))
}

/// The names of this gateway, that of its public address among them.
fn names(gateway: &Gateway, address: Option<IpAddr>) -> Names {
    let public = gateway.config.public_url.as_ref();
    let public = public.and_then(|url| HostRule::try_from(url.host().to_owned()).ok());
    let rules = gateway.config.edge.allowed_hosts.iter().cloned().chain(public);
    Names::new(rules.collect(), address)
}

fn remote_routes(gateway: &Arc<Gateway>, endpoint: &Arc<Endpoint>, address: SocketAddr) -> Router {
    let people = api::routes(Arc::clone(gateway))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), let_person_in));
    let mcp = axum::routing::any(handle)
        .with_state(Arc::clone(endpoint))
        .layer(middleware::from_fn_with_state(Arc::clone(gateway), let_agent_in));
    let names = names(gateway, Some(address.ip()));
    Router::new()
        .route("/mcp", mcp)
        .merge(people)
        .merge(api::probes(Arc::clone(gateway)))
        .merge(page::routes(Arc::clone(gateway)))
        .merge(resource::routes(gateway))
        .layer(middleware::from_fn_with_state(Arc::new(names), check_names))
}

fn start_background(
    gateway: &Arc<Gateway>,
    endpoint: &Arc<Endpoint>,
    shutdown: &CancellationToken,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = vec![
        tokio::spawn(sweep_holds(Arc::clone(gateway))),
        tokio::spawn(sweep_results(Arc::clone(gateway))),
        tokio::spawn(sweep_workflows(Arc::clone(gateway))),
        tokio::spawn(sweep_sessions(Arc::clone(gateway), Arc::clone(endpoint))),
        tokio::spawn(tokens::watch(Arc::clone(gateway))),
        tokio::spawn(call::tokens::count(Arc::clone(gateway))),
    ];
    tasks.extend(gateway.issuers.keys().map(|(_, keys)| tokio::spawn(Arc::clone(keys).keep())));
    for channel in gateway.notifier.channels() {
        let channel = Arc::clone(channel);
        tasks.push(tokio::spawn(async move { channel.run().await }));
    }
    tasks.push(tokio::spawn(learning::follow_servers(Arc::clone(gateway), shutdown.clone())));
    tasks.push(tokio::spawn(learning::follow_files(Arc::clone(gateway))));
    tasks
}

async fn sweep_holds(gateway: Arc<Gateway>) {
    let mut watch = Watch::new(&gateway);
    loop {
        let looked = watch.look(&gateway).await;
        let swept = match looked {
            Ok(()) => holding::sweep(&gateway).await,
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::error!(%error, "holds could not be swept");
        }
        gateway.clock.sleep(SWEEP).await;
    }
}

async fn sweep_results(gateway: Arc<Gateway>) {
    loop {
        if let Err(error) = call::tokens::forget(&gateway).await {
            tracing::error!(%error, "what was spent of budgets could not be swept");
        }
        match holding::forget_results(&gateway).await {
            // More may be due.
            Ok(forgotten) if forgotten > 0 => {}
            Ok(_) => gateway.clock.sleep(RESULT_SWEEP).await,
            Err(error) => {
                tracing::error!(%error, "kept results could not be swept");
                gateway.clock.sleep(RESULT_SWEEP).await;
            }
        }
    }
}

async fn sweep_workflows(gateway: Arc<Gateway>) {
    loop {
        match workflows::sweep(&gateway).await {
            // More may be due.
            Ok(true) => {}
            Ok(false) => gateway.clock.sleep(WORKFLOW_SWEEP).await,
            Err(error) => {
                tracing::error!(%error, "idle workflows could not be ended");
                gateway.clock.sleep(WORKFLOW_SWEEP).await;
            }
        }
    }
}

async fn sweep_sessions(gateway: Arc<Gateway>, endpoint: Arc<Endpoint>) {
    loop {
        gateway.clock.sleep(SESSION_SWEEP).await;
        endpoint.expire_sessions().await;
    }
}
