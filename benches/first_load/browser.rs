//! The browser: Chromium, driven by `look.mjs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::gateway::Gateway;

/// Rounds that are not counted.
const WARM_UP: u32 = 3;

/// What all cold first loads of one page on one gateway were.
#[derive(Deserialize)]
pub(crate) struct Load {
    pub(crate) page: String,
    pub(crate) store: String,
    /// How many requests one makes, but for the event stream, which goes on.
    pub(crate) requests: u32,
    /// The most bytes that one transferred, heads included.
    pub(crate) bytes: u64,
    /// From the beginning of the navigation until the rows are painted and keys are heard, in milliseconds.
    times: Vec<f64>,
}

impl Load {
    pub(crate) fn median(&self) -> f64 {
        self.times.get(self.times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn longest(&self) -> f64 {
        self.times.last().copied().unwrap_or(f64::NAN)
    }
}

/// Opens the pages of all gateways in turn, each time with an empty cache.
pub(crate) fn look(gateways: &[Gateway], rounds: u32) -> Result<Vec<Load>> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = shipped.join("tests/clients/node_modules/playwright-core");
    ensure!(packages.exists(), "{} is missing: `tests/run` installs it", packages.display());
    let stores: Vec<_> = gateways
        .iter()
        .map(|it| json!({ "name": it.name, "url": it.url, "link": it.link }))
        .collect();
    let given = json!({
        "chromium": program("chromium")?, "stores": stores, "warmUp": WARM_UP, "rounds": rounds,
        // The last one is what this browser takes for next to nothing.
        "pages": { "inbox": "/", "calls": "/calls", "a picture": "/assets/icon.svg" },
    });
    let out = Command::new(program("node")?)
        .arg(shipped.join("benches/first_load/look.mjs"))
        .arg(given.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(out.status.success(), "the browser: {}", out.status);
    let mut loads: Vec<Load> = serde_json::from_slice(&out.stdout)?;
    for load in &mut loads {
        load.times.sort_unstable_by(f64::total_cmp);
    }
    Ok(loads)
}

fn program(name: &str) -> Result<PathBuf> {
    let path = countersign::config::variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file());
    found.with_context(|| format!("`{name}` is missing: `tests/run` installs it"))
}
