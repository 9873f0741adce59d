//! `countersign call`: a real MCP client for people.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
    ContentBlock, GetTaskParams, Implementation, ProtocolVersion, RequestMetaObject, TaskPayload,
};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, Peer, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, service::serve_client_with_lifecycle};
use serde_json::Value;

use super::way::{Remote, Way};
use super::{Failed, output};
use crate::config::{Config, Flags};
use crate::ids::AgentName;
use crate::json::{self, Object};
use crate::server;

/// How often a held call is asked about when the gateway does not say.
const POLL: Duration = Duration::from_millis(500);
/// Exit code of a call that is pending.
const PENDING: u8 = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The tool
    tool: String,
    /// Its arguments as a JSON object; `-` reads them from standard input
    #[arg(default_value = "{}")]
    arguments: String,
    /// The agent to call as, on the gateway of the data directory
    #[arg(long, value_name = "NAME", default_value = "cli", env = "COUNTERSIGN_AGENT")]
    agent: AgentName,
    /// Call a gateway over HTTP instead, like `http://127.0.0.1:7420/mcp`
    #[arg(long, value_name = "URL", requires = "token_file")]
    url: Option<String>,
    /// The file that holds the agent's token for `--url`
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// The workflow that the call belongs to
    #[arg(long)]
    workflow: Option<String>,
    /// Why, in your words; shown to reviewers
    #[arg(long)]
    reason: Option<String>,
    /// The hold that an earlier try of this same call opened
    #[arg(long, value_name = "ID")]
    hold: Option<String>,
    /// Do not wait for a person: print the hold's id and exit with 5 when the call is held
    #[arg(long)]
    no_wait: bool,
    /// Print what the tool said as it came: control characters too, which a terminal acts on
    #[arg(long)]
    raw: bool,
}

/// A client that can wait for tasks and is asked nothing.
#[derive(Clone)]
struct Client;

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_tasks().build();
        let name = Implementation::new("countersign-call", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(capabilities, name)
    }
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<ExitCode, Failed> {
    let given = read_arguments(&arguments.arguments)?;
    let way = match &arguments.url {
        None => Some(Way::reach(flags, &Remote::default()).await?),
        Some(_) => None,
    };
    let done = call(flags, &arguments, given).await;
    if let Some(way) = way {
        way.leave().await;
    }
    done
}

pub(super) fn read_arguments(text: &str) -> Result<Object, Failed> {
    let mut input = String::new();
    let text = if text == "-" {
        std::io::stdin().read_to_string(&mut input).map_err(anyhow::Error::from)?;
        &input
    } else {
        text
    };
    match json::parse(text.as_bytes()) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => {
            Err(Failed::new(2, "the arguments must be a JSON object, like '{\"path\": \"a\"}'"))
        }
        Err(error) => Err(Failed::new(2, format!("the arguments are not JSON: {error}"))),
    }
}

async fn call(flags: &Flags, arguments: &Arguments, given: Object) -> Result<ExitCode, Failed> {
    let mode =
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let transport = transport(flags, arguments)?;
    let client = serve_client_with_lifecycle(Client, transport, mode)
        .await
        .map_err(|error| unreachable(&error))?;
    let mut params = CallToolRequestParams::new(arguments.tool.clone()).with_arguments(given);
    let mut meta = RequestMetaObject::new();
    let notes = [
        ("countersign/workflow", &arguments.workflow),
        ("countersign/reason", &arguments.reason),
        ("countersign/hold", &arguments.hold),
    ];
    for (key, note) in notes {
        if let Some(note) = note {
            meta.0.insert(key.to_owned(), note.clone().into());
        }
    }
    params.meta = Some(meta);
    let done = match client.peer().call_tool_once(params).await {
        Ok(CallToolResponse::Complete(result)) => printed(&result, arguments.raw),
        Ok(CallToolResponse::Task(task)) => {
            let id = task.task.task_id.clone();
            let message = task.task.status_message.clone().unwrap_or_default();
            let message = output::readable(&message);
            eprintln!("held: {message}\ndecide with: countersign approvals approve {id}");
            if arguments.no_wait {
                output::print(&id)?;
                Ok(ExitCode::from(PENDING))
            } else {
                collect(client.peer(), &id, arguments.raw).await
            }
        }
        Ok(CallToolResponse::InputRequired(_)) => {
            Err(Failed::new(1, "the gateway asked for input, which this command cannot give"))
        }
        Ok(_) => Err(Failed::new(1, "the gateway answered what this command does not know")),
        Err(error) => Err(failed(error)),
    };
    drop(client.cancel().await);
    done
}

/// What went wrong at the bottom; what the protocol library says around it helps nobody.
fn unreachable(error: &ClientInitializeError) -> Failed {
    let mut cause: &dyn std::error::Error = error;
    if let ClientInitializeError::TransportError { error, .. } = error {
        cause = error.error.as_ref();
    }
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let told = cause.to_string();
    if told.starts_with("authorization required") {
        let told = "the gateway does not accept this token; `countersign agents list` says which agents have a valid one";
        return Failed::new(4, told);
    }
    Failed::new(1, format!("the gateway cannot be reached: {told}"))
}

fn transport(
    flags: &Flags,
    arguments: &Arguments,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, Failed> {
    let builder = reqwest::Client::builder().no_proxy();
    let (client, config) = match (&arguments.url, &arguments.token_file) {
        (Some(url), Some(file)) => {
            let token = std::fs::read_to_string(file)
                .map_err(|error| Failed::new(2, format!("{}: {error}", file.display())))?;
            let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                .auth_header(token.trim().to_owned());
            (builder, config)
        }
        _ => {
            let socket = server::socket_path(&Config::load(flags)?.data);
            let agent = http::HeaderValue::from_str(arguments.agent.as_str())
                .map_err(anyhow::Error::from)?;
            let header = http::HeaderName::from_static(server::AGENT_HEADER);
            let config = StreamableHttpClientTransportConfig::with_uri("http://localhost/mcp")
                .custom_headers([(header, agent)].into());
            (builder.unix_socket(socket), config)
        }
    };
    let client = client.build().map_err(anyhow::Error::from)?;
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

async fn collect(peer: &Peer<RoleClient>, id: &str, raw: bool) -> Result<ExitCode, Failed> {
    loop {
        let got = peer.get_task(GetTaskParams::new(id)).await.map_err(failed)?;
        match got.task.payload {
            TaskPayload::Completed { result } => {
                let result: CallToolResult =
                    serde_json::from_value(Value::Object(result)).map_err(anyhow::Error::from)?;
                return printed(&result, raw);
            }
            TaskPayload::Failed { error } => {
                return Err(Failed::new(1, Value::Object(error).to_string()));
            }
            TaskPayload::Cancelled => return Err(Failed::new(1, "the call was withdrawn")),
            TaskPayload::Working | TaskPayload::InputRequired { .. } => {
                tokio::time::sleep(POLL).await;
            }
            _ => return Err(Failed::new(1, "the task is in a state this command does not know")),
        }
    }
}

/// Prints what came back. What a terminal would act on is shown instead, unless the caller wants it `raw`.
fn printed(result: &CallToolResult, raw: bool) -> Result<ExitCode, Failed> {
    let says_nothing = |block: &ContentBlock| matches!(block, ContentBlock::Text(text) if text.text.trim_end().is_empty());
    if result.is_error != Some(true) && result.content.iter().all(says_nothing) {
        eprintln!("done; the tool said nothing");
    }
    for block in &result.content {
        let said = if let ContentBlock::Text(text) = block {
            text.text.clone()
        } else {
            serde_json::to_string(block).map_err(anyhow::Error::from)?
        };
        output::print(&if raw { said } else { output::readable(&said) })?;
    }
    Ok(if result.is_error == Some(true) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn failed(error: ServiceError) -> Failed {
    if let ServiceError::McpError(error) = error {
        return Failed::new(1, error.message.into_owned());
    }
    Failed::new(1, format!("the call failed: {error}"))
}
