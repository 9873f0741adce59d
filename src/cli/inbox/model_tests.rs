//! The inbox without a terminal: keys and news in, wishes and screens out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::*;
use crate::hold::Decision;

/// A pending hold with this number in its id, and these arguments.
pub(in crate::cli::inbox) fn hold(number: u8, arguments: serde_json::Value) -> HoldView {
    let digest = crate::digest::Digest::of(arguments.to_string().as_bytes());
    serde_json::from_value(json!({
        "id": format!("{number:032x}"), "state": "pending", "agent": "maria", "owner": "ole",
        "client": "claude-code", "tool": "count", "definition_fingerprint": digest,
        "arguments": arguments, "requested_arguments": arguments, "edits": [], "digest": digest,
        "rules": ["held"], "reason": "because", "agent_reason": null, "workflow": null,
        "reviewers": ["operator"], "quorum": 1, "verdicts": [],
        "created_at": format!("2026-01-01T00:00:{number:02}Z"), "decide_by": "2026-01-01T01:00:00Z",
        "execute_by": null, "call": "01890000-0000-7000-8000-000000000000", "outcome": null,
        "why": null, "allow_edit": true, "needs": "one of the reviewers",
    }))
    .unwrap()
}

pub(in crate::cli::inbox) fn model() -> Model {
    Model::new(Theme { colour: false }, (80, 24), None)
}

pub(in crate::cli::inbox) fn press(model: &mut Model, keys: &str) -> Option<Effect> {
    let mut last = None;
    for c in keys.chars() {
        let code = match c {
            '\r' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        last = model.key(&KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

/// The question stands long enough on the screen.
pub(in crate::cli::inbox) fn wait(model: &mut Model) {
    model.drawn(Duration::from_secs(1));
    model.drawn(Duration::from_secs(2));
}

#[track_caller]
fn sent(effect: Option<Effect>) -> (HoldId, VerdictGiven) {
    match effect {
        Some(Effect::Ask(Ask::Decide(id, given))) => (id, *given),
        other => panic!("no verdict: {other:?}"),
    }
}

fn open(model: &mut Model, hold: &HoldView, key: &str) {
    model.see(News::Listed(vec![hold.clone()]));
    let asked = press(model, key);
    assert!(matches!(asked, Some(Effect::Ask(Ask::Show(id))) if id == hold.id), "{asked:?}");
    model.see(News::Shown(Box::new(hold.clone())));
}

#[test]
fn an_approval_takes_two_keys_and_carries_the_digest_that_was_shown() {
    let (mut model, hold) = (model(), hold(1, json!({ "line": "one" })));
    open(&mut model, &hold, "a");
    assert!(press(&mut model, "a").is_none(), "answered before it was asked");
    wait(&mut model);
    let (id, given) = sent(press(&mut model, "y"));
    assert_eq!((id, given.digest, given.decision), (hold.id, hold.digest, Decision::Approve));
    assert!(given.edit.is_none() && given.reason.is_none());
    assert!(press(&mut model, "ay").is_none(), "sent twice");
}

#[test]
fn a_key_that_is_held_down_approves_nothing() {
    let (mut model, hold) = (model(), hold(1, json!({ "line": "one" })));
    open(&mut model, &hold, "a");
    for repeated in 0..100 {
        model.drawn(Duration::from_millis(33 * repeated));
        assert!(press(&mut model, "a").is_none());
    }
}

#[test]
fn what_was_never_shown_is_not_approved() {
    let (mut model, hold) = (model(), hold(1, json!({ "line": "x".repeat(20_000) })));
    open(&mut model, &hold, "a");
    wait(&mut model);
    assert!(press(&mut model, "a").is_none());
    for _ in 0..3 {
        press(&mut model, " ");
        wait(&mut model);
        assert!(press(&mut model, "y").is_none());
    }
    press(&mut model, "G");
    wait(&mut model);
    sent(press(&mut model, "y"));
}

#[test]
fn a_hold_that_changed_is_read_anew_before_it_can_be_approved() {
    let (mut model, shown) = (model(), hold(1, json!({ "line": "one" })));
    open(&mut model, &shown, "a");
    wait(&mut model);
    let changed = HoldView { id: shown.id, ..hold(1, json!({ "line": "two" })) };
    let asked = model.see(News::Listed(vec![changed.clone()]));
    assert!(matches!(asked, Some(Effect::Ask(Ask::Show(_)))), "{asked:?}");
    model.see(News::Shown(Box::new(changed.clone())));
    assert!(press(&mut model, "y").is_none(), "the question of before was answered");
    press(&mut model, "a");
    wait(&mut model);
    assert_eq!(sent(press(&mut model, "a")).1.digest, changed.digest);
}

#[test]
fn a_refused_verdict_is_told_and_the_hold_is_read_again() {
    let (mut model, shown) = (model(), hold(1, json!({})));
    open(&mut model, &shown, "r");
    let (_, given) = sent(press(&mut model, "no\r"));
    assert_eq!((given.decision, given.reason.as_deref()), (Decision::Reject, Some("no")));
    let told = "the call is finished; ole decided".to_owned();
    let asked = model.see(News::Refused { id: shown.id, told });
    assert!(matches!(asked, Some(Effect::Ask(Ask::Show(_)))), "{asked:?}");
    assert_eq!(model.note.as_deref(), Some("the call is finished; ole decided"));
    model.see(News::Shown(Box::new(HoldView { state: StateName::Finished, ..shown })));
    assert!(press(&mut model, "r").is_none());
    assert!(model.note.unwrap().contains("nothing to decide"));
}

#[test]
fn an_edit_is_sent_as_new_arguments_for_the_digest_that_was_held() {
    let (mut model, shown) = (model(), hold(1, json!({ "line": "one" })));
    model.see(News::Listed(vec![shown.clone()]));
    press(&mut model, "e");
    let asked = model.see(News::Shown(Box::new(shown.clone())));
    let Some(Effect::Edit(text)) = asked else { panic!("no editor: {asked:?}") };
    assert_eq!(text, "{\n  \"line\": \"one\"\n}\n");

    model.edited(Ok("{\"line\": 1,}".to_owned()));
    assert!(press(&mut model, "a").is_none());
    let again = press(&mut model, "e");
    assert!(matches!(&again, Some(Effect::Edit(text)) if text == "{\"line\": 1,}"), "{again:?}");

    model.edited(Ok(text.replace("one", "two")));
    wait(&mut model);
    let (_, given) = sent(press(&mut model, "a"));
    assert_eq!((given.decision, given.digest), (Decision::Approve, shown.digest));
    assert_eq!(serde_json::Value::from(given.edit.unwrap()), json!({ "line": "two" }));

    model.see(News::Refused { id: shown.id, told: "not so".to_owned() });
    press(&mut model, "\u{1b}");
    press(&mut model, "a");
    wait(&mut model);
    assert!(sent(press(&mut model, "a")).1.edit.is_none(), "the dropped edit was sent");
}

#[test]
fn a_rejection_never_carries_an_edit() {
    let (mut model, shown) = (model(), hold(1, json!({ "line": "one" })));
    open(&mut model, &shown, "\r");
    press(&mut model, "e");
    model.edited(Ok("{\"line\":\"two\"}".to_owned()));
    press(&mut model, "r");
    let (_, given) = sent(press(&mut model, "\r"));
    assert!(given.edit.is_none() && given.reason.is_none());
}

#[test]
fn the_selection_stays_on_its_call_while_the_list_changes() {
    let mut model = model();
    let holds: Vec<HoldView> = (0..5).map(|n| hold(n, json!({ "n": n }))).collect();
    model.see(News::Listed(holds.clone()));
    press(&mut model, "jj");
    assert_eq!(model.list.selected().unwrap().id, holds[2].id);
    model.see(News::Listed(holds[1..].to_vec()));
    assert_eq!(model.list.selected().unwrap().id, holds[2].id);
    model.see(News::Listed(holds[3..].to_vec()));
    assert_eq!(model.list.selected().unwrap().id, holds[4].id);
    model.see(News::Listed(Vec::new()));
    assert!(model.list.selected().is_none());
    assert!(press(&mut model, "jkGga\r").is_none());
}

#[test]
fn identical_holds_are_one_row_however_they_are_listed() {
    let mut model = model();
    let same: Vec<HoldView> = (0..3).map(|n| hold(n, json!({ "same": true }))).collect();
    model.see(News::Listed(same.clone()));
    assert_eq!((model.list.rows.len(), model.list.rows[0].identical), (1, 3));
    assert_eq!(model.list.selected().unwrap().id, same[0].id, "the oldest is decided first");
    model.see(News::Listed(vec![HoldView { identical: 10_000, ..same[0].clone() }]));
    assert_eq!((model.list.rows.len(), model.list.count()), (1, 10_000));
}

#[test]
fn only_the_last_decided_calls_are_kept() {
    let mut model = model();
    for number in 0..50 {
        let hold = HoldView { state: StateName::Approved, ..hold(number, json!({})) };
        model.see(News::Decided(Box::new(hold)));
    }
    assert_eq!(model.followed.len(), FOLLOWED);
    model.see(News::Followed(Box::new(HoldView {
        state: StateName::Lapsed,
        ..hold(49, json!({}))
    })));
    assert!(model.followed[0].text.ends_with("maria count: lapsed"), "{:?}", model.followed);
}

#[test]
fn silence_is_shown_until_the_gateway_speaks() {
    let mut model = model();
    model.see(News::Silent("gone\u{1b}[2J".to_owned()));
    assert_eq!(model.silent.as_deref(), Some("gone\\u{1b}[2J"));
    model.see(News::Listed(Vec::new()));
    assert_eq!(model.silent, None);
}
