//! The files of the gateway that is measured.

use std::path::Path;

use anyhow::Result;

/// What the gateway sends to the upstream as its own credential, and looks for in every result.
const SECRET: &str = "bench-secret-4f1d8a6c2e";

/// A gateway as a user has it: the shipped rules and manifests, and the upstream's tool as a read and as a
/// write. Only the numbers of the limits are raised, so that they count every call and refuse none.
pub(crate) fn write(directory: &Path, upstream: &str) -> Result<()> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rate = regex::Regex::new(r"rate: \d+/\w+, burst: \d+")?;
    for folder in ["policies", "tool-manifests"] {
        std::fs::create_dir(directory.join(folder))?;
        for file in std::fs::read_dir(shipped.join(folder))? {
            let file = file?;
            let name = file.file_name();
            if !name.to_string_lossy().ends_with(".yaml") {
                continue;
            }
            let text = std::fs::read_to_string(file.path())?;
            let text = rate.replace_all(&text, "rate: 60000000/minute, burst: 1000000");
            std::fs::write(directory.join(folder).join(name), text.as_bytes())?;
        }
    }
    std::fs::write(directory.join("policies/bench.yaml"), POLICY)?;
    let secret = directory.join("secret");
    std::fs::write(&secret, SECRET)?;
    let manifest =
        MANIFEST.replace("UPSTREAM", upstream).replace("SECRET_FILE", &secret.to_string_lossy());
    std::fs::write(directory.join("tool-manifests/bench.yaml"), manifest)?;
    Ok(())
}

const POLICY: &str = r"
rules:
  - name: bench-writes
    match: { capability: bench, action_type: write }
    decision: ALLOW
  - name: bench-counts
    match: { capability: bench }
    decision: ALLOW_WITH_CONSTRAINTS
    constraints: { max_count: 10 }
limits:
  - { name: calls-per-agent, match: { capability: bench }, per: agent, rate: 60000000/minute, burst: 1000000 }
";

const MANIFEST: &str = r#"
backend:
  name: bench
  mcp: { url: "UPSTREAM", headers: { X-Bench-Key: "${BENCH_SECRET}" } }
  concurrency: 64
  queue: 1024
  secrets: { BENCH_SECRET: { file: "SECRET_FILE" } }
attributes: { capability: bench, action: echo, environment: development }
tools:
  - name: echo
    description: Say the text again.
    attributes: { action_type: read, risk: low }
    input_schema:
      type: object
      additionalProperties: false
      required: [text]
      properties:
        text: { type: string, minLength: 1, maxLength: 10000 }
        count: { type: integer, minimum: 0, maximum: 100 }
        tags: { type: array, maxItems: 10, items: { type: string, pattern: "^[a-z]{1,20}$" } }
        exact: { type: boolean }
  - name: echo_write
    from: echo
    description: Say the text again, as if that changed something.
    attributes: { action_type: write, risk: low }
    input_schema:
      type: object
      additionalProperties: false
      required: [text]
      properties:
        text: { type: string, minLength: 1, maxLength: 10000 }
        count: { type: integer, minimum: 0, maximum: 100 }
        tags: { type: array, maxItems: 10, items: { type: string, pattern: "^[a-z]{1,20}$" } }
        exact: { type: boolean }
"#;
