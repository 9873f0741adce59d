//! Over the pipes of a child.

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;
use crate::clock::ManualClock;

fn program(arguments: &[&str], log: &Path) -> Target {
    let log = log.display().to_string();
    let arguments = [&[FIXTURE, "stdio", "--log", &log], arguments].concat();
    Target::Process(Program {
        path: "python3".into(),
        args: arguments.into_iter().map(str::to_owned).collect(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: None,
        confinement: None,
    })
}

struct Upstream {
    link: Link,
    log: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

fn upstream(arguments: &[&str]) -> Upstream {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let link = Link::new("fixture", program(arguments, &log), limits(), clock());
    Upstream { link, log, _directory: directory }
}

#[tokio::test]
async fn results_arrive_byte_for_byte() {
    for era in [&[][..], &["--modern"]] {
        let up = upstream(era);
        assert_eq!(up.link.health(), Health::Idle);
        assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
        let Health::Connected { protocol_version, server } = up.link.health() else { panic!() };
        let expected = if era.is_empty() { "2025-11-25" } else { "2026-07-28" };
        assert_eq!((protocol_version.as_str(), server.as_str()), (expected, "fixture 1.2.3"));
        up.link.close().await;
        assert!(matches!(run(&up.link, "raw", json!({})).await, Err(BackendError::Unavailable(_))));
        assert_eq!(up.link.health(), Health::Closed);
    }
}

#[tokio::test]
async fn arguments_leave_with_their_digits_and_order() {
    let up = upstream(&[]);
    let text = r#"{"z":123456789012345678901234567890,"a":1.0,"m":{"k":[1.50,null]}}"#;
    let arguments: Object = serde_json::from_str(text).unwrap();
    let traced = Call { traceparent: Some("00-aa-bb-01".to_owned()), ..call() };
    let RawResult(raw) = up.link.call(&tool_named("echo"), &arguments, traced).await.unwrap();
    let result: serde_json::Value = serde_json::from_str(raw.get()).unwrap();
    let sent = result["content"][0]["text"].as_str().unwrap();
    assert!(sent.contains(&format!(r#""arguments":{text}"#)), "{sent}");
    assert!(sent.contains(r#""traceparent":"00-aa-bb-01""#), "{sent}");
}

#[tokio::test]
async fn definitions_are_the_upstreams_own_words() {
    let up = upstream(&[]);
    let tools = up.link.offered().await.unwrap().tools;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["raw", "echo", "located"]);
    assert_eq!(tools[0].description.as_deref(), Some("does raw"));
}

#[tokio::test]
async fn a_hanging_tool_ends_at_the_deadline_and_is_told() {
    let up = upstream(&[]);
    run(&up.link, "raw", json!({})).await.unwrap();
    let brief = Call { deadline: Duration::from_secs(1), ..call() };
    let error = up.link.call(&tool_named("hang"), &Object::new(), brief).await.unwrap_err();
    assert!(matches!(error, BackendError::Timeout(_)), "{error}");
    logged(&up.log, "cancelled").await;
    assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
}

#[tokio::test]
async fn a_call_taken_back_is_cancelled_upstream() {
    let up = upstream(&["--modern"]);
    let cancel = CancellationToken::new();
    let taken_back = Call { cancel: cancel.clone(), ..call() };
    let (nothing, log) = (Object::new(), up.log.clone());
    let later = async {
        logged(&log, "hangs").await;
        cancel.cancel();
    };
    let hang = tool_named("hang");
    let (result, ()) = tokio::join!(up.link.call(&hang, &nothing, taken_back), later);
    assert!(matches!(result, Err(BackendError::Cancelled)));
    logged(&up.log, "cancelled").await;
}

#[tokio::test]
async fn a_child_that_dies_fails_what_it_was_doing_and_is_started_again() {
    let up = upstream(&[]);
    let mut changes = up.link.changed();
    run(&up.link, "raw", json!({})).await.unwrap();
    let (hanging, dying) = tokio::join!(run(&up.link, "hang", json!({})), async {
        logged(&up.log, "hangs").await;
        run(&up.link, "die", json!({})).await
    });
    for result in [hanging, dying] {
        let Err(BackendError::Died(why)) = result else { panic!("{result:?}") };
        assert!(why.contains("exit status: 3"), "{why}");
    }
    assert!(matches!(up.link.health(), Health::Down { .. }));
    assert!(!changes.has_changed().unwrap());
    assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(std::fs::read_to_string(&up.log).unwrap().matches("dies").count(), 1);
}

#[tokio::test]
async fn what_was_answered_before_death_is_not_lost() {
    let up = upstream(&[]);
    assert_eq!(run(&up.link, "die", json!({"answer": true})).await.unwrap(), RAW);
}

#[tokio::test]
async fn results_beyond_a_limit_fail_their_own_call() {
    let up = upstream(&[]);
    let (flood, raw) = tokio::join!(
        run(&up.link, "flood", json!({"size": CAP * 3})),
        run(&up.link, "raw", json!({}))
    );
    assert!(matches!(flood, Err(BackendError::TooLarge { limit: CAP })), "{flood:?}");
    assert_eq!(raw.unwrap(), RAW);
    let small = Call { max_result_bytes: RAW.len() - 1, ..call() };
    let error = up.link.call(&tool_named("raw"), &Object::new(), small).await.unwrap_err();
    assert!(matches!(error, BackendError::TooLarge { limit } if limit == RAW.len() - 1));
    // Whose it is cannot be known before the limit, so the connection goes.
    let error = run(&up.link, "flood-id-last", json!({"size": CAP * 3})).await.unwrap_err();
    assert!(matches!(error, BackendError::Died(_)), "{error}");
    assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
}

#[tokio::test]
async fn garbage_is_ignored_or_is_an_error_but_never_hangs() {
    let up = upstream(&[]);
    assert_eq!(run(&up.link, "garbage", json!({})).await.unwrap(), RAW);
    for tool in ["twice", "null", "input"] {
        let error = run(&up.link, tool, json!({})).await.unwrap_err();
        assert!(matches!(error, BackendError::Nonsense(_)), "{tool}: {error}");
    }
    let error = run(&up.link, "refuse", json!({})).await.unwrap_err();
    let BackendError::Refused { code: -32602, message } = error else { panic!("{error}") };
    assert_eq!(message.len(), 500);
}

#[tokio::test]
async fn progress_comes_in_order_and_before_the_result() {
    let up = upstream(&[]);
    let (call, attendance, mut progress) = watched();
    up.link.call(&tool_named("steps"), &Object::new(), call).await.unwrap();
    drop(attendance);
    let mut seen = Vec::new();
    while let Some(step) = progress.recv().await {
        seen.push((step.progress, step.total, step.message.unwrap()));
    }
    let expected = [(0.5, "step 0.5"), (1.0, "step 1"), (2.25, "step 2.25")];
    assert_eq!(seen, expected.map(|(at, text)| (at, Some(3.0), text.to_owned())));
}

#[tokio::test]
async fn announced_changes_are_counted() {
    let up = upstream(&[]);
    let changes = up.link.changed();
    run(&up.link, "change", json!({})).await.unwrap();
    run(&up.link, "change", json!({})).await.unwrap();
    assert_eq!(*changes.borrow(), 2);
}

#[tokio::test]
async fn what_the_upstream_asks_for_is_refused() {
    let up = upstream(&[]);
    let answers = run(&up.link, "ask", json!({})).await.unwrap();
    assert!(answers.contains(r#"{\"o\": true, \"r\": true, \"s\": true}"#), "{answers}");
}

#[tokio::test]
async fn closing_ends_the_whole_group() {
    let up = upstream(&[]);
    run(&up.link, "orphan", json!({})).await.unwrap();
    let line = logged(&up.log, "pid ").await;
    let group = Pid::from_raw(-line.trim_start_matches("pid ").parse::<i32>().unwrap());
    assert!(kill(group, None).is_ok());
    up.link.close().await;
    // Its own children become zombies of whoever adopts them; none of them runs any more.
    let gone = async {
        while kill(group, None).is_ok() && is_running(group) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

fn is_running(group: Pid) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    let fields = stats.filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()));
    fields.into_iter().any(|rest| {
        let fields: Vec<_> = rest.split(' ').collect();
        fields[2] == (-group.as_raw()).to_string() && fields[0] != "Z"
    })
}

#[tokio::test]
async fn a_server_that_does_not_start_is_tried_less_and_less_often() {
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let missing = Program {
        path: "/no/such/program".into(),
        args: vec![],
        env: vec![],
        cwd: None,
        confinement: None,
    };
    let target = Target::Process(missing);
    let link = Link::new("missing", target, limits(), Arc::<ManualClock>::clone(&clock));
    let why = async || run(&link, "raw", json!({})).await.unwrap_err().to_string();
    let first = why().await;
    assert!(first.contains("cannot start `/no/such/program`"), "{first}");
    assert!(why().await.ends_with("tried again in 0.5 s"));
    clock.advance(Duration::from_millis(500));
    assert_eq!(why().await, first);
    assert!(why().await.ends_with("tried again in 1.0 s"));
    for _ in 0..20 {
        clock.advance(Duration::from_secs(60));
        assert_eq!(why().await, first);
    }
    assert!(why().await.ends_with("tried again in 60.0 s"));
    assert!(matches!(link.health(), Health::Down { .. }));
}

#[tokio::test]
async fn calls_that_need_a_connection_share_one_handshake() {
    let up = upstream(&[]);
    let calls = (0..8).map(|_| run(&up.link, "raw", json!({})));
    for result in futures::future::join_all(calls).await {
        assert_eq!(result.unwrap(), RAW);
    }
    let nine = (0..9).map(|_| run(&up.link, "raw", json!({})));
    let results = futures::future::join_all(nine).await;
    let busy = results.iter().filter(|r| matches!(r, Err(BackendError::Busy { .. }))).count();
    assert_eq!(busy, 1);
    up.link.close().await;
    assert_eq!(std::fs::read_to_string(&up.log).unwrap(), "end of input\n");
}

#[tokio::test]
async fn a_child_that_is_no_server_is_unavailable() {
    for program in ["cat", "true", "yes"] {
        let path = format!("/usr/bin/{program}").into();
        let target = Target::Process(Program {
            path,
            args: vec![],
            env: vec![],
            cwd: None,
            confinement: None,
        });
        let brief = Limits { connect_timeout: Duration::from_secs(1), ..limits() };
        let link = Link::new(program, target, brief, clock());
        let error = run(&link, "raw", json!({})).await.unwrap_err();
        assert!(matches!(error, BackendError::Unavailable(_)), "{program}: {error}");
    }
}
