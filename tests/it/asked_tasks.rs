//! What an approved call asks of a client that follows it as a task: it waits in the task until that client has
//! answered all of it, and nobody else can.

use serde_json::{Value, json};

use crate::asking::{ALL, abilities, asking, elicit, outcome, started, told};
use crate::clients::{CAPABILITIES, Client as _, MODERN, Modern, TASKS, refused};
use crate::harness::{HOLD_ALL, TestGateway, text, until};
use crate::verdicts::entries;

fn held(allow: &str, modern: bool) -> TestGateway {
    started(asking(allow, modern).policy("held.yaml", HOLD_ALL))
}

/// What a client declares that can be asked and knows tasks.
fn able() -> Value {
    let mut able = abilities();
    able["extensions"] = json!({ TASKS: {} });
    able
}

fn with(capabilities: &Value, mut params: Value) -> Value {
    params["_meta"] = json!({ CAPABILITIES: capabilities });
    params
}

/// Approves without waiting for what becomes of it, as the command line does for a while.
fn approve(gateway: &TestGateway, id: &str) {
    let verdict = json!({ "decision": "approve", "digest": gateway.hold(id)["digest"] });
    let reply = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// A call that was held, is a task, and runs now.
fn task(gateway: &TestGateway, client: &Modern, arguments: &Value) -> String {
    let params = json!({ "name": "ask", "arguments": arguments });
    let task = client.result("tools/call", with(&able(), params));
    let id = text(&task["taskId"]);
    approve(gateway, &id);
    id
}

fn get(client: &Modern, id: &str) -> Value {
    client.result("tasks/get", with(&able(), json!({ "taskId": id })))
}

/// What the task asks, by name, once it does.
fn asked(client: &Modern, id: &str) -> Vec<(String, Value)> {
    let task = until("the task to ask", || {
        let task = get(client, id);
        assert!(!matches!(task["status"].as_str(), Some("completed" | "failed")), "{task}");
        (task["status"] == "input_required").then_some(task)
    });
    let asked = task["inputRequests"].as_object().unwrap();
    asked.iter().map(|(name, request)| (name.clone(), request.clone())).collect()
}

fn names(asked: &[(String, Value)]) -> Vec<&str> {
    asked.iter().map(|(name, _)| name.as_str()).collect()
}

fn update(client: &Modern, id: &str, answers: &Value) -> Value {
    let params = json!({ "taskId": id, "inputResponses": answers });
    client.request("tasks/update", with(&able(), params))
}

/// Answers, and sees that it was taken note of, and no more.
fn answer(client: &Modern, id: &str, name: &str, answer: &Value) {
    let acknowledged = update(client, id, &json!({ name: answer }));
    assert_eq!(acknowledged["result"], json!({ "resultType": "complete" }), "{acknowledged}");
}

fn ended(client: &Modern, id: &str) -> Value {
    until("the task to end", || {
        let task = get(client, id);
        matches!(task["status"].as_str(), Some("completed" | "failed")).then_some(task)
    })
}

fn accept(word: &str) -> Value {
    json!({ "action": "accept", "content": { "z": word, "n": 1.50 } })
}

#[test]
fn a_task_asks_its_client_and_only_its_client_and_takes_one_answer_after_the_other() {
    let gateway = held(ALL, true);
    let (client, other) = (gateway.modern("one"), gateway.modern_with_tasks("two"));
    let mut arguments = elicit();
    arguments["keys"] = json!(["q", "r"]);
    let id = task(&gateway, &client, &arguments);
    let questions = asked(&client, &id);
    let [first, second] = names(&questions)[..] else { panic!("{questions:?}") };
    for (_, request) in &questions {
        assert_eq!(request.to_string(), elicit().to_string());
    }

    // To another agent the task does not exist, and its answer is none.
    let foreign = other.request("tasks/get", json!({ "taskId": id }));
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    let foreign =
        update(&other, &id, &json!({ first: accept("forged"), second: accept("forged") }));
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    // Names that nobody gave are passed over, the tool's own ones too.
    update(&client, &id, &json!({ "q": accept("forged"), "other": 1 }));
    assert_eq!(asked(&client, &id), questions);

    answer(&client, &id, first, &accept("swordfish"));
    assert_eq!(names(&asked(&client, &id)), [second]);
    // What was answered is answered.
    answer(&client, &id, first, &accept("forged"));
    answer(&client, &id, second, &json!({ "action": "decline" }));
    let ended = ended(&client, &id);
    assert_eq!(ended["status"], "completed", "{ended}");
    let told = told(&ended["result"]);
    let answers = json!({ "q": accept("swordfish"), "r": { "action": "decline" } });
    assert_eq!(told["answers"], answers);
    assert_eq!(told["abilities"], abilities());

    let asked = outcome(&gateway)["asked"].take();
    assert_eq!(
        (asked[0]["answered"].clone(), asked[1]["answered"].clone()),
        (true.into(), true.into())
    );
    let record = json!(gateway.entries()).to_string();
    assert!(!record.contains("swordfish"), "an answer is in the record");
}

#[test]
fn what_a_task_asks_again_has_another_name() {
    let gateway = held(ALL, true);
    let client = gateway.modern("one");
    let mut arguments = elicit();
    arguments["rounds"] = json!(2);
    let id = task(&gateway, &client, &arguments);
    let mut seen = Vec::new();
    for word in ["first", "second"] {
        let name = until("a new question", || {
            let now = get(&client, &id)["inputRequests"].as_object().cloned().unwrap_or_default();
            now.keys().find(|name| !seen.contains(*name)).cloned()
        });
        answer(&client, &id, &name, &accept(word));
        seen.push(name);
    }
    let told = told(&ended(&client, &id)["result"]);
    assert_eq!(told["answers"], json!({ "q": accept("second") }));
}

#[test]
fn a_tool_of_an_earlier_protocol_asks_the_client_of_a_task() {
    let gateway = held(ALL, false);
    let client = gateway.modern("one");
    let id = task(&gateway, &client, &elicit());
    let questions = asked(&client, &id);
    answer(&client, &id, &questions[0].0, &accept("s"));
    assert_eq!(told(&ended(&client, &id)["result"]), json!({ "result": accept("s") }));
}

#[test]
fn only_a_request_that_can_be_asked_is_and_a_client_that_cannot_has_not_been() {
    let gateway = held(ALL, false);
    let client = gateway.modern("one");
    let id = task(&gateway, &client, &elicit());
    asked(&client, &id);
    let plain = json!({ "extensions": { TASKS: {} } });
    let unable = client.result("tasks/get", with(&plain, json!({ "taskId": id })));
    assert_eq!(unable["status"], "working", "{unable}");
    assert_eq!(unable["inputRequests"], Value::Null);
    let questions = asked(&client, &id);
    answer(&client, &id, &questions[0].0, &accept("s"));
    ended(&client, &id);

    let never = gateway.modern_with_tasks("two");
    let task = never.call("ask", elicit());
    let id = text(&task["taskId"]);
    approve(&gateway, &id);
    let ended = never.task_when_done(&id);
    assert_eq!(told(&ended["result"])["error"]["code"], -32601, "{ended}");
}

#[test]
fn an_answer_to_a_task_that_comes_too_late_is_none() {
    let gateway = held(&format!("{ALL}, answer_within: 3s"), true);
    let client = gateway.modern("one");
    let id = task(&gateway, &client, &elicit());
    let questions = asked(&client, &id);
    let ended = ended(&client, &id);
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(text(&ended["error"]["message"]).contains("within 3s"), "{ended}");
    answer(&client, &id, &questions[0].0, &accept("late"));
    assert_eq!(get(&client, &id)["error"], ended["error"]);
    assert_eq!(outcome(&gateway)["asked"][0]["answered"], false);
}

#[test]
fn a_task_that_asks_can_be_taken_back() {
    let gateway = held(ALL, true);
    let client = gateway.modern("one");
    let id = task(&gateway, &client, &elicit());
    let questions = asked(&client, &id);
    let taken = client.request("tasks/cancel", with(&able(), json!({ "taskId": id })));
    assert_eq!(taken["result"], json!({ "resultType": "complete" }), "{taken}");
    let ended = ended(&client, &id);
    assert!(refused(&ended["result"]).contains("cancelled"), "{ended}");
    answer(&client, &id, &questions[0].0, &accept("s"));
    assert_eq!(outcome(&gateway)["status"], "cancelled");
}

#[test]
fn a_gateway_that_dies_while_a_task_asks_says_that_nobody_knows() {
    let mut gateway = held(ALL, true);
    let client = gateway.modern("one");
    let id = task(&gateway, &client, &elicit());
    let questions = asked(&client, &id);
    gateway.kill();
    gateway.launch();
    let client = client.again(gateway.url());
    assert_eq!(gateway.hold(&id)["state"], "unknown");
    let task = get(&client, &id);
    assert_eq!(task["status"], "completed", "{task}");
    let told = refused(&task["result"]);
    assert!(told.contains("may have run"), "{told}");
    // Its answer reaches nobody, and runs nothing again.
    answer(&client, &id, &questions[0].0, &accept("late"));
    assert_eq!(gateway.hold(&id)["state"], "unknown");
    let changed = entries(&gateway, "hold_changed");
    assert_eq!(changed.last().unwrap()["state"], "unknown", "{changed:?}");
    assert_eq!(entries(&gateway, "intent").len(), 1);
}

#[test]
fn a_task_on_standard_streams_asks_too() {
    let gateway = held(ALL, true);
    let client = gateway.stdio("local").begin_with(MODERN, &able());
    let params = json!({ "name": "ask", "arguments": elicit() });
    let id = text(&client.result("tools/call", with(&able(), params))["taskId"]);
    approve(&gateway, &id);
    let get = || client.result("tasks/get", with(&able(), json!({ "taskId": id })));
    let task = until("the task to ask", || {
        let task = get();
        (task["status"] == "input_required").then_some(task)
    });
    let (name, request) = task["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(request.to_string(), elicit().to_string());
    let answers = json!({ "taskId": id, "inputResponses": { name.clone(): accept("s") } });
    client.result("tasks/update", with(&able(), answers));
    let ended = until("the task to end", || {
        let task = get();
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(told(&ended["result"])["answers"], json!({ "q": accept("s") }));
}
