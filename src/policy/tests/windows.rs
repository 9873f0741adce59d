//! `active`: when rules are in force, and which windows are refused.

use super::conditional::{TOOL, decided, paid_at};
use super::*;

fn window(active: &str) -> String {
    format!("rules:\n  - {{ name: w, match: {{}}, decision: ALLOW, active: {active} }}\n")
}

#[test]
fn a_rule_is_in_force_in_its_window_only() {
    for (active, now, expected) in [
        ("{ from: 2026-07-01 }", "2026-06-30T23:59:59Z", false),
        ("{ from: 2026-07-01 }", "2026-07-01T00:00:00Z", true),
        ("{ from: 2026-07-01, time_zone: Europe/Berlin }", "2026-06-30T22:00:00Z", true),
        ("{ until: '2026-07-01T08:00:00Z' }", "2026-07-01T07:59:59Z", true),
        ("{ until: '2026-07-01T08:00:00Z' }", "2026-07-01T08:00:00Z", false),
        ("{ weekdays: [mon, wed] }", "2026-07-01T00:00:00Z", true),
        ("{ weekdays: [mon, tue] }", "2026-07-01T00:00:00Z", false),
        ("{ hours: '09:00-17:00' }", "2026-07-01T09:00:00Z", true),
        ("{ hours: '09:00-17:00' }", "2026-07-01T16:59:59Z", true),
        ("{ hours: '09:00-17:00' }", "2026-07-01T17:00:00Z", false),
        ("{ hours: '09:00-24:00' }", "2026-07-01T23:59:59Z", true),
        // The night of a Tuesday ends on Wednesday, and Wednesday's own begins in the evening.
        ("{ hours: '22:00-06:00', weekdays: [tue] }", "2026-07-01T05:59:59Z", true),
        ("{ hours: '22:00-06:00', weekdays: [wed] }", "2026-07-01T05:59:59Z", false),
        ("{ hours: '22:00-06:00', weekdays: [wed] }", "2026-07-01T22:00:00Z", true),
        ("{ hours: '22:00-06:00' }", "2026-07-01T12:00:00Z", false),
        // On this night clocks in Berlin go from 02:00 to 03:00: the hour between is not there.
        ("{ hours: '01:00-02:30', time_zone: Europe/Berlin }", "2026-03-29T00:59:59Z", true),
        ("{ hours: '01:00-02:30', time_zone: Europe/Berlin }", "2026-03-29T01:00:00Z", false),
        // On this one 02:00 to 03:00 comes twice.
        ("{ hours: '02:00-03:00', time_zone: Europe/Berlin }", "2026-10-25T00:30:00Z", true),
        ("{ hours: '02:00-03:00', time_zone: Europe/Berlin }", "2026-10-25T01:30:00Z", true),
        ("{ hours: '02:00-03:00', time_zone: Europe/Berlin }", "2026-10-25T02:00:00Z", false),
        // A moment that clocks leave out is as late as it would have been.
        ("{ from: '2026-03-29T02:30', time_zone: Europe/Berlin }", "2026-03-29T01:29:59Z", false),
        ("{ from: '2026-03-29T02:30', time_zone: Europe/Berlin }", "2026-03-29T01:30:00Z", true),
    ] {
        let (decision, _) = paid_at(&window(active), "{}", now);
        assert_eq!(decided(&decision) == "ALLOW", expected, "{active} at {now}");
    }
}

#[test]
fn a_window_that_cannot_be_meant_is_refused() {
    for (active, message) in [
        ("{ time_zone: Europe/Berln, hours: '01:00-02:00' }", "did you mean `Europe/Berlin`?"),
        ("{ hours: '9-17' }", "are not hours of a day"),
        ("{ hours: '09:00-09:00' }", "are not hours of a day"),
        ("{ hours: '09:00-24:01' }", "are not hours of a day"),
        ("{ from: tomorrow }", "is not a moment"),
        ("{ from: 2026-07-02, until: 2026-07-01 }", "ends before it begins"),
        ("{ weekdays: [] }", "never in force"),
        ("{ weekdays: [monday] }", "`weekdays`"),
        ("{ weekday: [mon] }", "did you mean `weekdays`?"),
        ("{ time_zone: UTC }", "limits nothing"),
    ] {
        let loaded = Policy::load(vec![file("policy.yaml", &window(active))], &catalog(TOOL));
        let told = loaded.unwrap_err().to_string();
        assert!(told.contains(message) && told.contains("policy.yaml:2:"), "{active}: {told}");
    }
}
