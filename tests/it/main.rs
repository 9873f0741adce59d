//! End to end, through the built binary and real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails here, and a test's deadlines are real time"
)]

mod after_approval;
mod clients;
mod crash;
mod harness;
mod held_call;
mod load_errors;
mod real_clients;
mod real_servers;
mod seed_policy;
mod smoke;
mod tampering;
