//! The protocol agents speak: MCP over streamable HTTP and stdio, every version from 2024-11-05 to 2026-07-28.
//!
//! `tools/call` is read and written here, because typed proxying loses what a result holds and answers
//! of held calls differ by era; everything else of the protocol is rmcp's.

mod agreeing;
mod answers;
mod arriving;
mod asking;
pub mod calls;
mod cursor;
pub mod framing;
mod handler;
pub mod http;
mod lasting;
mod names;
mod outlet;
mod questions;
mod replying;
mod sessions;
pub mod stdio;
mod streams;
mod waiting;
pub mod wire;

pub use handler::Front;
