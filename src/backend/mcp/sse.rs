//! Server-sent events with a limit on each, and answers taken out of them.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use rmcp::model::ServerJsonRpcMessage;
use sse_stream::{Error, Sse, SseStream};

use super::ledger::{Incoming, Ledger};
use crate::backend::BackendError;

/// How many bytes of one overlong event are looked at for its end, in limits.
const MAX_SKIPPED_LIMITS: usize = 64;
/// How long its end is waited for, in seconds.
const SKIP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a stream of events was given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the stream broke")]
    Body,
    #[error("an event of more than {0} bytes")]
    TooLarge(usize),
}

/// The events of an HTTP body. Answers to requests in the book go to who waits for them; `posted`
/// is the request that the whole stream answers, if it is one of those.
pub(super) fn events<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    limit: usize,
    ledger: Arc<Ledger>,
    posted: Option<i64>,
) -> BoxStream<'static, Result<Sse, Error>> {
    let events = SseStream::from_bytes_stream(measured(body, limit, Arc::clone(&ledger)));
    events
        .scan(false, move |ended, event| {
            if *ended {
                return future::ready(None);
            }
            *ended = event.is_err();
            future::ready(Some(match event {
                Ok(event) => Ok(filtered(&ledger, posted, event)),
                Err(error) => unread(&ledger, posted, error),
            }))
        })
        .boxed()
}

/// The body until an event in it is too long. No piece of it holds more than one event: what is read of a piece
/// that is malformed further on is lost, and answers to others with it.
fn measured<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    limit: usize,
    ledger: Arc<Ledger>,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send + 'static {
    let gauge = Gauge { limit, ..Gauge::default() };
    let body = Box::pin(body.map(|chunk| chunk.map_err(|_| Broken::Body)));
    stream::unfold(Some((body, gauge, Bytes::new())), move |measuring| {
        let ledger = Arc::clone(&ledger);
        async move {
            let (mut body, mut gauge, mut rest) = measuring?;
            while rest.is_empty() {
                match body.next().await? {
                    Ok(chunk) => rest = chunk,
                    Err(broken) => return Some((Err(broken), None)),
                }
            }
            let piece = rest.split_to(gauge.take(&rest));
            if gauge.is_exceeded {
                tokio::spawn(look_for_end(body, gauge, rest, ledger));
                return Some((Err(Broken::TooLarge(limit)), None));
            }
            Some((Ok(piece), Some((body, gauge, rest))))
        }
    })
}

/// An event that was too long may still end: then it was a result nobody wanted that long. A server that
/// sends without end is lost, and has to be reached anew.
async fn look_for_end(
    mut body: impl Stream<Item = Result<Bytes, Broken>> + Unpin,
    mut gauge: Gauge,
    mut rest: Bytes,
    ledger: Arc<Ledger>,
) {
    gauge.limit = gauge.limit.saturating_mul(MAX_SKIPPED_LIMITS);
    let end = async {
        while !gauge.is_over {
            if gauge.event > gauge.limit {
                return false;
            }
            if rest.is_empty() {
                match body.next().await {
                    Some(Ok(chunk)) => rest = chunk,
                    Some(Err(_)) | None => return true,
                }
            }
            drop(rest.split_to(gauge.take(&rest)));
        }
        true
    };
    if !tokio::time::timeout(SKIP_TIMEOUT, end).await.unwrap_or(false) {
        ledger.retire(BackendError::Died("it sent an event without end".to_owned()));
    }
}

fn filtered(ledger: &Ledger, posted: Option<i64>, mut event: Sse) -> Sse {
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    let Some(data) = event.data.as_deref().filter(|data| is_message && !data.is_empty()) else {
        return event;
    };
    match ledger.incoming(data.as_bytes(), posted) {
        Incoming::Pass => {}
        Incoming::Replace(message) => event.data = text_of(&message),
        Incoming::Done => event.data = None,
    }
    event
}

/// What is told of a stream that ends here. One that only broke may be taken up again.
fn unread(ledger: &Ledger, posted: Option<i64>, error: Error) -> Result<Sse, Error> {
    let why = match &error {
        Error::Body(cause) => match cause.downcast_ref::<Broken>() {
            Some(Broken::TooLarge(limit)) => BackendError::TooLarge { limit: *limit },
            Some(Broken::Body) | None => return Err(error),
        },
        Error::InvalidLine
        | Error::DuplicatedEventLine
        | Error::DuplicatedIdLine
        | Error::DuplicatedRetry
        | Error::Utf8Parse(_)
        | Error::IntParse(_) => BackendError::Nonsense(format!("a malformed event: {error}")),
    };
    let Some(id) = posted.filter(|id| ledger.is_waiting(*id)) else { return Err(error) };
    match ledger.settle(id, Err(why)) {
        Incoming::Replace(message) => Ok(Sse { data: text_of(&message), ..Sse::default() }),
        Incoming::Pass | Incoming::Done => Err(error),
    }
}

fn text_of(message: &ServerJsonRpcMessage) -> Option<String> {
    serde_json::to_string(message).ok()
}

/// Counts the bytes of an event while it is still being read.
#[derive(Default)]
struct Gauge {
    limit: usize,
    event: usize,
    line: usize,
    after_return: bool,
    /// Whether an event was longer than the limit.
    is_exceeded: bool,
    /// Whether that event has ended.
    is_over: bool,
}

impl Gauge {
    /// Takes bytes up to the end of an event, or else all; how many those are.
    fn take(&mut self, chunk: &[u8]) -> usize {
        for (before, byte) in chunk.iter().enumerate() {
            let second_of_two = *byte == b'\n' && std::mem::take(&mut self.after_return);
            if second_of_two {
                continue;
            }
            self.after_return = *byte == b'\r';
            if matches!(*byte, b'\n' | b'\r') {
                if self.line == 0 {
                    self.event = 0;
                    self.is_over |= self.is_exceeded;
                    return before.saturating_add(1);
                }
                self.line = 0;
            } else {
                self.line = self.line.saturating_add(1);
                self.event = self.event.saturating_add(1);
            }
            self.is_exceeded |= self.event > self.limit;
        }
        chunk.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_events_and_not_streams() {
        let check = |chunks: &[&str], limit| {
            let mut gauge = Gauge { limit, ..Gauge::default() };
            for chunk in chunks {
                let mut rest = chunk.as_bytes();
                while !rest.is_empty() {
                    rest = &rest[gauge.take(rest)..];
                }
            }
            !gauge.is_exceeded
        };
        assert!(check(&["data: 12345\n\n", "data: 12345\n\n"], 11));
        assert!(check(&["data: 12345\r\n\r", "\ndata: 12345\r\n\r\n"], 11));
        assert!(check(&["data: 12345\r\rdata: 12345\r\r"], 11));
        assert!(!check(&["data: 12345\ndata: 1\n\n"], 11));
        assert!(!check(&["data: 12345\r\n", "data: 1\r\n\r\n"], 11));
        assert!(!check(&["data: 12", "3456"], 11));
        assert!(!check(&["data: 123456\n\ndata: 1\n\n"], 11));
    }
}
