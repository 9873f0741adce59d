//! What must hold of every parser of foreign bytes, whatever the bytes: one function for each, which reads
//! them with the real code and ends the process where a property does not hold. Fuzz targets (`fuzz/`) and
//! the short run of the tests (`tests/fuzz.rs`) call the same functions.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a property that does not hold ends the run"
)]

mod json;
mod manifests;
mod passkeys;
mod policies;
mod schemas;

pub use self::json::strict_json;
pub(crate) use self::manifests::called;
pub use self::manifests::manifests;
pub use self::passkeys::passkey_answer;
pub use self::policies::policies;
pub use self::schemas::schemas;
pub use crate::backend::mcp::fuzzing::{upstream_answer, upstream_sse};
use crate::json::Object;
pub use crate::mcp::fuzzing::{jsonrpc_http, jsonrpc_stdio, request_state};

/// The longest input that is looked at, in bytes.
pub const MAX_INPUT_BYTES: usize = 64 << 10;
/// What parts an input that holds several texts: a byte that no UTF-8 text has.
pub const PART: u8 = 0xff;

/// What reads one input.
pub type Target = fn(&[u8]);

/// All of them, by the name of the target.
pub const TARGETS: [(&str, Target); 10] = [
    ("jsonrpc_http", jsonrpc_http),
    ("jsonrpc_stdio", jsonrpc_stdio),
    ("manifests", manifests),
    ("passkey_answer", passkey_answer),
    ("policies", policies),
    ("request_state", request_state),
    ("schemas", schemas),
    ("strict_json", strict_json),
    ("upstream_answer", upstream_answer),
    ("upstream_sse", upstream_sse),
];

/// The texts of an input, in order; those that are no UTF-8 are left out with all that follows.
fn parts(data: &[u8]) -> impl Iterator<Item = &str> {
    data.split(|byte| *byte == PART).map_while(|part| std::str::from_utf8(part).ok())
}

/// A text as an object, if it is one that the gateway takes.
fn object(text: &str) -> Option<Object> {
    crate::json::parse(text.as_bytes()).ok()?.as_object().cloned()
}

/// Runs `future` to its end on this thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
