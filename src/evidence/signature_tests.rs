//! Signatures that the real `ssh-keygen` made.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

/// A new key of `kind`: its private file and its public line.
fn key(dir: &Path, kind: &str, bits: &str) -> (PathBuf, String) {
    let file = dir.join(format!("{kind}{bits}"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "somebody", "-t", kind, "-b", bits, "-f"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    (file, public)
}

fn sign(key: &Path, namespace: &str, message: &[u8], hash: &str) -> String {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-O", &format!("hashalg={hash}"), "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(message).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

fn registered(public: &str) -> (Vec<String>, String) {
    let (public, print) = public_key(public).unwrap();
    (vec![public], print)
}

#[test]
fn signatures_of_each_kind_of_key_are_verified() {
    let dir = TempDir::new().unwrap();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")] {
        let (file, public) = key(dir.path(), kind, bits);
        let (known, print) = registered(&public);
        let listed = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&file).output().unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains(&print), "{print}");
        assert!(!known[0].contains("somebody"), "{known:?}");
        for hash in ["sha512", "sha256"] {
            // Numbers of ECDSA are shorter than their field now and then.
            for message in ["", "a", "b", "c", "a longer message"] {
                let signed = sign(&file, NAMESPACE, message.as_bytes(), hash);
                let verified = verify(&signed, message.as_bytes(), &known);
                assert_eq!(verified, Ok(print.clone()), "{kind} {bits} {hash}");
                let other = verify(&signed, b"another", &known);
                assert_eq!(other, Err(SignatureError::Wrong(print.clone())));
            }
        }
    }
}

#[test]
fn a_signature_for_something_else_is_refused() {
    let dir = TempDir::new().unwrap();
    let (file, public) = key(dir.path(), "ed25519", "256");
    let (known, print) = registered(&public);
    for namespace in ["file", "git", "countersign-verdict@v2"] {
        let signed = sign(&file, namespace, b"message", "sha512");
        let refused = verify(&signed, b"message", &known);
        assert_eq!(refused, Err(SignatureError::Namespace(namespace.to_owned())));
    }
    let signed = sign(&file, NAMESPACE, b"message", "sha512");
    let nobody = verify(&signed, b"message", &[]);
    assert_eq!(nobody, Err(SignatureError::NotRegistered(print)));
    let dir = TempDir::new().unwrap();
    let (_, other) = key(dir.path(), "ed25519", "256");
    let (other, _) = registered(&other);
    assert!(matches!(verify(&signed, b"message", &other), Err(SignatureError::NotRegistered(_))));
}

#[test]
fn a_signature_that_was_touched_is_refused() {
    let dir = TempDir::new().unwrap();
    let (file, public) = key(dir.path(), "ed25519", "256");
    let (known, _) = registered(&public);
    let signed = sign(&file, NAMESPACE, b"message", "sha512");
    verify(&signed, b"message", &known).unwrap();
    for place in 0..signed.trim_end().len() {
        let mut other = signed.clone().into_bytes();
        if other[place] == b'\n' {
            continue;
        }
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        let refused = verify(&other, b"message", &known);
        assert!(refused.is_err(), "byte {place}: {refused:?}\n{other}");
    }
    for other in ["", "message", &signed[..signed.len() / 2], &"A".repeat(MAX_ARMOUR + 1)] {
        assert_eq!(verify(other, b"message", &known), Err(SignatureError::NotASignature));
    }
}

#[test]
fn only_public_keys_of_kinds_that_are_taken_are_registered() {
    let dir = TempDir::new().unwrap();
    let (file, public) = key(dir.path(), "ed25519", "256");
    let private = std::fs::read_to_string(file).unwrap();
    let two = format!("{public}{public}");
    for text in ["", "ssh-ed25519", "ssh-ed25519 AAAA", private.as_str(), two.as_str()] {
        assert_eq!(public_key(text), Err(SignatureError::NotAKey), "{text}");
    }
    let (_, rsa) = key(dir.path(), "rsa", "2048");
    assert_eq!(public_key(&rsa), Err(SignatureError::Kind("ssh-rsa".to_owned())));
}

/// A security key, played by an Ed25519 key of ours that signs what one would.
#[test]
fn a_security_key_must_have_been_touched() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let kind = b"sk-ssh-ed25519@openssh.com";
    let mut public = Vec::new();
    for part in [kind.as_slice(), pair.public_key().as_ref(), b"ssh:"] {
        public.extend(field(part));
    }
    let line = PublicKey::from_bytes(&public).unwrap().to_openssh().unwrap();
    let (known, print) = registered(&line);
    let signed = |flags: u8| {
        let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, b"message").unwrap();
        let trailer = [flags, 0, 0, 0, 9];
        let (application, data) = (Digest::of(b"ssh:"), Digest::of(&data));
        let raw = pair.sign(&[application.as_bytes(), &trailer[..], data.as_bytes()].concat());
        let mut signature = Vec::new();
        signature.extend(field(kind));
        signature.extend(field(raw.as_ref()));
        signature.extend(trailer);
        let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
        for part in [&public[..], NAMESPACE.as_bytes(), b"", b"sha512", &signature] {
            blob.extend(field(part));
        }
        let text = STANDARD.encode(blob);
        let lines: Vec<_> =
            text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let (begin, end) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
        format!("{begin}\n{}\n{end}\n", lines.join("\n"))
    };
    assert_eq!(verify(&signed(1), b"message", &known), Ok(print.clone()));
    assert_eq!(
        verify(&signed(0), b"message", &known),
        Err(SignatureError::NotTouched(print.clone()))
    );
    assert_eq!(verify(&signed(1), b"massage", &known), Err(SignatureError::Wrong(print)));
}

#[test]
fn a_statement_is_canonical_and_says_everything() {
    let digest = Digest::of(b"call");
    let statement = Statement {
        hold: HoldId::from_random([1; 16]),
        digest: &digest,
        decision: Decision::Approve,
        person: "ada",
        reason: None,
        decide_by: Timestamp::UNIX_EPOCH,
        resolves: None,
    };
    let message = String::from_utf8(statement.message().unwrap()).unwrap();
    let hold = "01".repeat(16);
    assert_eq!(
        message,
        format!(
            r#"{{"decide_by":"1970-01-01T00:00:00Z","decision":"approve","digest":"{digest}","hold":"{hold}","person":"ada","reason":null,"v":1}}"#
        )
    );
}
