//! `countersign doctor`: what is wrong, and what to do about it.

use super::Failed;
use super::output::{Form, table};
use super::way::{Remote, Way};
use crate::api::Check;
use crate::config::Flags;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Send a test message to each channel of notices too
    #[arg(long)]
    notify: bool,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(flags: &Flags, arguments: Arguments) -> Result<(), Failed> {
    let Arguments { notify, form, remote } = arguments;
    let way = Way::reach(flags, &remote).await?;
    let checks = look(&way, notify).await;
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

async fn look(way: &Way, notify: bool) -> Result<Vec<Check>, Failed> {
    // The test first: what it finds is what the channel's own check then says.
    let tested = if notify {
        way.post::<Vec<Check>>("/api/v1/notifications/test", &()).await?
    } else {
        Vec::new()
    };
    let mut checks: Vec<Check> = way.get("/api/v1/doctor").await?;
    checks.extend(tested);
    Ok(checks)
}
