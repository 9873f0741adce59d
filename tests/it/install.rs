//! `countersign install`: what it writes for each client, that the clients' own way reaches the gateway, and that
//! nothing that was in a file is lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::clients::{Client, MODERN, Modern, Stdio};
use crate::harness::{Output, PROGRAM, run};
use crate::starter::{NewUser, files};

/// Every client, and the file it reads by default and for a user.
const CLIENTS: [(&str, &str, &str); 5] = [
    ("claude-code", "my work/.mcp.json", "home/.claude.json"),
    (
        "claude-desktop",
        "home/.config/Claude/claude_desktop_config.json",
        "home/.config/Claude/claude_desktop_config.json",
    ),
    ("cursor", "my work/.cursor/mcp.json", "home/.cursor/mcp.json"),
    ("vscode", "my work/.vscode/mcp.json", "home/.config/Code/User/mcp.json"),
    ("codex", "home/.codex/config.toml", "home/.codex/config.toml"),
];

fn ready() -> NewUser {
    let user = NewUser::new();
    user.cli(&["init"]).done();
    user
}

/// What a file says, with the places of this run replaced.
fn golden(user: &NewUser, file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let program = fs::canonicalize(PROGRAM).unwrap();
    text.replace(program.to_str().unwrap(), "PROGRAM")
        .replace(user.home().to_str().unwrap(), "HOME")
        .replace(user.here().to_str().unwrap(), "HERE")
}

fn arguments(agent: &str) -> String {
    format!(
        r#"["--directory", "HERE", "stdio", "--agent", "{agent}", "--data", "HOME/.local/share/countersign", "--policies", "HERE/policies", "--tool-manifests", "HERE/tool-manifests"]"#
    )
}

fn starting(client: &str) -> String {
    let args = arguments(client);
    match client {
        "codex" => format!("[mcp_servers.countersign]\ncommand = \"PROGRAM\"\nargs = {args}\n"),
        "vscode" => format!(
            "{{\n  \"servers\": {{\n    \"countersign\": {{\n      \"type\": \"stdio\",\n      \"command\": \"PROGRAM\",\n      \"args\": {args}\n    }}\n  }}\n}}\n"
        ),
        _ => format!(
            "{{\n  \"mcpServers\": {{\n    \"countersign\": {{\n      \"command\": \"PROGRAM\",\n      \"args\": {args}\n    }}\n  }}\n}}\n"
        ),
    }
}

#[test]
fn every_client_is_told_to_start_the_program() {
    let user = ready();
    for (client, usual, of_user) in CLIENTS {
        for (scope, file) in [(None, usual), (Some("user"), of_user)] {
            let file = user.at(file);
            let mut arguments = vec!["install", client, "--yes"];
            arguments.extend(scope.map(|it| ["--scope", it]).into_iter().flatten());
            // Claude Desktop and Codex have one file for both.
            let is_new = !file.exists();
            let told = user.cli(&arguments);
            assert_eq!(told.code, 0, "{told:?}");
            assert_eq!(golden(&user, &file), starting(client), "{client}");
            assert_eq!(told.stderr.contains("wrote "), is_new, "{told:?}");
            let again = user.cli(&arguments);
            assert!(again.stderr.starts_with("nothing to change in "), "{again:?}");
            assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{again:?}");
            let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            let of_project = file.starts_with(user.here());
            assert_eq!(mode, if of_project { 0o644 } else { 0o600 }, "{file:?}");
        }
        let gone = user.cli(&["uninstall", client, "--yes"]);
        assert_eq!(gone.code, 0, "{gone:?}");
        let left = fs::read_to_string(user.at(usual)).unwrap();
        assert!(!left.contains("countersign"), "{left}");
        let again = user.cli(&["uninstall", client, "--yes"]);
        assert!(again.stderr.starts_with("nothing to change"), "{again:?}");
    }
    let failed = user.cli(&["install", "codex", "--scope", "project", "--yes"]);
    assert_eq!(failed.code, 2, "{failed:?}");
}

#[test]
fn what_is_written_starts_the_gateway_from_anywhere() {
    let user = ready();
    user.cli(&["install", "claude-code", "--agent", "helper", "--yes"]).done();
    let text = fs::read_to_string(user.here().join(".mcp.json")).unwrap();
    let server = serde_json::from_str::<Value>(&text).unwrap()["mcpServers"]["countersign"].clone();
    assert_eq!(Path::new(server["command"].as_str().unwrap()), fs::canonicalize(PROGRAM).unwrap());
    let words: Vec<_> =
        server["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let mut command = user.command(&words);
    command.current_dir("/");
    let client = Stdio::spawn(command, Arc::new(Mutex::new(String::new()))).begin(MODERN);
    let result = client.call("write_file", json!({ "path": "a", "content": "b" }));
    assert_ne!(result["isError"], json!(true), "{result}");
    assert_eq!(fs::read(user.here().join("workspace/a")).unwrap(), b"b");
    drop(client);
    let calls = user.cli(&["audit", "list", "--output", "json"]).done();
    assert!(calls.contains("\"helper\""), "{calls}");
}

/// A gateway that listens; it ends with the test.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(user: &NewUser) -> Self {
        let mut child = user.command(&["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut url = String::new();
        while url.is_empty() {
            let mut line = String::new();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "it did not listen");
            if let Some(at) = line.strip_prefix("listening on ") {
                url = at.trim().to_owned();
            }
        }
        std::thread::spawn(move || told.lines().map_while(Result::ok).for_each(drop));
        Self { child, url }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn every_client_that_can_is_told_where_the_gateway_listens() {
    let user = ready();
    let failed = user.cli(&["install", "cursor", "--http", "--yes"]);
    assert!(failed.stderr.contains("start `countersign serve` first"), "{failed:?}");
    let serving = Serving::start(&user);
    let entry = |client: &str, servers: &str| {
        let told = user.cli(&["install", client, "--http", "--yes"]);
        assert!(told.stderr.contains("printed this once"), "{told:?}");
        // Known to nobody yet, and it opens the gateway.
        let token = told.done();
        assert!(!Modern::new(&serving.url, token.trim()).tools().is_empty());
        let (_, file, _) = CLIENTS.iter().find(|it| it.0 == client).unwrap();
        let text = fs::read_to_string(user.at(file)).unwrap();
        assert!(!text.contains(token.trim()), "the token stands in {file}");
        if servers.is_empty() {
            return json!(text);
        }
        serde_json::from_str::<Value>(&text).unwrap()[servers]["countersign"].clone()
    };
    let url = format!("{}/mcp", serving.url);
    assert_eq!(
        entry("claude-code", "mcpServers"),
        json!({ "type": "http", "url": url, "headers": { "Authorization": "Bearer ${COUNTERSIGN_TOKEN}" } })
    );
    assert_eq!(
        entry("cursor", "mcpServers"),
        json!({ "url": url, "headers": { "Authorization": "Bearer ${env:COUNTERSIGN_TOKEN}" } })
    );
    assert_eq!(
        entry("vscode", "servers"),
        json!({ "type": "http", "url": url, "headers": { "Authorization": "Bearer ${input:countersign-token}" } })
    );
    let text = fs::read_to_string(user.at("my work/.vscode/mcp.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap()["inputs"],
        json!([{ "type": "promptString", "id": "countersign-token", "description": "Gateway token", "password": true }])
    );
    assert_eq!(
        entry("codex", ""),
        json!(format!(
            "[mcp_servers.countersign]\nurl = \"{url}\"\nbearer_token_env_var = \"COUNTERSIGN_TOKEN\"\n"
        ))
    );
    let failed = user.cli(&["install", "claude-desktop", "--http", "--yes"]);
    assert_eq!(failed.code, 2, "{failed:?}");

    // An agent that is there keeps its token.
    let again = user.cli(&["install", "cursor", "--http", "--scope", "user", "--yes"]);
    assert!(again.stderr.contains("countersign agents rotate cursor"), "{again:?}");
    assert_eq!(again.done(), "");
}

#[test]
fn a_dry_run_prints_the_file_and_writes_nothing() {
    let user = ready();
    let file = user.here().join(".mcp.json");
    fs::write(&file, "{\"mcpServers\":{\"other\":{\"command\":\"x\"}}}").unwrap();
    let before = files(&user.here());
    let told = user.cli(&["install", "claude-code", "--dry-run"]);
    assert!(told.stderr.contains("+    \"countersign\": {"), "{told:?}");
    let printed: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(printed["mcpServers"]["other"], json!({ "command": "x" }));
    assert!(printed["mcpServers"]["countersign"].is_object(), "{printed}");
    // Nor does it without a word of a person.
    let failed = user.cli(&["install", "claude-code"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.ends_with("say `--yes` to write this\n"), "{failed:?}");
    assert_eq!(files(&user.here()), before);
}

/// The backups beside a file.
fn backups(file: &Path) -> Vec<PathBuf> {
    let start = format!("{}.countersign-backup-", file.file_name().unwrap().to_str().unwrap());
    let all = files(file.parent().unwrap()).into_iter().map(|(path, _)| path);
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&start)).collect()
}

#[test]
fn what_was_in_the_file_is_kept_there_and_beside_it() {
    let user = ready();
    let (dotfiles, link) = (user.at("home/dotfiles"), user.at("home/.claude.json"));
    fs::create_dir(&dotfiles).unwrap();
    let real = dotfiles.join("claude.json");
    let text = "{\"numStartups\": 12345678901234567890, \"projects\": {\"/a\": {\"history\": [\"x\"]}},\n  \"mcpServers\": {\"z\": {\"command\": \"z\"}, \"a\": {}}, \"e\": 1e5}";
    fs::write(&real, text).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("dotfiles/claude.json", &link).unwrap();
    let install = ["install", "claude-code", "--scope", "user", "--yes"];
    user.cli(&install).done();
    // What the link leads to is changed, with its mode, and the link stays.
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("dotfiles/claude.json"));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    let changed = fs::read_to_string(&real).unwrap();
    let kept =
        "{\"numStartups\": 12345678901234567890, \"projects\": {\"/a\": {\"history\": [\"x\"]}},\n";
    assert!(changed.starts_with(kept) && changed.ends_with(", \"e\": 1e5}"), "{changed}");
    let [backup] = backups(&real).try_into().unwrap();
    assert_eq!(fs::read_to_string(&backup).unwrap(), text);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    // Two changes of one second do not overwrite each other's backups.
    user.cli(&["uninstall", "claude-code", "--scope", "user", "--yes"]).done();
    user.cli(&install).done();
    assert_eq!(backups(&real).len(), 3);
    let left: Value = serde_json::from_str(&fs::read_to_string(&real).unwrap()).unwrap();
    assert_eq!(
        left["mcpServers"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["z", "a", "countersign"]
    );
}

#[test]
fn files_that_are_not_understood_are_left_as_they_are() {
    let user = ready();
    let file = user.here().join(".mcp.json");
    let huge = vec![b' '; (32 << 20) + 1];
    let deep = "[".repeat(100_000);
    let hostile: [(&[u8], &str); 8] = [
        (b"{", "it is not JSON"),
        (b"\xff\xfe{\0}\0", "is not UTF-8 text"),
        (b"[1]", "is not a JSON object"),
        (b"{\"mcpServers\": []}", "is not an object"),
        (b"{\"mcpServers\": {}, \"mcpServers\": {\"a\": {}}}", "stands in it twice"),
        (b"<<<<<<< HEAD\n{}\n", "it is not JSON"),
        (&huge, "is larger than"),
        (deep.as_bytes(), "it is not JSON"),
    ];
    for (bytes, why) in hostile {
        fs::write(&file, bytes).unwrap();
        let before = files(&user.here());
        let failed = user.cli(&["install", "claude-code", "--yes"]);
        assert_eq!(failed.code, 2, "{why}: {failed:?}");
        assert!(failed.stderr.contains(why), "{why}: {failed:?}");
        assert!(failed.stderr.contains(".mcp.json"), "{why}: {failed:?}");
        let is_same = files(&user.here()) == before;
        assert!(is_same, "{why}: something was written");
    }
    // Whoever has to do it by hand is told what.
    fs::write(&file, "{").unwrap();
    let failed = user.cli(&["install", "claude-code", "--yes"]);
    assert!(
        failed.stderr.contains("put this into it yourself:\n{\n  \"mcpServers\": {"),
        "{failed:?}"
    );
    fs::remove_file(&file).unwrap();
    for (what, is) in [("/nowhere/at/all", "leads nowhere"), ("/dev/zero", "no regular file")] {
        symlink(what, &file).unwrap();
        let failed = user.cli(&["install", "claude-code", "--yes"]);
        assert!(failed.code == 2 && failed.stderr.contains(is), "{failed:?}");
        fs::remove_file(&file).unwrap();
    }
}

/// The command where no file may have a byte: a stand-in for a disk that is full, or a death in the middle.
fn without_room(user: &NewUser, arguments: &[&str]) -> Output {
    let whole = user.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(PROGRAM).args(whole.get_args());
    command.current_dir(user.here()).env_clear();
    for (name, value) in whole.get_envs() {
        command.env(name, value.unwrap());
    }
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    run(command)
}

#[test]
fn a_write_that_fails_loses_nothing() {
    let user = ready();
    let file = user.here().join(".mcp.json");
    fs::write(&file, "{\"mcpServers\": {}, \"mine\": 1}").unwrap();
    let failed = without_room(&user, &["install", "claude-code", "--yes"]);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"mcpServers\": {}, \"mine\": 1}");
    // A place that cannot be a directory.
    fs::write(user.here().join(".cursor"), "a file").unwrap();
    let failed = user.cli(&["install", "cursor", "--yes"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(fs::read_to_string(user.here().join(".cursor")).unwrap(), "a file");
}

#[test]
fn without_rules_nothing_is_installed() {
    let user = NewUser::new();
    let failed = user.cli(&["install", "claude-code", "--yes"]);
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("`countersign init` writes some"), "{failed:?}");
    assert!(files(&user.here()).is_empty());
}

#[test]
fn completions_know_the_commands() {
    let user = NewUser::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = user.cli(&["completions", shell]).done();
        assert!(text.contains("uninstall"), "{shell}");
    }
    let file = user.here().join("completions");
    fs::write(&file, user.cli(&["completions", "bash"]).done()).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
