//! What an upstream server is asked for, as the request that asks for it.

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, CompleteRequest, CompleteRequestParams,
    GetPromptRequest, GetPromptRequestParams, ReadResourceRequest, ReadResourceRequestParams,
    Reference,
};
use serde_json::{Value, json};

use crate::backend::BackendError;
use crate::catalog::Remote;
use crate::json::Object;

/// The request for `remote` with exactly these arguments.
///
/// # Errors
/// When the arguments do not make one.
pub(super) fn request(remote: &Remote, arguments: &Object) -> Result<ClientRequest, BackendError> {
    Ok(match remote {
        Remote::Tool { from } => {
            let params = CallToolRequestParams::new(from.clone());
            let params = params.with_arguments(arguments.clone());
            ClientRequest::CallToolRequest(CallToolRequest::new(params))
        }
        Remote::Resource(template) => {
            let uri = template.expand(arguments).map_err(BackendError::Unfit)?;
            let params = ReadResourceRequestParams::new(uri);
            ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
        }
        Remote::Prompt { from } => {
            let mut params = GetPromptRequestParams::new(from.clone());
            params.arguments = (!arguments.is_empty()).then(|| arguments.clone());
            ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
        }
        Remote::PromptCompletion { from } => complete(Reference::for_prompt(from), arguments)?,
        Remote::TemplateCompletion(template) => {
            complete(Reference::for_resource(template.text()), arguments)?
        }
    })
}

fn complete(reference: Reference, arguments: &Object) -> Result<ClientRequest, BackendError> {
    let mut params = json!({ "ref": reference });
    if let Value::Object(params) = &mut params {
        params.extend(arguments.clone());
    }
    let params: CompleteRequestParams =
        serde_json::from_value(params).map_err(|error| BackendError::Unfit(error.to_string()))?;
    Ok(ClientRequest::CompleteRequest(CompleteRequest::new(params)))
}
