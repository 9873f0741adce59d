//! `countersign completions`: what completes our commands in a shell, made from the command line's own types.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failed, output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  countersign completions bash > ~/.local/share/bash-completion/completions/countersign"
)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "countersign", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}
