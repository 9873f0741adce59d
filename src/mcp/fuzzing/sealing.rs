//! Sealed states and cursors that were tampered with, and names of tasks.

use rmcp::model::RequestStateCodec;

use super::super::{cursor, sealed};
use super::agent;
use crate::ids::{CallId, HoldId, StandingId};

/// The key of these seals; it seals nothing else.
const KEY: [u8; 32] = [7; 32];
/// The lists that cursors are for.
const LISTS: [&str; 2] = ["tools", "prompts"];

/// Three bytes say how a seal is tampered with, the rest is what it holds. As it was made it opens, for its agent
/// and its list alone, and gives what was sealed; in every other spelling, and the rest taken for a seal, it does
/// not open. The rest is the identifier of a task only when it is one.
pub fn request_state(data: &[u8]) {
    if data.len() > crate::fuzzing::MAX_INPUT_BYTES {
        return;
    }
    let text = String::from_utf8_lossy(data.get(3..).unwrap_or_default());
    identifiers(&text);
    let codec = RequestStateCodec::try_new(KEY.to_vec()).expect("a key");
    let (own, other) = (agent("robot"), agent("robot2"));
    assert_eq!(sealed::opened(&codec, &own, &text), None, "not sealed by us: {text}");
    let cursor =
        |list: &str, agent, cursor: &str| cursor::opened(&codec, agent, list, Some(cursor)).ok();
    assert_eq!(cursor(LISTS[0], &own, &text), None, "not sealed by us: {text}");

    let state = sealed::seal(&codec, &own, &text);
    assert_eq!(sealed::opened(&codec, &own, &state).as_deref(), Some(&*text));
    assert_eq!(sealed::opened(&codec, &other, &state), None, "another agent's");
    assert_eq!(cursor(LISTS[0], &own, &state), None, "a state is no cursor");
    let page = cursor::after(&codec, &own, LISTS[0], &text);
    assert_eq!(cursor(LISTS[0], &own, &page).as_deref(), Some(&*text));
    assert_eq!(cursor(LISTS[1], &own, &page), None, "another list's");
    assert_eq!(cursor(LISTS[0], &other, &page), None, "another agent's");
    assert_eq!(sealed::opened(&codec, &own, &page), None, "a cursor is no state");
    for seal in [state, page] {
        let Some(tampered) = tampered(&seal, data) else { continue };
        assert_eq!(sealed::opened(&codec, &own, &tampered), None, "{seal} as {tampered}");
        assert_eq!(cursor(LISTS[0], &own, &tampered), None, "{seal} as {tampered}");
    }
}

/// `seal` with one of its bytes changed, left out or added; none where that changes nothing. The two are never
/// compared as a whole: a fuzzer reads what is compared, and would learn the seal instead of finding one.
fn tampered(seal: &str, data: &[u8]) -> Option<String> {
    let [how, place, byte] = *data.first_chunk()?;
    let mut bytes = seal.as_bytes().to_vec();
    // From the end, too: what is sealed may be long, and the tag stands behind it.
    let place = usize::from(place) % bytes.len();
    let place = if how & 0x80 == 0 { place } else { bytes.len() - 1 - place };
    let other = usize::from(byte) % bytes.len();
    match how & 0x7f {
        0 => bytes.truncate(place),
        1 => drop(bytes.remove(place)),
        2 => bytes.insert(place, byte),
        3 => bytes.push(byte),
        4 if bytes[place] == bytes[other] => return None,
        4 => bytes.swap(place, other),
        _ if byte == 0 => return None,
        _ => bytes[place] ^= byte,
    }
    String::from_utf8(bytes).ok()
}

fn identifiers(text: &str) {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hold = text.parse::<HoldId>();
    assert_eq!(hold.is_ok(), is_hex, "{text}");
    if let Ok(hold) = hold {
        assert_eq!(hold.to_string(), text.to_ascii_lowercase());
        assert_eq!(hold.to_string().parse(), Ok(hold));
    }
    assert_eq!(text.parse::<StandingId>().is_ok(), is_hex, "{text}");
    if let Ok(call) = text.parse::<CallId>() {
        assert_eq!(call.to_string().parse(), Ok(call));
    }
}
