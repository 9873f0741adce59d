//! The events of an HTTP body, however they are cut into pieces.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::super::sse::events;
use super::Link;
use crate::json;

/// The longest event that is taken here, in bytes.
const LIMIT: usize = 512;

/// The first byte says how the body is cut and which request it answers. The same answers arrive and the same
/// events go on whatever pieces the body comes in; an answer is JSON within the limit, as it was written;
/// and what goes on as a message is JSON.
pub fn upstream_sse(data: &[u8]) {
    let Some((how, body)) = data.split_first() else { return };
    if data.len() > crate::fuzzing::MAX_INPUT_BYTES {
        return;
    }
    let posted = match how >> 6 {
        0 => None,
        other => Some(i64::from(other)),
    };
    let size = usize::from(how & 0x1f) + 1;
    let whole = crate::fuzzing::run(read(body, body.len().max(1), posted));
    let pieces = crate::fuzzing::run(read(body, size, posted));
    assert_eq!(whole, pieces, "read otherwise in pieces of {size} bytes");
}

/// What a body gave. Of an event that is malformed and too long as well, it is told what is found first: that is
/// no difference.
#[derive(Debug, PartialEq)]
struct Read {
    /// What goes on, in order: its data, or that nothing more comes.
    events: Vec<Result<Option<String>, Refused>>,
    /// The answers that arrived, by request.
    answers: Vec<Option<Result<String, Refused>>>,
}

/// Something is refused, in words.
#[derive(Debug)]
struct Refused(String);

impl PartialEq for Refused {
    fn eq(&self, other: &Self) -> bool {
        !self.0.is_empty() && !other.0.is_empty()
    }
}

async fn read(body: &[u8], size: usize, posted: Option<i64>) -> Read {
    let Link { ledger, answers } = Link::new(posted.is_none());
    let pieces: Vec<_> =
        body.chunks(size).map(|it| Ok::<_, Infallible>(Bytes::copy_from_slice(it))).collect();
    let mut stream = events(stream::iter(pieces), LIMIT, Arc::clone(&ledger), posted);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(match event {
            Ok(event) => {
                let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
                if let Some(data) = event.data.as_deref().filter(|it| is_message && !it.is_empty())
                {
                    assert!(json::check(data.as_bytes()).is_ok(), "goes on: {data}");
                }
                Ok(event.data)
            }
            Err(error) => Err(Refused(error.to_string())),
        });
    }
    // What looks for the end of an event that was too long is a task of its own.
    tokio::task::yield_now().await;
    let answers = answers.map(|mut answer| {
        let answer = answer.try_recv().ok()?;
        Some(answer.map_err(|error| Refused(error.to_string())).map(|text| {
            let text = text.get().to_owned();
            assert!(text.len() <= LIMIT, "an answer of {} bytes", text.len());
            assert!(json::check(text.as_bytes()).is_ok(), "an answer that is not JSON: {text}");
            text
        }))
    });
    Read { events, answers: answers.into() }
}
