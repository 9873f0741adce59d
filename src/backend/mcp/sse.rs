//! Server-sent events with a limit on each, and answers taken out of them.

use std::future;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use rmcp::model::ServerJsonRpcMessage;
use sse_stream::{Error, Sse, SseStream};

use super::ledger::{Incoming, Ledger};
use crate::backend::BackendError;

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
    let mut gauge = Gauge { limit, ..Gauge::default() };
    let body = body.map(move |chunk| {
        let chunk = chunk.map_err(|_| Broken::Body)?;
        if gauge.passes(&chunk) { Ok(chunk) } else { Err(Broken::TooLarge(limit)) }
    });
    let events = SseStream::from_bytes_stream(body);
    events
        .scan(false, move |ended, event| {
            if *ended {
                return future::ready(None);
            }
            *ended = event.is_err();
            future::ready(Some(match event {
                Ok(event) => Ok(filtered(&ledger, posted, event)),
                Err(error) => too_large(&ledger, posted, error),
            }))
        })
        .boxed()
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

fn too_large(ledger: &Ledger, posted: Option<i64>, error: Error) -> Result<Sse, Error> {
    let (Some(id), Error::Body(cause)) = (posted, &error) else { return Err(error) };
    let Some(Broken::TooLarge(limit)) = cause.downcast_ref::<Broken>() else {
        return Err(error);
    };
    match ledger.settle(id, Err(BackendError::TooLarge { limit: *limit })) {
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
}

impl Gauge {
    fn passes(&mut self, chunk: &[u8]) -> bool {
        for byte in chunk {
            let second_of_two = *byte == b'\n' && std::mem::take(&mut self.after_return);
            if second_of_two {
                continue;
            }
            self.after_return = *byte == b'\r';
            if matches!(*byte, b'\n' | b'\r') {
                if self.line == 0 {
                    self.event = 0;
                }
                self.line = 0;
            } else {
                self.line = self.line.saturating_add(1);
                self.event = self.event.saturating_add(1);
            }
            if self.event > self.limit {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_events_and_not_streams() {
        let check = |chunks: &[&str], limit| {
            let mut gauge = Gauge { limit, ..Gauge::default() };
            chunks.iter().all(|chunk| gauge.passes(chunk.as_bytes()))
        };
        assert!(check(&["data: 12345\n\n", "data: 12345\n\n"], 11));
        assert!(check(&["data: 12345\r\n\r", "\ndata: 12345\r\n\r\n"], 11));
        assert!(check(&["data: 12345\r\rdata: 12345\r\r"], 11));
        assert!(!check(&["data: 12345\ndata: 1\n\n"], 11));
        assert!(!check(&["data: 12345\r\n", "data: 1\r\n\r\n"], 11));
        assert!(!check(&["data: 12", "3456"], 11));
    }
}
