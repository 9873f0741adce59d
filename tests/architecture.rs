//! The house rules that the compiler does not know: who may use whom, how long a file may be.

#![expect(clippy::unwrap_used, reason = "a check that cannot go on fails here")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Decide without I/O; use only one another.
const PURE: [&str; 13] = [
    "catalog",
    "clock",
    "digest",
    "edge",
    "evidence",
    "halts",
    "hold",
    "ids",
    "json",
    "limits",
    "policy",
    "principal",
    "source",
];
/// What the gateway reaches out with.
const OUT: [&str; 5] = ["authentication", "backend", "notify", "storage", "telemetry"];
/// What reaches into the gateway.
const IN: [&str; 5] = ["api", "cli", "mcp", "page", "server"];
/// What stands between: the configuration, every long-lived part, the path of a call.
const SPINE: [&str; 3] = ["call", "config", "gateway"];

/// Uses that the layers do not give, each with its reason: by whom, of whom.
const EXCEPTIONS: [(&str, &str, &str); 32] = [
    ("authentication", "backend", "a provider's secret is read as those of backends are"),
    ("authentication", "telemetry", "counts tries to sign in"),
    ("page", "authentication", "signs people in and out"),
    ("page", "storage", "shows credentials and sessions"),
    ("server", "page", "mounts the pages"),
    ("server", "storage", "lets in whose session stands"),
    ("config", "catalog", "a length of time is written alike in every file"),
    ("config", "edge", "the network edge has settings of its own"),
    ("config", "source", "places and problems of files"),
    ("config", "authentication", "issuers are written in the configuration, which checks them"),
    ("config", "notify", "channels are written in the configuration, which checks them"),
    ("notify", "backend", "secrets are read as those of backends are"),
    ("notify", "storage", "follows the log, and keeps how far it has come"),
    ("notify", "telemetry", "counts what became of notices"),
    ("backend", "config", "pools are opened from the configuration"),
    ("backend", "storage", "nothing is dispatched without the receipt that storage made"),
    ("authentication", "storage", "registered agents are kept in the store"),
    ("server", "authentication", "lets agents in, and tells why not"),
    ("server", "api", "mounts the routes for people"),
    ("server", "mcp", "mounts the endpoint for agents"),
    ("server", "backend", "keeps the catalog at what MCP servers offer"),
    ("cli", "api", "the command line speaks the API's types"),
    ("cli", "mcp", "`stdio` serves one client"),
    ("cli", "server", "`serve` runs the server"),
    ("cli", "notify", "warns at start of calls that wait unseen"),
    ("cli", "storage", "opens the store, and reads the record without a gateway"),
    ("api", "authentication", "makes an agent's token"),
    ("api", "backend", "`doctor` tells how MCP servers are"),
    ("api", "notify", "`doctor` tells how channels are, and tests them"),
    ("api", "storage", "reads holds, agents and entries"),
    ("mcp", "backend", "carries the progress of a backend"),
    ("mcp", "storage", "reads a task's hold"),
];

const MAX_LINES: usize = 400;
/// `call::run` and the walk it takes stay on one screen.
const MAX_SCREEN: usize = 75;

struct File {
    path: PathBuf,
    module: String,
    text: String,
}

impl File {
    /// The file without the tests at its end.
    fn without_tests(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// The code, without tests and comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.without_tests().lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            matches!(&*name, "tests" | "tests.rs" | "fuzzing" | "fuzzing.rs")
                || name.ends_with("_tests.rs")
        })
    }
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let inside = path.strip_prefix(&root).unwrap().to_owned();
                let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                files.push(File { path: inside, module, text });
            }
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    files
}

/// The modules that stand behind `crate::` in a line, groups included.
fn used(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut word, mut begins) = (0_u32, String::new(), true);
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(std::mem::take(&mut word));
                        begins = true;
                    }
                    ':' if depth == 0 => begins = false,
                    c if depth == 0 && begins && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ => {}
                }
            }
            found.insert(word);
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

/// Who uses whom, and where.
fn uses() -> BTreeMap<(String, String), PathBuf> {
    let modules: BTreeSet<&str> = [&PURE[..], &OUT, &IN, &SPINE].concat().into_iter().collect();
    let mut uses = BTreeMap::new();
    for file in sources().iter().filter(|file| !file.is_test()) {
        if matches!(file.module.as_str(), "lib" | "main") {
            continue;
        }
        assert!(modules.contains(file.module.as_str()), "`{}` has no layer yet", file.module);
        let code: String = file.code().collect::<Vec<_>>().join("\n");
        for other in used(&code).into_iter().filter(|it| modules.contains(it.as_str())) {
            if other != file.module {
                uses.insert((file.module.clone(), other), file.path.clone());
            }
        }
    }
    uses
}

fn allowed(user: &str, used: &str) -> bool {
    let pure = PURE.contains(&used);
    match user {
        _ if PURE.contains(&user) => pure,
        _ if OUT.contains(&user) => pure,
        "config" => false,
        "gateway" => pure || OUT.contains(&used) || matches!(used, "config" | "call"),
        "call" => pure || OUT.contains(&used) || used == "gateway",
        _ if IN.contains(&user) => pure || SPINE.contains(&used),
        _ => false,
    }
}

#[test]
fn who_may_use_whom() {
    let excepted =
        |user: &str, used: &str| EXCEPTIONS.iter().any(|it| it.0 == user && it.1 == used);
    let wrong: Vec<String> = uses()
        .into_iter()
        .filter(|((user, used), _)| !allowed(user, used) && !excepted(user, used))
        .map(|((user, used), path)| format!("`{user}` uses `{used}` in src/{}", path.display()))
        .collect();
    assert!(wrong.is_empty(), "not allowed by the layers:\n{}", wrong.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let uses = uses();
    for (user, used, _) in EXCEPTIONS {
        assert!(
            uses.contains_key(&(user.to_owned(), used.to_owned())),
            "`{user}` no longer uses `{used}`"
        );
        assert!(!allowed(user, used), "`{user}` may use `{used}` anyway");
    }
}

#[test]
fn groups_of_uses_are_read() {
    let names = |code: &str| used(code).into_iter().collect::<Vec<_>>();
    assert_eq!(names("use crate::{mcp, server::{self, run}};"), ["mcp", "server"]);
    assert_eq!(names("use crate::call::run; crate::hold::State"), ["call", "hold"]);
}

#[test]
fn only_authentication_makes_principals() {
    for file in sources() {
        let makes = file.code().any(|line| line.contains("Principal::authenticated("));
        let may = file.module == "authentication" || file.is_test();
        assert!(!makes || may, "src/{} makes a principal", file.path.display());
    }
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| !file.is_test())
        .map(|file| (file.path.display(), file.without_tests().lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("src/{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_path_of_a_call_stays_on_one_screen() {
    let files = sources();
    let call =
        files.iter().find(|file| file.path == Path::new("call/mod.rs")).expect("call/mod.rs");
    let length = |start: &str| {
        let lines: Vec<&str> = call.text.lines().collect();
        let begins = lines.iter().position(|line| line.starts_with(start)).expect(start);
        lines[begins..].iter().position(|line| *line == "}").unwrap() + 1
    };
    let both = length("pub async fn run(") + length("async fn walk(");
    assert!(both <= MAX_SCREEN, "`run` and `walk` have {both} lines");
}

#[test]
fn nothing_is_left_for_later() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut texts: Vec<(PathBuf, String)> =
        sources().into_iter().map(|file| (Path::new("src").join(file.path), file.text)).collect();
    let mut folders = vec![tests];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    for (path, text) in texts {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), number + 1);
            assert!(!line.contains("TODO") && !line.contains("FIXME"), "{place}");
            assert!(line.trim() != "#[ignore]", "without a reason: {place}");
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in sources() {
        let says = file.is_test() || file.text.starts_with("//! ");
        assert!(says, "src/{} says nothing", file.path.display());
    }
}
