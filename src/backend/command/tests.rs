use std::fmt::Write as _;

use serde_json::Value;

use super::*;

const LIMITS: Limits = Limits {
    deadline: Duration::from_secs(20),
    max_output_bytes: 64 * 1024,
    max_error_bytes: 1024,
    grace: Duration::from_millis(200),
};

fn script(text: &str) -> Command<'static> {
    Command {
        program: Path::new("/bin/sh"),
        argv: vec!["-c".to_owned(), text.to_owned()],
        stdin: None,
        environment: vec![("PATH".to_owned(), SecretString::from("/usr/bin:/bin"))],
        working_directory: None,
        call: CallId::new(),
        confinement: None,
    }
}

async fn go(command: Command<'_>, limits: Limits) -> Result<Finished, BackendError> {
    run(command, limits, CancellationToken::new()).await
}

fn shown(finished: Finished, output: Output) -> Value {
    serde_json::from_str(into_result(finished, output).unwrap().0.get()).unwrap()
}

/// The processes that carry a call's mark, by their number.
fn marked(call: CallId) -> Vec<String> {
    let mark = format!("{MARK}={call}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| {
            std::fs::read(process.path().join("environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())
            })
        })
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}

fn running(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", id.trim()))
        .is_ok_and(|line| !line.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Waits until `file` has text, which a script writes when it is ready.
async fn text_of(file: &Path) -> String {
    for _ in 0..2000 {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("nothing was written to {}", file.display());
}

async fn until_none(call: CallId, ids: &str) {
    for _ in 0..1000 {
        if marked(call).is_empty() && !ids.split_whitespace().any(running) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("still there: {:?}, of {ids:?}", marked(call));
}

#[tokio::test]
async fn output_input_and_exit_code_come_through() {
    let mut command = script("cat; echo oops >&2; exit 3");
    command.stdin = Some(vec![b'x'; 40_000]);
    let finished = go(command, LIMITS).await.unwrap();
    assert_eq!(finished.status, Status::Code(3));
    assert_eq!(finished.stdout, vec![b'x'; 40_000]);
    assert_eq!(finished.stderr, b"oops\n");
}

#[tokio::test]
async fn input_that_nobody_reads_and_input_that_nobody_gave() {
    let mut command = script("exec true");
    command.stdin = Some(vec![0; 4 * 1024 * 1024]);
    assert_eq!(go(command, LIMITS).await.unwrap().status, Status::Code(0));
    assert_eq!(go(script("cat"), LIMITS).await.unwrap().stdout, b"");
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_the_mark() {
    let mut command = script("exec env");
    command.environment.push(("TOKEN".to_owned(), SecretString::from("s3cret")));
    let mut expected = String::from("PATH=/usr/bin:/bin\nTOKEN=s3cret\n");
    writeln!(expected, "{MARK}={}", command.call).unwrap();
    let finished = go(command, LIMITS).await.unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    let lines = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            // The shell itself exports where it is.
            .filter(|line| {
                !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own))
            })
            .map(ToOwned::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&text), lines(&expected));
}

#[tokio::test]
async fn it_runs_where_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let mut command = script("pwd -P");
    command.working_directory = Some(&path);
    let finished = go(command, LIMITS).await.unwrap();
    assert_eq!(String::from_utf8(finished.stdout).unwrap().trim_end(), path.to_str().unwrap());
    let missing = path.join("missing");
    let mut command = script("true");
    command.working_directory = Some(&missing);
    let refused = go(command, LIMITS).await.unwrap_err();
    assert!(matches!(&refused, BackendError::Unavailable(why) if why.contains("missing")));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_unavailable() {
    let mut command = script("");
    command.program = Path::new("/nonexistent/program");
    let refused = go(command, LIMITS).await.unwrap_err();
    assert!(
        matches!(&refused, BackendError::Unavailable(why) if why.contains("/nonexistent/program"))
    );
}

#[tokio::test]
async fn at_the_deadline_a_grandchild_in_its_own_session_dies_too() {
    let directory = tempfile::tempdir().unwrap();
    let ids = directory.path().join("ids");
    // One that leaves the session, one that also loses its parent, one that also hides the mark, and
    // one that ignores SIGTERM.
    let command = script(&format!(
        "trap '' TERM
         setsid sh -c 'echo $$ >> {ids}; sleep 1000' &
         (setsid sh -c 'echo $$ >> {ids}; sleep 1001' &)
         env -i /usr/bin/setsid /bin/sh -c 'echo $$ >> {ids}; /bin/sleep 1002' &
         while [ $(wc -l < {ids}) -lt 3 ]; do :; done
         sleep 1003; sleep 1004",
        ids = ids.display()
    ));
    std::fs::write(&ids, "").unwrap();
    let call = command.call;
    let limits = Limits { deadline: Duration::from_secs(8), ..LIMITS };
    let ended = go(command, limits).await.unwrap_err();
    assert!(matches!(ended, BackendError::Timeout(limit) if limit == limits.deadline), "{ended}");
    let ids = std::fs::read_to_string(&ids).unwrap();
    assert_eq!(ids.lines().count(), 3);
    assert!(!ids.lines().any(running), "{ids}");
    assert_eq!(marked(call), Vec::<String>::new());
}

#[tokio::test]
async fn cancel_gives_it_time_to_clean_up() {
    let directory = tempfile::tempdir().unwrap();
    let (ready, cleaned) = (directory.path().join("ready"), directory.path().join("cleaned"));
    let command = script(&format!(
        "trap 'echo done > {}; exit 0' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        cleaned.display(),
        ready.display()
    ));
    let call = command.call;
    let cancel = CancellationToken::new();
    let limits = Limits { grace: Duration::from_secs(10), ..LIMITS };
    let cancelling = async {
        text_of(&ready).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(run(command, limits, cancel.clone()), cancelling);
    assert!(matches!(ended, Err(BackendError::Cancelled)));
    assert_eq!(std::fs::read_to_string(&cleaned).unwrap(), "done\n");
    assert_eq!(marked(call), Vec::<String>::new());
    let refused = run(script("true"), LIMITS, cancel).await;
    assert!(matches!(refused, Err(BackendError::Cancelled)));
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let command = script("setsid yes & exec yes");
    let call = command.call;
    let ended = go(command, LIMITS).await.unwrap_err();
    assert!(matches!(ended, BackendError::TooLarge { limit } if limit == LIMITS.max_output_bytes));
    assert_eq!(marked(call), Vec::<String>::new());
    let fits = script("head -c 65536 /dev/zero");
    assert_eq!(go(fits, LIMITS).await.unwrap().stdout.len(), 65536);
    let over = script("head -c 65537 /dev/zero");
    assert!(matches!(go(over, LIMITS).await, Err(BackendError::TooLarge { .. })));
}

#[tokio::test]
async fn of_standard_error_the_end_is_kept() {
    let finished = go(script("yes | head -n 100000 >&2; echo last >&2"), LIMITS).await.unwrap();
    assert_eq!(finished.stderr.len(), LIMITS.max_error_bytes);
    assert!(finished.stderr.ends_with(b"y\nlast\n"));
}

#[tokio::test]
async fn what_it_leaves_behind_neither_delays_nor_outlives_it() {
    for leave in ["setsid sleep 1000 &", "setsid sleep 1000 >/dev/null 2>&1 &", "sleep 1000 &"] {
        let command = script(&format!("echo out; {leave} exit 0"));
        let call = command.call;
        let finished = go(command, LIMITS).await.unwrap();
        assert_eq!((finished.status, finished.stdout.as_slice()), (Status::Code(0), &b"out\n"[..]));
        assert_eq!(marked(call), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_dropped_future_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ids");
    let command = script(&format!(
        "setsid sh -c 'echo $PPID $$ > {}; sleep 1000' & sleep 1000",
        file.display()
    ));
    let call = command.call;
    let task = tokio::spawn(go(command, LIMITS));
    let ids = text_of(&file).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    until_none(call, &ids).await;
}

#[tokio::test]
async fn results_say_what_happened() {
    let finish = |status, stdout: &[u8], stderr: &[u8]| Finished {
        status,
        stdout: stdout.to_vec(),
        stderr: stderr.to_vec(),
    };
    let text = |result: &Value, index: usize| result["content"][index]["text"].clone();

    let result = shown(finish(Status::Code(0), b"a\n", b"warning"), Output::Text);
    assert_eq!(
        result,
        serde_json::json!({ "content": [{ "type": "text", "text": "a\n" }], "isError": false })
    );
    let result = shown(finish(Status::Code(0), b"a\xff", b""), Output::Text);
    assert_eq!(text(&result, 0), "a\u{fffd}");
    assert!(text(&result, 1).as_str().unwrap().contains("not valid UTF-8"));

    let result = shown(finish(Status::Code(0), b"{\"n\": 1.10}\n", b""), Output::Json);
    assert_eq!(result["structuredContent"].to_string(), r#"{"n":1.10}"#);
    assert_eq!(text(&result, 0), r#"{"n":1.10}"#);
    for bad in [&b""[..], b"no", b"{\"a\":1,\"a\":2}"] {
        let refused = into_result(finish(Status::Code(0), bad, b""), Output::Json).unwrap_err();
        assert!(matches!(refused, BackendError::Nonsense(_)));
    }

    let result = shown(finish(Status::Code(2), b"out", b"no such thing\n"), Output::Json);
    assert_eq!(result["isError"], true);
    assert_eq!(text(&result, 0), "the command failed with exit code 2:\nno such thing");
    let result = shown(finish(Status::Code(1), b"nothing to commit\n", b" \n"), Output::Text);
    assert_eq!(text(&result, 0), "the command failed with exit code 1:\nnothing to commit");
    let result = shown(finish(Status::Signal(11), b"", b""), Output::Text);
    assert_eq!(text(&result, 0), "the command was ended by signal 11 (SIGSEGV)");
    let result = shown(finish(Status::Code(1), b"", &[b'e'; 100_000]), Output::Text);
    assert!(text(&result, 0).as_str().unwrap().len() < 10_000);
}

#[test]
fn a_program_is_found_only_where_it_cannot_move() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plain"), "").unwrap();
    let path = OsStr::new("/nonexistent:.::/bin");
    assert_eq!(find_program("sh", path), Some(PathBuf::from("/bin/sh")));
    assert_eq!(find_program("/bin/sh", OsStr::new("")), Some(PathBuf::from("/bin/sh")));
    for missing in ["", "./sh", "bin/sh", "/bin", "/bin/no such", "Cargo.toml"] {
        assert_eq!(find_program(missing, path), None, "{missing}");
    }
    assert_eq!(find_program("plain", directory.path().as_os_str()), None);
}
