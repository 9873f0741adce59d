//! How long the program takes from its start until it listens.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::holds::Closed;
use crate::table::ratio;
use crate::{median, now};

/// Starts the program on each of `directories` in turn, `times` times, and prints what it took.
pub(crate) fn measure(directories: &[Closed], times: usize) -> Result<()> {
    let mut taken = vec![Vec::new(); directories.len()];
    for _ in 0..times {
        for (closed, taken) in directories.iter().zip(&mut taken) {
            taken.push(start(closed)?);
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["store", "holds", "listens after, ms", "longest, ms", "× one"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let base = taken.first_mut().map(|times| median(times)).unwrap_or_default();
    for (closed, times) in directories.iter().zip(&mut taken) {
        let middle = median(times);
        let longest = times.last().copied().unwrap_or_default();
        table.add_row([
            closed.form.name.to_owned(),
            closed.form.rows().to_string(),
            format!("{:.1}", middle.as_secs_f64() * 1e3),
            format!("{:.1}", longest.as_secs_f64() * 1e3),
            ratio(middle, base),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn start(closed: &Closed) -> Result<Duration> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(&closed.directory)
        .env("COUNTERSIGN_DATA", closed.directory.join("data"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let begun = now();
    let mut child = command.spawn()?;
    let (mut listens, mut said) = (None, String::new());
    if let Some(errors) = child.stderr.take() {
        for line in BufReader::new(errors).lines() {
            let line = line?;
            if line.starts_with("listening on ") {
                listens = Some(begun.elapsed());
                kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM)?;
            }
            said.push_str(&line);
            said.push('\n');
        }
    }
    let ended = child.wait()?;
    ensure!(ended.success(), "{}: {ended}: {said}", closed.form.name);
    listens.ok_or_else(|| anyhow::anyhow!("{} did not listen: {said}", closed.form.name))
}
