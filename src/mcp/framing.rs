//! Lines of JSON as they come over a byte stream, with a limit on their length.

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};

/// What a stream gave.
#[derive(Debug)]
pub enum Framed {
    /// A line that is not empty, without its end.
    Line(Bytes),
    /// A line that was too long; it is passed over, and the stream goes on.
    TooLong,
}

/// The lines of a stream.
#[derive(Debug)]
pub struct Frames<R> {
    input: FramedRead<R, AnyDelimiterCodec>,
    /// Whether a line was too long, after which the framing says once that it is at its end.
    overlong: bool,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The lines of `input`, each of at most `limit` bytes.
    pub fn new(input: R, limit: usize) -> Self {
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), b"\n".to_vec(), limit);
        Self { input: FramedRead::new(input, codec), overlong: false }
    }

    /// The next line; none at the end of the stream. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Framed> {
        loop {
            match self.input.next().await {
                Some(Ok(line)) if line.trim_ascii().is_empty() => {}
                Some(Ok(line)) => return Some(Framed::Line(line)),
                Some(Err(AnyDelimiterCodecError::MaxChunkLengthExceeded)) => {
                    self.overlong = true;
                    return Some(Framed::TooLong);
                }
                None if self.overlong => self.overlong = false,
                Some(Err(AnyDelimiterCodecError::Io(_))) | None => return None,
            }
        }
    }
}
