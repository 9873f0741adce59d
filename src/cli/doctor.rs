//! `countersign doctor`: what is wrong, and what to do about it.

use super::Failed;
use super::output::{Form, table};
use super::way::{Remote, Way};
use crate::api::Check;
use crate::config::Flags;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let Arguments { form, remote } = arguments;
    let way = Way::reach(flags, &remote).await?;
    let checks = way.get::<Vec<Check>>("/api/v1/doctor").await;
    way.leave().await;
    let checks = checks?;
    form.print(&checks, |checks| {
        let rows = checks.iter().flat_map(|check| {
            let ok = if check.ok { "ok" } else { "WRONG" };
            let found = vec![ok.to_owned(), check.id.clone(), check.found.clone()];
            let hint = check
                .hint
                .iter()
                .map(|hint| vec![String::new(), String::new(), format!("what to do: {hint}")]);
            std::iter::once(found).chain(hint)
        });
        table(&["", "CHECK", "FOUND"], rows)
    })?;
    if checks.iter().all(|check| check.ok) {
        return Ok(());
    }
    Err(Failed::new(1, String::new()))
}
