//! The command line: one file per command. Data goes to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 the thing asked for did not hold or failed, 2 usage or bad file, 3 not found,
//! 4 not permitted, 5 someone else was first or the call is pending.

mod agents;
mod approvals;
mod audit;
mod budgets;
mod call;
mod catalog;
mod completions;
mod doctor;
mod halts;
mod inbox;
mod init;
mod install;
mod local;
mod output;
mod policy;
mod reviewers;
mod schema;
mod serve;
mod sign;
mod stdio;
mod way;
mod workflows;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Flags};
use crate::gateway::OpenError;
use crate::server::ListenError;
use crate::source::Problems;
use way::FromAfar;

/// An MCP gateway that decides, holds for a person and records every tool call of an LLM agent
#[derive(Debug, Parser)]
#[command(name = "countersign", version, propagate_version = true)]
struct Cli {
    /// Run as if started in this directory
    #[arg(
        id = "run_in",
        long = "directory",
        short = 'C',
        value_name = "DIR",
        env = "COUNTERSIGN_DIRECTORY",
        global = true
    )]
    directory: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write rules, tools and a configuration to start with into a directory
    Init(init::Arguments),
    /// Run the gateway: MCP for agents over HTTP, and the local socket for people
    Serve(serve::Arguments),
    /// Run the gateway for one MCP client on standard input and output
    Stdio(stdio::Arguments),
    /// Call a tool as an agent, through the gateway
    Call(call::Arguments),
    /// Look at held calls and decide on them
    Approvals(FromAfar<approvals::Command>),
    /// Look at the tools
    Catalog(FromAfar<catalog::Command>),
    /// Look at what may be spent, and what is spent by whom
    Budgets(budgets::Arguments),
    /// Check the rules, and ask them what they decide
    #[command(subcommand)]
    Policy(policy::Command),
    /// Add, list and revoke agents
    Agents(FromAfar<agents::Command>),
    /// Add, list and revoke people, their roles, tokens and keys
    Reviewers(FromAfar<reviewers::Command>),
    /// Look at the record and verify it
    Audit(FromAfar<audit::Command>),
    /// Stop calls at once; without a scope, list what is stopped
    Halt(halts::Halting),
    /// Let calls run again that a halt stopped
    Resume(halts::Resuming),
    /// Look at what agents did together, and roll it back
    Workflows(FromAfar<workflows::Command>),
    /// Look for what is wrong and say what to do about it
    Doctor(doctor::Arguments),
    /// Put the gateway into the configuration of an MCP client
    Install(install::Arguments),
    /// Take the gateway out of the configuration of an MCP client
    Uninstall(install::Place),
    /// Print what completes commands in a shell
    Completions(completions::Arguments),
    /// Print the JSON Schema of a kind of file, for editors
    Schema(schema::Arguments),
}

/// How a command failed: its exit code, and why in words.
#[derive(Debug)]
struct Failed {
    code: u8,
    told: String,
}

impl Failed {
    fn new(code: u8, told: impl Into<String>) -> Self {
        Self { code, told: told.into() }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        let bad_file = error.is::<Problems>()
            || matches!(error.downcast_ref::<OpenError>(), Some(OpenError::Files(_)));
        Self { code: if bad_file { 2 } else { 1 }, told: format!("{error:#}") }
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<ListenError> for Failed {
    fn from(error: ListenError) -> Self {
        let code = if matches!(error, ListenError::Refused(_)) { 2 } else { 1 };
        Self { code, told: error.to_string() }
    }
}

impl From<Problems> for Failed {
    fn from(problems: Problems) -> Self {
        anyhow::Error::from(problems).into()
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.command);
    if let Some(directory) = &cli.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        eprintln!("error: `{}` cannot be entered: {error}", directory.display());
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(run(cli));
    // A reader of standard input may still wait in the background; nothing waits for it.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(failed) => {
            if !failed.told.is_empty() {
                eprintln!("error: {}", output::readable(failed.told.trim_end()));
            }
            ExitCode::from(failed.code)
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failed> {
    let flags = cli.flags;
    match cli.command {
        Command::Init(arguments) => init::run(&flags, &arguments)?,
        Command::Serve(arguments) => serve::run(&flags, arguments).await?,
        Command::Stdio(arguments) => stdio::run(&flags, arguments).await?,
        Command::Call(arguments) => return call::run(&flags, arguments).await,
        Command::Approvals(it) => approvals::run(&flags, &it.remote, it.command).await?,
        Command::Catalog(it) => catalog::run(&flags, &it.remote, it.command).await?,
        Command::Budgets(arguments) => budgets::run(&flags, arguments).await?,
        Command::Policy(command) => policy::run(&flags, command).await?,
        Command::Agents(it) => agents::run(&flags, &it.remote, it.command).await?,
        Command::Reviewers(it) => reviewers::run(&flags, &it.remote, it.command).await?,
        Command::Audit(it) => audit::run(&flags, &it.remote, it.command).await?,
        Command::Halt(arguments) => halts::halt(&flags, arguments).await?,
        Command::Resume(arguments) => halts::resume(&flags, arguments).await?,
        Command::Workflows(it) => workflows::run(&flags, &it.remote, it.command).await?,
        Command::Doctor(arguments) => doctor::run(&flags, arguments).await?,
        Command::Install(arguments) => install::run(&flags, arguments).await?,
        Command::Uninstall(place) => install::remove(&place)?,
        Command::Completions(arguments) => completions::run(&arguments)?,
        Command::Schema(arguments) => schema::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error; on stdio, standard output is the protocol. The protocol library logs each
/// request at INFO and arguments at DEBUG, so it is kept at warnings, and its service, which warns of each
/// answer that we took out of its way, at errors; `call` tells by itself what fails.
fn start_log(command: &Command) {
    let library = match command {
        Command::Call(_) => "rmcp=off",
        Command::Init(_)
        | Command::Serve(_)
        | Command::Stdio(_)
        | Command::Approvals(_)
        | Command::Catalog(_)
        | Command::Budgets(_)
        | Command::Policy(_)
        | Command::Agents(_)
        | Command::Reviewers(_)
        | Command::Audit(_)
        | Command::Halt(_)
        | Command::Resume(_)
        | Command::Workflows(_)
        | Command::Doctor(_)
        | Command::Install(_)
        | Command::Uninstall(_)
        | Command::Completions(_)
        // It calls an error what is none: a client that hung up before its answer.
        | Command::Schema(_) => "rmcp=warn,rmcp::service=off",
    };
    // A full screen would be written over; elsewhere than on a terminal, the log goes on.
    let drawn_over = matches!(command, Command::Approvals(it) if matches!(it.command, approvals::Command::Watch { .. }))
        && inbox::can_show()
        && std::io::stderr().is_terminal();
    let level =
        if drawn_over { Some("off".to_owned()) } else { config::variable("COUNTERSIGN_LOG") };
    let filter = level.unwrap_or_else(|| "warn".to_owned());
    let filter = EnvFilter::try_new(format!("{filter},{library}"))
        .unwrap_or_else(|_| EnvFilter::new("warn"));
    let colour = std::io::stderr().is_terminal()
        && config::variable("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .init();
}
