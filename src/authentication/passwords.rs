//! Passwords: hashed with argon2id, a few at a time, and as slowly for nobody's as for somebody's.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::storage::PasswordHash;

/// The shortest password, in characters; there is no other rule for what stands in it.
pub const MIN_CHARS: usize = 12;
/// The longest, in bytes.
pub const MAX_BYTES: usize = 1024;
/// Memory that one hash takes, in KiB (OWASP's recommendation for argon2id with two passes).
const MEMORY_KIB: u32 = 19 << 10;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// How many hashes are made at once: together they take [`MEMORY_KIB`] times as much memory.
const AT_ONCE: usize = 4;
/// How long somebody waits for a turn.
const TURN: Duration = Duration::from_secs(5);
/// How long salt and hash are, in bytes.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Why no password was hashed or compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be a password here.
    #[error("a password has at least {MIN_CHARS} characters and at most {MAX_BYTES} bytes")]
    Unfit,
    /// Too many people sign in at this moment.
    #[error("too many people sign in at this moment; try again in a few seconds")]
    Busy,
    /// The machine cannot.
    #[error("passwords cannot be checked now: {0}")]
    Failed(String),
}

/// What hashes and compares passwords.
#[derive(Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Compared where there is no password, so that it takes as long.
    decoy: PasswordHash,
}

impl Passwords {
    /// Ready to hash.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Self, PasswordError> {
        let decoy = PasswordHash {
            memory: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: hex::encode(random::<SALT_BYTES>()?),
            hash: hex::encode(random::<HASH_BYTES>()?),
            set_at: Timestamp::UNIX_EPOCH,
        };
        Ok(Self { turns: Arc::new(Semaphore::new(AT_ONCE)), decoy })
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// When it is too short or too long, or none can be made now.
    pub async fn hash(
        &self,
        password: SecretString,
        now: Timestamp,
    ) -> Result<PasswordHash, PasswordError> {
        let text = password.expose_secret();
        if text.chars().count() < MIN_CHARS || text.len() > MAX_BYTES {
            return Err(PasswordError::Unfit);
        }
        let empty = PasswordHash {
            salt: hex::encode(random::<SALT_BYTES>()?),
            hash: String::new(),
            set_at: now,
            ..self.decoy.clone()
        };
        let (made, shape) = self.derive(password, empty).await?;
        Ok(PasswordHash { hash: hex::encode(made), ..shape })
    }

    /// Whether `password` is the one that `known` was made of; takes as long when there is none.
    ///
    /// # Errors
    /// When it cannot be compared now.
    pub async fn verify(
        &self,
        password: SecretString,
        known: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let exists = known.is_some();
        // Longer ones are nobody's, and are not hashed at length.
        let fits = password.expose_secret().len() <= MAX_BYTES;
        let password = if fits { password } else { SecretString::from(String::new()) };
        let (made, shape) =
            self.derive(password, known.unwrap_or_else(|| self.decoy.clone())).await?;
        let stored = hex::decode(&shape.hash).unwrap_or_default();
        let same = verify_slices_are_equal(&made, &stored).is_ok();
        Ok(same && exists && fits)
    }

    /// What `password` gives with the salt and the numbers of `shape`.
    async fn derive(
        &self,
        password: SecretString,
        shape: PasswordHash,
    ) -> Result<([u8; HASH_BYTES], PasswordHash), PasswordError> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|error| failed(&error))?;
        let work = tokio::task::spawn_blocking(move || {
            // Held until the memory is free again, even when nobody waits any more.
            let _turn = turn;
            let made = derive(&password, &shape)?;
            Ok((made, shape))
        });
        work.await.map_err(|error| failed(&error))?
    }
}

fn derive(
    password: &SecretString,
    shape: &PasswordHash,
) -> Result<[u8; HASH_BYTES], PasswordError> {
    let params = Params::new(shape.memory, shape.passes, shape.lanes, Some(HASH_BYTES))
        .map_err(|error| failed(&error))?;
    let salt = hex::decode(&shape.salt).map_err(|error| failed(&error))?;
    let mut made = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose_secret().as_bytes(), &salt, &mut made)
        .map_err(|error| failed(&error))?;
    Ok(made)
}

fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PasswordError::Failed("no random bytes from the system".to_owned()))?;
    Ok(bytes)
}

fn failed(error: &dyn std::fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_right_or_wrong_and_nobodys_is_wrong() {
        let passwords = Passwords::new().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let hash = passwords.hash(secret("correct horse battery"), now).await.unwrap();
        let again = passwords.hash(secret("correct horse battery"), now).await.unwrap();
        assert_ne!(hash.hash, again.hash, "no salt");
        assert!(
            passwords.verify(secret("correct horse battery"), Some(hash.clone())).await.unwrap()
        );
        for wrong in ["correct horse batterz", "", &"x".repeat(MAX_BYTES + 1)] {
            assert!(!passwords.verify(secret(wrong), Some(hash.clone())).await.unwrap());
        }
        assert!(!passwords.verify(secret("correct horse battery"), None).await.unwrap());
    }

    #[tokio::test]
    async fn short_and_endless_ones_are_refused() {
        let passwords = Passwords::new().unwrap();
        for unfit in ["eleven char", &"x".repeat(MAX_BYTES + 1)] {
            let refused = passwords.hash(secret(unfit), Timestamp::UNIX_EPOCH).await;
            assert_eq!(refused, Err(PasswordError::Unfit));
        }
        let fits = "äöüäöüäöüäöü";
        assert!(passwords.hash(secret(fits), Timestamp::UNIX_EPOCH).await.is_ok());
    }
}
