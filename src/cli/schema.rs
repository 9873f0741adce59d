//! `countersign schema`: the JSON Schemas of our files, generated from the types that read them.

use clap::ValueEnum;

use super::{Failed, output};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The kind of file
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A file in `policies/`
    Policy,
    /// A file `policies/*.test.yaml`
    PolicyTest,
    /// A file in `tool-manifests/`
    Manifest,
    /// `countersign.yaml`
    Config,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let schema = match arguments.kind {
        Kind::Policy => schemars::schema_for!(crate::policy::rules::PolicyFile),
        Kind::PolicyTest => schemars::schema_for!(crate::policy::cases::CasesFile),
        Kind::Manifest => schemars::schema_for!(crate::catalog::manifest::Manifest),
        Kind::Config => schemars::schema_for!(crate::config::File),
    };
    output::print(&serde_json::to_string_pretty(&schema).map_err(anyhow::Error::from)?)
}
