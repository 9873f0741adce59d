//! `countersign install` and `uninstall`: the gateway in the configuration of an MCP client, and out of it again.

mod change;
mod client;
mod file;
mod json;
mod toml;

use std::path::{Path, PathBuf};

use similar::TextDiff;

use self::change::Change;
use self::client::{Client, Reach, Scope};
use self::file::{Present, shown};
use super::output::{self, visible_lines};
use super::way::{Remote, Way};
use super::{Failed, init};
use crate::api::{NewAgent, NewToken, WhoAmI};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Flags};
use crate::ids::AgentName;

/// How a command fails when somebody was first.
const EXISTS: u8 = 5;
/// How many lines around a change are shown.
const AROUND: usize = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign install claude-code --project ~/src/shop")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The agent that the client speaks for; named as the client, unless told otherwise
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Let it connect to the gateway that listens, with a token, instead of starting this program
    #[arg(long)]
    http: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The client
    #[arg(value_enum)]
    client: Client,
    /// For one project or for you everywhere; the project, where the client knows any
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Print the file as it would be, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write without asking
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let place = &arguments.place;
    let client = place.client;
    let agent = match arguments.agent {
        Some(agent) => agent,
        None => client.name().parse().map_err(|error| Failed::new(2, format!("{error}")))?,
    };
    let way = if arguments.http {
        client.speaks_http()?;
        Some(Way::reach(flags, &Remote::default()).await?)
    } else {
        None
    };
    let done = async {
        let reach = match &way {
            Some(way) => listening(way).await?,
            None => starting(flags, &agent)?,
        };
        let change = Change {
            form: client.form(),
            servers: client.servers(),
            entry: Some(client.entry(&reach)?),
            input: client.input(&reach),
        };
        let Some(ready) = prepare(place, &change)? else { return Ok(()) };
        let token = match &way {
            Some(way) => Some(token(way, &agent, client).await?),
            None => None,
        };
        ready.write()?;
        if way.is_none() && place.scope() == Scope::Project {
            eprintln!(
                "note: its paths are of this machine; for a file that others share, use `--http`"
            );
        }
        token.flatten().map_or(Ok(()), |token| output::print(&token))
    }
    .await;
    if let Some(way) = way {
        way.leave().await;
    }
    done
}

pub(super) fn remove(place: &Place) -> Result<(), Failed> {
    let change = Change {
        form: place.client.form(),
        servers: place.client.servers(),
        entry: None,
        input: None,
    };
    if !place.file()?.exists() {
        eprintln!("nothing to change: there is no {}", shown(&place.file()?));
        return Ok(());
    }
    prepare(place, &change)?.map_or(Ok(()), |ready| ready.write())
}

impl Place {
    fn scope(&self) -> Scope {
        self.scope.unwrap_or_else(|| self.client.usual_scope())
    }

    fn file(&self) -> Result<PathBuf, Failed> {
        self.client.file(self.scope(), &self.project)
    }
}

/// A file that was looked at, and what is to stand in it.
struct Ready {
    present: Present,
    path: PathBuf,
    text: String,
    mode: u32,
}

impl Ready {
    fn write(self) -> Result<(), Failed> {
        let kept = self.present.replace(&self.text, self.mode, SystemClock::new().now())?;
        if let Some(kept) = kept {
            eprintln!("kept the file as it was: {}", shown(&kept));
        }
        eprintln!("wrote {}", shown(&self.path));
        Ok(())
    }
}

/// Reads the file, shows what changes, and asks. None if there is nothing to write.
fn prepare(place: &Place, change: &Change) -> Result<Option<Ready>, Failed> {
    if place.scope() == Scope::Project && !place.project.is_dir() {
        return Err(Failed::new(2, format!("`{}` is no directory", shown(&place.project))));
    }
    let path = place.file()?;
    let present = Present::read(&path)?;
    let text = change.apply(&present.text).map_err(|why| {
        let mut told = format!("`{}` is left as it is: {why}", shown(&path));
        if change.entry.is_some() {
            told.push_str(&format!("\nput this into it yourself:\n{}", change.snippet()));
        }
        Failed::new(2, told)
    })?;
    if text == present.text {
        eprintln!("nothing to change in {}", shown(&path));
        return Ok(None);
    }
    let name = shown(&path);
    let difference = TextDiff::from_lines(present.text.as_str(), text.as_str());
    let difference =
        difference.unified_diff().context_radius(AROUND).header(&name, &name).to_string();
    eprintln!("{}", visible_lines(&difference));
    if place.dry_run {
        output::print(&text)?;
        return Ok(None);
    }
    if !place.yes {
        let typed = output::asked("write it? type yes: ")?;
        let Some(typed) = typed else {
            return Err(Failed::new(2, "nothing was written; say `--yes` to write this"));
        };
        if typed.trim() != "yes" {
            return Err(Failed::new(1, "nothing was written"));
        }
    }
    let mode = match place.scope() {
        Scope::Project => file::OF_PROJECT,
        Scope::User => file::OF_USER,
    };
    Ok(Some(Ready { present, path, text, mode }))
}

/// The client starts this program, wherever it runs itself: so all paths are absolute.
fn starting(flags: &Flags, agent: &AgentName) -> Result<Reach, Failed> {
    let config = Config::load(flags)?;
    for (flag, there) in
        [("--policies", &config.policies), ("--tool-manifests", &config.tool_manifests)]
    {
        if !there.is_dir() {
            let told = format!(
                "`{}` is no directory: `countersign init` writes some to start with; or say where it is with \
                 `{flag} DIR`",
                shown(there)
            );
            return Err(Failed::new(2, told));
        }
    }
    let here = std::env::current_dir().map_err(anyhow::Error::from)?;
    let program = std::env::current_exe().map_err(anyhow::Error::from)?;
    let mut arguments =
        vec!["--directory".to_owned(), text(&here)?, "stdio".to_owned(), "--agent".to_owned()];
    arguments.push(agent.to_string());
    let named = [
        ("--data", Some(&config.data)),
        ("--policies", Some(&config.policies)),
        ("--tool-manifests", Some(&config.tool_manifests)),
        ("--config", flags.config.as_ref()),
    ];
    for (flag, path) in named {
        if let Some(path) = path {
            let path = std::path::absolute(path).map_err(anyhow::Error::from)?;
            arguments.extend([flag.to_owned(), text(&path)?]);
        }
    }
    Ok(Reach::Stdio { command: text(&program)?, arguments })
}

/// A path as JSON and TOML can hold it.
fn text(path: &Path) -> Result<String, Failed> {
    let told = || Failed::new(2, format!("`{}` is no UTF-8 text", shown(path)));
    path.to_str().map(str::to_owned).ok_or_else(told)
}

/// The client connects to where the gateway says that it listens.
async fn listening(way: &Way) -> Result<Reach, Failed> {
    let known: WhoAmI = way.get("/api/v1/whoami").await?;
    known.mcp.map(|url| Reach::Http { url }).ok_or_else(|| {
        Failed::new(1, "no gateway listens on this data directory: start `countersign serve` first")
    })
}

/// Adds the agent. None if there is one of this name, whose token is known to whoever has it.
async fn token(way: &Way, agent: &AgentName, client: Client) -> Result<Option<String>, Failed> {
    let new = NewAgent {
        name: agent.clone(),
        groups: Vec::new(),
        owner: None,
        expires_in: None,
        acts_for: Vec::new(),
    };
    let added = way.post::<NewToken>("/api/v1/agents", &new).await;
    let told = client.token_told();
    match added {
        Ok(added) => {
            eprintln!("the token of agent `{agent}` is printed this once; {told}");
            Ok(Some(added.token))
        }
        Err(failed) if failed.code == EXISTS => {
            let name = init::quoted(agent.as_str().as_ref());
            eprintln!(
                "there is an agent `{agent}`; `countersign agents rotate {name}` prints a new token; {told}"
            );
            Ok(None)
        }
        Err(failed) => Err(failed),
    }
}
