//! How a call that came over HTTP is answered: with its result alone, or with a stream that ends with it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use super::calls::{Caller, Era, Line};
use super::http::Endpoint;
use super::reads::Asking;
use super::wire;

/// How many messages wait to be written to one stream.
const STREAM_QUEUE: usize = 16;
/// How often a stream without news sends a comment, so that nothing between cuts it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A call that may begin.
pub(super) struct Call {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) caller: Caller,
    pub(super) asking: Asking,
    pub(super) line: Line,
    pub(super) id: Value,
}

/// A request's place among those of its session that are under way; given back when dropped, and so also
/// when the client hangs up.
struct UnderWay {
    endpoint: Arc<Endpoint>,
    session: String,
    id: Value,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.endpoint.sessions.end(&self.session, &self.id);
    }
}

impl Call {
    /// The answer; none for a call that its caller took back, who does not listen any more (MCP,
    /// cancellation).
    async fn run(self) -> Option<(StatusCode, Bytes)> {
        let Self { endpoint, caller, asking, line, id } = self;
        let _under_way = caller.session.clone().map(|session| UnderWay {
            endpoint: Arc::clone(&endpoint),
            session,
            id: id.clone(),
        });
        let answer = asking.answer(&endpoint.gateway, &caller, &line).await;
        if line.withdrawn.load(Ordering::SeqCst) {
            return None;
        }
        Some(match answer {
            Ok(members) => (StatusCode::OK, wire::response(&id, &members)),
            Err(error) => (error.status(), error.answer(Some(&id))),
        })
    }

    /// Answers with the result alone; with a stream that ends with it if anything comes before it.
    pub(super) async fn answer(self, mut messages: mpsc::Receiver<Bytes>) -> Response {
        // Before 2026-07-28 a client that hangs up has not taken its call back.
        let modern = self.caller.era == Era::Modern;
        let leaving = modern.then(|| self.line.cancel.clone().drop_guard());
        let mut running = Box::pin(self.run());
        let (first, done) = tokio::select! {
            biased;
            Some(first) = messages.recv() => (first, None),
            answer = &mut running => match messages.try_recv() {
                Ok(first) => (first, Some(answer)),
                Err(_) => {
                    if let Some(guard) = leaving {
                        guard.disarm();
                    }
                    return answer
                        .map_or_else(nothing, |(status, body)| json_response(status, body));
                }
            },
        };
        let (out, events) = mpsc::channel::<Bytes>(STREAM_QUEUE);
        tokio::spawn(async move {
            let _leaving = leaving;
            let mut next = Some(first);
            let answer = match done {
                Some(answer) => answer,
                None => loop {
                    if let Some(message) = next.take()
                        && out.send(message).await.is_err()
                    {
                        return;
                    }
                    tokio::select! {
                        biased;
                        Some(message) = messages.recv() => next = Some(message),
                        answer = &mut running => break answer,
                        () = out.closed() => return,
                    }
                },
            };
            // What was said before the answer goes before it: a client knows no call that has ended.
            while let Some(message) = next.take().or_else(|| messages.try_recv().ok()) {
                if out.send(message).await.is_err() {
                    return;
                }
            }
            // The status of a stream was said when it began.
            if let Some((_, answer)) = answer {
                drop(out.send(answer).await);
            }
        });
        event_stream(events)
    }
}

fn event_stream(events: mpsc::Receiver<Bytes>) -> Response {
    use axum::response::sse::{Event, KeepAlive, Sse};
    let stream = futures::stream::unfold(events, |mut events| async move {
        events.recv().await.map(|message| (message, events))
    })
    .map(|message| {
        let text = String::from_utf8_lossy(&message).into_owned();
        Ok::<_, Infallible>(Event::default().event("message").data(text))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// A stream that ends without a message.
fn nothing() -> Response {
    event_stream(mpsc::channel(1).1)
}

pub(super) fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
