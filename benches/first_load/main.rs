//! How fast the page opens: bytes of a cold first load, and time until it can be used, with a full store and with
//! an empty one.
//!
//! `cargo bench --bench first_load` prints the table; `--rounds N` for more or fewer. It needs Chromium, Node and
//! the packages that `tests/run` installs. `docs/benchmarks.md` says more.

mod browser;
mod fill;
mod gateway;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use tempfile::TempDir;

use browser::Load;
use gateway::Gateway;

/// Rounds that are counted; some more before them warm up.
const ROUNDS: u32 = 21;
/// What the full store holds.
const CALLS: u32 = 10_000;
const HOLDS: u32 = 500;
/// The limits: what a first load may transfer, in bytes, and when the page has to be of use, in milliseconds.
const MAX_BYTES: u64 = 150 << 10;
const MAX_TIME: f64 = 200.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().skip_while(|word| *word != "--rounds").nth(1);
    let rounds = rounds.map_or(Ok(ROUNDS), |count| count.parse()).context("a number of rounds")?;
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (full, empty) = (directory.path().join("full"), directory.path().join("empty"));
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(fill::fill(&full.join("data"), CALLS, HOLDS))?;
    println!("{CALLS} calls that ended, {HOLDS} that wait");
    let gateways = [Gateway::start(&full, "full")?, Gateway::start(&empty, "empty")?];
    let loads = browser::look(&gateways, rounds)?;
    print(&loads)?;
    for gateway in gateways {
        println!("{}", gateway.stop_and_verify()?);
    }
    println!("{rounds} rounds");
    Ok(())
}

/// One row per page and store; times are medians, ratios are to the empty store.
fn print(loads: &[Load]) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "page",
        "store",
        "requests",
        "KiB",
        "× empty",
        "of use after, ms",
        "longest, ms",
        "× empty",
        "× a picture",
        "verdict",
    ]);
    for column in table.column_iter_mut().skip(2).take(7) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for load in loads {
        let empty = loads.iter().find(|other| other.page == load.page && other.store == "empty");
        let empty = empty.context("the empty store was looked at")?;
        let floor = loads.iter().find(|it| it.page == "a picture" && it.store == load.store);
        let floor = floor.context("the picture was looked at")?;
        let within = load.bytes < MAX_BYTES && load.median() < MAX_TIME;
        table.add_row([
            load.page.clone(),
            load.store.clone(),
            load.requests.to_string(),
            format!("{:.1}", kib(load.bytes)),
            format!("{:.2}", kib(load.bytes) / kib(empty.bytes)),
            format!("{:.0}", load.median()),
            format!("{:.0}", load.longest()),
            format!("{:.2}", load.median() / empty.median()),
            format!("{:.2}", load.median() / floor.median()),
            if within { "within both limits" } else { "OVER A LIMIT" }.to_owned(),
        ]);
    }
    println!("{table}");
    println!("limits: {:.0} KiB transferred, of use within {MAX_TIME:.0} ms", kib(MAX_BYTES));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}
