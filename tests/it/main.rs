//! End to end, through the built binary and real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails here, and a test's deadlines are real time"
)]

mod clients;
mod harness;
mod real_clients;
mod real_servers;
mod smoke;
