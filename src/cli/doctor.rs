//! `countersign doctor`: what is wrong, and what to do about it.

use super::Failed;
use super::local::Local;
use super::output::{Form, table};
use crate::api::Check;
use crate::config::Flags;

pub(super) async fn run(flags: &Flags, form: Form) -> Result<(), Failed> {
    let local = Local::reach(flags).await?;
    let checks = local.get::<Vec<Check>>("/api/v1/doctor").await;
    local.leave().await;
    let checks = checks?;
    form.print(&checks, |checks| {
        let rows = checks.iter().map(|check| {
            let ok = if check.ok { "ok" } else { "WRONG" };
            let hint = check.hint.clone().unwrap_or_default();
            vec![ok.to_owned(), check.id.clone(), check.found.clone(), hint]
        });
        table(&["", "CHECK", "FOUND", "WHAT TO DO"], rows)
    })?;
    if checks.iter().all(|check| check.ok) {
        return Ok(());
    }
    Err(Failed::new(1, String::new()))
}
