//! Our side as a client of the upstream: it declares what a manifest allows, and answers what it is asked.

use std::sync::Arc;

use rmcp::model::{
    ClientCapabilities, ClientConfig, CustomRequest, CustomResult, ErrorCode, ErrorData,
    Implementation,
};
use rmcp::service::RequestContext;
use rmcp::{ClientHandler, RoleClient};
use serde_json::json;

use super::asked;
use super::ledger::Ledger;
use crate::backend::contact::NotAble;
use crate::catalog::Ability;
use crate::json::Object;

/// The client that an upstream meets. Whatever is not carried to a caller it refuses: sampling and roots are
/// errors, elicitation is declined.
pub(super) struct Client {
    ledger: Arc<Ledger>,
}

impl Client {
    pub(super) const fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

impl ClientHandler for Client {
    #[expect(deprecated, reason = "old servers still ask, and the default answers")]
    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "roots/list", None))
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<CustomResult, ErrorData> {
        let asked = asked::number(&request).and_then(|number| self.ledger.question(number));
        let Some(asked) = asked else {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Method not found", None));
        };
        tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(ErrorData::internal_error("taken back", None)),
            answer = asked.ask(self.ledger.asking().within) => {
                answer.map(CustomResult::new).map_err(error)
            }
        }
    }

    fn get_info(&self) -> ClientConfig {
        let version = env!("CARGO_PKG_VERSION");
        let asking = self.ledger.asking();
        ClientConfig::new(
            announced(|ability| asking.allow.contains(&ability)),
            Implementation::new("countersign", version),
        )
    }
}

fn error(not_able: NotAble) -> ErrorData {
    let code = i32::try_from(not_able.code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, not_able.message, not_able.data)
}

/// What a session is told that its client can do, before it is known who will call: what may be asked. A
/// caller whose client cannot do it answers so.
fn announced(allowed: impl Fn(Ability) -> bool) -> ClientCapabilities {
    let how = |ability| match ability {
        Ability::Elicitation => json!({ "form": {} }),
        Ability::Sampling | Ability::Roots => json!({}),
    };
    let all = Ability::ALL.into_iter().filter(|ability| allowed(*ability));
    let all: Object = all.map(|ability| (ability.as_str().to_owned(), how(ability))).collect();
    serde_json::from_value(all.into()).unwrap_or_default()
}
