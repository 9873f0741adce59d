//! The pipes of a running command: feeds its input and keeps of its output what the limits allow.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::Limits;

/// How much is read from a pipe at a time, in bytes: what a Linux pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// The command wrote more than it may.
#[derive(Debug)]
pub(super) struct Overflow;

/// Input still to be written and output read so far. Reading can stop at any await and go on later.
pub(super) struct Streams {
    input: Option<Feed>,
    output: Option<ChildStdout>,
    error: Option<ChildStderr>,
    stdout: Vec<u8>,
    stderr: Tail,
    max_output_bytes: usize,
}

struct Feed {
    pipe: ChildStdin,
    bytes: Vec<u8>,
    written: usize,
}

impl Streams {
    pub(super) fn of(child: &mut Child, stdin: Option<Vec<u8>>, limits: Limits) -> Self {
        let pipe = child.stdin.take();
        Self {
            input: pipe.zip(stdin).map(|(pipe, bytes)| Feed { pipe, bytes, written: 0 }),
            output: child.stdout.take(),
            error: child.stderr.take(),
            stdout: Vec::new(),
            stderr: Tail { bytes: Vec::new(), limit: limits.max_error_bytes },
            max_output_bytes: limits.max_output_bytes,
        }
    }

    /// Feeds and reads until the command, and all that inherited its pipes, have closed both outputs
    /// and the input is written. Input that nobody reads any more is dropped: that is their right.
    pub(super) async fn drain(&mut self) -> Result<(), Overflow> {
        let Self { input, output, error, stdout, stderr, max_output_bytes } = self;
        let keep = |bytes: &[u8]| {
            if bytes.len() > max_output_bytes.saturating_sub(stdout.len()) {
                return Err(Overflow);
            }
            stdout.extend_from_slice(bytes);
            Ok(())
        };
        let push = |bytes: &[u8]| {
            stderr.push(bytes);
            Ok(())
        };
        let feeding = async {
            feed(input).await;
            Ok(())
        };
        tokio::try_join!(read(output, keep), read(error, push), feeding).map(|_| ())
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout, self.stderr.into_bytes())
    }
}

async fn feed(input: &mut Option<Feed>) {
    while let Some(Feed { pipe, bytes, written }) = input {
        match bytes.get(*written..) {
            Some(rest) if !rest.is_empty() => match pipe.write(rest).await {
                Ok(count) if count > 0 => *written += count,
                Ok(_) | Err(_) => *input = None,
            },
            Some(_) | None => *input = None,
        }
    }
}

async fn read<R: AsyncRead + Unpin>(
    pipe: &mut Option<R>,
    mut keep: impl FnMut(&[u8]) -> Result<(), Overflow>,
) -> Result<(), Overflow> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while let Some(open) = pipe {
        chunk.clear();
        match open.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => *pipe = None,
            Ok(_) => keep(&chunk)?,
        }
    }
    Ok(())
}

/// The last `limit` bytes of a stream.
struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..surplus);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }
}
