//! Texts that tests make up: the same from the same seed, which a failing test prints.

use std::collections::HashSet;
use std::fmt::Write as _;

/// Numbers that look random (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed: {seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in `of` times.
    pub(crate) fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Which numbers a text has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Those of I-JSON, which everybody reads alike.
    Plain,
    /// All of JSON's.
    Any,
}

const PLAIN: [&str; 14] = [
    "0",
    "-0",
    "1",
    "-1",
    "0.1",
    "1.0",
    "1.50",
    "1e3",
    "2E-7",
    "-0.0",
    "1e300",
    "5e-324",
    "9007199254740991",
    "-9007199254740991",
];
const BEYOND: [&str; 8] = [
    "1e400",
    "-1e400",
    "123456789012345678901234567890",
    "9007199254740993",
    "-18446744073709551617",
    "0.1000000000000000055511151231257827",
    "1e-999",
    "3.000000000000000000000000000000000000001E+77",
];
/// Pieces of strings, as they are written in JSON.
const PIECES: [&str; 26] = [
    "a",
    "Z",
    "0",
    " ",
    "é",
    "e\\u0301",
    "😀",
    "\\ud83d\\ude00",
    "\\u0041",
    "\\/",
    "/",
    "\\n",
    "\\r\\n",
    "\\t",
    "\\\"",
    "\\\\",
    "\\u0000",
    "\\u001b[31m",
    "\u{2028}",
    "\\u202e",
    "\u{feff}",
    "data: x",
    "\\n\\nevent: x",
    "</script>",
    "\u{7f}",
    "\u{e0041}",
];
const KEYS: [&str; 16] = [
    "__proto__",
    "constructor",
    "toString",
    "",
    "a",
    "A",
    "\\u0062",
    "type",
    "text",
    "id",
    "method",
    "é",
    "e\\u0301",
    "$ref",
    "x-vendor",
    "1",
];
const SPACES: [&str; 4] = [" ", "\t", "\n", "\r\n"];

/// One JSON text of any kind.
pub(crate) fn value(dice: &mut Dice, numbers: Numbers, depth: usize) -> String {
    let kinds = if depth == 0 { 5 } else { 8 };
    match dice.below(kinds) {
        0 => dice.pick(&["null", "true", "false"]).to_owned(),
        1 | 2 => number(dice, numbers),
        3 | 4 => string(dice),
        5 => {
            let items: Vec<String> =
                (0..dice.below(4)).map(|_| value(dice, numbers, depth - 1)).collect();
            joined(dice, '[', &items, ']')
        }
        _ => object(dice, numbers, depth, &[]),
    }
}

/// An object with `first` before other members; no key stands twice.
pub(crate) fn object(
    dice: &mut Dice,
    numbers: Numbers,
    depth: usize,
    first: &[(&str, String)],
) -> String {
    let mut seen: HashSet<String> = first.iter().map(|(key, _)| (*key).to_owned()).collect();
    let mut members: Vec<String> =
        first.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    for _ in 0..dice.below(5) {
        let key = if dice.once_in(4) { string(dice) } else { format!("\"{}\"", dice.pick(&KEYS)) };
        let read: String = serde_json::from_str(&key).unwrap();
        if seen.insert(read) {
            let inner = value(dice, numbers, depth.saturating_sub(1));
            let place = dice.below(members.len() + 1);
            members.insert(place, format!("{key}{}:{}{inner}", space(dice), space(dice)));
        }
    }
    joined(dice, '{', &members, '}')
}

fn joined(dice: &mut Dice, open: char, items: &[String], close: char) -> String {
    let mut text = String::from(open);
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}{}{item}{}", space(dice), space(dice)).unwrap();
    }
    text.push(close);
    text
}

fn space(dice: &mut Dice) -> &'static str {
    if dice.once_in(6) { dice.pick(&SPACES) } else { "" }
}

fn number(dice: &mut Dice, numbers: Numbers) -> String {
    match dice.below(4) {
        0 | 1 => dice.pick(&PLAIN).to_owned(),
        2 => {
            let number = f64::from_bits(dice.next());
            if number.is_finite() { format!("{number:e}") } else { "7".to_owned() }
        }
        _ if numbers == Numbers::Any => dice.pick(&BEYOND).to_owned(),
        _ => (dice.next() >> 12).to_string(),
    }
}

pub(crate) fn string(dice: &mut Dice) -> String {
    let mut text = String::from("\"");
    for _ in 0..dice.below(6) {
        text.push_str(dice.pick(&PIECES));
    }
    text.push('"');
    text
}

/// The text with a few bytes changed, as an attacker or a bad wire would.
pub(crate) fn mutated(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    const TOKENS: [&[u8]; 30] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\0",
        b"\xff",
        b"\xc0\xaf",
        b"\\u0000",
        b"\\ud800",
        b"\xed\xa0\x80",
        b"1e400",
        b"-",
        b"0",
        b".",
        b"//",
        b"NaN",
        b"\xef\xbb\xbf",
        b"\"method\":\"tools/call\",",
        b"\"Method\":1,",
        b"\"id\":1,",
        b"\"a\":1,\"a\":2,",
        b"\"params\":{},",
        b"\n",
        b"\r\n",
        b"\x7f",
        b"\\u0041",
    ];
    let mut bytes = text.to_vec();
    for _ in 0..=dice.below(3) {
        let place = dice.below(bytes.len() + 1);
        let end = (place + dice.below(4)).min(bytes.len());
        match dice.below(5) {
            0 => drop(bytes.drain(place..end)),
            1 => {
                let copied = bytes[place..end].to_vec();
                bytes.splice(place..place, copied);
            }
            2 => bytes.truncate(place.max(1)),
            3 if place < bytes.len() => bytes[place] ^= 1 << dice.below(8),
            _ => {
                let token = dice.pick(&TOKENS);
                bytes.splice(place..end, token.iter().copied());
            }
        }
    }
    bytes
}
