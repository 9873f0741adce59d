//! What a client of streamable HTTP sends and takes: the media types of its requests.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::arriving::header;

/// The media types that the transport demands (MCP, Streamable HTTP, sending messages).
pub(super) fn unacceptable(headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_lowercase();
    let content = header(headers, CONTENT_TYPE.as_str()).map(essence);
    if content.as_deref() != Some("application/json") {
        let told = "Unsupported Media Type: Content-Type must be application/json";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let accepted: Vec<String> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(essence))
        .collect();
    let accepts =
        |kind: &str, all: &str| accepted.iter().any(|it| it == kind || it == all || it == "*/*");
    if !accepts("application/json", "application/*") || !accepts("text/event-stream", "text/*") {
        let told = "Not Acceptable: Client must accept both application/json and text/event-stream";
        return Some((StatusCode::NOT_ACCEPTABLE, told));
    }
    None
}
