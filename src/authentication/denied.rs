//! Why a credential lets nobody in.

/// Why an agent was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential came.
    Missing,
    /// One came that is not valid.
    Invalid(Reason),
    /// A valid one came that does not carry all of these scopes.
    Scope(Vec<String>),
}

/// What is wrong with a credential. For operators; whoever showed it is told only that it is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one bearer token in the form of one.
    Malformed,
    /// A gateway token that is unknown, ended or revoked, or a token of no kind that agents have.
    Unknown,
    /// A token of an issuer that is not configured.
    Issuer,
    /// Signed in a way that is not allowed for its issuer.
    Algorithm,
    /// Of another kind than an access token, or with demands that are not understood.
    Kind,
    /// The key that it names is not among its issuer's, or those could not be fetched.
    Key,
    /// The signature is not the key's.
    Signature,
    /// For somebody else.
    Audience,
    /// Its time has ended, or it names none.
    Ended,
    /// Its time has not begun.
    NotYet,
    /// It names nobody.
    Subject,
    /// The claim for the agent's name gives none that an agent may have.
    Agent,
    /// That name is registered: its agent has gateway tokens, or had.
    Registered,
    /// The claim for groups is missing or gives none that an agent may have.
    Groups,
    /// The claim for the owner is missing or names nobody.
    Owner,
}

impl Reason {
    /// The reason as one word, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::Kind => "kind",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Ended => "ended",
            Self::NotYet => "not_yet",
            Self::Subject => "subject",
            Self::Agent => "agent",
            Self::Registered => "registered",
            Self::Groups => "groups",
            Self::Owner => "owner",
        }
    }
}

impl Denied {
    /// The reason as one word, for logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(reason) => reason.as_str(),
            Self::Scope(_) => "scope",
        }
    }
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}
