//! Parses the command line, runs one command and turns its error into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::main()
}
