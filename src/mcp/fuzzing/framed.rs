//! The bytes of one client on a stream, however they are cut into pieces.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rmcp::transport::Transport as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::super::streams::{Lines, Stop, Streams, shared};
use super::super::wire::Incoming;
use super::posted::is_error;
use super::run;

/// The longest line that is taken here, in bytes.
const LIMIT: usize = 512;

/// Each line that is not blank is a message that goes on, or is answered with one error, whatever pieces the
/// bytes come in. What goes on are messages that the strict reader takes, in their order, with their method
/// and their id.
pub fn jsonrpc_stdio(data: &[u8]) {
    if data.len() > crate::fuzzing::MAX_INPUT_BYTES {
        return;
    }
    let whole = run(serve(data, data.len().max(1)));
    let pieces = run(serve(data, 1 + data.len() % 13));
    assert_eq!(whole, pieces, "read otherwise in pieces");
    let (delivered, refused) = whole;
    let lines: Vec<&[u8]> = data
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() > LIMIT || !line.trim_ascii().is_empty())
        .collect();
    assert_eq!(delivered.len() + refused.len(), lines.len(), "a line without an outcome");
    refused.iter().for_each(|answer| is_error(answer.as_bytes(), None));
    let mut taken = lines
        .into_iter()
        .filter(|line| line.len() <= LIMIT)
        .filter_map(|line| Incoming::read(line).ok());
    for message in delivered {
        let is_it = |incoming: Incoming| {
            let method = incoming.method.map(Value::from);
            let same = |key: &str, value: Option<Value>| message.get(key) == value.as_ref();
            same("method", method) && same("id", incoming.id)
        };
        assert!(taken.any(is_it), "not as it was sent: {message}");
    }
}

/// What goes on, and what is answered at once.
async fn serve(data: &[u8], size: usize) -> (Vec<Value>, Vec<String>) {
    let written = Written::default();
    let output = shared(written.clone());
    let stop = Stop::Client(CancellationToken::new());
    let pieces = Pieces { data: data.to_vec(), at: 0, size };
    let mut streams = Streams::new((pieces, output), Arc::new(Lines::default()), LIMIT, stop);
    let mut delivered = Vec::new();
    while let Some(message) = streams.receive().await {
        delivered.push(serde_json::to_value(&message).expect("a message is JSON"));
    }
    let written = String::from_utf8(written.0.lock().unwrap().clone()).expect("JSON is text");
    (delivered, written.lines().map(str::to_owned).collect())
}

/// Gives at most `size` bytes at a time.
struct Pieces {
    data: Vec<u8>,
    at: usize,
    size: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.data.len().min(self.at + self.size.min(buffer.remaining()));
        buffer.put_slice(&self.data[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl AsyncWrite for Written {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
