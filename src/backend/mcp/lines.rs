//! Lines of a stream, none longer than a limit.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// How many bytes of one overlong line are skipped before the stream is given up, in limits.
const MAX_SKIPPED_LIMITS: usize = 64;

/// One step of reading.
#[derive(Debug)]
pub(super) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// The beginning of a line beyond the limit; the rest will be skipped.
    TooLong(Vec<u8>),
    /// The stream ended. What stood after the last line end is dropped.
    End,
}

/// Reads lines. Dropping the future of [`next`](Self::next) loses nothing.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    held: Vec<u8>,
    limit: usize,
    max_skipped: usize,
    skipped: Option<usize>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from `reader`, at most `limit` bytes per line.
    pub(super) fn new(reader: R, limit: usize) -> Self {
        let max_skipped = limit.saturating_mul(MAX_SKIPPED_LIMITS);
        let (reader, held) = (BufReader::new(reader), Vec::new());
        Self { reader, held, limit, max_skipped, skipped: None }
    }

    /// The same, but a line without end is skipped for ever: who writes it must not be kept waiting.
    pub(super) fn patient(reader: R, limit: usize) -> Self {
        Self { max_skipped: usize::MAX, ..Self::new(reader, limit) }
    }

    /// The next line.
    ///
    /// # Errors
    /// What the stream says, or that a line has no end.
    pub(super) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(Line::End);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let (piece, used) = match end {
                Some(at) => (available.get(..at).unwrap_or_default(), at.saturating_add(1)),
                None => (available, available.len()),
            };
            let step = match &mut self.skipped {
                Some(skipped) => {
                    *skipped = skipped.saturating_add(piece.len());
                    if *skipped > self.max_skipped {
                        return Err(io::Error::other("a line without end"));
                    }
                    None
                }
                None if self.held.len().saturating_add(piece.len()) > self.limit => {
                    let room = self.limit.saturating_sub(self.held.len());
                    self.held.extend_from_slice(piece.get(..room).unwrap_or_default());
                    self.skipped = Some(0);
                    Some(Line::TooLong(std::mem::take(&mut self.held)))
                }
                None => {
                    self.held.extend_from_slice(piece);
                    None
                }
            };
            self.reader.consume(used);
            if let Some(step) = step {
                if end.is_some() {
                    self.skipped = None;
                }
                return Ok(step);
            }
            if end.is_some() && self.skipped.take().is_none() {
                return Ok(Line::Whole(std::mem::take(&mut self.held)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], limit: usize) -> Vec<String> {
        let mut lines = Lines::new(text, limit);
        let mut seen = Vec::new();
        loop {
            match lines.next().await {
                Ok(Line::Whole(line)) => seen.push(String::from_utf8(line).unwrap()),
                Ok(Line::TooLong(start)) => seen.push(format!("{}..", start.len())),
                Ok(Line::End) => return seen,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }

    #[tokio::test]
    async fn skips_what_is_too_long_and_goes_on() {
        assert_eq!(read(b"a\n\nbb\nrest", 10).await, ["a", "", "bb"]);
        assert_eq!(read(b"exactly ten\nab\n", 11).await, ["exactly ten", "ab"]);
        assert_eq!(read(b"exactly ten\nab\n", 10).await, ["10..", "ab"]);
        let mut long = vec![b'x'; 40_000];
        long.extend_from_slice(b"\nnext\n");
        assert_eq!(read(&long, 10_000).await, ["10000..", "next"]);
        assert_eq!(read(&vec![b'x'; 700_000], 10_000).await, ["10000..", "a line without end"]);
    }
}
