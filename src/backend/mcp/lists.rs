//! The resources, templates and prompts of an upstream server, as it lists them.

use std::collections::HashSet;
use std::time::Duration;

use rmcp::model::{
    ClientRequest, ListPromptsRequest, ListResourceTemplatesRequest, ListResourcesRequest,
    PaginatedRequestParams, RequestMetaObject,
};
use serde_json::Value;

use super::connection::Connection;
use super::pages::{Page, Pages};
use super::ticket::Ticket;
use crate::backend::BackendError;
use crate::catalog::{Definition, Described, Offered};

/// How long all pages of one list may take, in seconds.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The JSON-RPC code of a server that does not know the method.
const METHOD_NOT_FOUND: i64 = -32601;

/// One kind of list.
#[derive(Clone, Copy)]
enum List {
    Resources,
    Templates,
    Prompts,
}

impl List {
    /// The member that holds the items, and the one by which they are told apart.
    const fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Resources => ("resources", "uri"),
            Self::Templates => ("resourceTemplates", "uriTemplate"),
            Self::Prompts => ("prompts", "name"),
        }
    }

    fn request(self, cursor: Option<String>) -> ClientRequest {
        let params =
            cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        match self {
            Self::Resources => ClientRequest::ListResourcesRequest(ListResourcesRequest {
                params,
                ..ListResourcesRequest::default()
            }),
            Self::Templates => {
                ClientRequest::ListResourceTemplatesRequest(ListResourceTemplatesRequest {
                    params,
                    ..ListResourceTemplatesRequest::default()
                })
            }
            Self::Prompts => ClientRequest::ListPromptsRequest(ListPromptsRequest {
                params,
                ..ListPromptsRequest::default()
            }),
        }
    }
}

/// What the server at the other end offers, its `tools` being known; at most `max` of each.
pub(super) async fn beside_tools(
    connection: &Connection,
    max: usize,
    tools: Vec<Definition>,
) -> Offered {
    let mut offered = Offered::from(tools);
    if connection.announces.resources {
        offered.resources = whole(connection, List::Resources, max).await;
        offered.templates = whole(connection, List::Templates, max).await;
    }
    if connection.announces.prompts {
        offered.prompts = whole(connection, List::Prompts, max).await;
    }
    offered
}

async fn whole(connection: &Connection, list: List, max: usize) -> Result<Vec<Described>, String> {
    let (member, _) = list.members();
    match tokio::time::timeout(LIST_TIMEOUT, pages(connection, list, max)).await {
        Ok(Ok(items)) => Ok(items),
        Ok(Err(error)) => Err(format!("its server does not list its {member}: {error}")),
        Err(_) => Err(format!("its server gave no list of {member} within {LIST_TIMEOUT:?}")),
    }
}

async fn pages(
    connection: &Connection,
    list: List,
    max: usize,
) -> Result<Vec<Described>, BackendError> {
    let (member, key) = list.members();
    let mut pages = Pages::new(member, max);
    let (mut items, mut seen, mut cursor) = (Vec::new(), HashSet::new(), None);
    loop {
        let (ticket, answer) = Ticket::new(None);
        let meta = RequestMetaObject::new();
        let page = match connection.request(list.request(cursor), meta, &ticket, answer).await {
            Err(BackendError::Refused { code: METHOD_NOT_FOUND, .. }) => return Ok(items),
            page => page?,
        };
        let Page { entries, next } = pages.add(&page)?;
        for entry in entries {
            let Value::Object(entry) = entry else { continue };
            // One bad entry does not take the others away.
            let Some(described) = Described::read(key, entry) else { continue };
            if seen.insert(described.key.clone()) {
                items.push(described);
            }
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}
