//! The pages of a list that an upstream server gives, with limits on all of them together.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::backend::BackendError;
use crate::json;

/// How many pages a list may have, in pages.
pub(super) const MAX_PAGES: usize = 64;
/// How long all pages together may be, in bytes.
const MAX_LISTING_BYTES: usize = 32 * 1024 * 1024;
/// How long the cursor of a next page may be, in bytes.
const MAX_CURSOR_BYTES: usize = 8 * 1024;

/// What was read of one list.
pub(super) struct Pages {
    /// What it is a list of; the member that holds the items.
    member: &'static str,
    max: usize,
    pages: usize,
    bytes: usize,
    entries: usize,
}

/// One page.
pub(super) struct Page {
    /// Its items.
    pub(super) entries: Vec<Value>,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
}

impl Pages {
    /// No page yet of a list of at most `max` items.
    pub(super) const fn new(member: &'static str, max: usize) -> Self {
        Self { member, max, pages: 0, bytes: 0, entries: 0 }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// If it is not a page of this list, or one too many.
    pub(super) fn add(&mut self, page: &RawValue) -> Result<Page, BackendError> {
        let member = self.member;
        self.pages = self.pages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(page.get().len());
        if self.bytes > MAX_LISTING_BYTES {
            return Err(BackendError::TooLarge { limit: MAX_LISTING_BYTES });
        }
        let parsed = json::parse(page.get().as_bytes())
            .map_err(|error| nonsense(format!("a list of {member} that is no JSON: {error}")))?;
        let Value::Object(mut parsed) = parsed else {
            return Err(nonsense(format!("no list of {member}")));
        };
        let Some(Value::Array(entries)) = parsed.remove(member) else {
            return Err(nonsense(format!("a list of {member} without {member}")));
        };
        self.entries = self.entries.saturating_add(entries.len());
        if self.entries > self.max {
            return Err(nonsense(format!("more than {} {member}", self.max)));
        }
        let next = match parsed.remove("nextCursor") {
            None | Some(Value::Null) => None,
            Some(Value::String(_)) if self.pages >= MAX_PAGES => {
                return Err(nonsense(format!("a list of {member} of more than {MAX_PAGES} pages")));
            }
            Some(Value::String(cursor)) if cursor.len() <= MAX_CURSOR_BYTES => Some(cursor),
            Some(_) => return Err(nonsense("a malformed cursor".to_owned())),
        };
        Ok(Page { entries, next })
    }
}

const fn nonsense(what: String) -> BackendError {
    BackendError::Nonsense(what)
}
