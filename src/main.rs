//! Parses the command line, runs one command and turns its error into an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A process that is to become a confined program does nothing else.
    countersign::backend::confinement::shim().unwrap_or_else(countersign::cli::main)
}
