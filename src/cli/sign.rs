//! Signs with a person's SSH key, by the `ssh-keygen` that the person has, as git does.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Failed;
use crate::evidence::signature::{MAX_ARMOUR, NAMESPACE};

/// A signature over `message` in its armour. `key` is the file of a private key, or of a public key whose
/// private half an ssh-agent holds. `ssh-keygen` asks for a passphrase, or to touch a security key, by itself.
pub(super) fn sign(key: &Path, message: &[u8]) -> Result<String, Failed> {
    if !key.exists() {
        return Err(Failed::new(2, format!("{}: there is no such key file", key.display())));
    }
    let started = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| {
        let told = if error.kind() == ErrorKind::NotFound {
            "`ssh-keygen` is not on PATH; it is part of OpenSSH (Debian: `apt install openssh-client`)".to_owned()
        } else {
            format!("`ssh-keygen` cannot be started: {error}")
        };
        Failed::new(1, told)
    })?;
    // A message that was not taken whole makes it fail, and that is told.
    if let Some(mut input) = child.stdin.take() {
        drop(input.write_all(message));
    }
    let done = child.wait_with_output().map_err(anyhow::Error::from)?;
    if !done.status.success() {
        let told = format!("`ssh-keygen` did not sign with {} ({})", key.display(), done.status);
        return Err(Failed::new(1, told));
    }
    String::from_utf8(done.stdout)
        .ok()
        .filter(|signature| signature.len() <= MAX_ARMOUR && signature.starts_with("-----BEGIN"))
        .ok_or_else(|| Failed::new(1, "`ssh-keygen` said what is no signature"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::signature;

    #[test]
    fn what_is_signed_is_verified() {
        let dir = tempfile::TempDir::new().unwrap();
        let key = dir.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-t", "ed25519", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let (public, print) = signature::public_key(&public).unwrap();
        let message = vec![b'x'; 100_000];
        let signed = sign(&key, &message).unwrap();
        assert_eq!(signature::verify(&signed, &message, &[public]), Ok(print));
    }

    #[test]
    fn a_key_that_cannot_sign_is_told() {
        let dir = tempfile::TempDir::new().unwrap();
        let key = dir.path().join("key");
        assert_eq!(sign(&key, b"message").unwrap_err().code, 2);
        std::fs::write(&key, "no key").unwrap();
        let failed = sign(&key, b"message").unwrap_err();
        assert!(failed.code == 1 && failed.told.contains("did not sign"), "{failed:?}");
    }
}
