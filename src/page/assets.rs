//! The files that our pages load: embedded, and asked for anew each time, because another version of the program
//! has others under these names.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use crate::digest::Digest;

const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const PROGRAM: &str = "text/javascript; charset=utf-8";

/// Every file: its name, its kind, its text.
const ALL: [(&str, &str, &str); 32] = [
    ("icon.svg", PICTURE, include_str!("assets/icon.svg")),
    ("page.css", STYLE, include_str!("assets/page.css")),
    (
        "inside.css",
        STYLE,
        concat!(include_str!("assets/page.css"), include_str!("assets/inside.css")),
    ),
    ("passkey.js", PROGRAM, include_str!("assets/passkey.js")),
    ("webauthn.js", PROGRAM, include_str!("assets/webauthn.js")),
    ("sign.js", PROGRAM, include_str!("assets/sign.js")),
    ("dom.js", PROGRAM, include_str!("assets/dom.js")),
    ("text.js", PROGRAM, include_str!("assets/text.js")),
    ("json.js", PROGRAM, include_str!("assets/json.js")),
    ("time.js", PROGRAM, include_str!("assets/time.js")),
    ("api.js", PROGRAM, include_str!("assets/api.js")),
    ("keys.js", PROGRAM, include_str!("assets/keys.js")),
    ("inbox.js", PROGRAM, include_str!("assets/inbox.js")),
    ("listing.js", PROGRAM, include_str!("assets/listing.js")),
    ("calls.js", PROGRAM, include_str!("assets/calls.js")),
    ("workflows.js", PROGRAM, include_str!("assets/workflows.js")),
    ("rollback.js", PROGRAM, include_str!("assets/rollback.js")),
    ("audit.js", PROGRAM, include_str!("assets/audit.js")),
    ("policy.js", PROGRAM, include_str!("assets/policy.js")),
    ("catalog.js", PROGRAM, include_str!("assets/catalog.js")),
    ("plot.js", PROGRAM, include_str!("assets/plot.js")),
    ("budgets.js", PROGRAM, include_str!("assets/budgets.js")),
    ("limits.js", PROGRAM, include_str!("assets/limits.js")),
    ("statistics.js", PROGRAM, include_str!("assets/statistics.js")),
    ("people.js", PROGRAM, include_str!("assets/people.js")),
    ("explain.js", PROGRAM, include_str!("assets/explain.js")),
    ("simulate.js", PROGRAM, include_str!("assets/simulate.js")),
    ("form.js", PROGRAM, include_str!("assets/form.js")),
    ("halts.js", PROGRAM, include_str!("assets/halts.js")),
    ("quarantine.js", PROGRAM, include_str!("assets/quarantine.js")),
    ("resolve.js", PROGRAM, include_str!("assets/resolve.js")),
    ("hold.js", PROGRAM, include_str!("assets/hold.js")),
];

/// One file; 304 for a browser that has it already (RFC 9110, section 13.1.2).
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, text)) = ALL.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", Digest::of(text.as_bytes()));
    let known = headers.get(IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == tag.as_bytes());
    let told = [
        (CONTENT_TYPE, *kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (ETAG, tag.as_str()),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, *text).into_response()
}
