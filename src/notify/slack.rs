//! The form of a message that Slack and those like it take. Nothing that others wrote becomes a link, a
//! mention or markup in it.

use serde_json::{Value, json};

use super::news::{About, Message, News, Notice, cut, link};
use super::settings::Kind;
use crate::hold::Hold;

/// How much of a text that others wrote is shown, in characters.
const MAX_TEXT: usize = 300;
/// How many sets of identical holds a summary lists.
const LISTED: usize = 10;

/// The message in this form.
pub(super) fn body(message: &Message, base_url: &str) -> Value {
    match message {
        Message::One(news, hold) => one(news, hold, base_url),
        Message::Many { sets, .. } => many(sets, base_url),
        Message::Notice(notice) => noticed(notice, base_url),
        Message::Test { .. } => {
            let text = "Countersign can reach this channel. This is a test.".to_owned();
            let blocks = vec![section(&text)];
            message_of(&text, blocks)
        }
    }
}

fn one(news: &News, hold: &Hold, base_url: &str) -> Value {
    let headline = headline(news, hold);
    let mut fields = vec![
        field("Agent", hold.agent.as_str()),
        field("Tool", &hold.tool),
        field("Rules", &hold.rules.join(", ")),
    ];
    fields.extend(hold.owner.as_ref().map(|owner| field("For", owner)));
    fields.extend(news.by.as_ref().map(|by| field("By", by)));
    fields.extend(news.why.as_ref().map(|why| field("Why", why)));
    if news.kind == Kind::Held {
        fields.push(field("Why held", &hold.reason));
        fields.push(json!({
            "type": "plain_text",
            "text": format!("Decide before\n{:.0}", hold.decide_by),
            "emoji": false,
        }));
    }
    let mut blocks = vec![section(&headline), json!({ "type": "section", "fields": fields })];
    if let Some(words) = hold.agent_reason.as_deref().filter(|_| news.kind == Kind::Held) {
        blocks.push(section(&format!("In the agent's own words: {}", inert(words))));
    }
    let url = link(base_url, hold.id);
    blocks.push(linked(&url, "How to look at it and decide"));
    message_of(&format!("{headline} {}", escaped(&url)), blocks)
}

fn noticed(notice: &Notice, base_url: &str) -> Value {
    let (headline, fields, url) = match &notice.about {
        About::Halted { scope, by, reason, until, .. } => {
            let what = match scope.name() {
                Some(name) => format!("{} {}", scope.kind(), inert(name)),
                None => "everything".to_owned(),
            };
            let mut fields = vec![field("By", by), field("Why", reason)];
            let until = until.map(|until| format!("Ends by itself\n{until:.0}"));
            fields.extend(
                until.map(|text| json!({ "type": "plain_text", "text": text, "emoji": false })),
            );
            (format!("Calls are halted: {what}."), fields, base_url.to_owned())
        }
        About::Resumed { ended, .. } => {
            let fields = ended.iter().flat_map(|(by, why)| [field("By", by), field("Why", why)]);
            let itself = if ended.is_none() { " by itself" } else { "" };
            (format!("A halt has ended{itself}."), fields.collect(), base_url.to_owned())
        }
        About::Budget(alert) => {
            let fields = alert.who.iter().map(|(of, name)| field(of, name)).collect();
            let (budget, share) = (inert(&alert.budget), alert.share);
            let headline = format!("{share} % of the budget {budget} is spent.");
            (headline, fields, format!("{base_url}/limits"))
        }
    };
    let mut blocks = vec![section(&headline)];
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    blocks.push(linked(&url, "Look at it"));
    message_of(&format!("{headline} {}", escaped(&url)), blocks)
}

fn many(sets: &[(Hold, u64)], base_url: &str) -> Value {
    let total: u64 = sets.iter().map(|(_, count)| count).sum();
    let headline =
        format!("{total} calls wait for a person. All of them: countersign approvals list");
    let mut blocks = vec![section(&headline)];
    for (hold, count) in sets.iter().take(LISTED) {
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        let tool = inert(&hold.tool);
        blocks.push(section(&format!("{} wants {tool}{times}", inert(hold.agent.as_str()))));
        blocks.push(linked(&link(base_url, hold.id), "How to look at it and decide"));
    }
    message_of(&headline, blocks)
}

fn headline(news: &News, hold: &Hold) -> String {
    let (agent, tool) = (inert(hold.agent.as_str()), inert(&hold.tool));
    let state = news.state.as_str();
    match news.kind {
        Kind::Held => format!("A call waits for a person: {agent} wants {tool}."),
        Kind::Decided | Kind::Ended => format!("The call of {tool} by {agent} is {state}."),
        Kind::Finished => {
            let outcome = news.outcome.map_or("finished", |outcome| outcome.as_str());
            format!("The call of {tool} by {agent} ran: {outcome}.")
        }
        Kind::Unknown => format!(
            "Nobody knows how the call of {tool} by {agent} ended: the gateway stopped while it ran."
        ),
        // These are told of no hold.
        Kind::Halted | Kind::Budget => String::new(),
    }
}

fn message_of(text: &str, blocks: Vec<Value>) -> Value {
    json!({
        "text": text,
        "mrkdwn": false,
        "link_names": false,
        "parse": "none",
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

/// A block of plain text, in which nothing is markup. `text` holds no foreign text that is not inert.
fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "plain_text", "text": text, "emoji": false } })
}

fn field(name: &str, foreign: &str) -> Value {
    let text = format!("{name}\n{}", inert(foreign));
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// A link of our own: the only markup there is.
fn linked(url: &str, text: &str) -> Value {
    let text = format!("<{}|{text}>", escaped(url).replace('|', "%7C"));
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Foreign text on one line, in which every character that some receiver takes for markup, a mention, an
/// emoji or a link has become one that looks alike and means nothing. The plain text blocks of Slack take
/// none of them for more than they are; others read `text` as their own markup.
fn inert(foreign: &str) -> String {
    let foreign = cut(foreign, MAX_TEXT);
    let characters: Vec<char> = foreign.chars().collect();
    let is_word = |at: Option<usize>| {
        at.and_then(|at| characters.get(at)).is_some_and(|c| c.is_alphanumeric())
    };
    let mut out = String::with_capacity(foreign.len());
    for (at, c) in characters.iter().enumerate() {
        let (before, after) = (is_word(at.checked_sub(1)), is_word(Some(at + 1)));
        let spaced = characters.get(at + 1).is_none_or(|next| next.is_whitespace());
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' => out.push('\u{2217}'),
            '~' => out.push('\u{223C}'),
            '`' => out.push('\u{2019}'),
            '|' => out.push('\u{2223}'),
            '\\' => out.push('\u{FF3C}'),
            '@' => out.push('\u{FF20}'),
            '#' => out.push('\u{FF03}'),
            '[' => out.push('\u{FF3B}'),
            ']' => out.push('\u{FF3D}'),
            '_' if !(before && after) => out.push('\u{FF3F}'),
            '.' if before && after => out.push('\u{2024}'),
            ':' if !spaced => out.push('\u{2236}'),
            c if c.is_whitespace() => out.push(' '),
            c if is_hidden(*c) => out.push('\u{FFFD}'),
            c => out.push(*c),
        }
    }
    out
}

/// Whether a character shows nothing, or changes how others are shown.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F
            | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A
            | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_inert() {
        let cases = [
            ("delete_file", "delete_file"),
            (
                "<!channel> & <https://evil.example|here>",
                "&lt;!channel&gt; &amp; &lt;https∶//evil․example∣here&gt;",
            ),
            ("*bold* _it_ ~no~ `code`", "∗bold∗ ＿it＿ ∼no∼ ’code’"),
            ("@channel #general [x](y) :tada:", "＠channel ＃general ［x］(y) ∶tada:"),
            ("www.evil.example", "www․evil․example"),
            ("a\nb\u{202e}c\u{200b}", "a b\u{FFFD}c\u{FFFD}"),
            ("größe 日本 🙂: ok.", "größe 日本 🙂: ok."),
        ];
        for (foreign, shown) in cases {
            assert_eq!(inert(foreign), shown);
        }
        assert_eq!(inert(&"x".repeat(1000)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a_link_is_our_own() {
        let block = linked("https://gate.example/a|b>&", "x");
        assert_eq!(block["text"]["text"], "<https://gate.example/a%7Cb&gt;&amp;|x>");
    }
}
