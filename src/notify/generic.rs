//! The generic form of a message: JSON of our own, for programs.

use serde_json::{Value, json};

use super::news::{About, Message, News, Notice, cut, link};
use crate::hold::{Hold, StateName};

/// The version of this form.
const VERSION: u8 = 1;
/// How much of a text that others wrote is sent, in characters.
const MAX_TEXT: usize = 1_000;
/// The largest arguments that are sent, in bytes of JSON.
const MAX_ARGUMENTS: usize = 64 << 10;
/// How many sets of identical holds a summary lists.
pub(super) const LISTED: usize = 20;

/// The message in this form.
pub(super) fn body(message: &Message, base_url: &str, arguments: bool) -> Value {
    match message {
        Message::One(news, hold) => one(news, hold, base_url, arguments),
        Message::Many { last, sets } => {
            let total: u64 = sets.iter().map(|(_, count)| count).sum();
            let holds: Vec<Value> = sets
                .iter()
                .take(LISTED)
                .map(|(hold, count)| {
                    let mut shown = shown(hold, StateName::Pending, arguments);
                    if let Some(members) = shown.as_object_mut() {
                        members.insert("url".to_owned(), link(base_url, hold.id).into());
                        members.insert("identical".to_owned(), (*count).into());
                    }
                    shown
                })
                .collect();
            json!({
                "v": VERSION,
                "event": "held_many",
                "at": last.at,
                "count": total,
                "holds": holds,
            })
        }
        Message::Notice(notice) => noticed(notice, base_url),
        Message::Test { at, .. } => {
            json!({ "v": VERSION, "event": "test", "at": at, "url": base_url })
        }
    }
}

fn noticed(notice: &Notice, base_url: &str) -> Value {
    let at = notice.at;
    match &notice.about {
        About::Halted { halt, scope, by, reason, until } => {
            let reason = cut(reason, MAX_TEXT);
            let halt =
                json!({ "id": halt, "scope": scope, "by": by, "reason": reason, "until": until });
            json!({ "v": VERSION, "event": "halted", "at": at, "halt": halt, "url": base_url })
        }
        About::Resumed { halt, ended } => {
            let (by, reason) = ended.clone().unzip();
            let reason = reason.map(|reason| cut(&reason, MAX_TEXT));
            let halt = json!({ "id": halt, "by": by, "reason": reason });
            json!({ "v": VERSION, "event": "resumed", "at": at, "halt": halt, "url": base_url })
        }
        About::Budget(alert) => {
            let url = format!("{base_url}/limits");
            json!({ "v": VERSION, "event": "budget", "at": at, "budget": alert, "url": url })
        }
    }
}

fn one(news: &News, hold: &Hold, base_url: &str, arguments: bool) -> Value {
    let mut body = json!({
        "v": VERSION,
        "event": news.kind.as_str(),
        "at": news.at,
        "hold": shown(hold, news.state, arguments),
        "url": link(base_url, hold.id),
    });
    let more = [
        ("by", news.by.clone()),
        ("why", news.why.as_deref().map(|why| cut(why, MAX_TEXT))),
        ("outcome", news.outcome.map(|outcome| outcome.as_str().to_owned())),
    ];
    if let Some(members) = body.as_object_mut() {
        for (name, value) in more {
            members.extend(value.map(|value| (name.to_owned(), value.into())));
        }
    }
    body
}

fn shown(hold: &Hold, state: StateName, arguments: bool) -> Value {
    let mut shown = json!({
        "id": hold.id,
        "state": state,
        "agent": hold.agent,
        "owner": hold.owner,
        "client": hold.client.as_deref().map(|client| cut(client, MAX_TEXT)),
        "tool": hold.tool,
        "rules": hold.rules,
        "reason": cut(&hold.reason, MAX_TEXT),
        "agent_reason": hold.agent_reason.as_deref().map(|reason| cut(reason, MAX_TEXT)),
        "digest": hold.digest,
        "call": hold.call,
        "workflow": hold.workflow.as_deref().map(|workflow| cut(workflow, MAX_TEXT)),
        "created_at": hold.created_at,
        "decide_by": hold.decide_by,
    });
    if let Some(members) = shown.as_object_mut().filter(|_| arguments) {
        // Arguments are shown whole or not at all: a part of them could be taken for all.
        let size = serde_json::to_vec(&hold.arguments).map_or(usize::MAX, |text| text.len());
        let (name, value) = if size <= MAX_ARGUMENTS {
            ("arguments", serde_json::to_value(&hold.arguments).unwrap_or_default())
        } else {
            ("arguments_too_large", Value::Bool(true))
        };
        members.insert(name.to_owned(), value);
    }
    shown
}
