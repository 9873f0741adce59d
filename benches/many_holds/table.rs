//! The table of operations.

use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};

use crate::holds::Filled;
use crate::median;
use crate::operations::{Beside, OPERATIONS};

/// One row per operation: its median in each store in µs, and as a multiple of that in the store which it is
/// compared with.
pub(crate) fn operations(stores: &[Filled], times: &mut [Vec<Vec<Duration>>]) -> Result<()> {
    let mut table = Table::new();
    let names = stores.iter().map(|store| store.form.name.to_owned());
    let header = ["µs (p50)".to_owned()].into_iter().chain(names);
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for ((name, beside), row) in OPERATIONS.iter().zip(times) {
        let middles: Vec<Duration> = row.iter_mut().map(|times| median(times)).collect();
        let base = match beside {
            Beside::One => 0,
            Beside::Page => 1,
        };
        let base_time = *middles.get(base).context("no store to compare with")?;
        let cells = middles.iter().enumerate().map(|(at, middle)| {
            let micros = format!("{:.0}", middle.as_secs_f64() * 1e6);
            if at > base { format!("{micros} (× {})", ratio(*middle, base_time)) } else { micros }
        });
        table.add_row([(*name).to_owned()].into_iter().chain(cells));
    }
    println!("{table}");
    Ok(())
}

/// `time` as a multiple of `base`.
pub(crate) fn ratio(time: Duration, base: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() / base.as_secs_f64())
}
