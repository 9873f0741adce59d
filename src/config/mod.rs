//! The configuration: `countersign.yaml`, then the environment, then flags. Nothing else reads the environment.

mod files;
mod workflows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authentication;
use crate::catalog::First;
pub use crate::catalog::manifest::Span;
pub use crate::edge::Edge;
use crate::notify;
use crate::source::{self, Problems};

use files::read_file;
pub use files::{Looked, look, read_cases, read_directory};
pub use workflows::Workflows;

/// Flags that every command shares; each may also come from the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The data directory (default: $XDG_DATA_HOME/countersign or ~/.local/share/countersign)
    #[arg(long, value_name = "DIR", env = "COUNTERSIGN_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// The directory of policy files (default: ./policies)
    #[arg(long, value_name = "DIR", env = "COUNTERSIGN_POLICIES", global = true)]
    pub policies: Option<PathBuf>,
    /// The directory of tool manifests (default: ./tool-manifests)
    #[arg(long, value_name = "DIR", env = "COUNTERSIGN_TOOL_MANIFESTS", global = true)]
    pub tool_manifests: Option<PathBuf>,
    /// The configuration file (default: ./countersign.yaml, if there is one)
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG", global = true)]
    pub config: Option<PathBuf>,
}

/// The configuration file; every key has a default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where `serve` listens, `host:port`.
    pub listen: Option<String>,
    /// The data directory.
    pub data: Option<PathBuf>,
    /// The directory of policy files.
    pub policies: Option<PathBuf>,
    /// The directory of tool manifests.
    pub tool_manifests: Option<PathBuf>,
    /// Whether changed policies and manifests are taken up while the gateway runs; yes when absent. With `false`
    /// that waits for `countersign policy reload` or SIGHUP.
    pub watch: Option<bool>,
    /// What is done with what servers say of their tools.
    pub definitions: Definitions,
    /// How held calls are answered.
    pub holds: Holds,
    /// When workflows end.
    pub workflows: Workflows,
    /// Bounds of the edge.
    pub edge: Edge,
    /// How people are told of held calls.
    pub notifications: notify::Settings,
    /// The address of the gateway as clients and people know it, like `https://gate.example.com`; `http://` and the
    /// listening address when absent.
    pub public_url: Option<authentication::PublicUrl>,
    /// How agents are let in besides gateway tokens, and how people sign in.
    pub authentication: authentication::Settings,
}

/// What is done with what MCP servers say of their tools, resources and prompts. What is said otherwise than it was
/// accepted always waits for an operator.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// Whether the first definition of a name is accepted, and recorded, or waits for an operator too.
    pub first: First,
}

/// How held calls are answered.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Holds {
    /// How long a request waits for people before it is answered *pending*; at most 50 s for protocol 2026-07-28.
    pub window: Span,
    /// The same for clients that wait longer or shorter, by the name the client gives itself.
    pub windows: BTreeMap<String, Span>,
    /// How many pending holds one agent may have.
    pub pending_max: u32,
    /// For how long a rejected call that is asked again unchanged is refused without a new hold.
    pub remember_rejection: Span,
    /// How often an agent should ask for the status of a task.
    pub poll_interval: Span,
    /// Whether the gateway refuses to start when rules hold calls that nobody could approve.
    pub require_reviewer: bool,
    /// How long the result of a held call is kept for its agent to collect.
    pub keep_result: Span,
    /// How long people may still decide after the gateway came back, when their time ended while it was away.
    pub expiry_grace: Span,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            window: Span(Duration::from_secs(50)),
            // Claude Code waits 300 s for any sign of life; most others give up after 60 s in all.
            windows: BTreeMap::from([("claude-code".to_owned(), Span(Duration::from_secs(240)))]),
            pending_max: 100,
            remember_rejection: Span(Duration::from_secs(600)),
            poll_interval: Span(Duration::from_secs(2)),
            require_reviewer: false,
            keep_result: Span(Duration::from_secs(24 * 3600)),
            expiry_grace: Span(Duration::from_secs(600)),
        }
    }
}

impl Holds {
    /// The window for a client of this name.
    #[must_use]
    pub fn window_for(&self, client: Option<&str>) -> Duration {
        client.and_then(|name| self.windows.get(name)).unwrap_or(&self.window).0
    }
}

/// The whole configuration, complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration file that was named.
    pub file: Option<PathBuf>,
    /// Where `serve` listens, `host:port`.
    pub listen: String,
    /// Whether this gateway listens there.
    pub listens: bool,
    /// The data directory.
    pub data: PathBuf,
    /// The directory of policy files.
    pub policies: PathBuf,
    /// The directory of tool manifests.
    pub tool_manifests: PathBuf,
    /// Whether changes of both are taken up while the gateway runs.
    pub watch: bool,
    /// What is done with what servers say of their tools.
    pub definitions: Definitions,
    /// How held calls are answered.
    pub holds: Holds,
    /// When workflows end.
    pub workflows: Workflows,
    /// Bounds of the edge.
    pub edge: Edge,
    /// How people are told of held calls.
    pub notifications: notify::Settings,
    /// The address of the gateway as clients and people know it.
    pub public_url: Option<authentication::PublicUrl>,
    /// How agents are let in besides gateway tokens, and how people sign in.
    pub authentication: authentication::Settings,
    /// Where programs are looked up, as `PATH`.
    pub path: String,
    /// The name of the operating-system user, who is the owner of local agents and an operator.
    pub user: String,
}

impl Config {
    /// The address of the MCP endpoint as clients know it: the resource that tokens are issued for (RFC 8707).
    #[must_use]
    pub fn resource(&self) -> String {
        match &self.public_url {
            Some(url) => format!("{}/mcp", &**url),
            None => format!("{}/mcp", self.url()),
        }
    }

    /// Reads the file that `flags` name, or `./countersign.yaml` if there is one, and lays the flags over it.
    ///
    /// # Errors
    /// When the file cannot be read or is not one, with the place; when no home directory is known.
    pub fn load(flags: &Flags) -> anyhow::Result<Self> {
        let file = match &flags.config {
            Some(path) => Some(read_file(path)?),
            None => Path::new("countersign.yaml")
                .exists()
                .then(|| read_file(Path::new("countersign.yaml")))
                .transpose()?,
        };
        let file = match file {
            Some(source) => {
                let (file, places) = source::read::<File>(&source)?;
                let mut problems = file.notifications.problems(&source, &places);
                problems.extend(file.authentication.problems(&source, &places));
                Problems::check(problems)?;
                file
            }
            None => File::default(),
        };
        let data = match flags.data.clone().or(file.data) {
            Some(data) => data,
            None => default_data()?,
        };
        Ok(Self {
            file: flags.config.clone(),
            listens: false,
            listen: file.listen.unwrap_or_else(|| "127.0.0.1:7420".to_owned()),
            data,
            policies: flags.policies.clone().or(file.policies).unwrap_or_else(|| "policies".into()),
            tool_manifests: flags
                .tool_manifests
                .clone()
                .or(file.tool_manifests)
                .unwrap_or_else(|| "tool-manifests".into()),
            watch: file.watch.unwrap_or(true),
            definitions: file.definitions,
            holds: file.holds,
            workflows: file.workflows,
            edge: file.edge,
            notifications: file.notifications,
            public_url: file.public_url,
            authentication: file.authentication,
            path: variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            user: user(),
        })
    }
}

impl Config {
    /// How the address that it listens on is written before a path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.edge.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listen)
    }
}

/// Which files a gateway was started with, so that a process that takes over starts with the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Where it runs; the other paths may be relative to it.
    directory: PathBuf,
    config: Option<PathBuf>,
    policies: PathBuf,
    tool_manifests: PathBuf,
    /// Where programs are looked up.
    path: String,
}

impl Files {
    /// Those of a gateway of this process.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn of(config: &Config) -> std::io::Result<Self> {
        Ok(Self {
            directory: std::env::current_dir()?,
            config: config.file.clone(),
            policies: config.policies.clone(),
            tool_manifests: config.tool_manifests.clone(),
            path: config.path.clone(),
        })
    }

    /// The rules and tools, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let (policies, manifests) = (&self.policies, &self.tool_manifests);
        let [policies, manifests] = [policies, manifests].map(|path| self.directory.join(path));
        format!("policies {} and tool manifests {}", policies.display(), manifests.display())
    }

    /// Whether both name the same rules and tools.
    #[must_use]
    pub fn agree(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|files| {
            [&files.policies, &files.tool_manifests].map(|path| {
                let path = files.directory.join(path);
                path.canonicalize().unwrap_or(path)
            })
        });
        own == others
    }

    /// Moves this process to where the files are, and reads the configuration of a gateway on `data`.
    ///
    /// # Errors
    /// When the directory is gone or the configuration is wrong.
    pub fn load(&self, data: &Path) -> anyhow::Result<Config> {
        // A path that is already right stays short: a socket's path may have 107 bytes.
        let data = if std::env::current_dir()? == self.directory {
            data.to_owned()
        } else {
            let data = data.canonicalize()?;
            std::env::set_current_dir(&self.directory)?;
            data
        };
        let config = Config::load(&Flags {
            data: Some(data),
            policies: Some(self.policies.clone()),
            tool_manifests: Some(self.tool_manifests.clone()),
            config: self.config.clone(),
        })?;
        Ok(Config { path: self.path.clone(), ..config })
    }
}

/// One variable of the gateway's environment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The name of the user this process runs as.
#[must_use]
pub fn user() -> String {
    let id = nix::unistd::getuid();
    nix::unistd::User::from_uid(id)
        .ok()
        .flatten()
        .map_or_else(|| format!("uid-{id}"), |user| user.name)
}

fn default_data() -> anyhow::Result<PathBuf> {
    if let Some(base) = variable("XDG_DATA_HOME").filter(|base| !base.is_empty()) {
        return Ok(PathBuf::from(base).join("countersign"));
    }
    let home = variable("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| {
        anyhow::anyhow!("no home directory is known; say where the data goes with `--data DIR`")
    })?;
    Ok(PathBuf::from(home).join(".local/share/countersign"))
}
