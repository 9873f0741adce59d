//! Gives each request the credential that the suite cannot send, and passes everything else byte for byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::harness::RUNTIME;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// A listener in front of a gateway.
pub(super) struct Forwarder {
    url: String,
    task: AbortHandle,
}

impl Forwarder {
    /// In front of the gateway at `target`, `http://127.0.0.1:port`, for the agent with `token`.
    pub(super) fn start(target: &str, token: &str) -> Self {
        let target = target.strip_prefix("http://").expect("an HTTP address").to_owned();
        let credential = format!("\r\nAuthorization: Bearer {token}");
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let task = RUNTIME.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, credential) = (target.clone(), credential.clone());
                tokio::spawn(async move { carry(client, &target, &credential).await });
            }
        });
        Self { url, task: task.abort_handle() }
    }

    /// Where the suite reaches the gateway.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection until either side ends it; then both end.
async fn carry(client: TcpStream, target: &str, credential: &str) {
    let Ok(gateway) = TcpStream::connect(target).await else { return };
    for stream in [&client, &gateway] {
        drop(stream.set_nodelay(true));
    }
    let (from_client, mut to_client) = client.into_split();
    let (mut from_gateway, to_gateway) = gateway.into_split();
    tokio::select! {
        _ = requests(from_client, to_gateway, credential) => {}
        _ = tokio::io::copy(&mut from_gateway, &mut to_client) => {}
    }
}

/// Passes one request after the other.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    credential: &str,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                break end;
            }
            if read.len() > MAX_HEAD || from.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        to.write_all(&read[..end]).await?;
        to.write_all(credential.as_bytes()).await?;
        let body = end + 4 + length(&read[..end]);
        while read.len() < body {
            if from.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        to.write_all(&read[end..body]).await?;
        read.drain(..body);
    }
}

/// How long the body is that follows `head`; the suite sends none in chunks.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers.rfind(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
