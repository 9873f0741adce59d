//! The table.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};

use crate::children::{DEFAULT_PROXY, DIRECT, TUNED_PROXY, Target};
use crate::round::Cell;
use crate::{now, quantile};

/// How often the disk is asked.
const SYNCS: usize = 100;

/// One row per cell; `× proxy` is the p50 that the target adds to the direct one, as a share of what the
/// plain proxy adds in the same era with as many callers.
pub(crate) fn print(cells: &[Cell], targets: &[Target]) {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "protocol",
        "callers",
        "target",
        "calls",
        "p50 µs",
        "p99 µs",
        "calls/s",
        "added p50 µs",
        "× proxy",
        "× tuned proxy",
        "its CPU µs/call",
    ]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for cell in cells {
        let p50 = |name| {
            let same = |other: &&Cell| {
                (other.target, other.era, other.callers) == (name, cell.era, cell.callers)
            };
            cells.iter().find(same).map_or(f64::NAN, |cell| micros(quantile(&cell.times, 0.5)))
        };
        let added = |name| p50(name) - p50(DIRECT);
        let share = |of| match cell.target == DIRECT {
            true => String::new(),
            false => format!("{:.2}", added(cell.target) / added(of)),
        };
        #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
        let calls = cell.times.len() as f64;
        let of_its_own = targets.iter().any(|target| target.name == cell.target);
        table.add_row([
            cell.era.version().to_owned(),
            cell.callers.to_string(),
            cell.target.to_owned(),
            cell.times.len().to_string(),
            format!("{:.0}", p50(cell.target)),
            format!("{:.0}", micros(quantile(&cell.times, 0.99))),
            format!("{:.0}", calls / cell.wall.as_secs_f64()),
            if cell.target == DIRECT {
                String::new()
            } else {
                format!("{:.0}", added(cell.target))
            },
            share(DEFAULT_PROXY),
            share(TUNED_PROXY),
            if of_its_own { format!("{:.0}", micros(cell.own_cpu) / calls) } else { String::new() },
        ]);
    }
    println!("{table}");
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// How long a small write takes until it is on the disk of `directory`: the floor under a durable entry.
pub(crate) fn sync_time(directory: &str) -> Result<Duration> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(quantile(&times, 0.5))
}
