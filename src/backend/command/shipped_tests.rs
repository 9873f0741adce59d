//! Runs every tool of the shipped manifests as the gateway would, in a workspace of its own.

use std::os::unix::fs::symlink;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::catalog::template::{Part, Template};
use crate::json::Object;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[derive(Deserialize)]
struct Manifest {
    backend: Backend,
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
struct Backend {
    command: Program,
    #[serde(default)]
    max_output_bytes: Option<usize>,
}

#[derive(Deserialize)]
struct Program {
    program: String,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    title: String,
    description: String,
    attributes: Value,
    input_schema: Object,
    run: Vec<Part>,
    stdin: Option<String>,
    rollback: Option<Value>,
}

fn manifest(name: &str) -> Manifest {
    let file = format!("{}/tool-manifests/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
}

fn validator(schema: &Object) -> Validator {
    let linear = jsonschema::PatternOptions::regex();
    jsonschema::options()
        .with_pattern_options(linear)
        .build(&Value::Object(schema.clone()))
        .unwrap()
}

/// A workspace with the tools of one manifest.
struct Bench {
    manifest: Manifest,
    program: PathBuf,
    workspace: TempDir,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Refused,
    Failed(String),
    Text(String),
}

impl Bench {
    /// `None` where the manifest's program is not installed, as a catalog would hide its tools.
    fn of(name: &str) -> Option<Self> {
        let manifest = manifest(name);
        let program = find_program(&manifest.backend.command.program, OsStr::new(PATH))?;
        Some(Self { manifest, program, workspace: tempfile::tempdir().unwrap() })
    }

    async fn call(&self, tool: &str, arguments: Value) -> Answer {
        let tool = self.manifest.tools.iter().find(|one| one.name == tool).unwrap();
        let Value::Object(object) = &arguments else { panic!("not an object") };
        if !validator(&tool.input_schema).is_valid(&arguments) {
            return Answer::Refused;
        }
        let template =
            Template::compile(&tool.run, tool.stdin.as_deref(), &tool.input_schema).unwrap();
        let Ok(rendered) = template.render(object) else { return Answer::Refused };
        let variable = |name: &str, value: &str| (name.to_owned(), SecretString::from(value));
        let command = Command {
            program: &self.program,
            argv: rendered.argv,
            stdin: rendered.stdin,
            environment: vec![
                variable("PATH", PATH),
                variable("HOME", "/nonexistent"),
                variable("LANG", "C.UTF-8"),
            ],
            working_directory: Some(self.workspace.path()),
            call: CallId::new(),
            confinement: None,
        };
        let limits = Limits {
            deadline: Duration::from_secs(20),
            max_output_bytes: self.manifest.backend.max_output_bytes.unwrap_or(1 << 20),
            max_error_bytes: 4096,
            grace: Duration::from_secs(1),
        };
        let finished = run(command, limits, CancellationToken::new()).await.unwrap();
        let text = into_result(finished, Output::Text).unwrap();
        let result: Value = serde_json::from_str(text.0.get()).unwrap();
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        if result["isError"] == true { Answer::Failed(text) } else { Answer::Text(text) }
    }

    async fn text(&self, tool: &str, arguments: Value) -> String {
        match self.call(tool, arguments).await {
            Answer::Text(text) => text,
            other @ (Answer::Refused | Answer::Failed(_)) => panic!("{tool}: {other:?}"),
        }
    }

    async fn failure(&self, tool: &str, arguments: Value) -> String {
        match self.call(tool, arguments).await {
            Answer::Failed(text) => text,
            other @ (Answer::Refused | Answer::Text(_)) => panic!("{tool}: {other:?}"),
        }
    }
}

#[test]
fn every_tool_compiles_and_says_what_it_is() {
    for name in ["files", "git", "sqlite", "system", "kubernetes"] {
        for tool in manifest(name).tools {
            Template::compile(&tool.run, tool.stdin.as_deref(), &tool.input_schema)
                .unwrap_or_else(|error| panic!("{}: {error}", tool.name));
            validator(&tool.input_schema);
            assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
            assert!(!tool.title.is_empty() && tool.description.ends_with('.'), "{}", tool.name);
            for attribute in ["action", "action_type", "risk"] {
                assert!(tool.attributes[attribute].is_string(), "{}: {attribute}", tool.name);
            }
            if tool.name != "kubernetes_deploy" {
                let properties = tool.input_schema["properties"].as_object().unwrap();
                assert!(
                    properties.values().all(|one| one["description"].is_string()),
                    "{}",
                    tool.name
                );
            }
        }
    }
    let kubernetes = manifest("kubernetes").tools;
    let undo = kubernetes[0].rollback.as_ref().unwrap()["tool"].as_str().unwrap();
    assert!(kubernetes.iter().any(|tool| tool.name == undo));
}

#[test]
fn a_deployment_is_scaled_by_an_argument_vector() {
    let tool = manifest("kubernetes").tools.remove(0);
    let template = Template::compile(&tool.run, None, &tool.input_schema).unwrap();
    let arguments = json!({ "name": "web", "namespace": "--all; x", "replicas": 3 });
    assert_eq!(
        template.render(arguments.as_object().unwrap()).unwrap().argv,
        ["scale", "deployment/web", "--namespace=--all; x", "--replicas=3"]
    );
}

#[tokio::test]
async fn files_are_written_read_listed_and_deleted() {
    let bench = Bench::of("files").unwrap();
    let content = "first\n$(id) `id` 'é'\n";
    for path in ["a.txt", "deep/er/.hidden file", "..odd", "deep/-dash"] {
        bench.text("write_file", json!({ "path": path, "content": content })).await;
        assert_eq!(bench.text("read_file", json!({ "path": path })).await, content);
        let part = json!({ "path": path, "offset": 6, "length": 5 });
        assert_eq!(bench.text("read_file", part).await, "$(id)");
    }
    bench.text("write_file", json!({ "path": "a.txt", "content": "" })).await;
    assert_eq!(bench.text("read_file", json!({ "path": "a.txt" })).await, "");
    let listed = bench.text("list_files", json!({})).await;
    let mut paths: Vec<_> =
        listed.lines().map(|line| line.splitn(5, ' ').last().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["..odd", "a.txt", "deep", "deep/-dash", "deep/er", "deep/er/.hidden file"]);
    assert!(listed.lines().any(|line| line.starts_with("f 0 2") && line.ends_with(" a.txt")));
    assert_eq!(
        bench.text("list_files", json!({ "directory": "deep/er" })).await.lines().count(),
        1
    );
    assert_eq!(bench.text("list_files", json!({ "max_depth": 1 })).await.lines().count(), 3);

    bench.text("delete_file", json!({ "path": "deep/-dash" })).await;
    assert!(!bench.workspace.path().join("deep/-dash").exists());
    for tool in ["read_file", "delete_file"] {
        let missing = bench.failure(tool, json!({ "path": "deep/-dash" })).await;
        assert!(
            missing.contains("there is no such file in the workspace: deep/-dash"),
            "{missing}"
        );
    }
    bench.failure("delete_file", json!({ "path": "deep/er" })).await;
    bench.failure("write_file", json!({ "path": "deep/er", "content": "" })).await;
    bench.failure("write_file", json!({ "path": "a.txt/b", "content": "" })).await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_workspace() {
    let bench = Bench::of("files").unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "outside").unwrap();
    let workspace = bench.workspace.path();
    std::fs::create_dir_all(workspace.join("a/.git")).unwrap();
    std::fs::write(workspace.join("a/.git/config"), "kept").unwrap();
    symlink(outside.path(), workspace.join("a/directory")).unwrap();
    symlink(&secret, workspace.join("link")).unwrap();
    symlink(outside.path().join("new"), workspace.join("dangling")).unwrap();

    let before = secret.display().to_string();
    for path in [
        "",
        ".",
        "..",
        "/",
        "../x",
        "a/../../x",
        "a/..",
        "a//b",
        "./a",
        "a/./b",
        "a/",
        "-a",
        "a*",
        "[a]",
        "a\\b",
        "a\0b",
        "a\n",
        ".git",
        ".git/config",
        "a/.git/config",
        "database.sqlite",
        "database.sqlite-wal",
        before.as_str(),
    ] {
        for tool in ["read_file", "delete_file"] {
            assert_eq!(bench.call(tool, json!({ "path": path })).await, Answer::Refused, "{path}");
        }
        let write = json!({ "path": path, "content": "x" });
        assert_eq!(bench.call("write_file", write).await, Answer::Refused, "{path}");
        assert_eq!(bench.call("list_files", json!({ "directory": path })).await, Answer::Refused);
    }
    for path in ["link", "a/directory/secret", "a/directory/new", "dangling", "dangling/x"] {
        bench.failure("read_file", json!({ "path": path })).await;
        bench.failure("write_file", json!({ "path": path, "content": "x" })).await;
    }
    bench.failure("delete_file", json!({ "path": "a/directory/secret" })).await;
    bench.text("delete_file", json!({ "path": "link" })).await;
    assert_eq!(bench.text("list_files", json!({ "directory": "a/directory" })).await, "");
    let listed = bench.text("list_files", json!({})).await;
    assert!(!listed.contains("secret") && !listed.contains(".git"), "{listed}");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn git_commits_what_was_staged_and_runs_nothing_else() {
    let Some(bench) = Bench::of("git") else { return };
    let workspace = bench.workspace.path();
    let trap = workspace.join("trapped");
    assert!(bench.failure("git_status", json!({})).await.contains("not a git repository"));
    let made = std::process::Command::new(&bench.program)
        .args(["init", "--quiet", "--initial-branch=main"])
        .arg(workspace)
        .status();
    assert!(made.unwrap().success());
    let hook = workspace.join(".git/hooks/pre-commit");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", trap.display())).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    std::fs::write(workspace.join("a.txt"), "one\n").unwrap();
    assert!(bench.text("git_status", json!({})).await.ends_with("?? a.txt\n"));
    assert!(bench.text("git_diff", json!({})).await.is_empty());
    bench.text("git_add", json!({ "paths": ["a.txt"] })).await;
    assert!(bench.text("git_diff", json!({ "staged": true })).await.contains("+one"));
    bench.text("git_commit", json!({ "message": "-F/etc/passwd\n\nBody" })).await;
    std::fs::write(workspace.join("a.txt"), "two\n").unwrap();
    let diff = bench.text("git_diff", json!({ "revision": "HEAD", "path": "a.txt" })).await;
    assert!(diff.contains("-one\n+two"), "{diff}");
    bench.text("git_commit", json!({ "message": "Second", "all": true })).await;
    let log = bench.text("git_log", json!({ "path": "a.txt" })).await;
    let subjects: Vec<_> = log.lines().map(|line| line.split(" agent: ").last().unwrap()).collect();
    assert_eq!(subjects, ["Second", "-F/etc/passwd"]);
    assert_eq!(bench.text("git_log", json!({ "count": 1 })).await.lines().count(), 1);
    let empty = bench.failure("git_commit", json!({ "message": "Third" })).await;
    assert!(empty.contains("nothing to commit"), "{empty}");
    assert!(!trap.exists());
    for (tool, arguments) in [
        ("git_diff", json!({ "revision": "--output=x" })),
        ("git_diff", json!({ "path": "../x" })),
        ("git_add", json!({ "paths": [] })),
        ("git_add", json!({ "paths": [".git/config"] })),
        ("git_commit", json!({ "message": " " })),
    ] {
        assert_eq!(bench.call(tool, arguments).await, Answer::Refused);
    }
}

#[tokio::test]
async fn the_database_answers_and_stays_a_database() {
    let Some(bench) = Bench::of("sqlite") else { return };
    let workspace = bench.workspace.path();
    bench.failure("database_query", json!({ "sql": "SELECT 1" })).await;
    let create = "CREATE TABLE t(a INTEGER, b); INSERT INTO t VALUES (1, 'x''; --'), (2, NULL);
        SELECT changes() AS inserted";
    assert_eq!(
        bench.text("database_execute", json!({ "sql": create })).await,
        "[{\"inserted\":2}]\n"
    );
    let rows = bench.text("database_query", json!({ "sql": "SELECT * FROM t" })).await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows, json!([{ "a": 1, "b": "x'; --" }, { "a": 2, "b": null }]));
    assert_eq!(bench.text("database_query", json!({ "sql": "SELECT 1 WHERE 0" })).await, "");
    let write = bench.failure("database_query", json!({ "sql": "DELETE FROM t" })).await;
    assert!(write.contains("readonly"), "{write}");
    for sql in [
        "ATTACH 'x.db' AS x",
        "VACUUM INTO 'x.db'",
        "SELECT writefile('x', 'y')",
        "SELECT readfile('/etc/hostname')",
        "SELECT load_extension('x')",
        "SELECT edit('a', 'id')",
    ] {
        bench.failure("database_execute", json!({ "sql": sql })).await;
    }
    for sql in [
        ".shell id",
        " .shell id",
        "\n.shell id",
        "-init",
        "--x\nSELECT 1",
        "",
        "SELECT * FROM FsDir('.')",
        "SELECT * FROM zipfile('z')",
        "PRAGMA Writable_Schema=ON",
    ] {
        for tool in ["database_query", "database_execute"] {
            assert_eq!(bench.call(tool, json!({ "sql": sql })).await, Answer::Refused, "{sql}");
        }
    }
    let hidden = json!({ "sql": "SELECT 1;dRoP/**/TABLE t" });
    assert_eq!(bench.call("database_execute", hidden).await, Answer::Refused);
    let quoted = json!({ "table": "t\"; DELETE FROM t; --" });
    assert_eq!(bench.call("database_drop_table", quoted).await, Answer::Refused);
    bench.failure("database_drop_table", json!({ "table": "missing" })).await;
    bench.text("database_drop_table", json!({ "table": "t" })).await;
    bench.failure("database_query", json!({ "sql": "SELECT * FROM t" })).await;
    assert_eq!(std::fs::read_dir(workspace).unwrap().count(), 1);

    std::fs::rename(workspace.join("database.sqlite"), workspace.join("other")).unwrap();
    symlink("other", workspace.join("database.sqlite")).unwrap();
    bench.failure("database_query", json!({ "sql": "SELECT 1" })).await;
}

#[tokio::test]
async fn the_system_describes_itself() {
    let bench = Bench::of("system").unwrap();
    for sort_by in ["pcpu", "pmem", "rss", "etimes", "pid"] {
        let processes = bench.text("list_processes", json!({ "sort_by": sort_by })).await;
        assert!(processes.contains("COMMAND") && processes.lines().count() > 1, "{processes}");
    }
    bench.text("list_processes", json!({})).await;
    let information = bench.text("system_information", json!({})).await;
    assert!(information.contains("MemTotal") && information.contains("/proc/loadavg"));
    assert!(bench.text("disk_usage", json!({})).await.contains("Mounted on"));
}
