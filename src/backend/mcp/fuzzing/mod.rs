//! What must hold of what upstream servers send, whatever the bytes; see [`crate::fuzzing`].
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a property that does not hold ends the run"
)]

mod answered;
mod streamed;

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, CustomRequest, GetExtensions as _, GetMeta as _,
    NumberOrString, ProgressToken, RequestId,
};
use tokio::sync::{broadcast, oneshot, watch};

pub use self::answered::upstream_answer;
pub use self::streamed::upstream_sse;
use super::Asking;
use super::ledger::Ledger;
use super::subscriptions::Subscriptions;
use super::ticket::{Answer, Ticket};
use crate::backend::Contact;
use crate::catalog::Ability;
use crate::clock::ManualClock;

/// A connection with requests under way, and where their answers arrive.
struct Link {
    ledger: Arc<Ledger>,
    /// By the number of the request, from 1: two calls, then a page of the list of tools.
    answers: [oneshot::Receiver<Answer>; 3],
}

impl Link {
    fn new(is_alone: bool) -> Self {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let subscriptions = Subscriptions::new("fuzz", broadcast::Sender::new(16));
        let asking =
            Asking { allow: Ability::ALL.into(), within: Duration::from_secs(1), is_alone };
        let changes = (watch::Sender::new(0), subscriptions);
        let ledger = Ledger::new("fuzz".into(), clock, changes, asking);
        let call = || Ticket::new(Some(Contact::default()));
        let mut number = 0;
        let answers = [call(), call(), Ticket::for_listing()].map(|(ticket, answer)| {
            number += 1;
            let mut request = ClientRequest::CustomRequest(CustomRequest::new("fuzz", None));
            request.extensions_mut().insert(ticket);
            let token = ProgressToken(NumberOrString::Number(number));
            request.get_meta_mut().set_progress_token(token);
            let message = ClientJsonRpcMessage::request(request, RequestId::Number(number));
            assert!(ledger.outgoing(&message), "nobody waits for the request");
            answer
        });
        Self { ledger, answers }
    }
}
