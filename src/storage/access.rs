//! How people sign in and which sessions they have: what is kept of it, and the changes.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PeopleError, Reviewer, StoreError};
use crate::digest::Digest;
use crate::ids::PersonName;
use crate::principal::{Authentication, Person, Role};

/// How many sessions one person may have; one more ends the oldest.
pub const MAX_SESSIONS: usize = 20;
/// How many passkeys one person may have.
pub const MAX_PASSKEYS: usize = 16;

/// The part of the store that is about signing in; each method is one transaction with its entry.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Stores an invitation in place of the person's last one; with `new`, adds the person first.
    async fn invite(
        &self,
        link: Link,
        new: Option<Reviewer>,
        by: String,
    ) -> Result<(), AccessError>;

    /// Stores a link to sign in with, in place of the person's last one.
    async fn make_link(&self, link: Link, by: String) -> Result<(), AccessError>;

    /// The link with this digest, if it can still be used at `now`. Looking uses nothing up.
    async fn link(&self, digest: &Digest, now: Timestamp) -> Result<Option<Link>, StoreError>;

    /// Uses an invitation up: the person has `credential` from now on, and `session` instead of all others.
    async fn accept_invitation(
        &self,
        link: Digest,
        credential: Credential,
        session: Session,
    ) -> Result<(), AccessError>;

    /// Opens a session for who gave `proof`, which is checked and used up in the same transaction.
    async fn open_session(&self, session: Session, proof: Proof) -> Result<(), AccessError>;

    /// Notes that a session was used. It changes nothing that the record tells of, so it makes no entry.
    async fn touch_session(&self, digest: &Digest, at: Timestamp) -> Result<(), StoreError>;

    /// Ends sessions; a second time changes nothing.
    async fn end_sessions(&self, which: Which, by: String) -> Result<(), StoreError>;

    /// All sessions that are not at their end, oldest first.
    async fn sessions(&self, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Gives a person one more passkey, or another password, which ends all sessions but `keep`.
    async fn set_credential(
        &self,
        person: &PersonName,
        credential: Credential,
        keep: Digest,
    ) -> Result<(), AccessError>;

    /// Takes a passkey from a person.
    async fn remove_passkey(
        &self,
        person: &PersonName,
        id: &str,
        by: String,
    ) -> Result<(), AccessError>;

    /// What a person signs in with.
    async fn credentials(&self, person: &PersonName) -> Result<Credentials, StoreError>;

    /// The passkey with this identifier, and whose it is.
    async fn passkey(&self, id: &str) -> Result<Option<(PersonName, Passkey)>, StoreError>;
}

/// A session of a person in a browser. The secret in the cookie is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// SHA-256 of the secret.
    pub digest: Digest,
    /// Whose it is.
    pub person: Person,
    /// How it was opened.
    pub with: Authentication,
    /// What the browser called itself, cut short.
    pub browser: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
}

impl Session {
    /// Its name for people: the first digits of the digest.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(self.digest.as_bytes()).chars().take(12).collect()
    }
}

/// A link that works once. The secret in it is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// SHA-256 of the secret.
    pub digest: Digest,
    /// What it is for.
    pub kind: LinkKind,
    /// For whom.
    pub person: Person,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// To set a password or register a passkey.
    Invitation,
    /// To sign in.
    SignIn,
}

impl LinkKind {
    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::SignIn => "sign_in",
        }
    }
}

/// What a person signs in with, apart from links and tokens.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The password's hash.
    pub password: Option<PasswordHash>,
    /// The account of an OpenID provider.
    pub subject: Option<Subject>,
    /// The passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
}

/// An argon2id hash, with what it was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// The salt, in hexadecimal digits.
    pub salt: String,
    /// The hash, in hexadecimal digits.
    pub hash: String,
    /// When the password was set.
    pub set_at: Timestamp,
}

/// A person's account at an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The provider.
    pub issuer: String,
    /// The account.
    pub subject: String,
    /// Whether role and groups follow the provider's claims, because a rule let the person in.
    pub managed: bool,
}

/// A passkey's public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// The identifier, in base64url.
    pub id: String,
    /// The person's name for it.
    pub name: String,
    /// The algorithm, by its COSE name.
    pub algorithm: String,
    /// The public key (`COSE_Key`), in base64url.
    pub key: String,
    /// By what authenticators know the person, in base64url; the same for all of a person's.
    pub handle: String,
    /// The domain that it was registered for.
    pub domain: String,
    /// Whether the record has that domain, so that signatures of verdicts can be checked again there.
    /// Passkeys from before it had are only good to sign in.
    #[serde(default)]
    pub signs: bool,
    /// How often it signed, as it says; 0 when it does not count.
    pub counter: u32,
    /// When it was registered.
    pub added_at: Timestamp,
    /// When it last signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
}

/// Something new to sign in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// In place of the password before.
    Password(PasswordHash),
    /// One more.
    Passkey(Passkey),
}

/// Why a session may be opened.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The password with this hash was right.
    Password(PasswordHash),
    /// This link was shown.
    Link(Digest),
    /// This passkey signed, and counted up to this.
    Passkey {
        /// Its identifier.
        id: String,
        /// Its counter.
        counter: u32,
    },
    /// An OpenID provider vouched for this account.
    Subject {
        /// The account.
        subject: Subject,
        /// What a rule makes of the person, who is added if nobody has the name.
        ruled: Option<Ruled>,
    },
}

/// What a rule makes of a person whom an OpenID provider vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// The role.
    pub role: Role,
    /// The groups.
    pub groups: Vec<String>,
    /// The digest of a token that nobody has.
    pub token_digest: Digest,
}

/// Which sessions to end.
#[derive(Clone, Debug)]
pub enum Which {
    /// This one.
    One(Digest),
    /// All of the person whose session this is, but this.
    Others(Digest),
    /// All of whoever has this name.
    Of(String),
}

/// Why nobody was signed in, or nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// It never was, was used, replaced, or is at its end; nobody is told which.
    #[error("this link is not valid, or not any more; ask for a new one")]
    NoLink,
    /// The password was changed, the passkey removed, or the counter of the passkey went back.
    #[error("that did not work; try again, or sign in another way")]
    NotProven,
    /// The register does not know the person, or not any more.
    #[error("nobody of this name may sign in here")]
    NotListed,
    /// Another account of the provider is this person.
    #[error("another account of the provider is registered for this person")]
    OtherSubject,
    /// A passkey is one person's.
    #[error("this passkey is registered already")]
    PasskeyTaken,
    /// The person has as many as one may have.
    #[error("a person has at most {MAX_PASSKEYS} passkeys; remove one first")]
    TooManyPasskeys,
    /// The person has no such passkey.
    #[error("there is no such passkey")]
    NoPasskey,
    /// The register refuses the change.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
