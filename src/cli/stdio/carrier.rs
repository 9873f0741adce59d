//! Carries lines between a client and one gateway after the other.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::LAST_ANSWERS;
use super::joining::Link;
use super::session::{Down, Session};
use crate::mcp::framing::{Framed, Frames};
use crate::mcp::wire::{INVALID_REQUEST, RpcError};

/// The longest message of a gateway, in bytes: far beyond what its own limits let through.
const MAX_ANSWER: usize = 256 << 20;
/// How long a gateway may take to answer what is said to it again.
const REPLAY: Duration = Duration::from_secs(10);

/// One client's streams, and what was said on them.
pub(super) struct Carrier<I, O> {
    input: Frames<I>,
    /// Shared by what comes from gateways and what is refused here; held for whole lines.
    output: tokio::sync::Mutex<O>,
    session: Mutex<Session>,
    limit: usize,
}

/// Why a gateway is no longer spoken to.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client hung up, and has its last answers.
    Client,
    /// The gateway went away.
    Gateway {
        /// Whether it had said anything.
        said_something: bool,
    },
}

/// How the way from the client to the gateway ends.
enum UpEnded {
    /// The client hung up.
    Client,
    /// Nothing more is sent to this gateway.
    Gateway,
}

/// What the two directions tell each other.
#[derive(Default)]
struct Signs {
    replayed: Notify,
    leaving: CancellationToken,
}

impl<I: AsyncRead + Unpin, O: AsyncWrite + Unpin> Carrier<I, O> {
    /// For a client whose messages may have `limit` bytes.
    pub(super) fn new(input: I, output: O, limit: usize) -> Self {
        let (input, output) = (Frames::new(input, limit), tokio::sync::Mutex::new(output));
        Self { input, output, session: Mutex::default(), limit }
    }

    /// Carries until the client or the gateway goes away. Whatever the client asked of a gateway that went
    /// away is answered, or stays to be asked of the next.
    ///
    /// # Errors
    /// When the client does not read.
    pub(super) async fn carry(&mut self, link: Link) -> io::Result<Ended> {
        let Self { input, output, session, limit } = self;
        let (output, session) = (&*output, &*session);
        let signs = Signs::default();
        let down = down(Frames::new(link.from, MAX_ANSWER), output, session, &signs);
        let up = up(input, link.to, (output, session, &signs), *limit);
        tokio::pin!(down);
        // The way down is never dropped in the middle of a line that the client reads.
        let said_something = tokio::select! {
            said = &mut down => said?,
            ended = up => match ended? {
                UpEnded::Client => {
                    drop(tokio::time::timeout(LAST_ANSWERS, down).await);
                    return Ok(Ended::Client);
                }
                UpEnded::Gateway => down.await?,
            },
        };
        let lost = lock(session).lost();
        for answer in lost {
            write_line(&mut *output.lock().await, &answer).await?;
        }
        lock(session).ended();
        Ok(Ended::Gateway { said_something })
    }
}

async fn up<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
    input: &mut Frames<I>,
    mut link: Box<dyn AsyncWrite + Send + Unpin>,
    (output, session, signs): (&tokio::sync::Mutex<O>, &Mutex<Session>, &Signs),
    limit: usize,
) -> io::Result<UpEnded> {
    if replay(&mut link, session, signs).await.is_err() {
        drop(link.shutdown().await);
        return Ok(UpEnded::Gateway);
    }
    loop {
        let framed = tokio::select! {
            biased;
            () = signs.leaving.cancelled() => {
                drop(link.shutdown().await);
                return Ok(UpEnded::Gateway);
            }
            framed = input.next() => framed,
        };
        match framed {
            Some(Framed::Line(line)) => {
                let passes = lock(session).up(&line);
                if passes && write_line(&mut link, &line).await.is_err() {
                    return Ok(UpEnded::Gateway);
                }
            }
            Some(Framed::TooLong) => {
                let told = format!("Invalid Request: a message has at most {limit} bytes");
                let refusal = RpcError::new(INVALID_REQUEST, told).answer(None);
                write_line(&mut *output.lock().await, &refusal).await?;
            }
            None => {
                drop(link.shutdown().await);
                return Ok(UpEnded::Client);
            }
        }
    }
}

/// Says to this gateway what the client said to the one before.
async fn replay(
    link: &mut (impl AsyncWrite + Unpin),
    session: &Mutex<Session>,
    signs: &Signs,
) -> io::Result<()> {
    let (first, then) = lock(session).next();
    if let Some(first) = first {
        write_line(link, &first).await?;
        if tokio::time::timeout(REPLAY, signs.replayed.notified()).await.is_err() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    for line in then {
        write_line(link, &line).await?;
    }
    Ok(())
}

/// Gives whether the gateway said anything.
async fn down<O: AsyncWrite + Unpin>(
    mut link: Frames<Box<dyn AsyncRead + Send + Unpin>>,
    output: &tokio::sync::Mutex<O>,
    session: &Mutex<Session>,
    signs: &Signs,
) -> io::Result<bool> {
    let mut said_something = false;
    while let Some(Framed::Line(line)) = link.next().await {
        said_something = true;
        let what = lock(session).down(&line);
        match what {
            Down::Pass => write_line(&mut *output.lock().await, &line).await?,
            Down::Swallow => {}
            Down::Replayed => signs.replayed.notify_one(),
            Down::Leaving => signs.leaving.cancel(),
        }
    }
    Ok(said_something)
}

async fn write_line(output: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> io::Result<()> {
    output.write_all(line).await?;
    output.write_all(b"\n").await?;
    output.flush().await
}

/// A lock whose holder panicked guards plain data that is whole between statements.
fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
