//! The yardstick: a pass-through proxy as a competent user of rmcp would write it. It decides nothing,
//! checks nothing and records nothing.

use std::sync::Arc;

use anyhow::{Result, bail};
use axum::serve::ListenerExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{
    StreamableHttpClientTransport, StreamableHttpServerConfig, StreamableHttpService,
};
use rmcp::{ErrorData, Peer, RoleClient, RoleServer, ServerHandler, ServiceExt};

use crate::children;

/// How many exchanges the tuned proxy has under way at most.
const TUNED_EXCHANGES: usize = 256;

#[derive(Clone)]
struct Proxy {
    upstream: Peer<RoleClient>,
}

/// Serves until standard input ends; prints its address first. `kind` is `default`, or `tuned` for one
/// that keeps its connections to the upstream.
pub(crate) async fn serve(kind: &str, url: &str) -> Result<()> {
    let transport = match kind {
        "default" => StreamableHttpClientTransport::from_uri(url),
        "tuned" => {
            let mut config = StreamableHttpClientTransportConfig::with_uri(url);
            config.max_concurrent_requests = TUNED_EXCHANGES;
            let client = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build()?;
            StreamableHttpClientTransport::with_client(client, config)
        }
        _ => bail!("no proxy `{kind}`"),
    };
    let upstream = ().serve(transport).await?;
    let proxy = Proxy { upstream: upstream.peer().clone() };
    let service = StreamableHttpService::new(
        move || Ok(proxy.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let routes = axum::Router::new().nest_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    children::announce(&listener)?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    // Sessions may keep streams open: the end of the parent ends everything.
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => served?,
        () = children::parent_gone() => {}
    }
    Ok(())
}

impl ServerHandler for Proxy {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("proxy", "1"))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.upstream.list_tools(page).await.map_err(failed)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.upstream.call_tool_once(call).await.map_err(failed)
    }
}

fn failed(error: rmcp::ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
