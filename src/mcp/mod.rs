//! The protocol agents speak: MCP over streamable HTTP and stdio, every version from 2024-11-05 to 2026-07-28.
//!
//! `tools/call`, `resources/read`, `prompts/get` and `completion/complete` are read and written here, because
//! typed proxying loses what a result holds and answers of held calls differ by era; so is `tasks/get`.
//! Everything else of the protocol is rmcp's.

mod acting;
mod agreeing;
mod answers;
mod arriving;
mod asking;
pub mod calls;
mod cursor;
mod done;
pub mod framing;
#[cfg(feature = "testing")]
pub(crate) mod fuzzing;
mod handler;
pub mod http;
mod lasting;
mod lists;
mod names;
mod outlet;
mod questions;
mod reads;
mod replying;
mod sealed;
mod sessions;
pub mod stdio;
mod streams;
mod tasks;
mod waiting;
mod watching;
pub mod wire;
mod workflow;

pub use handler::Front;
