//! What an entry says of how people sign in: links, passwords, passkeys, sessions; never a secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::principal::Authentication;

/// What happened to a person's ways to sign in, or was done by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "snake_case")]
pub enum Access {
    /// A link was made with which the person can set a password or register a passkey, once.
    Invited {
        /// Until when.
        until: Timestamp,
    },
    /// A link was made with which the person can sign in, once.
    LinkMade {
        /// Until when.
        until: Timestamp,
    },
    /// The person signed in.
    SignedIn {
        /// How.
        with: Authentication,
        /// The session that began, by the first digits of its digest.
        session: String,
    },
    /// Sessions ended before their time.
    SignedOut {
        /// Which, by the first digits of their digests.
        sessions: Vec<String>,
    },
    /// The person has another password; sessions that were open elsewhere ended.
    PasswordSet,
    /// The person has one more passkey.
    PasskeyAdded {
        /// Its identifier, in base64url.
        passkey: String,
        /// The name that the person gave it.
        name: String,
        /// The public key (`COSE_Key`), in base64url.
        key: String,
        /// The algorithm, by its COSE name.
        algorithm: String,
        /// The domain that it was registered for; without it, its signatures of verdicts cannot be checked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
    },
    /// A passkey is the person's no more.
    PasskeyRemoved {
        /// Its identifier, in base64url.
        passkey: String,
    },
    /// A passkey's counter went back: somebody may have a copy of it. It opened no session.
    PasskeyCopied {
        /// Its identifier, in base64url.
        passkey: String,
    },
    /// From now on this account of an OpenID provider is the person.
    SubjectBound {
        /// The provider.
        issuer: String,
        /// The account, as the provider names it.
        subject: String,
    },
}
