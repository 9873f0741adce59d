//! Where somebody wanted to go before signing in: one of our own pages, and nothing else.

use super::pages;
use crate::ids::HoldId;

/// For how long that is remembered, in seconds: as long as a way to a provider may take.
pub(super) const REMEMBERED: u64 = 600;

/// What stands before the identifier of a call's hold.
const HOLDS: &str = "/holds/";

/// The path of one of our own pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next(String);

impl Default for Next {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl Next {
    /// The page that `text` names, letter by letter; none when it names anything else. Nothing is decoded or
    /// mended: what browsers read as another address is no page of ours to begin with.
    pub(super) fn read(text: &str) -> Option<Self> {
        if pages::is_at(text) {
            return Some(Self(text.to_owned()));
        }
        let id: HoldId = text.strip_prefix(HOLDS)?.parse().ok()?;
        Some(Self(format!("{HOLDS}{id}")))
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// The page where one signs in and then comes here.
    pub(super) fn sign_in(&self) -> String {
        if *self == Self::default() {
            return "/sign-in".to_owned();
        }
        format!("/sign-in?next={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_gone_to() {
        let hold = format!("/holds/{}", "0123456789abcdef".repeat(2));
        let listings = pages::LISTINGS.iter().map(|listing| format!("/{}", listing.name));
        let others = ["/", "/account", hold.as_str()].map(str::to_owned);
        for page in listings.chain(others) {
            assert_eq!(Next::read(&page).unwrap().path(), page);
        }
        for other in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https:evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/%2f%2fevil.example",
            "%2f%2fevil.example",
            "/ /evil.example",
            "/\t/evil.example",
            "/holds/..//evil.example",
            "/holds//evil.example",
            "/calls/",
            "/calls?x",
            "/calls#x",
            "/CALLS",
            " /calls",
            "/calls\r\nset-cookie: a=b",
            "/holds/",
            "/holds/00",
            "/holds/%30",
            "/sign-out",
            "/sign-in",
            "/api/v1/approvals",
            "calls",
            "/./calls",
            "\\\\evil",
        ] {
            assert_eq!(Next::read(other), None, "{other:?}");
        }
    }
}
