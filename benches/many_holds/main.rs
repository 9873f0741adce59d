//! What it costs that very many calls wait for people: the store's own operations, and the start of the
//! program, with one pending hold and with up to a million.
//!
//! `cargo bench --bench many_holds` prints the tables. Holds are put in through the store itself, each with its
//! entry, and every record must verify at the end. `docs/benchmarks.md` says more.

mod holds;
mod operations;
mod start;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use holds::Filled;
use operations::OPERATIONS;

/// Rounds that are counted; some more before them warm up.
const ROUNDS: usize = 300;
/// Rounds that are not counted.
const WARM_UP: usize = 20;
/// How often the program is started on each directory.
const STARTS: usize = 7;
/// How many holds the largest stores have.
const MANY: u32 = 1_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let many = number(&arguments, "--rows")?.unwrap_or(MANY);
    let rounds = number(&arguments, "--rounds")?.map_or(Ok(ROUNDS), usize::try_from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut filled = Vec::new();
    for form in holds::forms(many) {
        let begun = now();
        let store = runtime.block_on(Filled::open(directory.path(), form))?;
        let (name, rows) = (store.form.name, store.form.rows());
        println!("{name}: {rows} holds opened in {:.1?}", begun.elapsed());
        filled.push(store);
    }
    let mut times = vec![vec![Vec::with_capacity(rounds); filled.len()]; OPERATIONS.len()];
    for round in 0..WARM_UP + rounds {
        for step in 0..filled.len() {
            // Each round begins with another store, so that none always runs after the same neighbour.
            let at = (step + round) % filled.len();
            let store = filled.get(at).context("a store")?;
            let taken = runtime.block_on(operations::round(store))?;
            for (row, taken) in times.iter_mut().zip(taken) {
                let cell = row.get_mut(at).context("a cell")?;
                if round >= WARM_UP {
                    cell.push(taken);
                }
            }
        }
    }
    table::operations(&filled, &mut times)?;
    let directories: Vec<_> = filled.into_iter().map(Filled::close).collect();
    println!();
    start::measure(&directories, STARTS)?;
    println!();
    for closed in &directories {
        let summary = closed.verified()?;
        ensure!(
            summary.head.count >= closed.form.rows().into(),
            "entries are missing: {summary:?}"
        );
        println!("{}: {} entries verify", closed.form.name, summary.head.count);
    }
    println!("{rounds} rounds, {STARTS} starts");
    Ok(())
}

/// The number after `name`, if it is given; whatever else `cargo bench` passes is not for us.
fn number(arguments: &[String], name: &str) -> Result<Option<u32>> {
    let after = arguments.iter().skip_while(|word| *word != name).nth(1);
    after.map(|count| count.parse().with_context(|| format!("`{name}` takes a number"))).transpose()
}

/// The clock that measures.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// The middle of `times`.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
