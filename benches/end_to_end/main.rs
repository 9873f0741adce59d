//! What Countersign costs a call, end to end: the same requests to the same upstream, in one run, directly,
//! through a plain rmcp proxy, and through the gateway with everything on.
//!
//! `cargo bench --bench end_to_end` prints the table. Every answer is checked, and after every round the
//! upstream's own count of calls must be the number of requests sent. `docs/benchmarks.md` says more.

mod children;
mod client;
mod proxy;
mod round;
mod settings;
mod table;
mod upstream;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use children::Children;
use client::Era;
use round::{Cell, Stage};

/// Rounds that are counted; one more before them warms up.
const ROUNDS: usize = 8;
/// How many callers, and how many calls all of them make together in one round.
const LOADS: [(usize, usize); 2] = [(1, 160), (32, 640)];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["upstream"] => multi_thread()?.block_on(serve_upstream()),
        ["proxy", kind, url] => multi_thread()?.block_on(proxy::serve(kind, url)),
        _ => {
            let rounds = rounds(&words)?;
            // One thread for all callers: it is the same for every target, and leaves the other core.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(compare(rounds))
        }
    }
}

fn multi_thread() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Serves until standard input ends; prints its address first.
async fn serve_upstream() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    children::announce(&listener)?;
    tokio::select! {
        served = upstream::serve(listener) => Ok(served?),
        () = children::parent_gone() => Ok(()),
    }
}

/// `--rounds N`; whatever else `cargo bench` passes is not for us.
fn rounds(words: &[&str]) -> Result<usize> {
    let after = words.iter().skip_while(|word| **word != "--rounds").nth(1);
    after.map_or(Ok(ROUNDS), |count| count.parse().context("`--rounds` takes a number"))
}

async fn compare(rounds: usize) -> Result<()> {
    let begun = now();
    let disk = table::sync_time(children::DISK)?;
    let children = Children::start().await?;
    let targets = children.targets();
    let mut stages = Vec::new();
    for era in [Era::Modern, Era::Legacy] {
        for (callers, _) in LOADS {
            for target in &targets {
                stages.push(Stage::open(target, era, callers).await?);
            }
        }
    }
    let mut cells: Vec<Cell> = stages.iter().map(Cell::of).collect();
    for turn in 0..=rounds {
        // Each round begins with another target, so that none always runs after the same neighbour.
        for step in 0..stages.len() {
            let at = (step + turn) % stages.len();
            let (Some(stage), Some(cell)) = (stages.get_mut(at), cells.get_mut(at)) else {
                bail!("no stage {at}");
            };
            let calls = LOADS.iter().find(|(callers, _)| *callers == stage.callers());
            let calls = calls.context("an unknown load")?.1;
            let measured = stage.round(&children, calls).await?;
            if turn > 0 {
                cell.add(measured);
            }
        }
    }
    let governed = children.governed_calls().await?;
    let entries = children.stop_and_verify(governed)?;
    table::print(&cells, &targets);
    println!();
    println!("every answer checked; the upstream's count was the requests sent, in every round");
    println!("audit log: {entries}");
    println!("one write of 4 KiB and fdatasync on the disk of the data directory: p50 {disk:.0?}");
    println!("{rounds} rounds in {:.0?}", begun.elapsed());
    Ok(())
}

/// The clock that measures.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// The value below which the share `part` of the sorted `times` lies.
fn quantile(times: &[Duration], part: f64) -> Duration {
    let last = times.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let at = (last as f64 * part).round() as usize;
    times.get(at).copied().unwrap_or_default()
}
