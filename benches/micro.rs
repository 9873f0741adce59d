//! The parts of a governed call, and the whole of it, in one process: `cargo bench --bench micro`.

#[path = "end_to_end/settings.rs"]
mod settings;
#[path = "end_to_end/upstream.rs"]
mod upstream;

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign::authentication::Agents;
use countersign::backend::command;
use countersign::backend::confinement::{Confinement, Places};
use countersign::call::{self, Answer, Request};
use countersign::catalog::sandbox::Grants;
use countersign::catalog::{CheckedArguments, Tool};
use countersign::clock::{Clock, SystemClock};
use countersign::config::{Config, Edge, Holds};
use countersign::digest;
use countersign::gateway::Gateway;
use countersign::ids::CallId;
use countersign::json::{self, Object};
use countersign::policy::{Decision, Facts};
use countersign::principal::Principal;
use countersign::server;
use countersign::storage::sqlite::SqliteStore;
use divan::{Bencher, Divan};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// How long the gateway may take to learn what the upstream offers.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every benchmark needs; a failure to make it is told by `main`.
static BENCH: LazyLock<Result<Bench>> = LazyLock::new(Bench::open);

struct Bench {
    runtime: Runtime,
    gateway: Arc<Gateway>,
    principal: Principal,
    directory: TempDir,
}

/// What a call of a program costs that does nothing, as a plain child of the gateway and confined.
#[divan::bench(args = ["plain", "confined"])]
fn run_program(bencher: Bencher<'_, '_>, how: &str) {
    let Ok(bench) = &*BENCH else { return };
    let home = bench.directory.path().join("temporary");
    let confinement = Confinement::new(Grants::default(), Places::default(), home)
        .with_program(env!("CARGO_BIN_EXE_countersign").into());
    let confinement = Some(&confinement).filter(|_| how == "confined");
    let limits = command::Limits {
        deadline: PATIENCE,
        max_output_bytes: 1024,
        max_error_bytes: 1024,
        grace: PATIENCE,
    };
    bencher.bench_local(|| {
        let command = command::Command {
            program: Path::new("/bin/true"),
            argv: Vec::new(),
            stdin: None,
            environment: Vec::new(),
            working_directory: None,
            call: CallId::new(),
            confinement,
        };
        bench.runtime.block_on(command::run(command, limits, CancellationToken::new()))
    });
}

fn main() -> Result<()> {
    if let Err(error) = &*BENCH {
        anyhow::bail!("{error:#}");
    }
    Divan::from_args().main();
    Ok(())
}

/// Strict reading of a request of 300 bytes.
#[divan::bench]
fn read_json(bencher: Bencher<'_, '_>) {
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments() });
    let text = text.to_string();
    bencher.bench_local(|| json::parse(black_box(text.as_bytes())));
}

/// Arguments against the tool's schema.
#[divan::bench]
fn check_schema(bencher: Bencher<'_, '_>) {
    with_tool(bencher, |bencher, _, tool| {
        bencher.with_inputs(arguments).bench_local_values(|arguments| tool.check(arguments));
    });
}

/// What an approval would be bound to.
#[divan::bench]
fn call_digest(bencher: Bencher<'_, '_>) {
    with_tool(bencher, |bencher, bench, tool| {
        let (agent, arguments) = (bench.principal.agent(), arguments());
        bencher.bench_local(|| {
            digest::call_digest(agent, tool.name(), tool.fingerprint(), black_box(&arguments))
        });
    });
}

/// The decision, with the shipped rules and the bench's own, digest included.
#[divan::bench]
fn decide(bencher: Bencher<'_, '_>) {
    with_tool(bencher, |bencher, bench, tool| {
        let revision = bench.gateway.revision();
        let checked = || -> Option<CheckedArguments> { tool.check(arguments()).ok() };
        bencher.with_inputs(checked).bench_local_values(|checked| {
            let principal = &bench.principal;
            let facts = |checked| Facts {
                principal,
                workflow: None,
                client: None,
                checked,
                approval: None,
                standing: &[],
                spent: &[],
                holds: &[],
                now: jiff::Timestamp::UNIX_EPOCH,
            };
            checked.map(|checked| revision.policy.decide(facts(checked)))
        });
    });
}

/// One governed call, from arrival to reply; its record in the commit queue.
#[divan::bench]
fn call_read(bencher: Bencher<'_, '_>) {
    governed(bencher, "echo");
}

/// One governed call, from arrival to reply; its intent on the disk before it runs.
#[divan::bench]
fn call_write(bencher: Bencher<'_, '_>) {
    governed(bencher, "echo_write");
}

fn governed(bencher: Bencher<'_, '_>, tool: &str) {
    let Ok(bench) = &*BENCH else { return };
    bencher.bench_local(|| bench.runtime.block_on(bench.call(tool)));
}

fn with_tool(bencher: Bencher<'_, '_>, run: impl FnOnce(Bencher<'_, '_>, &Bench, &Arc<Tool>)) {
    let Ok(bench) = &*BENCH else { return };
    let revision = bench.gateway.revision();
    if let Some(tool) = revision.catalog.available("echo") {
        run(bencher, bench, tool);
    }
}

fn arguments() -> Object {
    let text = "the quick brown fox jumps over the lazy dog, twice a day";
    match json!({ "text": text, "count": 3, "tags": ["a", "b"], "exact": true }) {
        Value::Object(arguments) => arguments,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Object::new()
        }
    }
}

impl Bench {
    fn open() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let gateway = runtime.block_on(start(&directory))?;
        let principal = Agents::default().local(&"bench".parse()?, "bench");
        let principal = principal.ok_or_else(|| anyhow::anyhow!("no principal"))?;
        let bench = Self { runtime, gateway, principal, directory };
        // What is measured must be what it is called: calls that run.
        for tool in ["echo", "echo_write"] {
            let answer = bench.runtime.block_on(bench.call(tool));
            ensure!(matches!(answer, Answer::Result(_)), "`{tool}` was answered {answer:?}");
        }
        let revision = bench.gateway.revision();
        let checked = revision.catalog.available("echo").map(|tool| tool.check(arguments()));
        let Some(Ok(checked)) = checked else {
            anyhow::bail!("`echo` does not take its arguments")
        };
        let principal = &bench.principal;
        let facts = Facts {
            principal,
            workflow: None,
            client: None,
            checked,
            approval: None,
            standing: &[],
            spent: &[],
            holds: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let decision = revision.policy.decide(facts);
        ensure!(matches!(decision, Decision::Permit(_)), "decided {decision:?}");
        Ok(bench)
    }

    async fn call(&self, tool: &str) -> Answer {
        let request = Request {
            call: CallId::new(),
            principal: self.principal.clone(),
            tool: tool.to_owned(),
            arguments: arguments(),
            client: None,
            workflow: None,
            compensates: None,
            reason: None,
            hold: None,
            approval: None,
            cancel: CancellationToken::new(),
            contact: countersign::backend::Contact::default(),
        };
        call::run(Arc::clone(&self.gateway), request).await
    }
}

async fn start(directory: &TempDir) -> Result<Arc<Gateway>> {
    // The shipped manifests make their workspace where the gateway runs.
    std::env::set_current_dir(directory)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    tokio::spawn(upstream::serve(listener));
    settings::write(directory.path(), &url)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let data = directory.path().join("data");
    let store = SqliteStore::open(&data, Arc::clone(&clock))?;
    let config = Config {
        listens: false,
        file: None,
        listen: "127.0.0.1:0".to_owned(),
        data,
        policies: directory.path().join("policies"),
        tool_manifests: directory.path().join("tool-manifests"),
        watch: false,
        definitions: countersign::config::Definitions::default(),
        holds: Holds::default(),
        workflows: countersign::config::Workflows::default(),
        edge: Edge::default(),
        notifications: countersign::notify::Settings::default(),
        public_url: None,
        authentication: countersign::authentication::Settings::default(),
        path: "/usr/bin:/bin".to_owned(),
        user: "bench".to_owned(),
    };
    let gateway = Gateway::open(config, Arc::clone(&clock), Arc::new(store)).await?;
    let sockets = server::Sockets::bind(&gateway.config.data)?;
    tokio::spawn(server::run(Arc::clone(&gateway), sockets, None, CancellationToken::new()));
    let until = clock.monotonic() + PATIENCE;
    while gateway.revision().catalog.available("echo").is_none() {
        ensure!(clock.monotonic() < until, "the upstream was not learned");
        clock.sleep(Duration::from_millis(20)).await;
    }
    Ok(gateway)
}
