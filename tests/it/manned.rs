//! Rules that hold calls for people who are not there: it is said, and the gateway may refuse to start.

use crate::harness::TestGateway;

const PAIR: &str = "rules:\n  - { name: pair, match: {}, decision: REQUIRE_APPROVAL, approval: { reviewers: [group:sre], quorum: 2 } }\n";
const MISSING: &str = "rule `pair` needs 2 of group:sre, and not so many people may decide";

#[test]
fn rules_that_nobody_can_satisfy_are_named() {
    let gateway = TestGateway::builder().counting().policy("pair.yaml", PAIR).start();
    assert!(gateway.log().contains(MISSING), "{}", gateway.log());
    let ready = || gateway.api_get("/readyz").body;
    assert!(ready().contains(MISSING), "{}", ready());
    let doctor = || gateway.cli(&["doctor"]).stdout;
    assert!(doctor().contains(MISSING), "{}", doctor());
    gateway.cli(&["reviewers", "add", "ada", "--group", "sre"]).done();
    // The same human under another name is no second one.
    gateway.cli(&["reviewers", "add", "lovelace", "--group", "sre", "--also", "ada"]).done();
    assert!(ready().contains(MISSING), "{}", ready());
    gateway.cli(&["reviewers", "add", "bob", "--group", "sre"]).done();
    assert_eq!(ready(), "ok\n");
    assert!(!doctor().contains(MISSING), "{}", doctor());
}

#[test]
fn a_gateway_that_demands_reviewers_does_not_start_without() {
    let mut gateway = TestGateway::builder()
        .counting()
        .policy("pair.yaml", PAIR)
        .config("holds: { require_reviewer: true }\n")
        .prepare();
    let refused = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(MISSING), "{refused:?}");
    assert!(refused.stderr.contains("countersign reviewers add"), "{refused:?}");
    for name in ["ada", "bob"] {
        gateway.cli(&["reviewers", "add", name, "--group", "sre"]).done();
    }
    gateway.launch();
}
