//! The database file: how it is opened, what tables it has and how older files get them.

use std::path::Path;
use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, OpenFlags};

use super::faults;
use super::trouble::Trouble;

/// The database's name in the data directory.
pub(super) const FILE: &str = "countersign.db";

/// How long a statement waits for another process (a backup, a shell) to let go of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// After how many pages in the write-ahead log they are copied into the database.
const CHECKPOINT_PAGES: u32 = 4096;

/// How much of the database the writer keeps in memory at the most, in KiB: random identifiers touch pages
/// all over the indexes, and SQLite's own 2 MB are few when very many holds wait.
const WRITER_CACHE_KIB: i64 = 64 << 10;

/// How many compiled statements a connection keeps.
const CACHED_STATEMENTS: usize = 64;

/// One element per released form of the database, each leading from the form before it.
const MIGRATIONS: [&str; 10] = [
    // `call` in `entries` is only for finding; what counts is in `body`, which the chain covers.
    // `live`: a repeated call may join it. `due_at`: when its present clock runs out. All times in
    // nanoseconds since 1970.
    "CREATE TABLE entries(
        idx INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        chain BLOB NOT NULL,
        call TEXT
     ) STRICT;
     CREATE INDEX entries_by_call ON entries(call) WHERE call IS NOT NULL;
     CREATE TABLE head(
        one INTEGER PRIMARY KEY CHECK (one = 1),
        count INTEGER NOT NULL,
        chain BLOB NOT NULL
     ) STRICT;
     CREATE TABLE running(call TEXT PRIMARY KEY, hold TEXT) STRICT, WITHOUT ROWID;
     CREATE TABLE holds(
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        agent TEXT NOT NULL,
        requested_digest TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        decide_by INTEGER NOT NULL,
        execute_by INTEGER,
        due_at INTEGER,
        live INTEGER NOT NULL,
        rejected_at INTEGER,
        body TEXT NOT NULL,
        result TEXT
     ) STRICT;
     CREATE INDEX holds_newest ON holds(created_at);
     CREATE INDEX holds_of_agent ON holds(agent, created_at);
     CREATE INDEX holds_in_state ON holds(state, created_at);
     CREATE INDEX holds_of_agent_in_state ON holds(agent, state, created_at);
     CREATE INDEX holds_due ON holds(due_at) WHERE due_at IS NOT NULL;
     CREATE INDEX holds_live ON holds(agent, requested_digest, created_at) WHERE live = 1;
     CREATE INDEX holds_rejected ON holds(agent, requested_digest, rejected_at)
        WHERE rejected_at IS NOT NULL;
     CREATE TABLE pending_rules(rule TEXT PRIMARY KEY, holds INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE agents(
        name TEXT PRIMARY KEY,
        token_digest TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL
     ) STRICT;",
    // What a hold is grouped by, and until when its result is kept; a row for each set of identical
    // pending calls, so that a list costs what it shows, and one for each agent with pending holds, so that
    // its cap costs nothing; people, what they granted, who is notified.
    "ALTER TABLE holds ADD COLUMN digest TEXT NOT NULL DEFAULT '';
     ALTER TABLE holds ADD COLUMN kept_since INTEGER;
     UPDATE holds SET digest = json_extract(body, '$.digest');
     UPDATE holds SET kept_since = decide_by WHERE result IS NOT NULL;
     CREATE INDEX holds_kept ON holds(kept_since) WHERE kept_since IS NOT NULL;
     CREATE INDEX holds_identical ON holds(digest, state, created_at);
     CREATE TABLE pending_calls(
        digest TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        holds INTEGER NOT NULL,
        newest INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX pending_calls_newest ON pending_calls(newest, holds);
     CREATE INDEX pending_calls_of_agent ON pending_calls(agent, newest, holds);
     INSERT INTO pending_calls(digest, agent, holds, newest)
        SELECT digest, agent, count(*), max(created_at) FROM holds WHERE state = 'pending'
        GROUP BY digest, agent;
     CREATE TABLE pending_agents(agent TEXT PRIMARY KEY, holds INTEGER NOT NULL)
        STRICT, WITHOUT ROWID;
     INSERT INTO pending_agents(agent, holds)
        SELECT agent, sum(holds) FROM pending_calls GROUP BY agent;
     CREATE TABLE reviewers(
        name TEXT PRIMARY KEY,
        token_digest TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL
     ) STRICT;
     CREATE TABLE standing(id TEXT PRIMARY KEY, live INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
     CREATE TABLE channels(name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    // How people sign in: links that work once, passwords, passkeys, and the sessions that they opened.
    "CREATE TABLE links(
        digest TEXT PRIMARY KEY,
        person TEXT NOT NULL,
        kind TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        body TEXT NOT NULL
     ) STRICT;
     CREATE UNIQUE INDEX links_of_person ON links(person, kind);
     CREATE TABLE credentials(person TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
     CREATE TABLE passkeys(id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL) STRICT;
     CREATE INDEX passkeys_of_person ON passkeys(person);
     CREATE TABLE sessions(
        digest TEXT PRIMARY KEY,
        person TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        body TEXT NOT NULL
     ) STRICT;
     CREATE INDEX sessions_of_person ON sessions(person, created_at);
     CREATE INDEX sessions_end ON sessions(expires_at);
     ALTER TABLE pending_calls ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0;
     UPDATE pending_calls SET oldest = (SELECT min(created_at) FROM holds
        WHERE holds.digest = pending_calls.digest AND state = 'pending');",
    // One row for each call, in the order of their first entries, so that people search calls and not the
    // log. What is filled in from the log is what the program notes with each entry since; a call that is
    // dispatched and does not run was left so by a stop. Entries that name a hold alone are found with it.
    "CREATE TABLE calls(
        first INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        call TEXT NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        tool TEXT NOT NULL,
        status TEXT NOT NULL,
        refusal TEXT,
        rules TEXT NOT NULL,
        hold TEXT
     ) STRICT;
     INSERT OR IGNORE INTO calls(first, at, call, agent, tool, status, refusal, rules, hold)
        SELECT idx, body ->> '$.time', body ->> '$.call', body ->> '$.agent', body ->> '$.tool',
            CASE body ->> '$.kind' WHEN 'intent' THEN 'running' WHEN 'hold' THEN 'held'
                ELSE 'refused' END,
            body ->> '$.refusal', coalesce(body ->> '$.rules', '[]'), body ->> '$.hold'
        FROM entries
        WHERE json_valid(body) AND body ->> '$.kind' IN ('intent', 'hold', 'refusal') ORDER BY idx;
     UPDATE calls SET status = ended.status FROM (
        SELECT body ->> '$.call' AS call, body ->> '$.outcome.status' AS status FROM entries
        WHERE json_valid(body) AND body ->> '$.kind' = 'outcome') AS ended
        WHERE calls.call = ended.call;
     UPDATE calls SET status = 'unknown'
        WHERE status = 'running' AND call NOT IN (SELECT call FROM running);
     CREATE INDEX calls_of_agent ON calls(agent);
     CREATE INDEX calls_of_tool ON calls(tool);
     CREATE INDEX calls_of_hold ON calls(hold) WHERE hold IS NOT NULL;
     UPDATE entries SET call = (SELECT holds.body ->> '$.call' FROM holds
            WHERE holds.id = entries.body ->> '$.hold')
        WHERE call IS NULL AND json_valid(body) AND body ->> '$.kind' = 'verdict_refused';
     UPDATE entries SET call = 'extended'
        WHERE call IS NULL AND json_valid(body) AND body ->> '$.kind' = 'holds_extended';",
    // The halts that are engaged, so that a start finds them without reading the log.
    "CREATE TABLE halts(id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    // What servers said and was accepted, and what they say now and waits for an operator.
    "CREATE TABLE definitions(key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
     CREATE TABLE quarantined(key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    // The revisions that were in force, each text of their files once, and the one that was gone back to.
    "CREATE TABLE revisions(
        place INTEGER PRIMARY KEY,
        revision TEXT NOT NULL,
        body TEXT NOT NULL
     ) STRICT;
     CREATE INDEX revisions_by_digest ON revisions(revision, place);
     CREATE TABLE revision_texts(digest TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
     CREATE TABLE rolled_back(one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL) STRICT;",
    // Workflows, each known by its first call, and which calls are theirs. Those from before are not listed.
    "CREATE TABLE workflows(
        id TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        name TEXT NOT NULL,
        place INTEGER NOT NULL,
        began INTEGER NOT NULL,
        last INTEGER NOT NULL,
        ended INTEGER,
        running INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        succeeded INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0
     ) STRICT;
     CREATE UNIQUE INDEX workflows_open ON workflows(agent, name) WHERE ended IS NULL;
     CREATE INDEX workflows_by_place ON workflows(place);
     CREATE INDEX workflows_by_agent ON workflows(agent, place);
     CREATE INDEX workflows_by_last ON workflows(last) WHERE ended IS NULL;
     CREATE TABLE workflow_calls(
        call TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        place INTEGER NOT NULL,
        compensates TEXT
     ) STRICT;
     CREATE INDEX workflow_calls_in_order ON workflow_calls(workflow, place);
     CREATE INDEX workflow_calls_undoing ON workflow_calls(compensates, place)
        WHERE compensates IS NOT NULL;",
    // What is spent of budgets, for each of those that are counted apart.
    "CREATE TABLE spent(
        budget TEXT NOT NULL,
        who TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY(budget, who)
     ) STRICT, WITHOUT ROWID;",
    // What agents hold, and when each last called.
    "CREATE TABLE held_labels(
        agent TEXT NOT NULL,
        label TEXT NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY(agent, label)
     ) STRICT, WITHOUT ROWID;",
];

/// The one connection that writes.
pub(super) fn open_writer(dir: &Path) -> Result<Connection, Trouble> {
    let mut connection = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection)?;
    // Before anything is written: a file of a newer form stays as it is.
    let present = known_version(&connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("no write-ahead log on this file system (journal mode `{mode}`)");
        return Err(Trouble::engine(why));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    migrate(&mut connection, present)?;
    Ok(connection)
}

/// A connection that only reads, beside the writer or without one.
pub(super) fn open_reader(dir: &Path) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection)?;
    let version = version(&connection)?;
    if version != MIGRATIONS.len() {
        return Err(Trouble::engine(wrong_version(version)));
    }
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), Trouble> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(())
}

/// Each step, and that it was made, stand or fall together: a start that ends in between changes nothing.
fn migrate(connection: &mut Connection, present: usize) -> Result<(), Trouble> {
    for (index, step) in MIGRATIONS.iter().enumerate().skip(present) {
        let transaction = connection.transaction()?;
        let mut statements = Batch::new(&transaction, step);
        while let Some(mut statement) = statements.next()? {
            faults::migrating();
            statement.execute([])?;
        }
        let reached = u32::try_from(index + 1).unwrap_or(u32::MAX);
        transaction.pragma_update(None, "user_version", reached)?;
        faults::migrating();
        transaction.commit()?;
        faults::migrating();
    }
    Ok(())
}

fn known_version(connection: &Connection) -> Result<usize, Trouble> {
    let version = version(connection)?;
    if version > MIGRATIONS.len() {
        return Err(Trouble::engine(wrong_version(version)));
    }
    Ok(version)
}

fn version(connection: &Connection) -> Result<usize, Trouble> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| Trouble::corrupt(format!("database version {version}")))
}

fn wrong_version(found: usize) -> String {
    let known = MIGRATIONS.len();
    let mend = if found > known {
        "use the newer program again, or restore a backup from before the upgrade"
    } else {
        "start the gateway once, which brings it to this form"
    };
    format!("the database is of form {found}, this program knows form {known}: {mend}")
}
