//! Countersign: a gateway for the Model Context Protocol that decides, holds for a person and records
//! every tool call.
//!
//! # The path of a call
//!
//! [`mcp`] reads a `tools/call` of any protocol version and hands it to [`call::run`], the one door:
//! the tool is found and its arguments are checked ([`catalog`]), halts are looked at ([`halts`]), limits are counted ([`limits`]), rules
//! decide ([`policy`]), a held call waits for people ([`hold`]), the intent is recorded ([`storage`],
//! [`evidence`]), the backend runs it ([`backend`]), the result is checked and the outcome recorded.
//!
//! # The chain of values
//!
//! [`principal::Principal`] → [`catalog::Tool`] → [`catalog::CheckedArguments`] → [`policy::Permit`] →
//! [`storage::Receipt`] → [`catalog::CheckedResult`]: each can be made only by the step that earns it.
//!
//! # Layers
//!
//! Edges in ([`mcp`], [`api`], [`page`], [`cli`]) use [`call`]; `call` uses the pure modules and the edges out
//! ([`storage`], [`backend`], [`authentication`], [`notify`], [`telemetry`]); pure modules use only pure modules.

// — the spine —
pub mod call;
pub mod gateway;
// — pure —
pub mod catalog;
pub mod clock;
pub mod digest;
pub mod edge;
pub mod evidence;
pub mod halts;
pub mod hold;
pub mod ids;
pub mod json;
pub mod limits;
pub mod policy;
pub mod principal;
pub mod source;
// — edges out —
pub mod authentication;
pub mod backend;
pub mod notify;
pub mod storage;
pub mod telemetry;
// — for tests —
#[cfg(feature = "testing")]
pub mod fuzzing;
// — edges in —
pub mod api;
pub mod cli;
pub mod config;
pub mod mcp;
pub mod page;
pub mod server;
