//! Where links in notices lead: a page that says how to decide, the same for everybody and every hold.

use axum::Router;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};

/// Nobody is let in here, so it tells nothing, not even whether there is such a hold. Programs that open
/// every link in a message (scanners, previews) change nothing by it.
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<meta name="color-scheme" content="light dark">
<title>A call waits for a person - Countersign</title>
</head>
<body>
<main>
<h1>A call waits for a person</h1>
<p>Opening this page has decided nothing. To decide, look at the call on the gateway's machine. Its
identifier, ID below, is the last part of this page's address.</p>
<dl>
<dt>Look at it</dt><dd><code>countersign approvals show ID</code></dd>
<dt>Approve it</dt><dd><code>countersign approvals approve ID</code></dd>
<dt>Reject it</dt><dd><code>countersign approvals reject ID --reason "why"</code></dd>
<dt>All that waits</dt><dd><code>countersign approvals list</code></dd>
</dl>
</main>
</body>
</html>
"#;

/// Nothing is loaded, run, framed or sent from the page.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages that links lead to. They answer GET and HEAD; anything else is refused.
pub fn links() -> Router {
    Router::new().route("/holds/{id}", get(hold))
}

async fn hold() -> impl IntoResponse {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, Html(PAGE))
}
