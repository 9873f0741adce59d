//! The link to one upstream MCP server, over a child's pipes or streamable HTTP.
//!
//! rmcp speaks the protocol; the text of results and definitions reaches us as the upstream wrote it.

mod asked;
mod asking;
mod client;
mod connection;
mod definitions;
mod exchange;
#[cfg(feature = "testing")]
pub(crate) mod fuzzing;
mod http;
mod keeping;
mod ledger;
mod lines;
mod link;
mod lists;
mod pages;
mod pipe;
mod process;
mod rounds;
mod sse;
mod subscriptions;
mod ticket;
mod trouble;
mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use self::link::Link;
pub use self::subscriptions::{Subscriptions, Update, Watching};
use super::Contact;
use super::confinement::Confinement;
use super::outgoing::Trust;
use crate::catalog::Ability;

/// Where an upstream server is.
pub enum Target {
    /// A child process that speaks on its standard input and output.
    Process(Program),
    /// A streamable HTTP endpoint.
    Http {
        /// Its address.
        url: String,
        /// Headers for every exchange, for example the credential.
        headers: Vec<(String, SecretString)>,
        /// Where it may be, and which certificates it may have.
        trust: Trust,
    },
}

/// A program and all it gets to see.
pub struct Program {
    /// What to run; without a slash it is looked up in the `PATH` of `env`.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment; nothing is inherited.
    pub env: Vec<(String, SecretString)>,
    /// Where it runs; the gateway's own directory if absent.
    pub cwd: Option<PathBuf>,
    /// How it is confined, unless it is not.
    pub confinement: Option<Arc<Confinement>>,
}

/// The limits of a link.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest message from upstream, in bytes.
    pub max_message_bytes: usize,
    /// How long a handshake may take, the start of a child included.
    pub connect_timeout: Duration,
    /// How many requests may be under way at once.
    pub max_concurrent: usize,
    /// How many tools the upstream may offer.
    pub max_tools: usize,
    /// What the upstream may ask of callers' clients.
    pub asking: Asking,
}

/// What an upstream may ask of the client whose call it runs.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// For what.
    pub allow: BTreeSet<Ability>,
    /// How long a client may take to answer.
    pub within: Duration,
    /// Whether the link has one call under way at a time, all of one agent, so that what comes without saying
    /// for which call can only be for that one.
    pub is_alone: bool,
}

/// How one call is made.
pub struct Call {
    /// The longest result, in bytes.
    pub max_result_bytes: usize,
    /// How long all of it may take, a handshake included.
    pub deadline: Duration,
    /// Fired when the caller takes the call back.
    pub cancel: CancellationToken,
    /// The way back to the caller.
    pub contact: Contact,
    /// The W3C trace context to pass on.
    pub traceparent: Option<String>,
}

/// How a link is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not used yet.
    Idle,
    /// A handshake is under way.
    Connecting,
    /// Connected.
    Connected {
        /// The protocol version both sides agreed on.
        protocol_version: String,
        /// What the server calls itself; its own words.
        server: String,
    },
    /// Lost, or never reached.
    Down {
        /// Since when.
        since: Timestamp,
        /// Why; for operators.
        why: String,
    },
    /// Closed by us.
    Closed,
}

#[cfg(test)]
mod tests;
