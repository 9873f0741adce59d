//! The chain over the audit log: what is hashed for each entry, and the exact bytes that are.

use jiff::Timestamp;

use super::{Charge, Entry, Event, Mention};
use crate::digest::{self, Digest, NotCanonical};

/// The chain's value before the first entry.
pub const GENESIS: Digest = Digest::from_bytes(*b"countersign/audit/chain/genesis1");

/// The version of the entry form that this program writes and reads.
pub const FORM: u8 = 1;

/// What precedes an entry's bytes when they are hashed: the leaf prefix of RFC 6962, so that a Merkle
/// log can be laid over the same bytes.
const LEAF_PREFIX: [u8; 1] = [0];

/// The leaf hash of an entry's bytes.
#[must_use]
pub fn leaf(body: &[u8]) -> Digest {
    Digest::of_parts(&[&LEAF_PREFIX, body])
}

/// The chain's value after an entry whose leaf hash is `leaf`.
#[must_use]
pub fn next(previous: &Digest, leaf: &Digest) -> Digest {
    Digest::of_parts(&[previous.as_bytes(), leaf.as_bytes()])
}

/// An entry that lacks only its time: the costly part, canonical JSON, is done by whoever has the
/// event, and the one writer only fills the time in.
#[derive(Clone, Debug)]
pub struct Draft {
    before: String,
    after: String,
    mention: Option<Mention>,
    charges: Vec<Charge>,
}

impl Draft {
    /// The draft of an entry that says `event`.
    ///
    /// # Errors
    /// When the event holds a number that RFC 8785 cannot write.
    pub fn new(event: Event) -> Result<Self, NotDraftable> {
        const MARK: &str = "\"time\":\"";
        let time = Timestamp::UNIX_EPOCH;
        let mention = Mention::of(&event);
        let charges = if let Event::Intent(intent) = &event {
            intent.charges.clone()
        } else if let Event::Outcome { outcome, .. } = &event {
            outcome.charges.clone()
        } else {
            Vec::new()
        };
        let bytes = digest::canonical(&Entry { v: FORM, time, event })?;
        let text = String::from_utf8(bytes).map_err(|_| NotDraftable::Shape)?;
        // The last mark is the entry's own: canonical keys are sorted, what sorts after `time` at the
        // top level holds no key `time`, and inside a string the quotes of a mark are escaped.
        let (before, rest) = text.rsplit_once(MARK).ok_or(NotDraftable::Shape)?;
        let (_, after) = rest.split_once('"').ok_or(NotDraftable::Shape)?;
        Ok(Self {
            before: format!("{before}{MARK}"),
            after: format!("\"{after}"),
            mention,
            charges,
        })
    }

    /// What the entry tells of a call, for the list of calls.
    #[must_use]
    pub const fn mention(&self) -> Option<&Mention> {
        self.mention.as_ref()
    }

    /// What the entry says that its call takes from budgets.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// The entry's bytes, canonical, when it is written at `time`.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> String {
        format!("{}{time}{}", self.before, self.after)
    }
}

/// An event that has no entry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotDraftable {
    /// It holds what canonical JSON cannot say.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// Its canonical form has no place for the time.
    #[error("an entry of an unknown shape")]
    Shape,
}

/// Reads an entry's bytes.
///
/// # Errors
/// When they are not canonical, or say what this program does not know.
pub fn read(body: &[u8]) -> Result<Entry, Unreadable> {
    // By way of a `Value`: a flattened or tagged type cannot take integers straight from a text whose
    // digits are kept.
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Unreadable::NotCanonical)?;
    let canonical = |bytes: Result<Vec<u8>, NotCanonical>| bytes.is_ok_and(|bytes| bytes == body);
    if !canonical(digest::canonical(&value)) {
        return Err(Unreadable::NotCanonical);
    }
    let entry: Entry = serde_json::from_value(value)
        .map_err(|error| Unreadable::UnknownForm(error.to_string()))?;
    if entry.v != FORM {
        return Err(Unreadable::UnknownForm(format!("version {}", entry.v)));
    }
    // A member that this form does not have is dropped by reading; then the bytes differ.
    if canonical(digest::canonical(&entry)) {
        Ok(entry)
    } else {
        Err(Unreadable::UnknownForm("it has members that this form does not have".to_owned()))
    }
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They are not JSON in its one canonical form.
    #[error("not canonical")]
    NotCanonical,
    /// They say what this program does not know.
    #[error("of an unknown form: {0}")]
    UnknownForm(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Outcome, OutcomeStatus, Refused};
    use crate::ids::CallId;

    fn refusal(told: &str) -> Event {
        Event::Refusal(Refused {
            via: None,
            arguments: None,
            call: CallId::new(),
            agent: "bot".parse().unwrap(),
            workflow: None,
            compensates: None,
            tool: "\"time\":\"x".to_owned(),
            arguments_digest: None,
            revision: Digest::of(b"r"),
            refusal: "denied".to_owned(),
            rules: vec!["a".to_owned()],
            told: told.to_owned(),
            groups: Vec::new(),
            client: None,
            cause: None,
            noticed: crate::policy::Noticed::default(),
        })
    }

    #[test]
    fn a_draft_with_its_time_is_the_canonical_entry() {
        let outcome = Outcome {
            status: OutcomeStatus::Success,
            error: Some("\"time\":\"y".to_owned()),
            result_digest: None,
            result_bytes: Some(9_007_199_254_740_991),
            backend_ms: 12,
            asked: Vec::new(),
            cached: false,
            charges: Vec::new(),
        };
        let events = [
            refusal("no \"time\":\"1970-01-01T00:00:00Z\""),
            Event::Outcome { call: CallId::new(), hold: None, outcome },
        ];
        let time: Timestamp = "2026-11-22T08:26:59.123456789Z".parse().unwrap();
        for event in events {
            let written = Draft::new(event.clone()).unwrap().at(time);
            let whole = digest::canonical(&Entry { v: FORM, time, event }).unwrap();
            assert_eq!(written.as_bytes(), whole);
            assert_eq!(read(written.as_bytes()).unwrap().time, time);
        }
    }

    #[test]
    fn reads_only_the_one_canonical_form_it_knows() {
        let body = Draft::new(refusal("no")).unwrap().at(Timestamp::UNIX_EPOCH);
        let strange = |text: &str| read(text.as_bytes()).unwrap_err();
        assert_eq!(strange(&body.replace(",\"told\"", ", \"told\"")), Unreadable::NotCanonical);
        assert_eq!(strange(&format!("{body} ")), Unreadable::NotCanonical);
        assert_eq!(strange(&body.replace("\"v\":1", "\"v\":1,\"v\":1")), Unreadable::NotCanonical);
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"v\":1", "\"v\":1,\"w\":1"),
            ("\"kind\":\"refusal\"", "\"kind\":\"refusing\""),
            ("00:00:00Z", "00:00:00.0Z"),
        ] {
            assert!(matches!(strange(&body.replace(from, to)), Unreadable::UnknownForm(_)), "{to}");
        }
    }

    #[test]
    fn the_chain_is_what_the_format_says() {
        let one = next(&GENESIS, &leaf(b"{}"));
        let by_hand = Digest::of_parts(&[
            b"countersign/audit/chain/genesis1",
            Digest::of(b"\0{}").as_bytes(),
        ]);
        assert_eq!(one, by_hand);
    }
}
