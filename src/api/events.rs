//! What changes, told as it happens: server-sent events that say what to look at again, and nothing of what
//! it holds.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::people::Shown;
use super::{Failure, Query, Viewer};
use crate::authentication::bearer;
use crate::authentication::browser::Site;
use crate::gateway::Gateway;
use crate::limits::Place;
use crate::principal::{Authentication, Person};
use crate::storage::StoreError;

/// How many streams one person may have open.
const STREAMS_PER_PERSON: usize = 8;
/// How many all people together may.
const STREAMS: usize = 64;
/// How many entries are told again to who comes back; who missed more is told to look at everything anew.
const MAX_REPLAY: u64 = 10_000;
/// How many entries about holds are told at once.
const BATCH: u32 = 200;
/// How long a stream lets changes gather after it has told some.
const PACE: Duration = Duration::from_millis(50);
/// After how long without news a comment shows that the stream is alive, and it is looked whether the
/// person may still have it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After how many milliseconds a browser that lost the stream comes back.
const RETRY_MS: u32 = 1000;
/// The header by which it says what it heard last.
const LAST_EVENT_ID: &str = "last-event-id";

/// From where to tell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The place of the last entry that is known; only what comes from now on when absent. What a returning
    /// browser says in `Last-Event-ID` counts before it.
    #[schemars(range(max = 18_446_744_073_709_551_615_u64))]
    after: Option<u64>,
}

pub(super) async fn follow(
    State(gateway): State<Arc<Gateway>>,
    Viewer(person): Viewer,
    Shown(shown): Shown,
    Query(from): Query<From>,
    request: Request,
) -> Result<Response, Failure> {
    let after = match request.headers().get(LAST_EVENT_ID) {
        None => from.after,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            let told = "`Last-Event-ID` is the number of an event";
            Some(id.ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, told))?)
        }
    };
    let who = format!("{} {}", if person.local { "local" } else { "registered" }, person.name);
    let place = gateway.listeners.take(&who, STREAMS_PER_PERSON, STREAMS).ok_or_else(|| {
        let told = format!(
            "too many streams of events are open: {STREAMS_PER_PERSON} of one person, {STREAMS} in all"
        );
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, told)
    })?;
    let (parts, _) = request.into_parts();
    let site = Site::of(&parts, gateway.config.public_url.as_deref());
    let written = gateway.store.written();
    let head = *written.borrow();
    let stream = Stream {
        person,
        shown,
        headers: parts.headers,
        site,
        written,
        halts: gateway.store.halts().changes(),
        cursor: after.unwrap_or(head),
        looked: None,
        is_new: true,
        gateway,
        _place: place,
    };
    let events = futures::stream::unfold(stream, |mut stream| async move {
        let told = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(told)), stream))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // A proxy that gathers what it passes on would keep the news.
        (http::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// One stream of one person.
struct Stream {
    gateway: Arc<Gateway>,
    person: Person,
    shown: Option<Authentication>,
    headers: HeaderMap,
    site: Option<Site>,
    written: watch::Receiver<u64>,
    /// Changes when a halt is engaged or ends.
    halts: watch::Receiver<u64>,
    /// The last entry that was told, or need not be.
    cursor: u64,
    /// When the log was looked at last, on the monotonic clock.
    looked: Option<Duration>,
    is_new: bool,
    _place: Place,
}

impl Stream {
    /// What to send next; none when the stream ends.
    async fn next(&mut self) -> Option<String> {
        if std::mem::take(&mut self.is_new) {
            return Some(self.greeting());
        }
        let gateway = Arc::clone(&self.gateway);
        loop {
            if *self.written.borrow_and_update() == self.cursor {
                tokio::select! {
                    changed = self.written.changed() => changed.ok()?,
                    changed = self.halts.changed() => {
                        changed.ok()?;
                        self.halts.mark_changed();
                    }
                    () = gateway.clock.sleep(KEEP_ALIVE) => {
                        return self.is_in().then(|| ": still here\n\n".to_owned());
                    }
                    () = gateway.leaving() => return None,
                }
            }
            let now = gateway.clock.monotonic();
            let since = self.looked.map_or(PACE, |looked| now.saturating_sub(looked));
            if since < PACE {
                tokio::select! {
                    () = gateway.clock.sleep(PACE.saturating_sub(since)) => {}
                    () = gateway.leaving() => return None,
                }
            }
            if !self.is_in() || gateway.is_draining() {
                return None;
            }
            self.looked = Some(gateway.clock.monotonic());
            match self.look().await {
                Ok(told) if told.is_empty() => {}
                Ok(told) => return Some(told),
                Err(error) => {
                    tracing::error!(%error, "the log could not be followed for a stream of events");
                    return None;
                }
            }
        }
    }

    /// What comes first, also if nothing changes: it shows that the stream is open, and where.
    fn greeting(&mut self) -> String {
        let retry = format!("retry: {RETRY_MS}\n\n");
        let head = *self.written.borrow();
        if is_too_far(self.cursor, head) {
            return retry + &self.reset(head);
        }
        retry + &event("entry", Some(self.cursor), &json!({ "index": self.cursor }))
    }

    /// What the log says since the cursor.
    async fn look(&mut self) -> Result<String, StoreError> {
        let head = *self.written.borrow_and_update();
        if is_too_far(self.cursor, head) {
            return Ok(self.reset(head));
        }
        let found = self.gateway.store.told_entries(self.cursor, BATCH).await?;
        let (mut told, mut about_holds) = (String::new(), 0_u64);
        if self.halts.has_changed().unwrap_or(false) {
            self.halts.mark_unchanged();
            told.push_str(&event("halts", None, &json!({})));
        }
        for stored in &found.entries {
            let Some((kind, holds)) = stored.entry.event.of_holds() else { continue };
            about_holds = about_holds.saturating_add(1);
            for (number, hold) in holds.iter().enumerate() {
                // Who comes back after a part of them hears all of them again.
                let id = (number + 1 == holds.len()).then_some(stored.index);
                let data = json!({ "hold": hold, "kind": kind, "at": stored.entry.time });
                told.push_str(&event("hold", id, &data));
            }
        }
        if found.reached.saturating_sub(self.cursor) > about_holds {
            let data = json!({ "index": found.reached });
            told.push_str(&event("entry", Some(found.reached), &data));
        }
        self.cursor = found.reached;
        Ok(told)
    }

    fn reset(&mut self, head: u64) -> String {
        self.cursor = head;
        event("reset", Some(head), &json!({ "index": head }))
    }

    /// Whether the person still is who they showed to be, and may still read.
    fn is_in(&self) -> bool {
        let (gateway, now) = (&self.gateway, self.gateway.clock.now());
        let stands = match self.shown {
            Some(Authentication::Local) => true,
            Some(Authentication::Token) => bearer(&self.headers)
                .and_then(|token| gateway.people.of_token(token, now))
                .is_some_and(|person| person == self.person),
            Some(
                Authentication::Password
                | Authentication::Passkey
                | Authentication::Oidc
                | Authentication::Link,
            ) => self
                .site
                .as_ref()
                .and_then(|site| gateway.sign_in.visitor(&self.headers, site))
                .is_some_and(|visitor| visitor.session.person == self.person),
            None => false,
        };
        stands && gateway.people.capacity(&self.person, now).is_some()
    }
}

/// Whether who knows the log up to `cursor` looks at everything anew rather than hear all up to `head`.
const fn is_too_far(cursor: u64, head: u64) -> bool {
    match head.checked_sub(cursor) {
        Some(missed) => missed > MAX_REPLAY,
        // A place that the log has not reached is of another log.
        None => true,
    }
}

/// One event in the form of the HTML standard (section 9.2.6).
fn event(name: &str, id: Option<u64>, data: &serde_json::Value) -> String {
    let mut told = String::new();
    // Writing to a text does not fail.
    if let Some(id) = id {
        let _ = writeln!(told, "id: {id}");
    }
    let _ = write!(told, "event: {name}\ndata: {data}\n\n");
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_missed_very_much_looks_at_everything_anew() {
        assert!(!is_too_far(0, MAX_REPLAY));
        assert!(is_too_far(0, MAX_REPLAY + 1));
        assert!(!is_too_far(7, 7));
        assert!(is_too_far(8, 7));
    }

    #[test]
    fn an_event_is_lines_and_an_empty_one() {
        let told = event("hold", Some(7), &json!({ "kind": "a\nb" }));
        assert_eq!(told, "id: 7\nevent: hold\ndata: {\"kind\":\"a\\nb\"}\n\n");
        assert!(event("hold", None, &json!({})).starts_with("event: hold\n"));
    }
}
