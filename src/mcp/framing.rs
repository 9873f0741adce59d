//! Lines of JSON as they come over a byte stream, with a limit on their length.

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

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
    input: BufReader<R>,
    limit: usize,
    /// What has come of a line.
    begun: Vec<u8>,
    /// Whether the rest of a line that was too long is passed over.
    passing: bool,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The lines of `input`, each of at most `limit` bytes.
    pub fn new(input: R, limit: usize) -> Self {
        Self { input: BufReader::new(input), limit, begun: Vec::new(), passing: false }
    }

    /// The next line, the last one with or without an end; none when the stream has ended or failed. Nothing is
    /// lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Framed> {
        loop {
            let available = self.input.fill_buf().await.ok()?;
            let (end, is_over) =
                (available.iter().position(|it| *it == b'\n'), available.is_empty());
            let piece = end.map_or(Some(available), |end| available.get(..end)).unwrap_or_default();
            let used = piece.len().saturating_add(usize::from(end.is_some()));
            let fits = self.begun.len().saturating_add(piece.len()) <= self.limit;
            if fits && !self.passing {
                self.begun.extend_from_slice(piece);
            }
            self.input.consume(used);
            let ends = end.is_some() || is_over;
            if !fits && !self.passing {
                self.begun = Vec::new();
                self.passing = !ends;
                return Some(Framed::TooLong);
            }
            if ends {
                self.passing = false;
                let line = std::mem::take(&mut self.begun);
                if !line.trim_ascii().is_empty() {
                    return Some(Framed::Line(line.into()));
                }
            }
            if is_over {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], limit: usize) -> Vec<String> {
        let mut frames = Frames::new(text, limit);
        let mut seen = Vec::new();
        while let Some(framed) = frames.next().await {
            seen.push(match framed {
                Framed::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
                Framed::TooLong => "too long".to_owned(),
            });
        }
        assert!(frames.next().await.is_none(), "the end is the end");
        seen
    }

    #[tokio::test]
    async fn no_line_after_one_that_is_too_long_is_lost() {
        assert_eq!(read(b"a\n\n \r\nbb\nrest", 10).await, ["a", "bb", "rest"]);
        assert_eq!(read(b"exactly ten\nab\n", 11).await, ["exactly ten", "ab"]);
        assert_eq!(read(b"exactly ten\nab", 10).await, ["too long", "ab"]);
        assert_eq!(read(b"exactly ten\nexactly ten\nab", 10).await, ["too long", "too long", "ab"]);
        assert_eq!(read(b"exactly ten", 10).await, ["too long"]);
        for length in [8_191, 8_192, 8_193, 40_000] {
            let mut long = vec![b'x'; length];
            long.extend_from_slice(b"\nnext\nlast");
            assert_eq!(read(&long, 100).await, ["too long", "next", "last"], "{length}");
        }
    }
}
