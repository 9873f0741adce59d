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
mod asked_tasks;
mod asking;
mod bad_backends;
mod bad_input;
mod bad_servers;
mod budgets;
mod caching;
mod calls;
mod children;
mod clients;
mod conditions;
mod confinement;
mod conformance;
mod crash;
mod crash_points;
mod disk;
mod edges;
mod editing;
mod era_matrix;
mod events;
mod explain;
mod faithful;
mod flow;
mod foreign;
mod generated;
mod golden;
mod halts;
mod harness;
mod held_call;
mod history;
mod hostile_files;
mod hostile_manifests;
mod identical;
mod inbox;
mod install;
mod issuer;
mod json_suite;
mod limits;
mod listed;
mod load_errors;
mod loaded;
mod manned;
mod many_holds;
mod matrix;
mod migration;
mod model;
mod notifications;
mod openapi;
mod outgoing;
mod own_or_join;
mod page;
mod people;
mod policy_tools;
mod quarantine;
mod raw_upstream;
mod read_alike;
mod real_clients;
mod real_servers;
mod receiver;
mod released;
mod reloading;
mod replays;
mod resources;
mod retries;
mod same_decision;
mod schema_suite;
mod secrets;
mod seed_policy;
mod shown;
mod sign_in;
mod signatures;
mod simulating;
mod slow_people;
mod smoke;
mod standing_approvals;
mod starter;
mod statistics;
mod stopwatch;
mod tampering;
mod terminal;
mod tightened;
mod time;
mod tokens;
mod torn;
mod trying;
mod undoing;
mod unknown_outcomes;
mod verdicts;
mod wire;
mod workflows;
