//! TLS on the listener: certificate and key from PEM files, read again when they change.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::digest::Digest;
use crate::edge::Tls;
use crate::gateway::Gateway;

/// How large a PEM file may be, in bytes.
const MAX_PEM_BYTES: u64 = 1 << 20;
/// How often the files are compared with what was read; mounted secrets swap a link and tell nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The certificate that the listener shows, and where it comes from.
pub(super) struct Certificates {
    files: Tls,
    current: ArcSwap<ServerConfig>,
    /// What the files held when they were read last, usable or not.
    read: Mutex<Digest>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read or do not fit together, in words.
    pub(super) async fn open(files: &Tls) -> Result<Arc<Self>, String> {
        let (digest, certificate, key) = contents(files).await?;
        let current = ArcSwap::from(configured(files, &certificate, &key)?);
        Ok(Arc::new(Self { files: files.clone(), current, read: Mutex::new(digest) }))
    }

    /// What shakes hands now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Reads the files again whenever they changed, every half minute and on SIGHUP. A new pair that cannot
    /// be used leaves the old one in place.
    pub(super) async fn follow(self: Arc<Self>, gateway: Arc<Gateway>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be heard; certificates are looked at by time");
                None
            }
        };
        loop {
            let heard = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                () = heard => true,
                () = gateway.clock.sleep(LOOK_AGAIN) => false,
            };
            match self.look().await {
                Ok(false) if told => tracing::warn!("the certificate is the one in use already"),
                Ok(false) => {}
                Ok(true) => {
                    gateway.metrics.edge.certificate_read("taken");
                    tracing::warn!("a new certificate is in use");
                }
                Err(why) => {
                    gateway.metrics.edge.certificate_read("refused");
                    tracing::error!(%why, "a new certificate cannot be used; the old one stays in use");
                }
            }
        }
    }

    /// Whether the files hold something new, which is in use from now on.
    async fn look(&self) -> Result<bool, String> {
        let found = contents(&self.files).await;
        let digest = match &found {
            Ok((digest, _, _)) => *digest,
            Err(why) => Digest::of(why.as_bytes()),
        };
        let before = std::mem::replace(
            &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner),
            digest,
        );
        if before == digest {
            return Ok(false);
        }
        let (_, certificate, key) = found?;
        self.current.store(configured(&self.files, &certificate, &key)?);
        Ok(true)
    }
}

async fn contents(files: &Tls) -> Result<(Digest, Vec<u8>, Vec<u8>), String> {
    let certificate = read(&files.certificate).await?;
    let key = read(&files.key).await?;
    let both = [Digest::of(&certificate), Digest::of(&key)].map(|digest| digest.to_string());
    Ok((Digest::of(both.concat().as_bytes()), certificate, key))
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        let mut bytes = Vec::new();
        file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > MAX_PEM_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_PEM_BYTES} bytes")));
        }
        Ok(bytes)
    };
    read.await.map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// TLS 1.2 and 1.3, with the provider that the client side has, for HTTP/2 and HTTP/1.1.
fn configured(files: &Tls, certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let wrong = |path: &Path, why: String| format!("{}: {why}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&files.certificate, format!("no PEM certificates: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, "holds no PEM certificate".to_owned()));
    }
    // What stands in the file may be a key: no error repeats it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| wrong(&files.key, "holds no PEM private key".to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config
        .map_err(|error| wrong(&files.certificate, format!("does not go with the key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
