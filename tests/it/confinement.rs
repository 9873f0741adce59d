//! What a confined tool cannot reach, use or leave behind; and that it is unavailable where it cannot be confined.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::harness::{ALLOW_ALL, Builder, TestGateway, until};

/// A tool that runs what it is told in a shell, confined as `sandbox` says, in `@DIR@/workspace`.
fn shell(sandbox: &str) -> String {
    format!(
        r#"
backend:
  name: shell
  command: {{ program: /bin/sh }}
  working_directory: "@DIR@/workspace"
  timeout: 20s
{sandbox}
tools:
  - name: sh
    description: Runs a script.
    attributes: {{ action_type: write }}
    input_schema:
      type: object
      required: [script]
      properties: {{ script: {{ type: string }} }}
    run: ["-c", "${{script}}"]
"#
    )
}

fn confined(sandbox: &str) -> Builder {
    TestGateway::builder().manifest("shell.yaml", &shell(sandbox)).policy("all.yaml", ALLOW_ALL)
}

fn run(client: &Modern, script: &str) -> Value {
    client.call("sh", json!({ "script": script }))
}

/// What a script prints that is run whatever of it fails.
#[track_caller]
fn output(client: &Modern, script: &str) -> String {
    said(&run(client, &format!("{{ {script}\n}} 2>&1; exit 0")))
}

const WRITES: &str = "  sandbox: { write: [\"@DIR@/workspace\"] }";

#[test]
fn a_confined_tool_reads_and_writes_what_it_was_granted_and_nothing_else() {
    let gateway = confined(WRITES).prepare();
    let outside = gateway.dir().join("outside");
    fs::create_dir_all(gateway.dir().join("workspace")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of others").unwrap();
    symlink(&outside, gateway.dir().join("workspace/link")).unwrap();
    let mut gateway = gateway;
    gateway.launch();
    let client = gateway.modern("a");
    assert_eq!(output(&client, "echo in > file; mkdir d; mv file d/; cat d/file"), "in\n");
    let outside = outside.display();
    for path in [format!("{outside}/secret"), "link/secret".into(), "d/../link/secret".into()] {
        let told =
            output(&client, &format!("cat '{path}'; cp '{path}' d/copy; ln '{path}' d/hard"));
        assert!(told.contains("denied") && !told.contains("of others"), "{path}: {told}");
    }
    for script in [
        format!("echo x > {outside}/new"),
        "echo x > link/new".to_owned(),
        format!(": > {outside}/secret"),
        format!("rm {outside}/secret"),
        format!("mv {outside}/secret d/"),
        format!("chmod 777 {outside}/secret"),
        format!("ls {outside}"),
        "ls /root /home".to_owned(),
        "cat /etc/shadow".to_owned(),
        "mknod d/disk b 8 0".to_owned(),
        "cp /bin/true d/; d/true".to_owned(),
    ] {
        let told = output(&client, &script);
        assert!(told.contains("denied") || told.contains("not permitted"), "{script}: {told}");
    }
    assert_eq!(fs::read_to_string(format!("{outside}/secret")).unwrap(), "of others");
    assert_eq!(fs::read_dir(outside.to_string()).unwrap().count(), 1);
}

#[test]
fn a_confined_tool_does_not_write_without_a_grant() {
    let gateway = confined("  sandbox: {}").start();
    fs::write(gateway.dir().join("workspace/file"), "readable").unwrap();
    let client = gateway.modern("a");
    let told = output(&client, "cat file; echo x >> file; touch new; rm file");
    assert!(told.starts_with("readable"), "{told}");
    assert_eq!(fs::read_to_string(gateway.dir().join("workspace/file")).unwrap(), "readable");
    assert_eq!(fs::read_dir(gateway.dir().join("workspace")).unwrap().count(), 1);
}

/// What agents could act for people with, or decide about themselves with.
#[test]
fn cve_2025_53773_the_gateways_own_files_and_sockets_are_out_of_reach() {
    let gateway =
        confined("  sandbox: { write: [\"@DIR@/workspace\"], read: [/proc], network: true }");
    let gateway = gateway.env("COUNTERSIGN_CANARY", "canary-of-the-gateway").start();
    let client = gateway.modern("a");
    let dir = gateway.dir().display().to_string();
    fs::write(gateway.dir().join("person.token"), "csp_token").unwrap();
    for file in [
        "data/countersign.db",
        "data/request-state.key",
        "data/lock",
        "person.token",
        "policies/all.yaml",
        "countersign.yaml",
    ] {
        let told = output(
            &client,
            &format!("cat {dir}/{file}; echo x > {dir}/{file}; rm -f {dir}/{file}"),
        );
        assert!(told.contains("denied"), "{file}: {told}");
        assert!(gateway.dir().join(file).metadata().unwrap().len() > 2 || file == "data/lock");
    }
    let process = gateway.process_id();
    let script = format!(
        "cat /proc/{process}/environ /proc/{process}/mem /proc/{process}/maps; ls -l /proc/{process}/fd/ \
         | grep -- '->'; kill -TERM {process}; kill -KILL {process}"
    );
    let told = output(&client, &script);
    assert!(told.contains("denied") && !told.contains("canary"), "{told}");
    for (path, kind) in [("countersign.sock", "STREAM"), ("stdio.sock", "STREAM")] {
        let python = format!(
            "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_{kind}).connect('{dir}/data/{path}')"
        );
        let told = output(&client, &format!("python3 -c \"{python}\""));
        assert!(told.contains("not permitted"), "{told}");
    }
    // It is still there, and its policy as it was.
    assert_eq!(output(&client, "echo alive"), "alive\n");
}

#[test]
fn a_confined_tool_has_no_network_unless_granted() {
    let connect = |url: &str| {
        let port = url.rsplit(':').next().unwrap().to_owned();
        format!(
            "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port})); print('connected')\""
        )
    };
    let gateway = confined("  sandbox: {}").start();
    let client = gateway.modern("a");
    assert!(output(&client, &connect(gateway.url())).contains("not permitted"));
    let pair = "import socket as s; a, b = s.socketpair(); a.send(b'x'); print(b.recv(1)); s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)";
    let told = output(&client, &format!("python3 -c \"{pair}\""));
    assert!(told.contains("b'x'") && told.contains("not permitted"), "{told}");
    let gateway = confined("  sandbox: { network: true }").start();
    let client = gateway.modern("a");
    assert_eq!(output(&client, &connect(gateway.url())), "connected\n");
    for other in [
        "s.AF_UNIX",
        "s.AF_NETLINK, s.SOCK_RAW",
        "s.AF_INET, s.SOCK_RAW",
        "s.AF_PACKET, s.SOCK_RAW",
    ] {
        let told = output(&client, &format!("python3 -c 'import socket as s; s.socket({other})'"));
        assert!(told.contains("not permitted"), "{other}: {told}");
    }
}

#[test]
fn a_confined_tool_gains_nothing() {
    let gateway = confined(WRITES).start();
    let client = gateway.modern("a");
    let status = said(&run(&client, "exec cat /proc/self/status"));
    for (line, value) in [
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
    ] {
        let found = status.lines().find_map(|one| one.strip_prefix(line)).unwrap();
        assert_eq!(found.trim(), value, "{line}");
    }
    for script in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none .",
        "nsenter -t 1 -m true",
        "strace -o /dev/null true",
    ] {
        if script.starts_with("strace") && !Path::new("/usr/bin/strace").exists() {
            continue;
        }
        let told = output(&client, &format!("{script} && echo it worked"));
        assert!(!told.contains("it worked"), "{script}: {told}");
    }
    // What it is told, no variable and no argument tells it; and nothing is open but its three streams.
    let own = said(&run(&client, "exec tr '\\0' '\\n' < /proc/self/environ"));
    let names: Vec<&str> =
        own.lines().filter_map(|line| line.split_once('=')).map(|it| it.0).collect();
    for name in names {
        let known =
            ["PATH", "LANG", "HOME", "TMPDIR", "COUNTERSIGN_CALL", "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(known.contains(&name), "{own}");
    }
    let open = said(&run(&client, "exec ls /proc/self/fd"));
    assert_eq!(
        open.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"],
        "3 is of `ls` itself"
    );
}

#[test]
fn limits_of_memory_processor_and_files_hold() {
    let sandbox = "  sandbox: { write: [\"@DIR@/workspace\"], memory_bytes: 400000000, cpu: 1s, file_bytes: 1048576, open_files: 16 }";
    let gateway = confined(sandbox).start();
    let client = gateway.modern("a");
    let told = output(&client, "python3 -c 'bytearray(1 << 30)'");
    assert!(told.contains("MemoryError"), "{told}");
    let told = output(&client, "dd if=/dev/zero of=big bs=64k count=64; wc -c < big");
    assert!(told.trim_end().ends_with("1048576"), "{told}");
    let told = output(&client, "python3 -c 'x = [open(\"/dev/null\") for _ in range(32)]'");
    assert!(told.contains("Too many open files"), "{told}");
    let begun = Instant::now();
    let told = refused(&run(&client, "while :; do :; done"));
    assert!(
        (told.contains("SIGXCPU") || told.contains("SIGKILL"))
            && begun.elapsed() < Duration::from_secs(15),
        "{told}"
    );
}

/// Bounded, unlike a bomb: what does not hold here would take the machine with it.
#[test]
fn more_processes_than_allowed_end_the_call_and_all_of_them() {
    let gateway = confined("  sandbox: { processes: 30 }").start();
    let client = gateway.modern("a");
    // In its group; as orphans, each in a session of its own and with nothing in its environment.
    for (each, name) in
        [("sleep 765431 &", "765431"), ("(env -i /usr/bin/setsid /bin/sleep 765432 &)", "765432")]
    {
        let begun = Instant::now();
        let told = refused(&run(
            &client,
            &format!("i=0; while [ $i -lt 90 ]; do {each} i=$((i + 1)); done; sleep 15"),
        ));
        assert!(begun.elapsed() < Duration::from_secs(12), "{told}");
        until("all to be gone", || tasks_named(name).is_empty().then_some(()));
    }
    until("why, in the record", || {
        let record = serde_json::to_string(&gateway.entries()).unwrap();
        record.contains("more than 30 processes").then_some(())
    });
    // Fewer than the limit are fine.
    let told = output(&client, "for i in 1 2 3 4 5 6 7 8; do (sleep 0.3) & done; wait; echo done");
    assert_eq!(told, "done\n");
}

fn tasks_named(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.split('\0').any(|part| part == name))
        .collect()
}

#[test]
fn a_child_in_its_own_session_ends_with_its_call_and_the_call_with_its_gateway() {
    let mut gateway = confined(WRITES).start();
    let client = gateway.modern("a");
    output(&client, "setsid sh -c 'sleep 654321' > /dev/null 2>&1 & echo begun");
    until("the child to be gone", || tasks_named("654321").is_empty().then_some(()));
    let request =
        client.call_request("sh", json!({ "script": "echo begun > began; exec sleep 654322" }));
    let call = crate::harness::RUNTIME.spawn(async move { request.send().await });
    until("the tool to run", || gateway.dir().join("workspace/began").exists().then_some(()));
    until("the tool to sleep", || (!tasks_named("654322").is_empty()).then_some(()));
    // As a power cut would end it: nobody is left to look after the tool.
    gateway.kill();
    until("the tool to be gone", || tasks_named("654322").is_empty().then_some(()));
    call.abort();
    assert_eq!(fs::read_dir(gateway.data().join("temporary")).unwrap().count(), 1);
    gateway.launch();
    let left = gateway.data().join("temporary");
    assert!(!left.exists() || fs::read_dir(left).unwrap().count() == 0);
}

#[test]
fn temporary_files_are_its_own_and_go_with_the_call() {
    let gateway = confined("  sandbox: {}").start();
    let client = gateway.modern("a");
    let script = "echo kept > $TMPDIR/a; mkdir -p $TMPDIR/d/e; ln -s /etc $TMPDIR/d/l; stat -c %A $TMPDIR; echo $TMPDIR; cat $HOME/a; echo x > /tmp/x-$$";
    let told = output(&client, script);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("drwx------"), "{told}");
    assert!(lines[1].starts_with(gateway.data().to_str().unwrap()), "{told}");
    assert!(lines[2] == "kept" && lines[3].contains("denied"), "{told}");
    assert!(!Path::new(lines[1]).exists());
    let second = output(&client, "echo $TMPDIR");
    assert_ne!(second.trim(), lines[1]);
    assert_eq!(fs::read_dir(gateway.data().join("temporary")).unwrap().count(), 0);
    let other = output(&client, &format!("ls {}", gateway.data().join("temporary").display()));
    assert!(other.contains("denied"), "{other}");
}

/// An agent that may write where a grant is puts a link there.
#[test]
fn a_link_put_in_the_way_of_a_grant_moves_no_grant() {
    let gateway =
        confined("  sandbox: { write: [\"@DIR@/workspace\", \"@DIR@/workspace/out\"] }").prepare();
    let out = gateway.dir().join("workspace/out");
    fs::create_dir_all(&out).unwrap();
    fs::create_dir(gateway.dir().join("secrets")).unwrap();
    let mut gateway = gateway;
    gateway.launch();
    let client = gateway.modern("a");
    assert_eq!(output(&client, "rmdir out; ln -s ../secrets out; echo swapped"), "swapped\n");
    let told = refused(&run(&client, "echo x > out/x"));
    assert!(told.contains("Nothing ran"), "{told}");
    until("why, in the record", || {
        let record = serde_json::to_string(&gateway.entries()).unwrap();
        record.contains("which is granted").then_some(())
    });
    assert_eq!(fs::read_dir(gateway.dir().join("secrets")).unwrap().count(), 0);
}

#[test]
fn grants_that_reach_the_gateway_itself_make_a_tool_unavailable() {
    for (grant, said) in [
        ("write: [\"@DIR@\"]", "data directory"),
        ("read: [\"@DIR@/data\"]", "data directory"),
        ("read: [/]", "data directory"),
        ("write: [\"@DIR@/policies\"]", "where the gateway's"),
        ("write: [\"@DIR@/tool-manifests/shell.yaml\"]", "where the gateway's"),
        ("write: [\"@DIR@/countersign.yaml\"]", "where the gateway's"),
    ] {
        let gateway = confined(&format!("  sandbox: {{ {grant} }}")).start();
        let tools = gateway.cli(&["catalog", "list"]).done();
        assert!(tools.contains(said), "{grant}: {tools}");
    }
}

#[test]
fn a_tool_that_cannot_be_confined_is_unavailable_and_not_unconfined() {
    for (kernel, why) in [("no-landlock", "Landlock"), ("no-seccomp", "seccomp")] {
        let gateway = confined("  sandbox: {}").env("COUNTERSIGN_TEST_KERNEL", kernel).start();
        let tools = gateway.cli(&["catalog", "list"]).done();
        assert!(tools.contains("cannot be confined") && tools.contains(why), "{tools}");
        let doctor = gateway.cli(&["doctor"]).stdout;
        let line = doctor.lines().find(|line| line.contains("confinement")).unwrap();
        assert!(line.starts_with("WRONG") && line.contains(why), "{doctor}");
        let called = gateway.cli(&["call", "sh", r#"{"script":"echo ran"}"#]);
        assert!(called.code != 0 && !called.stdout.contains("ran"), "{called:?}");
        let free = confined("  sandbox: unconfined").env("COUNTERSIGN_TEST_KERNEL", kernel).start();
        assert_eq!(output(&free.modern("a"), "echo ran"), "ran\n");
    }
    // One that cannot tell whose processes are signalled: then none are.
    let gateway = confined("  sandbox: {}").env("COUNTERSIGN_TEST_KERNEL", "old-landlock").start();
    let told = output(&gateway.modern("a"), "kill -0 $$; echo still here");
    assert!(told.contains("not permitted") && told.contains("still here"), "{told}");
}

#[test]
fn what_is_wrong_with_a_sandbox_is_told_with_its_place() {
    for (sandbox, said) in [
        ("  sandbox: off", "unconfined"),
        ("  sandbox: { reads: [/x] }", "reads"),
        ("  sandbox: { write: [\"../x\"] }", "goes up"),
        ("  sandbox: { processes: 0 }", "between 1 and"),
        ("  sandbox: { memory_bytes: 1 }", "between"),
    ] {
        let failed = confined(sandbox).expect_start_failure();
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(
            failed.stderr.contains("shell.yaml:7") && failed.stderr.contains(said),
            "{failed:?}"
        );
    }
}

/// The word of the gateway's own program for a process that confines itself is of no use to anybody else.
#[test]
fn the_word_of_the_shim_is_for_the_gateway_itself() {
    for arguments in
        [&["__confine"][..], &["__confine", "{}", "sh"], &["__confine", "sh", "-c", "echo ran"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = crate::harness::run(command);
        assert!(ended.code == 2 && ended.stdout.is_empty(), "{ended:?}");
    }
}

/// Every tool that is shipped runs confined: the granted work, and what leads out of the workspace fails.
#[test]
fn shipped_tools_work_in_their_sandboxes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tool-manifests");
    let mut builder = TestGateway::builder().policy("all.yaml", ALLOW_ALL);
    for name in ["files", "git", "sqlite", "system"] {
        let text = fs::read_to_string(root.join(format!("{name}.yaml"))).unwrap();
        builder = builder.manifest(&format!("{name}.yaml"), &text);
    }
    let mut gateway = builder.prepare();
    let workspace = gateway.dir().join("workspace");
    fs::create_dir(&workspace).unwrap();
    let made = Command::new("git").args(["init", "-q"]).arg(&workspace).status();
    assert!(made.unwrap().success());
    let outside = gateway.dir().join("workspace-evil");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of others").unwrap();
    symlink("../workspace-evil", workspace.join("link")).unwrap();
    gateway.launch();
    let client = gateway.modern("a");
    let works = |tool: &str, arguments: Value| {
        let result = client.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        said(&result)
    };
    works("write_file", json!({ "path": "notes/a.txt", "content": "one\n" }));
    works("write_file", json!({ "path": "notes/a.txt", "content": "two\n" }));
    assert_eq!(works("read_file", json!({ "path": "notes/a.txt" })), "two\n");
    assert!(works("list_files", json!({})).contains("notes/a.txt"));
    works("git_add", json!({ "paths": ["notes"] }));
    works("git_commit", json!({ "message": "First" }));
    assert!(works("git_log", json!({})).contains("First"));
    works("write_file", json!({ "path": "notes/a.txt", "content": "three\n" }));
    assert!(
        works("git_diff", json!({})).contains("+three")
            && works("git_status", json!({})).contains("a.txt")
    );
    works("delete_file", json!({ "path": "notes/a.txt" }));
    works("database_execute", json!({ "sql": "CREATE TABLE t(a); INSERT INTO t VALUES (1)" }));
    assert!(works("database_query", json!({ "sql": "SELECT a FROM t" })).contains("1"));
    works("database_drop_table", json!({ "table": "t" }));
    assert!(works("list_processes", json!({})).contains("COMMAND"));
    assert!(works("system_information", json!({})).contains("MemTotal"));
    assert!(works("disk_usage", json!({})).contains("Mounted on"));
}

/// The file server that was fooled by prefixes, links and encodings.
#[test]
fn cve_2025_53109_and_53110_paths_of_shipped_tools_stay_in_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tool-manifests/files.yaml");
    let mut gateway = TestGateway::builder()
        .policy("all.yaml", ALLOW_ALL)
        .manifest("files.yaml", &fs::read_to_string(root).unwrap())
        .prepare();
    let (workspace, outside) =
        (gateway.dir().join("workspace"), gateway.dir().join("workspace-evil"));
    fs::create_dir(&workspace).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of others").unwrap();
    symlink("../workspace-evil", workspace.join("link")).unwrap();
    symlink("../workspace-evil/secret", workspace.join("file")).unwrap();
    gateway.launch();
    let client = gateway.modern("a");
    let absolute = outside.join("secret").display().to_string();
    for path in [
        absolute.as_str(),
        "../workspace-evil/secret",
        "link/secret",
        "file",
        "..%2fworkspace-evil%2fsecret",
        "%2e%2e/workspace-evil/secret",
        "%252e%252e%252fworkspace-evil%252fsecret",
        "notes/../../workspace-evil/secret",
        "link/../../workspace-evil/secret",
        "secret\u{0}.txt",
        "\u{ff0e}\u{ff0e}/workspace-evil/secret",
        "-rf",
        "--help",
    ] {
        for (tool, arguments) in [
            ("read_file", json!({ "path": path })),
            ("write_file", json!({ "path": path, "content": "x" })),
            ("delete_file", json!({ "path": path })),
            ("list_files", json!({ "directory": path })),
        ] {
            let response =
                client.request("tools/call", json!({ "name": tool, "arguments": arguments }));
            assert!(!response.to_string().contains("of others"), "{tool} {path}: {response}");
        }
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "of others", "{path}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{path}");
    }
    for name in ["policies", "tool-manifests", "data"] {
        let path = format!("../{name}/x.yaml");
        refused(&client.call("write_file", json!({ "path": path, "content": "rules: []" })));
        assert!(!gateway.dir().join(name).join("x.yaml").exists());
    }
}

/// Whoever may write policies decides: an agent's tool, run as anybody, would be enough.
#[test]
fn cve_2025_53773_files_that_anybody_may_write_keep_the_gateway_from_starting() {
    // The last is the directory above all of them, in which each could be replaced.
    for name in ["policies/all.yaml", "tool-manifests", "countersign.yaml", ""] {
        let gateway = confined("  sandbox: {}").prepare();
        let path = gateway.dir().join(name);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o002)).unwrap();
        let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
        let told = format!("chmod o-w {}", path.file_name().unwrap().display());
        let told = told.rsplit(' ').next().unwrap();
        assert_eq!(failed.code, 1, "{failed:?}");
        assert!(
            failed.stderr.contains("anybody on this machine may write")
                && failed.stderr.contains(told),
            "{failed:?}"
        );
    }
    // In a sticky directory only the owner of a file may replace it.
    let mut gateway = confined("  sandbox: {}").prepare();
    fs::set_permissions(gateway.dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    gateway.launch();
}
