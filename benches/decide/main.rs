//! What a decision costs with very few and very many rules: `cargo bench --bench decide`.

mod engine;
mod rules;

use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use engine::Loaded;
use rules::{Row, TOOLS};

/// How many rules there are.
const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// A catalog beside the large one.
const FEW_TOOLS: usize = 10;
/// How often each policy has its turn.
const ROUNDS: usize = 31;
/// How many calls are decided in one turn.
const CALLS: usize = 2_048;

fn main() -> Result<()> {
    let catalog = engine::catalog(TOOLS)?;
    let few = engine::catalog(FEW_TOOLS)?;
    let mut table = Table::new();
    let sizes = SIZES.iter().map(|size| format!("{size} rules"));
    let header = ["µs a decision (p50)".to_owned(), "tools".to_owned()].into_iter().chain(sizes);
    let rest = ["× (100 000 / 10)".to_owned(), "load of 100 000".to_owned()];
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header.chain(rest));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in Row::ALL {
        add(&mut table, row, &catalog, TOOLS);
    }
    add(&mut table, Row::Agents, &few, FEW_TOOLS);
    println!("{table}");
    Ok(())
}

/// Adds one row, or says why there is none.
fn add(table: &mut Table, row: Row, catalog: &countersign::catalog::Catalog, tools: usize) {
    let load = |size: &usize| Loaded::load(row, *size, catalog, tools);
    let loaded = match SIZES.iter().map(load).collect::<Result<Vec<_>>>() {
        Ok(loaded) => loaded,
        Err(error) => {
            let why = error.to_string();
            eprintln!("no row `{}`: {}", row.name(), why.lines().next().unwrap_or_default());
            return;
        }
    };
    let mut times: Vec<Vec<Duration>> = SIZES.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    // In turns, so that whatever else the machine does is done to all of them.
    for _ in 0..ROUNDS {
        for (loaded, times) in loaded.iter().zip(&mut times) {
            times.push(loaded.measure(CALLS));
        }
    }
    let middles: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    let (first, last) = (middles.first().copied(), middles.last().copied());
    let ratio =
        last.zip(first).map_or(f64::NAN, |(last, first)| last.as_secs_f64() / first.as_secs_f64());
    let load = loaded.last().map(|loaded| loaded.loaded_in).unwrap_or_default();
    let cells = middles.iter().map(|middle| format!("{:.2}", middle.as_secs_f64() * 1e6));
    let head = [row.name().to_owned(), tools.to_string()];
    let rest = [format!("{ratio:.2}"), format!("{:.1} s", load.as_secs_f64())];
    table.add_row(head.into_iter().chain(cells).chain(rest));
    eprintln!("{}: × {ratio:.2}", row.name());
}

/// The clock that measures.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The middle of `times`.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
