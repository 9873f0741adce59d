//! Who is asked, who hears, and when asking ends.

use serde_json::{Value, json};

use super::*;
use crate::catalog::Ability;

const LONG: Duration = Duration::from_secs(60);

fn question(key: &str) -> Question {
    Question::new(key.to_owned(), Ability::Roots, Some(json!({ "z": 1, "a": 2 })))
}

fn results(value: &Value) -> Object {
    value.as_object().cloned().unwrap()
}

#[tokio::test]
async fn whoever_waits_is_asked_and_the_record_says_whether_it_answered() {
    let contact = Contact::default();
    let attendance = contact.attend(Client::default(), None);
    let asking = contact.ask(vec![question("one"), question("two")], LONG);
    let answering = async {
        let round = attendance.asked().await;
        assert_eq!(round.questions.len(), 2);
        round.answer(results(&json!({ "two": { "roots": [] }, "other": {} })), Vec::new());
    };
    let (answers, ()) = tokio::join!(asking, answering);
    assert_eq!(answers.unwrap().results.len(), 2);
    let answered: Vec<bool> = contact.noted().iter().map(|noted| noted.answered).collect();
    assert_eq!(answered, [false, true]);
    assert!(!serde_json::to_string(&contact.noted()).unwrap().contains("\"z\""));
}

#[tokio::test]
async fn a_client_that_does_not_answer_in_time_is_no_longer_asked() {
    let contact = Contact::default();
    let attendance = contact.attend(Client::default(), None);
    let soon = Duration::from_millis(20);
    let late = contact.ask(vec![question("q")], soon).await.unwrap_err();
    assert_eq!(late, Silence::Late(soon));
    assert!(attendance.more().is_none(), "it is asked all the same");
}

#[tokio::test]
async fn time_stands_still_while_a_client_is_asked() {
    let contact = Contact::default();
    let attendance = contact.attend(Client::default(), None);
    let (limit, thinks) = (Duration::from_millis(200), Duration::from_millis(400));
    let begun = tokio::time::Instant::now();
    let asking = contact.ask(vec![question("q")], LONG);
    let answering = async {
        let round = attendance.asked().await;
        tokio::time::sleep(thinks).await;
        round.answer(Object::new(), Vec::new());
    };
    let (answers, (), ()) = tokio::join!(asking, answering, contact.run_out(limit));
    answers.unwrap();
    assert!(begun.elapsed() >= limit + thinks);
}

#[tokio::test]
async fn what_is_asked_is_bounded_and_ends_with_the_call() {
    let contact = Contact::default();
    let attendance = contact.attend(Client::default(), None);
    let long = Question::new("q".into(), Ability::Sampling, Some("x".repeat(300_000).into()));
    let too_large = contact.ask(vec![long], LONG).await.unwrap_err();
    assert_eq!(too_large, Silence::TooLarge(MAX_QUESTION_BYTES));
    let many = (0..=MAX_ASKED).map(|_| question("q")).collect();
    assert_eq!(contact.ask(many, LONG).await.unwrap_err(), Silence::TooMany(MAX_ASKED));
    let over = contact.until_over();
    let ending = async {
        let round = attendance.asked().await;
        drop(over);
        round.over.cancelled().await;
    };
    let (answers, ()) = tokio::join!(contact.ask(vec![question("q")], LONG), ending);
    assert_eq!(answers.unwrap_err(), Silence::Over);
}

#[test]
fn a_client_is_taken_at_its_word() {
    let said = json!({ "elicitation": {}, "sampling": { "tools": {} }, "roots": true, "more": {} });
    let abilities = Abilities::of(Some(&said));
    let check = |ability, params| {
        let question = Question::new("q".into(), ability, Some(params));
        abilities.check(&question).map_err(|error| error.code)
    };
    assert_eq!(check(Ability::Sampling, json!({})), Ok(()));
    assert_eq!(check(Ability::Elicitation, json!({ "message": "m" })), Ok(()));
    assert_eq!(check(Ability::Elicitation, json!({ "mode": "url" })), Err(-32602));
    assert_eq!(check(Ability::Roots, json!({})), Err(-32601));
    let among = abilities.among(|ability| ability != Ability::Elicitation);
    assert_eq!(Value::Object(among), json!({ "sampling": { "tools": {} } }));
}
