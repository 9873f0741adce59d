//! Every method of the store that writes, failing before and after its commit: what is there afterwards,
//! and what the same request finds when it is made again.
#![cfg(feature = "testing")]

mod access_rows;
mod budget_rows;
mod definition_rows;
mod flow_rows;
mod halt_rows;
mod history_rows;
mod invariants;
mod people_rows;
mod prepared;
mod rows;
mod workflow_rows;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use futures::future::BoxFuture;

use super::*;

/// What the child process reads the number of its row from.
const ROW: &str = "row";
/// Where the store is, in a directory of a row.
const DATA: &str = "data";
/// How long the writer may take to find that there is room again.
const PATIENCE: Duration = Duration::from_secs(30);

type Asking<'a> = BoxFuture<'a, Result<(), String>>;

/// One method in one situation.
struct Row {
    /// The method and, where it has several rows, the situation.
    name: &'static str,
    /// What stands before.
    given: fn(&SqliteStore) -> BoxFuture<'_, ()>,
    /// Seconds after the start at which the method is called.
    at: u64,
    /// The call; the same each time.
    asks: for<'a> fn(&'a SqliteStore) -> Asking<'a>,
    /// The kinds of the entries that it writes, in order.
    writes: &'static [&'static str],
    /// Whether it answers before the commit.
    queued: bool,
    /// Its job that changes something, of those that have its name.
    job: u8,
    /// What the same request finds when it was carried out and nobody heard of it.
    again: Again,
}

/// What a request that was carried out before finds.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// It is answered as the first time, and changes nothing.
    Same,
    /// It is refused with these words, and changes nothing.
    Refused(&'static str),
    /// It is carried out once more, which changes nothing but the record.
    Recorded,
    /// It is never made again: each has a new identifier.
    Never,
}

impl Row {
    fn method(&self) -> &'static str {
        self.name.split(':').next().unwrap()
    }

    async fn open(&self, dir: &Path) -> SqliteStore {
        let clock = Arc::new(ManualClock::new(start()));
        clock.advance(Duration::from_secs(self.at));
        SqliteStore::open(&dir.join(DATA), clock).unwrap()
    }

    /// Makes the request, and returns when what it queued is written or refused.
    async fn ask(&self, store: &SqliteStore) -> Result<(), String> {
        let answer = (self.asks)(store).await;
        drop(store.settle().await);
        answer
    }

    /// A directory in which everything is as the row begins, and the gateway has been started.
    async fn begun(&self) -> TempDir {
        let dir = TempDir::new().unwrap();
        let store = SqliteStore::open(&dir.path().join(DATA), Arc::new(ManualClock::new(start())));
        (self.given)(&store.unwrap()).await;
        drop(self.open(dir.path()).await);
        dir
    }

    /// Lets a process make the request that dies on one side of its commit.
    fn dies(&self, number: usize, dir: &Path, side: &str) {
        std::fs::write(dir.join(ROW), number.to_string()).unwrap();
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "storage::sqlite::tests::table::asks_and_dies"])
            .current_dir(dir)
            .env("COUNTERSIGN_FAIL_AT", format!("{}.{side}:{}", self.method(), self.job))
            .output()
            .unwrap();
        assert_eq!(died.status.signal(), Some(9), "{}, {side}: {died:?}", self.name);
    }

    /// Makes the request in `dir`, where it was not carried out: all of it is there then.
    async fn is_made_up_for(&self, dir: &Path, whole: &Tables) {
        let store = self.open(dir).await;
        assert_eq!(self.ask(&store).await, Ok(()), "{}", self.name);
        drop(store);
        assert_eq!(tables(dir), *whole, "{}", self.name);
    }

    /// Makes the request in `dir`, where it was carried out already.
    async fn is_safe_again(&self, dir: &Path, whole: &Tables) {
        let refused = match self.again {
            Again::Never => return,
            Again::Same | Again::Recorded => None,
            Again::Refused(why) => Some(why),
        };
        let store = self.open(dir).await;
        let answer = self.ask(&store).await;
        drop(store);
        match (refused, &answer) {
            (None, answer) => assert_eq!(*answer, Ok(()), "{}", self.name),
            (Some(why), Err(told)) => assert!(told.contains(why), "{}: {told}", self.name),
            (Some(_), Ok(())) => panic!("{}: done twice", self.name),
        }
        let mut now = tables(dir);
        if matches!(self.again, Again::Recorded) {
            let (before, after) = (whole.record(), now.record());
            assert_eq!(after[..before.len()], *before, "{}", self.name);
            assert_eq!(after.len(), before.len() + self.writes.len(), "{}", self.name);
            now = now.with_record_of(whole);
        }
        assert_eq!(now, *whole, "{}", self.name);
    }
}

/// Every table with all its rows: all there is.
#[derive(Debug, PartialEq)]
struct Tables(BTreeMap<String, Vec<String>>);

/// The tables that make the record; everything else follows from it.
const RECORD: [&str; 2] = ["entries", "head"];

impl Tables {
    fn record(&self) -> &[String] {
        &self.0["entries"]
    }

    fn with_record_of(mut self, other: &Self) -> Self {
        for name in RECORD {
            self.0.insert(name.to_owned(), other.0[name].clone());
        }
        self
    }

    /// The kinds of the entries that are here and not in `before`.
    fn kinds_since(&self, before: &Self) -> Vec<String> {
        let kind = |row: &String| {
            let at = row.find(r#""kind":""#).unwrap() + r#""kind":""#.len();
            row[at..].split('"').next().unwrap().to_owned()
        };
        self.record()[before.record().len()..].iter().map(kind).collect()
    }
}

/// What the store in `dir` holds, as it was left.
fn tables(dir: &Path) -> Tables {
    let copy = copy(dir);
    let connection = rusqlite::Connection::open(copy.path().join(DATA).join(schema::FILE)).unwrap();
    let list = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells = (0..columns).map(|column| {
                let cell: rusqlite::types::Value = row.get_unwrap(column);
                if let rusqlite::types::Value::Text(text) = cell {
                    return text;
                }
                if let rusqlite::types::Value::Blob(bytes) = cell {
                    let hex = |error: std::string::FromUtf8Error| hex::encode(error.into_bytes());
                    return String::from_utf8(bytes).unwrap_or_else(hex);
                }
                format!("{cell:?}")
            });
            Ok(cells.collect::<Vec<_>>().join(" | "))
        });
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let names = list("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    Tables(
        names
            .into_iter()
            .map(|name| (name.clone(), list(&format!("SELECT * FROM {name}"))))
            .collect(),
    )
}

/// A copy of a directory of a row, in which nothing runs.
fn copy(dir: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    std::fs::create_dir(to.path().join(DATA)).unwrap();
    for file in std::fs::read_dir(dir.join(DATA)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.path().join(DATA).join(file.file_name())).unwrap();
    }
    to
}

fn all_rows() -> Vec<Row> {
    [
        rows::rows(),
        people_rows::rows(),
        access_rows::rows(),
        halt_rows::rows(),
        definition_rows::rows(),
        budget_rows::rows(),
        flow_rows::rows(),
        history_rows::rows(),
        workflow_rows::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Not a test by itself: what the process that is to die runs, in the directory it is started in.
#[tokio::test]
#[ignore = "started by the tests of the table"]
async fn asks_and_dies() {
    let number: usize = std::fs::read_to_string(ROW).unwrap().parse().unwrap();
    let row = all_rows().remove(number);
    let store = row.open(Path::new(".")).await;
    drop(row.ask(&store).await);
}

/// Methods that change nothing.
const READING: [&str; 40] = [
    "definitions",
    "spent",
    "held_labels",
    "first_entries",
    "revisions",
    "revision_files",
    "rolled_back",
    "halts",
    "holds_from",
    "link",
    "sessions",
    "credentials",
    "passkey",
    "standing",
    "hold_result",
    "hold",
    "holds",
    "pending_calls",
    "identical",
    "identical_holds",
    "joinable",
    "due",
    "agents",
    "reviewers",
    "entries",
    "told_entries",
    "calls",
    "timeline",
    "statistics",
    "search_entries",
    "verify_log",
    "written",
    "channel",
    "pending_by_rule",
    "writable",
    "settle",
    "workflows",
    "workflow",
    "workflow_calls",
    "effects",
];

#[test]
fn the_table_has_every_method_that_writes() {
    let part = |source: &'static str, begins: &str| {
        let from = source.find(begins).unwrap();
        &source[from..from + source[from..].find("\n}\n").unwrap()]
    };
    let own = part(include_str!("../../../mod.rs"), "pub trait Store");
    let access = part(include_str!("../../../access.rs"), "pub trait AccessStore");
    let acting = part(include_str!("../../../agents.rs"), "pub trait ActingStore");
    let reports = part(include_str!("../../../reports.rs"), "pub trait ReportStore");
    let halts = part(include_str!("../../../halts.rs"), "pub trait HaltStore");
    let definitions = part(include_str!("../../../definitions.rs"), "pub trait DefinitionStore");
    let history = part(include_str!("../../../history.rs"), "pub trait HistoryStore");
    let workflows = part(include_str!("../../../workflows.rs"), "pub trait WorkflowStore");
    let budgets = part(include_str!("../../../budgets.rs"), "pub trait BudgetStore");
    let flow = part(include_str!("../../../flow.rs"), "pub trait FlowStore");
    let parts =
        [own, budgets, access, acting, reports, halts, definitions, history, workflows, flow];
    let methods = parts.into_iter().flat_map(|part| part.split("fn ").skip(1));
    let methods = methods.filter_map(|text| {
        let name = text.split('(').next()?;
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(name)
    });
    let mut methods: Vec<_> = methods.filter(|name| !name.is_empty()).collect();
    let rows = all_rows();
    let mut known: Vec<_> = rows.iter().map(Row::method).chain(READING).collect();
    for names in [&mut methods, &mut known] {
        names.sort_unstable();
        names.dedup();
    }
    assert_eq!(methods, known, "each method has a row, or is among those that change nothing");
}

#[tokio::test]
async fn killed_before_the_commit_nothing_is_there_and_after_it_everything() {
    for (number, row) in all_rows().into_iter().enumerate() {
        let begun = row.begun().await;
        let nothing = tables(begun.path());
        let done = copy(begun.path());
        let store = row.open(done.path()).await;
        assert_eq!(row.ask(&store).await, Ok(()), "{}", row.name);
        drop(store);
        let whole = tables(done.path());
        assert_eq!(whole.kinds_since(&nothing), row.writes, "{}", row.name);

        let before = copy(begun.path());
        row.dies(number, before.path(), "before");
        assert_eq!(tables(before.path()), nothing, "{}", row.name);
        invariants::check(&row, &copy(before.path())).await;
        row.is_made_up_for(before.path(), &whole).await;

        let after = copy(begun.path());
        row.dies(number, after.path(), "after");
        assert_eq!(tables(after.path()), whole, "{}", row.name);
        invariants::check(&row, &copy(after.path())).await;
        row.is_safe_again(after.path(), &whole).await;
        invariants::check(&row, &after).await;
    }
}

#[tokio::test]
async fn b2_a_sync_that_fails_leaves_nothing_and_says_so() {
    for row in all_rows() {
        let dir = row.begun().await;
        let nothing = tables(dir.path());
        let fault = dir.path().join(DATA).join("fsync-fails");
        let store = row.open(dir.path()).await;
        std::fs::write(&fault, "").unwrap();
        assert_eq!(row.ask(&store).await.is_ok(), row.queued, "{}", row.name);
        assert!(store.writable().is_err(), "{}", row.name);
        drop(store);
        std::fs::remove_file(&fault).unwrap();
        assert_eq!(tables(dir.path()), nothing, "{}", row.name);
        invariants::check(&row, &dir).await;
    }
}

#[tokio::test]
async fn b1_on_a_full_disk_the_answer_says_what_is_there() {
    for row in all_rows() {
        let dir = row.begun().await;
        let nothing = tables(dir.path());
        let done = copy(dir.path());
        let store = row.open(done.path()).await;
        row.ask(&store).await.unwrap();
        drop(store);
        let whole = tables(done.path());

        let fault = dir.path().join(DATA).join("disk-full");
        let store = row.open(dir.path()).await;
        std::fs::write(&fault, "").unwrap();
        while store.record(loaded()).await.is_ok() {}
        let answer = row.ask(&store).await;
        std::fs::remove_file(&fault).unwrap();
        let writable = async {
            while store.writable().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, writable).await.unwrap();
        drop(store);
        let expected = if answer.is_ok() { &whole } else { &nothing };
        let found = tables(dir.path()).with_record_of(expected);
        assert_eq!(found, *expected, "{}: {answer:?}", row.name);
        invariants::check(&row, &dir).await;
    }
}
