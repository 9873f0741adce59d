//! The MCP conformance suite, which nobody here wrote: as a client of the gateway, behind which a fixture server stands,
//! and as a server behind the gateway.

#[path = "../../fixture/server/mod.rs"]
mod fixture;
mod forwarder;
mod profile;
mod suite;
mod upstream;

use fixture::Eras;
use profile::Profile;
use suite::{Expected, LEGACY, MODERN, Suite};

/// Runs the scenarios that `revision` requires of servers against a gateway whose upstream speaks `eras`.
fn of_servers(revision: &'static str, eras: Eras, expected: Expected) {
    let profile = Profile::start(eras);
    let run = Suite::servers(revision, profile.url(), &expected).run();
    run.assert(&expected);
}

#[test]
fn the_scenarios_of_2025_11_25_pass_with_an_upstream_of_that_era() {
    let expected = Expected::read("server-2025-11-25.yaml");
    expected.assert_only_unscored(LEGACY);
    of_servers(LEGACY, Eras::Legacy, expected);
}

#[test]
fn the_scenarios_of_2026_07_28_pass_with_an_upstream_of_that_era() {
    let expected = Expected::read("server-2026-07-28.yaml");
    expected.assert_only_unscored(MODERN);
    of_servers(MODERN, Eras::Modern, expected);
}

#[test]
fn the_scenarios_of_2025_11_25_pass_over_a_modern_upstream_but_for_what_is_explained() {
    // Of what a server speaks the newest is spoken.
    of_servers(LEGACY, Eras::Both, Expected::read("server-2025-11-25-over-modern.yaml"));
}

#[test]
fn the_scenarios_of_2026_07_28_pass_over_a_legacy_upstream_but_for_what_is_explained() {
    of_servers(MODERN, Eras::Legacy, Expected::read("server-2026-07-28-over-legacy.yaml"));
}

/// Runs the scenarios that `revision` requires of clients against the gateway's link to its upstreams.
fn of_clients(revision: &'static str, expected: Expected) {
    let command = upstream::Command::listen(revision);
    let run = Suite::clients(revision, command.text(), &expected).run();
    run.assert(&expected);
}

#[test]
fn the_link_to_upstreams_passes_the_client_scenarios_of_2025_11_25_but_for_what_is_explained() {
    of_clients(LEGACY, Expected::read("client-2025-11-25.yaml"));
}

#[test]
fn the_link_to_upstreams_passes_the_client_scenarios_of_2026_07_28_but_for_what_is_explained() {
    of_clients(MODERN, Expected::read("client-2026-07-28.yaml"));
}
