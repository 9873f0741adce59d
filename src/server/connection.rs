//! One connection from its first byte to its last: which HTTP it speaks, what its requests may be, how it ends.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::addresses::{Addresses, Place};
use super::admission::Peer;
use super::bodies::{Download, Fate, Upload};
use super::headers;
use super::pulse::{Cut, Ticket, Watched};
use super::stream::Stream;
use crate::api;
use crate::edge::{BodyRefused, Limits};
use crate::gateway::Gateway;

/// The least that hyper takes as the size of a head, in bytes.
const LEAST_HEAD: usize = 8192;
/// How many headers hyper takes without being told.
const USUAL_HEADERS: usize = 100;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Somebody on the network, and whether over TLS.
    Remote(SocketAddr, bool),
    /// A user of this machine.
    Local(Peer),
}

/// What serves the requests of one listener.
pub(super) struct Front {
    pub(super) gateway: Arc<Gateway>,
    pub(super) addresses: Arc<Addresses>,
    routes: Router,
    http: Builder<TokioExecutor>,
    /// Cancelled when connections that are still open have to go.
    ending: CancellationToken,
}

impl Front {
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        routes: Router,
        addresses: Arc<Addresses>,
        ending: CancellationToken,
    ) -> Arc<Self> {
        let http = builder(&gateway.config.edge.limits);
        Arc::new(Self { gateway: Arc::clone(gateway), addresses, routes, http, ending })
    }

    fn limits(&self) -> &Limits {
        &self.gateway.config.edge.limits
    }

    /// Serves all requests of a connection, until it ends or `closing` is cancelled and they are answered.
    pub(super) async fn converse<S>(
        self: Arc<Self>,
        stream: S,
        caller: Caller,
        watched: Watched,
        closing: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = Arc::clone(&watched.pulse);
        let stream = TokioIo::new(Stream::new(stream, Arc::clone(&pulse)));
        let service = service_fn(|request: Request<Incoming>| {
            let ticket = pulse.begin(request.version() == Version::HTTP_2);
            let front = Arc::clone(&self);
            let caller = caller.clone();
            async move { Ok::<_, Infallible>(front.answer(request, caller, ticket).await) }
        });
        let mut serving = pin!(self.http.serve_connection(stream, service));
        let mut is_closing = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                cut = pulse.overdue() => match cut {
                    Cut::Idle => serving.as_mut().graceful_shutdown(),
                    // The stream says so when it is read next, which is now.
                    Cut::SlowHead => {}
                    Cut::Stalled => return,
                },
                () = closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.ending.cancelled() => return,
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        caller: Caller,
        ticket: Ticket,
    ) -> Response<Download<Option<Place>>> {
        let chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let (response, secure, place) = match self.arrive(request, caller) {
            Ok((request, fate, secure, place)) => {
                let Ok(answer) = self.routes.clone().oneshot(request).await;
                // A handler that could not read the body may have taken it for any other fault.
                let answer = fate.refused().map_or(answer, too_much);
                (answer, secure, place)
            }
            Err((refused, told)) => {
                self.gateway.metrics.edge.refused("headers");
                (turned_away(refused, told), false, None)
            }
        };
        let mut response = response;
        headers::dress(response.headers_mut(), secure);
        // Where a body ends that has no length, another program may see elsewhere: nothing comes after it.
        if chunked {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Download::new(body, ticket, place))
    }

    fn arrive(
        &self,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Result<Arrived, headers::Refused> {
        let limits = self.limits();
        let largest = self.gateway.config.edge.max_message_bytes;
        let (mut parts, body) = request.into_parts();
        headers::check(&parts.headers, limits.header_count)?;
        if parts.method == Method::CONNECT {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"));
        }
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > largest) {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large\n"));
        }
        let (body, fate) = Upload::new(body, Arc::clone(&self.gateway.clock), limits, largest);
        let mut place = None;
        let mut over_tls = false;
        match caller {
            Caller::Remote(peer, secure) => {
                let trusted = self.addresses.trusted();
                let arrival = headers::arrival(&parts.headers, (peer.ip(), secure), trusted);
                headers::strip(&mut parts.headers);
                place = self.place(peer.ip(), arrival.address)?;
                over_tls = arrival.secure;
                parts.extensions.insert(arrival);
                parts.extensions.insert(ConnectInfo(peer));
            }
            Caller::Local(peer) => {
                parts.extensions.insert(ConnectInfo(peer));
            }
        }
        Ok((Request::from_parts(parts, Body::new(body)), fate, over_tls, place))
    }

    /// Requests that a proxy passes on are counted as connections of whom it names.
    fn place(&self, peer: IpAddr, address: IpAddr) -> Result<Option<Place>, headers::Refused> {
        if peer.to_canonical() == address || self.addresses.is_free(address) {
            return Ok(None);
        }
        let told = "Service Unavailable: too many requests of one address are under way\n";
        self.addresses.take(address).map(Some).ok_or((StatusCode::SERVICE_UNAVAILABLE, told))
    }
}

type Arrived = (Request<Body>, Fate, bool, Option<Place>);

fn turned_away(status: StatusCode, told: &'static str) -> Response {
    let mut response = (status, told).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(api::CHALLENGE));
    }
    // What follows such a request need not be what it seems.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn too_much(refused: BodyRefused) -> Response {
    let (status, told) = match refused {
        BodyRefused::TooSlow => {
            (StatusCode::REQUEST_TIMEOUT, "Request Timeout: the body came too slowly\n")
        }
        BodyRefused::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large: a message may not be so large\n")
        }
    };
    turned_away(status, told)
}

/// HTTP/1 and HTTP/2 within the limits. Time is watched by the connection's pulse, not by hyper.
fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    let head = limits.header_bytes.max(LEAST_HEAD);
    http.http1().header_read_timeout(None).max_buf_size(head);
    if limits.header_count != USUAL_HEADERS {
        http.http1().max_headers(limits.header_count);
    }
    http.http2()
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
    http
}
