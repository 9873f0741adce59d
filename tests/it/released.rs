//! The binary as it is released, for tests that do a thing so often that the other would take too long.

use std::fs;
use std::path::{Path, PathBuf};

/// The binary that `cargo build --release` left, if none of its sources has changed since.
pub(crate) fn program() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let release = built.parent()?.parent()?.join("release");
    let program = release.join("countersign");
    let changed = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    let made = changed(&program)?;
    // What cargo notes it was made from: `target: source source …`.
    let noted = fs::read_to_string(release.join("countersign.d")).ok()?;
    let mut sources = noted.split_once(':')?.1.split_whitespace().map(Path::new);
    sources.all(|source| changed(source).is_some_and(|at| at <= made)).then_some(program)
}
