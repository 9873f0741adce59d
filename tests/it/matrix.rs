//! Protocol version × transport × what the client can do: always the same hold, answered in the shape that
//! this client understands, run once, and collected in the way of that shape.

use std::thread;

use serde_json::{Value, json};

use crate::clients::{
    CAPABILITIES, Legacy, MODERN, Modern, Stdio, TASKS, VERSIONS, next_id, refused, said,
};
use crate::harness::{TestGateway, text, until};

/// How the client reaches the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http,
    /// By a process of its own, which owns the data directory.
    Owning,
    /// By a process of its own, which joins a gateway that listens.
    Joined,
}

/// What the client can do besides asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    Nothing,
    Progress,
    OpensPages,
    Tasks,
}

const WAYS: [Way; 3] = [Way::Http, Way::Owning, Way::Joined];
const ABILITIES: [Ability; 4] =
    [Ability::Nothing, Ability::Progress, Ability::OpensPages, Ability::Tasks];

const NUMBERS: &str = r#"
backend: { name: numbers, command: { program: count } }
tools:
  - name: number
    description: Append a number.
    attributes: { action: count, action_type: write }
    input_schema: { type: object, additionalProperties: false, required: [n], properties: { n: { type: number } } }
    run: ["${n}"]
"#;
const POLICY: &str = r"
rules:
  - name: looked-at
    match: { tool: number }
    decision: REQUIRE_APPROVAL
    constraints: { max_n: 10 }
    approval: { quorum: 1, allow_edit: true, keep: true, decide_within: 30m, execute_within: 5m }
";
/// Where the pages of holds are said to be.
const PAGES: &str = "http://127.0.0.1:7420";

impl Ability {
    fn capabilities(self) -> Value {
        match self {
            Self::Nothing | Self::Progress => json!({}),
            Self::OpensPages => json!({ "elicitation": { "url": {} } }),
            Self::Tasks => json!({ "extensions": { TASKS: {} } }),
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug)]
struct Cell {
    way: Way,
    version: &'static str,
    ability: Ability,
}

/// The shape of an answer to a call that is held.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Task,
    InputRequired,
    Pending,
}

impl Cell {
    fn modern(self) -> bool {
        self.version == MODERN
    }

    /// Before 2026-07-28 there was neither: who declares them all the same is told in words.
    fn shape(self) -> Shape {
        match (self.modern(), self.ability) {
            (true, Ability::Tasks) => Shape::Task,
            (true, _) => Shape::InputRequired,
            (false, _) => Shape::Pending,
        }
    }

    /// `params` with what this client says of itself and wants to hear.
    fn params(self, mut params: Value) -> Value {
        if self.modern() {
            params["_meta"][CAPABILITIES] = self.ability.capabilities();
        }
        if self.ability == Ability::Progress {
            params["_meta"]["progressToken"] = "p".into();
        }
        params
    }
}

/// A client in its cell.
enum Peer {
    Modern(Modern),
    Legacy(Legacy),
    Stdio(Stdio),
}

impl Peer {
    fn of(cell: Cell, gateway: &TestGateway, token: &str) -> Self {
        let capabilities = cell.ability.capabilities();
        if cell.way != Way::Http {
            return Self::Stdio(gateway.stdio("a").begin_with(cell.version, &capabilities));
        }
        if cell.modern() {
            return Self::Modern(Modern::new(gateway.url(), token));
        }
        Self::Legacy(Legacy::open_with(gateway.url(), token, cell.version, &capabilities))
    }

    /// All messages that a request brings, the response last.
    fn messages(&self, method: &str, params: Value) -> Vec<Value> {
        match self {
            Self::Modern(client) => client.reply(method, params).messages(),
            Self::Legacy(client) => {
                let message = json!({ "jsonrpc": "2.0", "id": next_id(), "method": method, "params": params });
                client.send(message.to_string()).messages()
            }
            Self::Stdio(client) => {
                let id = json!(next_id());
                client.send(&id, method, params);
                let mut messages = Vec::new();
                while messages.last().is_none_or(|last: &Value| last.get("id") != Some(&id)) {
                    messages.push(client.next());
                }
                messages
            }
        }
    }

    /// The progress that was heard, and the result.
    fn ask(&self, cell: Cell, method: &str, params: Value) -> (Vec<Value>, Value) {
        let mut messages = self.messages(method, cell.params(params));
        let response = messages.pop().unwrap();
        assert!(response.get("error").is_none(), "{cell:?}: {response}");
        messages.retain(|message| message["method"] == "notifications/progress");
        (messages, response["result"].clone())
    }

    /// Ends the client; a process of its own has ended when this returns.
    fn leave(self) {
        if let Self::Stdio(mut client) = self {
            client.hang_up();
            assert!(client.wait());
        }
    }
}

/// The call of all cells.
fn call() -> Value {
    json!({ "name": "number", "arguments": { "n": 50 } })
}

/// What must be the same of each cell's hold.
fn essence(hold: &Value) -> Value {
    let of = [
        "agent",
        "tool",
        "arguments",
        "requested_arguments",
        "edits",
        "digest",
        "rules",
        "reason",
        "definition_fingerprint",
        "quorum",
        "reviewers",
        "demands",
        "needs",
        "four_eyes",
        "allow_edit",
        "signature",
        "keep",
        "execute_within",
    ];
    let mut essence: Value = of
        .iter()
        .map(|key| ((*key).to_owned(), hold[*key].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let time = |key: &str| text(&hold[key]).parse::<jiff::Timestamp>().unwrap();
    essence["decide_within"] =
        time("decide_by").duration_since(time("created_at")).as_secs().into();
    essence
}

/// The first answer has the shape of its cell, and names the hold, which it gives.
fn answered(cell: Cell, peer: &Peer, gateway: &TestGateway) -> (Value, Value) {
    let (progress, first) = peer.ask(cell, "tools/call", call());
    let id = text(&first["_meta"]["countersign/hold"]["id"]);
    assert_eq!(first["_meta"]["countersign/hold"]["state"], "pending", "{cell:?}: {first}");
    assert_eq!(progress.is_empty(), cell.ability != Ability::Progress, "{cell:?}: {progress:?}");
    for news in progress {
        assert_eq!(news["params"]["progressToken"], "p", "{cell:?}: {news}");
        assert!(text(&news["params"]["message"]).contains(&id), "{cell:?}: {news}");
    }
    match cell.shape() {
        Shape::Task => {
            assert_eq!(first["resultType"], "task", "{cell:?}: {first}");
            assert_eq!((&first["taskId"], &first["status"]), (&json!(id), &json!("working")));
        }
        Shape::InputRequired => {
            assert_eq!(first["resultType"], "input_required", "{cell:?}: {first}");
            assert!(first["requestState"].is_string(), "{cell:?}: {first}");
            pages(cell, &first, &id);
        }
        Shape::Pending => {
            let told = refused(&first);
            assert!(
                told.starts_with("PENDING, not failed") && told.contains(&id),
                "{cell:?}: {told}"
            );
            for none in ["resultType", "taskId", "requestState", "inputRequests"] {
                assert!(first.get(none).is_none(), "{cell:?}: {first}");
            }
        }
    }
    let hold = gateway.api_get(&format!("/api/v1/approvals/{id}")).json();
    assert_eq!(hold["state"], "pending", "{cell:?}: {hold}");
    (first, hold)
}

/// Who can open a page is asked to, once.
fn pages(cell: Cell, first: &Value, id: &str) {
    let Some(requests) = first.get("inputRequests") else {
        assert_ne!(cell.ability, Ability::OpensPages, "{cell:?}: {first}");
        return;
    };
    assert_eq!(cell.ability, Ability::OpensPages, "{cell:?}: {first}");
    let request = &requests["hold"];
    assert_eq!(request["method"], "elicitation/create", "{cell:?}: {first}");
    assert_eq!(request["params"]["mode"], "url", "{cell:?}: {first}");
    let url = text(&request["params"]["url"]);
    assert!(url.starts_with(PAGES) && url.contains(id), "{cell:?}: {url}");
}

/// Asked again in the way of the shape while people have not decided: nothing else than before.
fn asked_again(cell: Cell, peer: &Peer, first: &Value, id: &Value) {
    let again = match cell.shape() {
        Shape::Task => peer.ask(cell, "tasks/get", json!({ "taskId": id })).1,
        Shape::InputRequired => {
            let mut params = call();
            params["requestState"] = first["requestState"].clone();
            // Whatever the client says of what its person did there decides nothing.
            params["inputResponses"] = json!({ "hold": { "action": "accept" } });
            peer.ask(cell, "tools/call", params).1
        }
        Shape::Pending => peer.ask(cell, "tools/call", call()).1,
    };
    if cell.shape() == Shape::Task {
        assert_eq!(again["status"], "working", "{cell:?}: {again}");
    } else {
        assert_eq!(again["_meta"]["countersign/hold"]["id"], *id, "{cell:?}: {again}");
        assert!(again.get("inputRequests").is_none(), "{cell:?}: {again}");
    }
}

/// The result, in the way that the first answer named.
fn collected(cell: Cell, peer: &Peer, first: &Value, id: &Value) -> Value {
    match cell.shape() {
        Shape::Task => {
            let (_, task) = peer.ask(cell, "tasks/get", json!({ "taskId": id }));
            assert_eq!(task["status"], "completed", "{cell:?}: {task}");
            task["result"].clone()
        }
        Shape::InputRequired => {
            let mut params = call();
            params["requestState"] = first["requestState"].clone();
            peer.ask(cell, "tools/call", params).1
        }
        // In words: the same call again, or the tool that waits.
        Shape::Pending if cell.ability == Ability::Nothing => {
            peer.ask(cell, "tools/call", call()).1
        }
        Shape::Pending => {
            let wait = json!({ "name": "countersign_wait", "arguments": { "hold": id } });
            peer.ask(cell, "tools/call", wait).1
        }
    }
}

/// One cell, from the call to its result; gives what must be the same in all.
fn walk(cell: Cell, gateway: &TestGateway, token: &str) -> Value {
    let ran = gateway.ran().len();
    let peer = Peer::of(cell, gateway, token);
    let (first, hold) = answered(cell, &peer, gateway);
    asked_again(cell, &peer, &first, &hold["id"]);
    assert_eq!(gateway.ran().len(), ran, "{cell:?}: it ran unapproved");
    let id = text(&hold["id"]);
    let verdict = json!({ "decision": "approve", "digest": hold["digest"] });
    let decided = gateway.api_post(&format!("/api/v1/approvals/{id}/verdict"), &verdict);
    assert_eq!(decided.status, 200, "{cell:?}: {decided:?}");
    until("the call to have run", || {
        let hold = gateway.api_get(&format!("/api/v1/approvals/{id}")).json();
        (hold["state"] == "finished").then_some(())
    });
    let result = collected(cell, &peer, &first, &hold["id"]);
    assert_ne!(result["isError"], true, "{cell:?}: {result}");
    assert!(said(&result).contains("ran 10"), "{cell:?}: {result}");
    assert_eq!(result["_meta"]["countersign/hold"]["id"], hold["id"], "{cell:?}: {result}");
    assert_eq!(result["_meta"]["countersign/decision"]["rules"], json!(["looked-at"]));
    assert_eq!(result.get("resultType").is_some(), cell.modern(), "{cell:?}: {result}");
    assert_eq!(gateway.ran().len(), ran + 1, "{cell:?}");
    peer.leave();
    essence(&hold)
}

/// All cells of one transport.
fn row(way: Way) -> Vec<(Cell, Value)> {
    let config = format!("holds: {{ window: 50ms }}\nnotifications: {{ base_url: \"{PAGES}\" }}\n");
    let mut gateway = TestGateway::builder()
        .counting()
        .manifest("counting.yaml", NUMBERS)
        .policy("rules.yaml", POLICY)
        .config(&config)
        .prepare();
    let mut token = String::new();
    if way != Way::Owning {
        gateway.launch();
        token = gateway.agent("a");
    }
    let versions = VERSIONS.into_iter();
    let cells =
        versions.flat_map(|version| ABILITIES.map(|ability| Cell { way, version, ability }));
    let walked: Vec<_> = cells.map(|cell| (cell, walk(cell, &gateway, &token))).collect();
    assert_eq!(gateway.holds("all").len(), walked.len());
    assert_eq!(gateway.ran().len(), walked.len());
    walked
}

#[test]
fn i12_every_client_gets_the_same_hold_in_its_own_way() {
    let rows: Vec<(Cell, Value)> = thread::scope(|scope| {
        let rows = WAYS.map(|way| scope.spawn(move || row(way)));
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    assert_eq!(rows.len(), WAYS.len() * VERSIONS.len() * ABILITIES.len());
    let (_, expected) = &rows[0];
    assert_eq!(expected["arguments"], json!({ "n": 10 }));
    assert_eq!(expected["decide_within"], 30 * 60);
    for (cell, hold) in &rows {
        assert_eq!(hold, expected, "{cell:?}");
    }
}
