//! `countersign policy reload`: policies and manifests, read again by a gateway that runs.

use serde_json::json;

use crate::api::ReloadedView;
use crate::cli::Failed;
use crate::cli::output::Form;
use crate::cli::way::{Remote, Way};
use crate::config::Flags;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    form: Form,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let way = Way::reach(flags, &arguments.remote).await?;
    let reloaded = way.post::<ReloadedView>("/api/v1/policy/reload", &json!({})).await;
    way.leave().await;
    arguments.form.print(&reloaded?, |reloaded| match reloaded.before {
        Some(before) => format!("in force: {}\nbefore:   {before}", reloaded.revision),
        None => format!("nothing changed: {}", reloaded.revision),
    })
}
