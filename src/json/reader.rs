//! The grammar of JSON (RFC 8259) and nothing beside it: what it takes, every other reader reads alike.

use std::borrow::Cow;
use std::collections::HashSet;

use super::MAX_DEPTH;

/// What the keys begin with under which serde_json hands over what it keeps unread; an object with such
/// a key would be read as something else.
const PRIVATE: &str = "$serde_json::private::";
/// Up to how many keys of one object are compared one by one, in keys.
const FEW_KEYS: usize = 16;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no JSON here.
    #[error("not JSON")]
    Syntax,
    /// It ends too early.
    #[error("the text ends too early")]
    Unfinished,
    /// Something follows the value.
    #[error("text after the end of the value")]
    Trailing,
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// A control character that must be escaped stands in a string.
    #[error("a control character that is not escaped")]
    Control,
    /// Half of a surrogate pair, which is no character.
    #[error("a lone surrogate")]
    Surrogate,
    /// A key stands twice in one object, spelt alike or not.
    #[error("a key that stands twice in one object")]
    Duplicate,
    /// A key holds the character NUL, which some readers take for its end.
    #[error("a key with the character NUL")]
    Nul,
    /// A key that readers of JSON use for themselves.
    #[error("a key that no client may send")]
    Reserved,
    /// It nests too deep.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

/// Goes over one text from its beginning to its end.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// How far it has come, in bytes.
    pub(super) at: usize,
    takes_nul: bool,
}

impl<'a> Reader<'a> {
    /// For `text`; `takes_nul` says whether its keys may hold the character NUL.
    pub(super) const fn new(text: &'a str, takes_nul: bool) -> Self {
        Self { text, at: 0, takes_nul }
    }

    /// Takes the whole text: one value, white space around it.
    pub(super) fn whole(&mut self) -> Result<(), Fault> {
        self.value(0)?;
        self.space();
        if self.peek().is_some() { Err(Fault::Trailing) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        self.space();
        match self.peek().ok_or(Fault::Unfinished)? {
            b'{' => self.object(deeper(depth)?),
            b'[' => self.array(deeper(depth)?),
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => Err(Fault::Syntax),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        let mut keys = Keys::default();
        self.skip();
        self.space();
        if self.takes(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            self.key(&mut keys)?;
            self.space();
            self.demand(b':')?;
            self.value(depth)?;
            self.space();
            if self.takes(b'}') {
                return Ok(());
            }
            self.demand(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        self.skip();
        self.space();
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.takes(b']') {
                return Ok(());
            }
            self.demand(b',')?;
        }
    }

    fn key(&mut self, keys: &mut Keys<'a>) -> Result<(), Fault> {
        if self.peek().ok_or(Fault::Unfinished)? != b'"' {
            return Err(Fault::Syntax);
        }
        let begin = self.at;
        let is_escaped = self.string()?;
        let quoted = self.text.get(begin..self.at).unwrap_or_default();
        let key: Cow<'a, str> = if is_escaped {
            Cow::Owned(serde_json::from_str(quoted).map_err(|_| Fault::Syntax)?)
        } else {
            Cow::Borrowed(quoted.trim_matches('"'))
        };
        let fault = if key.starts_with(PRIVATE) {
            Fault::Reserved
        } else if !self.takes_nul && key.contains('\0') {
            Fault::Nul
        } else if keys.add_new(key) {
            return Ok(());
        } else {
            Fault::Duplicate
        };
        self.at = begin;
        Err(fault)
    }

    /// Takes a string; says whether something in it is escaped.
    fn string(&mut self) -> Result<bool, Fault> {
        self.skip();
        let mut is_escaped = false;
        loop {
            match self.peek().ok_or(Fault::Unfinished)? {
                b'"' => {
                    self.skip();
                    return Ok(is_escaped);
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                0..=0x1f => return Err(Fault::Control),
                _ => self.skip(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        self.skip();
        match self.peek().ok_or(Fault::Unfinished)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.skip();
                return Ok(());
            }
            b'u' => {}
            _ => return Err(Fault::Syntax),
        }
        self.skip();
        let is_paired = match self.unit()? {
            0xD800..=0xDBFF => {
                self.takes(b'\\') && self.takes(b'u') && matches!(self.unit()?, 0xDC00..=0xDFFF)
            }
            0xDC00..=0xDFFF => false,
            _ => true,
        };
        if !is_paired {
            self.at = begin;
            return Err(Fault::Surrogate);
        }
        Ok(())
    }

    fn unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or(Fault::Unfinished)?;
            let digit = char::from(byte).to_digit(16).ok_or(Fault::Syntax)?;
            unit = unit * 16 + digit;
            self.skip();
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().ok_or(Fault::Unfinished)?.is_ascii_digit() {
            return Err(Fault::Syntax);
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip();
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        word.bytes().try_for_each(|byte| self.demand(byte))
    }

    fn demand(&mut self, byte: u8) -> Result<(), Fault> {
        if self.takes(byte) {
            return Ok(());
        }
        Err(if self.peek().is_none() { Fault::Unfinished } else { Fault::Syntax })
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.skip();
        }
        is_next
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.skip();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }
}

const fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth >= MAX_DEPTH { Err(Fault::Depth) } else { Ok(depth.saturating_add(1)) }
}

/// The keys of one object so far.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    fn add_new(&mut self, key: Cow<'a, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < FEW_KEYS {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}
