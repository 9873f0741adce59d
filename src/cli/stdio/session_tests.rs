//! What is remembered of a client's messages, and what of that is said again.

use super::*;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn up(session: &mut Session, line: &str) -> bool {
    session.up(&Bytes::copy_from_slice(line.as_bytes()))
}

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#)
}

fn answer(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

/// The ids of what the client is told when the gateway is lost.
fn lost(session: &mut Session) -> Vec<String> {
    let mut ids: Vec<String> = session
        .lost()
        .iter()
        .map(|line| serde_json::from_slice::<Value>(line).unwrap()["id"].to_string())
        .collect();
    session.ended();
    ids.sort();
    ids
}

fn begun() -> Session {
    let mut session = Session::default();
    assert!(up(&mut session, INITIALIZE));
    assert_eq!(session.down(answer("0").as_bytes()), Down::Pass);
    assert!(up(&mut session, READY));
    session
}

#[test]
fn what_was_answered_or_taken_back_is_not_lost() {
    let mut session = begun();
    for id in ["1", "\"1\"", "2", "3", "4"] {
        assert!(up(&mut session, &request(id, "tools/call")));
    }
    assert_eq!(session.down(answer("2").as_bytes()), Down::Pass);
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#;
    assert!(up(&mut session, cancelled));
    assert_eq!(lost(&mut session), ["\"1\"", "1", "4"]);
    assert!(!up(&mut session, cancelled), "another gateway's request was taken back");
    assert!(lost(&mut session).is_empty());
}

#[test]
fn what_began_the_session_is_said_again_and_its_answer_kept() {
    let mut session = begun();
    assert!(up(&mut session, &request("5", "tools/list")));
    assert!(up(&mut session, &request("6", "resources/read")));
    assert_eq!(lost(&mut session), ["6"]);
    let again = (Some(INITIALIZE.into()), vec![READY.into(), request("5", "tools/list").into()]);
    assert_eq!(session.next(), again);
    assert_eq!(session.down(answer("0").as_bytes()), Down::Replayed);
    assert_eq!(session.down(answer("5").as_bytes()), Down::Pass);
    assert!(lost(&mut session).is_empty());
}

#[test]
fn subscriptions_are_asked_for_again_and_the_answers_kept() {
    let mut session = begun();
    for (id, method, uri) in [
        ("1", "subscribe", "doc://a"),
        ("2", "subscribe", "doc://b"),
        ("3", "unsubscribe", "doc://a"),
    ] {
        let line = request(id, &format!("resources/{method}"));
        assert!(up(&mut session, &line.replace("{}", &format!(r#"{{"uri":"{uri}"}}"#))));
        assert_eq!(session.down(answer(id).as_bytes()), Down::Pass);
    }
    assert!(lost(&mut session).is_empty());
    let (_, then) = session.next();
    assert_eq!(then.len(), 2, "{then:?}");
    assert!(String::from_utf8_lossy(&then[1]).contains("doc://b"));
    assert_eq!(session.down(answer("2").as_bytes()), Down::Swallow);
    assert!(lost(&mut session).is_empty());
}

#[test]
fn a_greeting_without_an_answer_is_asked_again_and_answered() {
    let mut session = Session::default();
    assert!(up(&mut session, &request("1", "ping")));
    assert!(up(&mut session, INITIALIZE));
    assert!(lost(&mut session).is_empty());
    assert_eq!(session.next(), (None, vec![INITIALIZE.into(), request("1", "ping").into()]));
    assert_eq!(session.down(answer("0").as_bytes()), Down::Pass);
}

#[test]
fn a_client_answers_only_the_gateway_that_asked() {
    let mut session = begun();
    assert_eq!(session.down(request("9", "ping").as_bytes()), Down::Pass);
    assert!(up(&mut session, &answer("9")));
    assert!(!up(&mut session, &answer("9")), "answered twice");
    session.down(request("9", "ping").as_bytes());
    lost(&mut session);
    assert!(!up(&mut session, &answer("9")), "another gateway asked");
}

#[test]
fn a_later_gateway_does_not_begin_with_a_notification() {
    let mut session = Session::default();
    let note = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    assert!(up(&mut session, note), "how a client begins is the gateway's to judge");
    lost(&mut session);
    assert_eq!(session.next(), (None, Vec::new()));
    assert!(!up(&mut session, note));
    assert!(up(&mut session, &request("1", "tools/list")));
    assert!(up(&mut session, note));
}

#[test]
fn half_a_line_of_a_killed_gateway_is_swallowed() {
    let mut session = begun();
    assert_eq!(session.down(br#"{"jsonrpc":"2.0","id":1,"resu"#), Down::Swallow);
    let leaving = format!(r#"{{"jsonrpc":"2.0","method":"{LEAVING}"}}"#);
    assert_eq!(session.down(leaving.as_bytes()), Down::Leaving);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut session = begun();
    for id in 1..=2 * MAX_REMEMBERED {
        assert!(up(&mut session, &request(&id.to_string(), "tools/call")));
    }
    assert_eq!(session.in_flight.len(), MAX_REMEMBERED);
    let long = "x".repeat(MAX_AGAIN);
    let mut session = begun();
    assert!(up(
        &mut session,
        &request("1", "ping").replace("{}", &format!("{{\"_meta\":\"{long}\"}}"))
    ));
    assert_eq!(lost(&mut session), ["1"]);
}
