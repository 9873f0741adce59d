//! Keeps an upstream server at telling of what is watched, over every connection of its link.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ClientRequest, Request, RequestMetaObject, SubscribeRequestParams, SubscriptionFilter,
    UnsubscribeRequestParams,
};
use rmcp::service::Subscription;

use super::connection::Connection;
use super::link::Inner;
use super::subscriptions::{CONFIRM_TIMEOUT, Subscriptions};
use super::ticket::Ticket;

/// How often it is looked whether the connection is still there, in seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps on until the link closes.
pub(super) async fn keep(inner: Arc<Inner>) {
    let mut wanted = inner.subscriptions.changes();
    // What changed while there was no connection is not known.
    let mut was_lost = false;
    loop {
        tokio::select! {
            biased;
            () = inner.closing.cancelled() => return,
            some = wanted.wait_for(|wanted| !wanted.is_empty()) => if some.is_err() { return },
        }
        let ended = match inner.connection().await {
            Ok(connection) => {
                let mut keeping = Keeping { inner: &inner, connection: &connection, was_lost };
                if connection.is_modern {
                    keeping.listen().await
                } else {
                    keeping.subscribe().await
                }
            }
            Err(_) => Ended::Lost,
        };
        inner.subscriptions.forget_all();
        was_lost = ended == Ended::Lost;
        if was_lost {
            tokio::select! {
                () = inner.closing.cancelled() => return,
                () = inner.clock.sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

/// Why it is not kept at it any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is watched any more.
    Idle,
    /// The connection, or the stream of updates, is lost.
    Lost,
    /// The link closes.
    Closing,
}

struct Keeping<'a> {
    inner: &'a Arc<Inner>,
    connection: &'a Connection,
    was_lost: bool,
}

impl Keeping<'_> {
    fn subscriptions(&self) -> &Subscriptions {
        &self.inner.subscriptions
    }

    /// The server will tell of `uri`, or not.
    fn answered(&self, uri: &Arc<str>, confirmed: bool) {
        self.subscriptions().answer(uri, confirmed);
        if confirmed && self.was_lost {
            self.subscriptions().updated(uri);
        }
    }

    /// One `resources/subscribe` for each resource, as the protocols before 2026-07-28 have it.
    async fn subscribe(&mut self) -> Ended {
        let mut changes = self.subscriptions().changes();
        let mut asked: BTreeSet<Arc<str>> = BTreeSet::new();
        loop {
            changes.mark_unchanged();
            let wanted = self.subscriptions().wanted();
            for uri in asked.difference(&wanted) {
                self.subscriptions().forget(uri);
                let params = UnsubscribeRequestParams::new(uri.to_string());
                // Where it goes on telling, nobody listens.
                self.ask(ClientRequest::UnsubscribeRequest(Request::new(params))).await;
            }
            for uri in wanted.difference(&asked) {
                let params = SubscribeRequestParams::new(uri.to_string());
                let request = ClientRequest::SubscribeRequest(Request::new(params));
                let confirmed = self.ask(request).await;
                self.answered(uri, confirmed);
            }
            self.was_lost = false;
            asked = wanted;
            if asked.is_empty() {
                return Ended::Idle;
            }
            tokio::select! {
                biased;
                () = self.inner.closing.cancelled() => return Ended::Closing,
                _ = changes.changed() => {}
                () = self.inner.clock.sleep(LOOK_AGAIN) => {}
            }
            if self.connection.loss().is_some() {
                return Ended::Lost;
            }
        }
    }

    async fn ask(&self, request: ClientRequest) -> bool {
        let (ticket, answer) = Ticket::new(None);
        let asked = self.connection.request(request, RequestMetaObject::new(), &ticket, answer);
        matches!(tokio::time::timeout(CONFIRM_TIMEOUT, asked).await, Ok(Ok(_)))
    }

    /// One `subscriptions/listen` for all resources, opened anew when they are others.
    async fn listen(&mut self) -> Ended {
        let mut changes = self.subscriptions().changes();
        let mut listened: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut stream = None;
        loop {
            changes.mark_unchanged();
            let wanted = self.subscriptions().wanted();
            if wanted.is_empty() {
                return Ended::Idle;
            }
            if wanted != listened {
                for uri in listened.difference(&wanted) {
                    self.subscriptions().forget(uri);
                }
                // The one before ends only now, so that nothing between the two is missed.
                stream = self.listen_to(&wanted).await;
                listened = wanted;
                self.was_lost = false;
            }
            tokio::select! {
                biased;
                () = self.inner.closing.cancelled() => return Ended::Closing,
                _ = changes.changed() => {}
                () = ended(&mut stream) => return Ended::Lost,
                () = self.inner.clock.sleep(LOOK_AGAIN) => {}
            }
            if self.connection.loss().is_some() {
                return Ended::Lost;
            }
        }
    }

    async fn listen_to(&self, wanted: &BTreeSet<Arc<str>>) -> Option<Subscription> {
        let uris = wanted.iter().map(ToString::to_string);
        let filter = SubscriptionFilter::builder().resource_subscriptions(uris).build();
        let opened = tokio::time::timeout(CONFIRM_TIMEOUT, self.connection.listen(filter)).await;
        let opened = opened.ok().and_then(Result::ok);
        let told = opened.as_ref().and_then(|it| it.acknowledged().resource_subscriptions.clone());
        let told: BTreeSet<String> = told.unwrap_or_default().into_iter().collect();
        for uri in wanted {
            self.answered(uri, told.contains(&**uri));
        }
        opened
    }
}

/// Resolves when a stream has ended. What it carries is read before rmcp sees it.
async fn ended(stream: &mut Option<Subscription>) {
    match stream {
        Some(stream) => while let Ok(Some(_)) = stream.next().await {},
        None => std::future::pending().await,
    }
}
