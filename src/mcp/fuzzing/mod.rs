//! What must hold of messages, frames, states and identifiers of agents, whatever their bytes; see [`crate::fuzzing`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a property that does not hold ends the run"
)]

mod framed;
mod posted;
mod sealing;

pub use self::framed::jsonrpc_stdio;
pub use self::posted::jsonrpc_http;
pub use self::sealing::request_state;

use crate::ids::AgentName;

fn agent(name: &str) -> AgentName {
    name.parse().expect("a name")
}

/// Runs `future` to its end on this thread, with what it started.
fn run<T>(future: impl Future<Output = T>) -> T {
    crate::fuzzing::run(future)
}
