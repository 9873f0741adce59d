//! What is drawn, cell by cell.

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::super::model::tests::{hold, model, press, wait};
use super::super::model::{Model, News};
use super::*;
use crate::api::HoldView;
use crate::cli::output::is_hidden;

/// The lines that a person sees one minute after the first hold.
fn drawn(model: &Model) -> Vec<String> {
    let (columns, lines) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let now = "2026-01-01T00:01:00Z".parse().unwrap();
    terminal.draw(|frame| draw(model, now, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    cells
        .chunks(usize::from(columns).max(1))
        .map(|line| line.concat().trim_end().to_owned())
        .collect()
}

fn opened(hold: HoldView, key: &str) -> Model {
    let mut model = model();
    model.see(News::Listed(vec![hold.clone()]));
    press(&mut model, key);
    model.see(News::Shown(Box::new(hold)));
    model
}

#[test]
fn the_list_at_80_by_24() {
    let mut model = model();
    assert_eq!(drawn(&model)[1], "asking the gateway…");
    let hidden = hold(2, json!({ "line": "\u{202e}x" }));
    model.see(News::Listed(vec![
        HoldView { identical: 7, ..hold(1, json!({ "line": "one" })) },
        hidden,
    ]));
    let lines = drawn(&model);
    assert_eq!(lines[0], "countersign · 8 held calls wait");
    assert_eq!(lines[1], format!("{:72}59:00", "> maria count ×7 {\"line\":\"one\"}"));
    assert!(
        lines[2].starts_with("  maria count hidden characters {\"line\":\"\\u{202e}x\"}"),
        "{}",
        lines[2]
    );
    assert_eq!(lines[23], "Enter show  a approve  r reject  e edit  ? help  q quit");
}

#[test]
fn the_detail_says_everything_in_order() {
    let mut hold = hold(1, json!({ "replicas": 5 }));
    hold.requested_arguments = hold.arguments.clone();
    hold.requested_arguments.insert("replicas".to_owned(), json!(10));
    hold.edits = serde_json::from_value(json!([{
        "pointer": "/replicas", "from": 10, "to": 5, "rule": "few", "constraint": "maximum"
    }]))
    .unwrap();
    hold.agent_reason = Some("trust me\u{200b}".to_owned());
    let model = opened(hold, "\r");
    let lines = drawn(&model);
    assert_eq!(lines[0], "maria → count · decide within 59:00");
    let text = lines.join("\n");
    let parts = [
        "owner       ole",
        "agent       maria",
        "client      claude-code",
        "tool        count",
        "arguments that will run",
        "\"replicas\": 5",
        "/replicas: asked for 10, will be 5 (rule `few`, maximum)",
        "arguments as asked",
        "\"replicas\": 10",
        "rules       held",
        "why held    because",
        "trust me\\u{200b} (its own words, unverified)",
        "decide      within 59:00",
    ];
    let places: Vec<_> =
        parts.iter().map(|it| text.find(it).unwrap_or_else(|| panic!("{it}\n{text}"))).collect();
    assert!(places.is_sorted(), "{places:?}\n{text}");
}

#[test]
fn the_question_appears_when_it_can_be_answered() {
    let mut model = opened(hold(1, json!({})), "a");
    assert_eq!(drawn(&model)[23], "approve? …");
    wait(&mut model);
    assert_eq!(drawn(&model)[23], "approve exactly this call? a or y yes, Esc no");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a14_no_hidden_character_is_ever_drawn(
        text in "[a\u{0}-\u{9f}\u{ad}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{e0000}-\u{e007f}日🙂]{0,60}",
        columns in 0_u16..120, lines in 0_u16..40, keys in "[jkarey?q\r \u{1b}Gg]{0,12}",
    ) {
        let mut hold = hold(1, json!({ text.clone(): [text] , "line": text }));
        hold.reason = text.clone();
        hold.agent_reason = Some(text.clone());
        hold.client = Some(text.clone());
        hold.owner = Some(text.clone());
        hold.why = Some(text.clone());
        hold.tool = text.clone();
        let mut model = model();
        model.resized((columns, lines));
        model.see(News::Silent(text.clone()));
        model.see(News::Listed(vec![hold.clone()]));
        for key in keys.chars() {
            press(&mut model, &key.to_string());
            model.see(News::Shown(Box::new(hold.clone())));
            model.paste(&text);
            let screen = drawn(&model).concat();
            prop_assert!(!screen.chars().any(is_hidden), "{screen:?}");
        }
        model.edited(Ok(text.clone()));
        model.see(News::Refused { id: hold.id, told: text.clone() });
        model.see(News::Decided(Box::new(hold.clone())));
        let screen = drawn(&model).concat();
        prop_assert!(!screen.chars().any(is_hidden), "{screen:?}");
    }
}
