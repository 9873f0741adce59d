//! The pages for whoever is signed in: what the menu, the routes and the ways back after signing in agree on.

/// A page that lists something. Its address and its program have its name.
pub(super) struct Listing {
    pub(super) name: &'static str,
    /// In the menu.
    pub(super) link: &'static str,
    pub(super) title: &'static str,
}

const fn listing(name: &'static str, link: &'static str, title: &'static str) -> Listing {
    Listing { name, link, title }
}

/// All of them, in the order of the menu; before them is the inbox, after them one's own account.
pub(super) static LISTINGS: [Listing; 8] = [
    listing("calls", "Calls", "Calls"),
    listing("workflows", "Workflows", "Workflows"),
    listing("audit", "Audit", "Audit"),
    listing("policy", "Policy", "Policy"),
    listing("catalog", "Catalog", "Catalog"),
    listing("people", "People", "Agents and people"),
    listing("limits", "Limits", "Limits"),
    listing("statistics", "Metrics", "Metrics"),
];

/// Whether there is a page at `path`, letter by letter; those of one call apart.
pub(super) fn is_at(path: &str) -> bool {
    let name = path.strip_prefix('/');
    name.is_some_and(|name| {
        matches!(name, "" | "account") || LISTINGS.iter().any(|listing| listing.name == name)
    })
}
