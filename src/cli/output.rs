//! How reading commands print: tables for people, one JSON document for programs.

use std::io::{BufRead, IsTerminal, Read, Write};

use clap::{Args, ValueEnum};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::Failed;

/// The longest answer to a question, in bytes.
const MAX_ANSWER: u64 = 256;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Form {
    /// The form of what is printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// One JSON document
    Json,
}

impl Form {
    /// Prints `value` as JSON, or as the table that `table` makes of it.
    pub(super) fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failed> {
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?,
            Output::Table => table(value),
        };
        print(&text)
    }
}

/// Prints one text and a newline. A reader who went away is no error.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    let text = text.trim_end();
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).into())
        }
        _ => Ok(()),
    }
}

/// What a person types at the terminal to a question; none where there is no terminal.
pub(super) fn asked(question: &str) -> Result<Option<String>, Failed> {
    let input = std::io::stdin();
    if !input.is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    eprint!("{question}");
    let mut line = String::new();
    input.lock().take(MAX_ANSWER).read_line(&mut line).map_err(anyhow::Error::from)?;
    Ok(Some(line))
}

/// A table with a heading. What comes from agents and backends is shown with its control and invisible
/// characters escaped.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text in which control, formatting and invisible characters are shown as `\u{…}`.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

/// The same for what a person reads in lines: breaks and tabs stay.
pub(super) fn readable(text: &str) -> String {
    text.split('\n')
        .map(|line| line.split('\t').map(visible).collect::<Vec<_>>().join("\t"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same for text of more than one line.
pub(super) fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFEFF | 0xFFA0
            | 0xFFF0..=0xFFFB | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// A time to the second, in UTC.
pub(super) fn second(at: jiff::Timestamp) -> String {
    format!("{at:.0}")
}

/// How long ago or ahead `at` is, in one unit.
pub(super) fn relative(at: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let (number, unit) = match seconds.unsigned_abs() {
        n @ 0..120 => (n, "s"),
        n @ 120..7200 => (n / 60, "min"),
        n @ 7200..172_800 => (n / 3600, "h"),
        n => (n / 86_400, "d"),
    };
    if seconds < 0 { format!("{number} {unit} ago") } else { format!("in {number} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_hides() {
        assert_eq!(visible("a\u{202e}b\u{1b}[31m\u{e0041}"), "a\\u{202e}b\\u{1b}[31m\\u{e0041}");
        assert_eq!(readable("a\tb\r\n\u{9b}c"), "a\tb\\u{d}\n\\u{9b}c");
        assert_eq!(visible("größe 日本 مرحبا 🙂"), "größe 日本 مرحبا 🙂");
    }
}
