//! Over streamable HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

struct Upstream {
    link: Link,
    log: std::path::PathBuf,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn upstream(arguments: &[&str]) -> Upstream {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut command = Command::new("python3");
    command.args([FIXTURE, "http", "--log"]).arg(&log).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let target = Target::Http {
        url: format!("http://127.0.0.1:{}/mcp", port.trim()),
        headers: vec![("Authorization".to_owned(), "Bearer s3cret".into())],
        trust: Trust::default(),
    };
    let link = Link::new("fixture", target, limits(), clock());
    Upstream { link, log, child, _directory: directory }
}

const ALL: [&[&str]; 4] = [&[], &["--sse"], &["--modern"], &["--modern", "--sse"]];

#[tokio::test]
async fn results_arrive_byte_for_byte() {
    for arguments in ALL {
        let up = upstream(arguments);
        assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW, "{arguments:?}");
        let names = up.link.offered().await.unwrap().tools;
        assert_eq!(names.len(), 3);
        assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
        logged(&up.log, "'Bearer s3cret'").await;
        up.link.close().await;
        if !arguments.contains(&"--modern") {
            logged(&up.log, "deleted").await;
        }
    }
}

#[tokio::test]
async fn a_session_listens_before_it_asks_but_does_not_wait_long_for_that() {
    for (late, is_waited_for) in [("0.5", true), ("15", false)] {
        let up = upstream(&["--late", late]);
        up.link.offered().await.unwrap();
        logged(&up.log, "tools/list").await;
        let heard = std::fs::read_to_string(&up.log).unwrap();
        let asked = heard.lines().position(|line| line.starts_with("tools/list")).unwrap();
        let listens = heard.lines().position(|line| line == "stream");
        assert_eq!(listens.is_some_and(|listens| listens < asked), is_waited_for, "{heard}");
    }
}

#[tokio::test]
async fn modern_servers_get_their_headers() {
    for arguments in [&["--modern"][..], &["--modern", "--sse"]] {
        let up = upstream(arguments);
        up.link.offered().await.unwrap();
        run(&up.link, "located", json!({"region": "north"})).await.unwrap();
        logged(&up.log, "tools/call located ['tools/call', 'located', 'north'").await;
    }
}

#[tokio::test]
async fn modern_changes_are_listened_for() {
    let up = upstream(&["--modern"]);
    let mut changes = up.link.changed();
    run(&up.link, "raw", json!({})).await.unwrap();
    tokio::time::timeout(LONG, changes.wait_for(|count| *count == 1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn progress_comes_on_the_stream_of_the_call() {
    for arguments in [&["--sse"][..], &["--modern", "--sse"]] {
        let up = upstream(arguments);
        let (call, attendance, mut progress) = watched();
        up.link.call(&tool_named("steps"), &Object::new(), call).await.unwrap();
        drop(attendance);
        let mut seen = Vec::new();
        while let Some(step) = progress.recv().await {
            seen.push(step.progress);
        }
        assert_eq!(seen, [0.5, 1.0, 2.25]);
    }
}

#[tokio::test]
async fn log_messages_on_one_link_reach_the_call_on_whose_stream_they_came() {
    struct Sink(std::sync::Mutex<Vec<serde_json::Value>>);
    impl Listener for Sink {
        fn tell(&self, news: News) {
            let News::Log(log) = news else { return };
            self.0.lock().unwrap().push(log.data);
        }
    }
    for arguments in [&["--sse"][..], &["--modern", "--sse"]] {
        let up = upstream(arguments);
        let calls = (0..8).map(|number| {
            let link = &up.link;
            async move {
                let (sink, call) = (Arc::new(Sink(std::sync::Mutex::default())), call());
                let _attends = call.contact.attend(Client::default(), Some(sink.clone()));
                let own = json!({ "call": number });
                link.call(&tool_named("log"), &object(own.clone()), call).await.unwrap();
                assert_eq!(*sink.0.lock().unwrap(), [own.clone(), own]);
            }
        });
        futures::future::join_all(calls).await;
    }
}

#[tokio::test]
async fn a_hanging_call_ends_and_is_told() {
    for (arguments, sign) in [(&["--modern"][..], "hung up"), (&[], "notifications/cancelled")] {
        let up = upstream(arguments);
        run(&up.link, "raw", json!({})).await.unwrap();
        let brief = Call { deadline: Duration::from_secs(1), ..call() };
        let error = up.link.call(&tool_named("hang"), &Object::new(), brief).await.unwrap_err();
        assert!(matches!(error, BackendError::Timeout(_)), "{error}");
        logged(&up.log, sign).await;
    }
}

#[tokio::test]
async fn what_is_no_result_says_what_it_is() {
    for arguments in ALL {
        let up = upstream(arguments);
        let flood = run(&up.link, "flood", json!({"size": CAP * 3})).await;
        assert!(matches!(flood, Err(BackendError::TooLarge { limit: CAP })), "{flood:?}");
        for tool in ["twice", "null", "input", "page"] {
            let error = run(&up.link, tool, json!({})).await.unwrap_err();
            assert!(matches!(error, BackendError::Nonsense(_)), "{arguments:?} {tool}: {error}");
        }
        let error = run(&up.link, "refuse", json!({})).await.unwrap_err();
        assert!(matches!(error, BackendError::Refused { code: -32602, .. }), "{error}");
        for (status, may_have_run) in [(302, false), (401, false), (429, false), (502, true)] {
            let error = run(&up.link, "raw", json!({"status": status})).await.unwrap_err();
            let died = matches!(error, BackendError::Died(_));
            assert_eq!(died, may_have_run, "{status}: {error}");
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
        assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
    }
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_and_the_call_is_not_sent_twice() {
    let up = upstream(&[]);
    let changes = up.link.changed();
    let (brief, nothing) = (Call { deadline: Duration::from_secs(6), ..call() }, Object::new());
    let hang = tool_named("hang");
    let (hanging, ()) = tokio::join!(up.link.call(&hang, &nothing, brief), async {
        logged(&up.log, "tools/call hang").await;
        let error = run(&up.link, "forget", json!({})).await.unwrap_err();
        assert!(matches!(error, BackendError::Unavailable(_)), "{error}");
        assert_eq!(run(&up.link, "raw", json!({})).await.unwrap(), RAW);
    });
    // What was under way is not given up because another call found the session gone.
    assert!(matches!(hanging, Err(BackendError::Timeout(_))), "{hanging:?}");
    assert_eq!(*changes.borrow(), 1);
    let log = std::fs::read_to_string(&up.log).unwrap();
    assert_eq!(log.matches("tools/call ").count(), 3);
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_or_died() {
    let mut up = upstream(&["--modern"]);
    run(&up.link, "raw", json!({})).await.unwrap();
    let (result, ()) = tokio::join!(run(&up.link, "hang", json!({})), async {
        logged(&up.log, "tools/call hang").await;
        up.child.kill().unwrap();
    });
    assert!(matches!(result, Err(BackendError::Died(_))), "{result:?}");
    let error = run(&up.link, "raw", json!({})).await.unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_) | BackendError::Died(_)), "{error}");
    let error = run(&up.link, "raw", json!({})).await.unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn headers_of_the_protocol_cannot_be_given() {
    for name in ["Mcp-Method", "accept", "Host", "b d"] {
        let headers = vec![(name.to_owned(), "x".into())];
        let target = Target::Http {
            url: "http://127.0.0.1:1/".to_owned(),
            headers,
            trust: Trust::default(),
        };
        let link = Link::new("fixture", target, limits(), clock());
        let error = run(&link, "raw", json!({})).await.unwrap_err();
        assert!(error.to_string().contains(&format!("the header `{name}`")), "{error}");
    }
}
