//! The clients: where each keeps its configuration, and what it calls a server.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::super::Failed;
use crate::config;

/// The variable that a client over HTTP takes its token from.
pub(super) const VARIABLE: &str = "COUNTERSIGN_TOKEN";
/// The question that VS Code asks for the token.
pub(super) const INPUT: &str = "countersign-token";

/// An MCP client whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Claude Code: `.mcp.json` of the project, or `~/.claude.json`
    ClaudeCode,
    /// Claude Desktop: `~/.config/Claude/claude_desktop_config.json`
    ClaudeDesktop,
    /// Cursor: `.cursor/mcp.json` of the project, or `~/.cursor/mcp.json`
    Cursor,
    /// Visual Studio Code: `.vscode/mcp.json` of the project, or `~/.config/Code/User/mcp.json`
    Vscode,
    /// Codex: `~/.codex/config.toml`
    Codex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scope {
    /// One project, for everybody who works in it
    Project,
    /// You, wherever you work
    User,
}

/// How the client reaches the gateway.
pub(super) enum Reach {
    /// It starts the program.
    Stdio { command: String, arguments: Vec<String> },
    /// It connects to a gateway that listens.
    Http { url: String },
}

/// The form of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Toml,
}

impl Client {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Codex => "codex",
        }
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::ClaudeCode | Self::ClaudeDesktop | Self::Cursor | Self::Vscode => Form::Json,
            Self::Codex => Form::Toml,
        }
    }

    /// The member that holds the servers, by name.
    pub(super) const fn servers(self) -> &'static str {
        match self {
            Self::ClaudeCode | Self::ClaudeDesktop | Self::Cursor => "mcpServers",
            Self::Vscode => "servers",
            Self::Codex => "mcp_servers",
        }
    }

    pub(super) const fn usual_scope(self) -> Scope {
        match self {
            Self::ClaudeCode | Self::Cursor | Self::Vscode => Scope::Project,
            Self::ClaudeDesktop | Self::Codex => Scope::User,
        }
    }

    /// The file of a scope.
    pub(super) fn file(self, scope: Scope, project: &Path) -> Result<PathBuf, Failed> {
        let below = |name: &str, default: &str| -> Result<PathBuf, Failed> {
            let set = |name| config::variable(name).filter(|value| !value.is_empty());
            match (set(name), set("HOME")) {
                (Some(place), _) => Ok(place.into()),
                (None, Some(home)) => Ok(Path::new(&home).join(default)),
                (None, None) => Err(Failed::new(2, "no home directory is known: set HOME")),
            }
        };
        let settings = || below("XDG_CONFIG_HOME", ".config");
        match (self, scope) {
            (Self::ClaudeCode, Scope::Project) => Ok(project.join(".mcp.json")),
            (Self::ClaudeCode, Scope::User) => below("HOME", "").map(|it| it.join(".claude.json")),
            (Self::ClaudeDesktop, Scope::User) => {
                settings().map(|it| it.join("Claude/claude_desktop_config.json"))
            }
            (Self::Cursor, Scope::Project) => Ok(project.join(".cursor/mcp.json")),
            (Self::Cursor, Scope::User) => below("HOME", "").map(|it| it.join(".cursor/mcp.json")),
            (Self::Vscode, Scope::Project) => Ok(project.join(".vscode/mcp.json")),
            (Self::Vscode, Scope::User) => settings().map(|it| it.join("Code/User/mcp.json")),
            (Self::Codex, Scope::User) => {
                below("CODEX_HOME", ".codex").map(|it| it.join("config.toml"))
            }
            (Self::ClaudeDesktop | Self::Codex, Scope::Project) => {
                let told = format!("{} has no configuration of a project", self.name());
                Err(Failed::new(2, told))
            }
        }
    }

    /// Whether the client connects to servers, and does not only start programs.
    pub(super) fn speaks_http(self) -> Result<(), Failed> {
        match self {
            Self::ClaudeCode | Self::Cursor | Self::Vscode | Self::Codex => Ok(()),
            Self::ClaudeDesktop => {
                let told = "claude-desktop's file names programs only; leave `--http` away";
                Err(Failed::new(2, told))
            }
        }
    }

    /// What the client is told of the gateway. A token is in none of it: each client takes it from elsewhere.
    pub(super) fn entry(self, reach: &Reach) -> Result<Map<String, Value>, Failed> {
        let value = match (self, reach) {
            (Self::Vscode, Reach::Stdio { command, arguments }) => {
                json!({ "type": "stdio", "command": command, "args": arguments })
            }
            (
                Self::ClaudeCode | Self::ClaudeDesktop | Self::Cursor | Self::Codex,
                Reach::Stdio { command, arguments },
            ) => json!({ "command": command, "args": arguments }),
            (Self::ClaudeCode, Reach::Http { url }) => {
                json!({ "type": "http", "url": url, "headers": bearer(&format!("${{{VARIABLE}}}")) })
            }
            (Self::Cursor, Reach::Http { url }) => {
                json!({ "url": url, "headers": bearer(&format!("${{env:{VARIABLE}}}")) })
            }
            (Self::Vscode, Reach::Http { url }) => {
                json!({ "type": "http", "url": url, "headers": bearer(&format!("${{input:{INPUT}}}")) })
            }
            (Self::Codex, Reach::Http { url }) => {
                json!({ "url": url, "bearer_token_env_var": VARIABLE })
            }
            (Self::ClaudeDesktop, Reach::Http { .. }) => {
                self.speaks_http()?;
                Value::Null
            }
        };
        Ok(value.as_object().cloned().unwrap_or_default())
    }

    /// What VS Code asks the person for, where the entry needs it.
    pub(super) fn input(self, reach: &Reach) -> Option<Map<String, Value>> {
        if self != Self::Vscode || matches!(reach, Reach::Stdio { .. }) {
            return None;
        }
        let value = json!({
            "type": "promptString", "id": INPUT, "description": "Gateway token", "password": true,
        });
        value.as_object().cloned()
    }

    /// How the client gets its token over HTTP.
    pub(super) const fn token_told(self) -> &'static str {
        match self {
            Self::Vscode => "VS Code asks for the token when it connects first",
            Self::ClaudeCode | Self::ClaudeDesktop | Self::Cursor | Self::Codex => {
                "the client reads the token from its environment: COUNTERSIGN_TOKEN"
            }
        }
    }
}

fn bearer(token: &str) -> Value {
    json!({ "Authorization": format!("Bearer {token}") })
}
