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
