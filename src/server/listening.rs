//! What listens: where that may be, and how connections are taken in, no more than there are places for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Peer;
use super::connection::{Caller, Front};
use super::pulse::Pulses;
use super::tls::Certificates;
use crate::config::{Config, Edge};

/// How many files the process keeps for all else, when it counts how many connections it can have.
const OTHER_FILES: u64 = 512;
/// How long to wait after a connection could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How many connections that are turned away may be told so at once; others are only closed.
const FAREWELLS: usize = 64;
/// How long one of them may take to hear it, and how much of what it says is passed over, in bytes.
const FAREWELL: (Duration, u64) = (Duration::from_secs(1), 64 << 10);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";
const IN_THE_CLEAR: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why the gateway does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// What the configuration wants would not be safe, or is wrong.
    #[error("{0}")]
    Refused(String),
    /// The system does not let it.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// A bound address, and the certificate that is shown there.
pub struct Listening {
    listener: TcpListener,
    pub(super) certificates: Option<Arc<Certificates>>,
    address: SocketAddr,
}

impl Listening {
    /// Binds the address that agents reach over HTTP.
    ///
    /// # Errors
    /// When it is beyond loopback although neither TLS nor a trusted proxy is configured: a token must not
    /// cross a network in the clear. When the certificate cannot be used or the address not be bound.
    pub async fn bind(config: &Config) -> Result<Self, ListenError> {
        let (listen, edge) = (&config.listen, &config.edge);
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(listen)
            .await
            .with_context(|| {
                format!("`{listen}` is not an address to listen on, like `127.0.0.1:7420`")
            })?
            .collect();
        check(&addresses, edge)?;
        let certificates = match &edge.tls {
            Some(files) => {
                let opened = Certificates::open(files).await;
                Some(opened.map_err(|why| ListenError::Refused(format!("edge.tls: {why}")))?)
            }
            None => None,
        };
        let listener = TcpListener::bind(addresses.as_slice())
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr().context("no address")?;
        Ok(Self { listener, certificates, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn check(addresses: &[SocketAddr], edge: &Edge) -> Result<(), ListenError> {
    let loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    let Some(beyond) = addresses.iter().find(|address| !loopback(address)) else { return Ok(()) };
    if edge.tls.is_some() || edge.trusted_proxy.is_some() {
        return Ok(());
    }
    Err(ListenError::Refused(format!(
        "{beyond} is beyond loopback, where tokens would cross the network in the clear: give \
         `edge.tls` a certificate and a key, or name the proxy that speaks TLS before this gateway \
         under `edge.trusted_proxy`, or listen on 127.0.0.1"
    )))
}

/// Lets the process have as many files as `connections` need, as far as the system allows, and says for how
/// many connections that is enough.
fn places(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return connections };
    let mut have = soft;
    if soft < wanted {
        let more = wanted.min(hard);
        if setrlimit(Resource::RLIMIT_NOFILE, more, hard).is_ok() {
            have = more;
        }
    }
    // A small limit is shared rather than used up.
    let places = have.saturating_sub(OTHER_FILES).max(have / 2);
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    if places < connections {
        tracing::info!(
            places,
            "the limit of open files is lower than `edge.limits.connections` needs; raise it"
        );
    }
    places.min(connections).min(Semaphore::MAX_PERMITS)
}

/// What takes connections in: the places there are, and what watches them.
struct Doors {
    front: Arc<Front>,
    closing: CancellationToken,
    pulses: Arc<Pulses>,
    places: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    tasks: TaskTracker,
    name: &'static str,
}

impl Doors {
    fn new(front: Arc<Front>, closing: CancellationToken, name: &'static str, most: usize) -> Self {
        let pulses = Pulses::new(Arc::clone(&front.gateway.clock));
        Self {
            front,
            closing,
            pulses,
            places: Arc::new(Semaphore::new(most)),
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
            tasks: TaskTracker::new(),
            name,
        }
    }

    fn watch(&self) -> tokio::task::JoinHandle<()> {
        let gateway = Arc::clone(&self.front.gateway);
        let limits = gateway.config.edge.limits.clone();
        let watching =
            Arc::clone(&self.pulses).watch(limits, move |reason| gateway.metrics.edge.cut(reason));
        tokio::spawn(watching)
    }

    /// Takes one connection in; turns it away when there is no place for it.
    fn take_in(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        certificates: Option<&Arc<Certificates>>,
    ) {
        let addresses = &self.front.addresses;
        let is_free = addresses.is_free(peer.ip());
        if certificates.is_none() && !is_free {
            return self.turn_away(stream, "not_the_proxy", Some(IN_THE_CLEAR));
        }
        let full = certificates.is_none().then_some(FULL);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.turn_away(stream, "connections", full);
        };
        let own = if is_free { None } else { addresses.take(peer.ip()) };
        if own.is_none() && !is_free {
            return self.turn_away(stream, "connections_per_address", full);
        }
        // Without it a small answer waits for the acknowledgement of the one before (40 ms).
        drop(stream.set_nodelay(true));
        let acceptor = certificates.map(|certificates| certificates.acceptor());
        let (front, closing) = (Arc::clone(&self.front), self.closing.clone());
        let pulses = Arc::clone(&self.pulses);
        let counted = front.gateway.metrics.edge.connected(self.name);
        self.tasks.spawn(async move {
            let _held = (place, own, counted);
            let caller = Caller::Remote(peer, acceptor.is_some());
            let Some(acceptor) = acceptor else {
                return front.converse(stream, caller, pulses.open(), closing).await;
            };
            let gateway = Arc::clone(&front.gateway);
            let patience = gateway.config.edge.limits.handshake_time.0;
            let shaken = tokio::select! {
                shaken = acceptor.accept(stream) => shaken,
                () = gateway.clock.sleep(patience) => {
                    return gateway.metrics.edge.cut("slow_handshake");
                }
                () = closing.cancelled() => return,
            };
            match shaken {
                Ok(stream) => front.converse(stream, caller, pulses.open(), closing).await,
                Err(error) => {
                    gateway.metrics.edge.refused("handshake");
                    tracing::debug!(%error, "a TLS handshake failed");
                }
            }
        });
    }

    fn turn_away(&self, mut stream: TcpStream, reason: &'static str, told: Option<&'static [u8]>) {
        let gateway = Arc::clone(&self.front.gateway);
        gateway.metrics.edge.refused(reason);
        let Some(told) = told else { return };
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        self.tasks.spawn(async move {
            let _permit = permit;
            let telling = async {
                stream.write_all(told).await?;
                stream.shutdown().await?;
                // Closing on what was not read would take the answer back (TCP reset).
                let (reading, _) = stream.split();
                tokio::io::copy(&mut reading.take(FAREWELL.1), &mut tokio::io::sink()).await
            };
            tokio::select! {
                _ = telling => {}
                () = gateway.clock.sleep(FAREWELL.0) => {}
            }
        });
    }

    async fn failed(&self, error: &std::io::Error, failing: &mut bool) {
        if !std::mem::replace(failing, true) {
            tracing::warn!(%error, listener = self.name, "connections cannot be taken");
        }
        self.front.gateway.clock.sleep(ACCEPT_AGAIN).await;
    }

    /// Waits until all that were taken in have ended.
    async fn close(self, watch: tokio::task::JoinHandle<()>) {
        self.tasks.close();
        self.tasks.wait().await;
        watch.abort();
    }
}

/// Takes connections over TCP until `closing` is cancelled, and returns when all have ended.
pub(super) async fn remote(front: Arc<Front>, listening: Listening, closing: CancellationToken) {
    let most = places(front.gateway.config.edge.limits.connections);
    let doors = Doors::new(front, closing.clone(), "tcp", most);
    let Listening { listener, certificates, .. } = listening;
    let watch = doors.watch();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                doors.take_in(stream, peer, certificates.as_ref());
            }
            Err(error) => doors.failed(&error, &mut failing).await,
        }
    }
    // Whoever comes now is not kept waiting for a gateway that goes away.
    drop(listener);
    doors.close(watch).await;
}

/// The same for the local socket.
pub(super) async fn local(front: Arc<Front>, listener: UnixListener, closing: CancellationToken) {
    let most = front.gateway.config.edge.limits.local_connections.min(Semaphore::MAX_PERMITS);
    let doors = Doors::new(front, closing.clone(), "local", most);
    let watch = doors.watch();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                doors.failed(&error, &mut failing).await;
                continue;
            }
        };
        let front = Arc::clone(&doors.front);
        let Ok(place) = Arc::clone(&doors.places).try_acquire_owned() else {
            front.gateway.metrics.edge.refused("local_connections");
            continue;
        };
        let caller = Caller::Local(Peer::of(&stream));
        let watched = doors.pulses.open();
        let counted = front.gateway.metrics.edge.connected(doors.name);
        let closing = closing.clone();
        doors.tasks.spawn(async move {
            let _held = (place, counted);
            front.converse(stream, caller, watched, closing).await;
        });
    }
    drop(listener);
    doors.close(watch).await;
}
