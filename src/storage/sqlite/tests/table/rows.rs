//! The table, as far as it is about calls, holds and time.

use super::super::*;
use super::prepared::*;
use super::{Again, Row};
use crate::evidence::Refused;
use crate::hold::{Account, Ending, Resolution};
use crate::storage::ChannelState;

/// Makes a request of the store and keeps only whether it was carried out, and why not.
macro_rules! asks {
    (|$store:ident| $request:expr) => {
        |$store| {
            Box::pin(async move { $request.await.map(drop).map_err(|error| error.to_string()) })
        }
    };
}
pub(super) use asks;

/// What most rows have in common.
pub(super) const PLAIN: Row = Row {
    name: "",
    given: nothing,
    at: 10,
    asks: asks!(|store| store.settle()),
    writes: &[],
    queued: false,
    job: 1,
    again: Again::Same,
};

pub(super) fn rows() -> Vec<Row> {
    let all = [calls(), opening_and_deciding(), standing(), running(), ending(), time()];
    all.into_iter().flatten().collect()
}

fn resolution(resolution: Resolution) -> Account {
    Account { resolution, verdict: of_ada(Decision::Approve) }
}

fn calls() -> Vec<Row> {
    vec![
        Row {
            name: "begin_call: durable",
            asks: asks!(|store| store.begin_call(intent(call(4)), Wait::Durable)),
            writes: &["intent"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "begin_call: queued",
            asks: asks!(|store| store.begin_call(intent(call(4)), Wait::Queued)),
            writes: &["intent"],
            queued: true,
            again: Again::Never,
            ..PLAIN
        },
        Row {
            name: "end_call",
            given: began,
            asks: asks!(|store| store.end_call(call(3), outcome())),
            writes: &["outcome"],
            queued: true,
            ..PLAIN
        },
        Row {
            name: "refuse_call",
            asks: asks!(|store| store.refuse_call(Refused { call: call(4), ..refused() })),
            writes: &["refusal"],
            queued: true,
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "record",
            asks: asks!(|store| store.record(loaded())),
            writes: &["revision_loaded"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "keep_channel",
            asks: asks!(|store| store.keep_channel("ops", ChannelState::default())),
            ..PLAIN
        },
    ]
}

fn opening_and_deciding() -> Vec<Row> {
    vec![
        Row {
            name: "open_hold",
            asks: asks!(|store| store.open_hold(held(), opening(&held()), 10)),
            writes: &["hold"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
        Row {
            name: "decide_hold: approve",
            given: pending,
            asks: asks!(|store| store.decide_hold(HELD, of_ada(Decision::Approve))),
            writes: &["verdict"],
            ..PLAIN
        },
        Row {
            name: "decide_hold: reject",
            given: pending,
            asks: asks!(|store| store.decide_hold(HELD, of_ada(Decision::Reject))),
            writes: &["verdict"],
            ..PLAIN
        },
        Row {
            name: "decide_hold: without a name for it",
            given: pending,
            asks: asks!(|store| store.decide_hold(HELD, verdict(Decision::Approve, "ada", start()))),
            writes: &["verdict"],
            again: Again::Refused("already approved"),
            ..PLAIN
        },
        Row {
            name: "amend_hold",
            given: pending,
            asks: asks!(|store| store.amend_hold(HELD, edited(), of_ada(Decision::Approve))),
            writes: &["hold_amended", "verdict"],
            ..PLAIN
        },
    ]
}

fn standing() -> Vec<Row> {
    vec![
        Row {
            name: "grant_standing",
            given: pending,
            asks: asks!(|store| store.grant_standing(grant(), HELD)),
            writes: &["standing_granted"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            name: "revoke_standing",
            given: granted,
            asks: asks!(|store| store.revoke_standing(STANDING, "ada".to_owned())),
            writes: &["standing_revoked"],
            ..PLAIN
        },
        Row {
            name: "begin_standing_call",
            given: granted,
            asks: asks!(|store| store.begin_standing_call(covered(4))),
            writes: &["intent"],
            again: Again::Refused("UNIQUE"),
            ..PLAIN
        },
    ]
}

fn running() -> Vec<Row> {
    vec![
        Row {
            name: "spend_approval",
            given: approved,
            asks: asks!(|store| store.spend_approval(HELD, intent(call(4)))),
            writes: &["intent"],
            again: Again::Refused("already executing"),
            ..PLAIN
        },
        Row {
            name: "finish_hold",
            given: executing,
            asks: asks!(|store| store.finish_hold(HELD, outcome(), result())),
            writes: &["outcome"],
            again: Again::Refused("already finished"),
            ..PLAIN
        },
        Row {
            name: "collect_hold",
            given: finished,
            asks: asks!(|store| store.collect_hold(HELD)),
            again: Again::Refused("already finished"),
            ..PLAIN
        },
        Row {
            name: "recover",
            given: interrupted,
            asks: asks!(|store| store.recover(&|_| false)),
            writes: &["outcome", "hold_changed"],
            // The first only looks.
            job: 2,
            ..PLAIN
        },
        Row {
            name: "recover: idempotent",
            given: interrupted,
            asks: asks!(|store| store.recover(&|_| true)),
            writes: &["outcome", "hold_changed"],
            job: 2,
            ..PLAIN
        },
        Row {
            name: "resolve_hold: done",
            given: unknown,
            asks: asks!(|store| store.resolve_hold(HELD, resolution(Resolution::Done), result())),
            writes: &["hold_resolved"],
            again: Again::Refused("already finished"),
            ..PLAIN
        },
        Row {
            name: "resolve_hold: run again",
            given: unknown,
            asks: asks!(|store| store.resolve_hold(HELD, resolution(Resolution::RunAgain), None)),
            writes: &["hold_resolved"],
            again: Again::Refused("already approved"),
            ..PLAIN
        },
    ]
}

fn ending() -> Vec<Row> {
    vec![
        Row {
            name: "end_hold: withdraw",
            given: pending,
            asks: asks!(|store| store.end_hold(HELD, Ending::Withdraw)),
            writes: &["hold_changed"],
            again: Again::Refused("already withdrawn"),
            ..PLAIN
        },
        Row {
            name: "end_hold: expire",
            given: pending,
            at: 200,
            asks: asks!(|store| store.end_hold(HELD, Ending::Expire)),
            writes: &["hold_changed"],
            again: Again::Refused("already expired"),
            ..PLAIN
        },
        Row {
            name: "end_hold: lapse",
            given: approved,
            at: 200,
            asks: asks!(|store| store.end_hold(HELD, Ending::Lapse)),
            writes: &["hold_changed"],
            again: Again::Refused("already lapsed"),
            ..PLAIN
        },
        Row {
            name: "end_hold: supersede",
            given: approved,
            asks: asks!(|store| store
                .end_hold(HELD, Ending::Supersede { why: "changed".to_owned(), anew: None })),
            writes: &["hold_changed"],
            again: Again::Refused("already superseded"),
            ..PLAIN
        },
        Row {
            name: "forget_results",
            given: finished,
            asks: asks!(|store| store.forget_results(Timestamp::MAX, 10)),
            ..PLAIN
        },
    ]
}

fn time() -> Vec<Row> {
    vec![
        Row {
            name: "note_absence",
            given: pending,
            asks: asks!(|store| store.note_absence(
                start(),
                start().saturating_add(SignedDuration::from_secs(102)).unwrap(),
                "suspended",
            )),
            writes: &["absence"],
            again: Again::Recorded,
            ..PLAIN
        },
        Row {
            // The store that opens notes that the time ended before it was there.
            name: "extend_holds",
            given: pending,
            at: 200,
            asks: asks!(|store| store.extend_holds(Duration::from_secs(600), 10)),
            writes: &["holds_extended"],
            ..PLAIN
        },
    ]
}
