//! What goes wrong in an HTTP exchange, and what that says about the call.

use http::StatusCode;
use reqwest::Response;

use super::exchange::retry_after;
use super::wire::bounded;
use crate::backend::BackendError;

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// It broke after it had begun.
    #[error("the exchange broke: {0}")]
    Broke(String),
    /// The server answered with a status that is no success.
    #[error("HTTP {status}{hint}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What an operator can do about it.
        hint: String,
    },
    /// The server has forgotten the session, for example because it was restarted.
    #[error("the server no longer knows the session")]
    SessionGone,
    /// Neither JSON nor a stream of events.
    #[error("an answer of the type `{0}`")]
    ContentType(String),
    /// The body is too long.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is no answer to what was asked.
    #[error("a malformed answer: {0}")]
    Malformed(String),
}

impl Trouble {
    /// What `error` says, without the address, which may hold a secret.
    pub(super) fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut deepest: &dyn std::error::Error = &error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        let why = bounded(&deepest.to_string());
        if error.is_connect() || error.is_builder() { Self::Connect(why) } else { Self::Broke(why) }
    }

    /// What the status says, unless it is a success.
    pub(super) fn of_status(response: &Response) -> Option<Self> {
        let status = response.status();
        if status.is_success() {
            return None;
        }
        let hint = match status.as_u16() {
            300..=399 => "; redirects are not followed, give the final address".to_owned(),
            401 | 403 => "; check the credential".to_owned(),
            _ => retry_after(response)
                .map(|when| format!("; retry after {when}"))
                .unwrap_or_default(),
        };
        Some(Self::Status { status, hint })
    }

    /// Whether this is `status`.
    pub(super) fn is_status(&self, status: StatusCode) -> bool {
        matches!(self, Self::Status { status: own, .. } if *own == status)
    }

    /// Whether a new handshake is needed.
    pub(super) fn ends_the_connection(&self) -> bool {
        match self {
            Self::Connect(_) | Self::SessionGone => true,
            Self::Broke(_)
            | Self::Status { .. }
            | Self::ContentType(_)
            | Self::TooLarge { .. }
            | Self::Malformed(_) => false,
        }
    }

    /// The same, for who made the call. Only what cannot have reached the tool counts as such.
    pub(super) fn as_error(&self) -> BackendError {
        let why = self.to_string();
        match self {
            Self::Connect(_) | Self::SessionGone => BackendError::Unavailable(why),
            Self::Status { status, .. } if !status.is_server_error() => {
                BackendError::Unavailable(why)
            }
            Self::Broke(_) | Self::Status { .. } => BackendError::Died(why),
            Self::TooLarge { limit } => BackendError::TooLarge { limit: *limit },
            Self::ContentType(_) | Self::Malformed(_) => BackendError::Nonsense(why),
        }
    }
}
