//! The texts of `match`: names and globs, and the closed sets of risks and action types.

use globset::{GlobBuilder, GlobMatcher};

use super::reading::{At, Files};
use super::rules::Patterns;
use crate::catalog::{ActionType, Risk};
use crate::source;

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// Texts of which any may fit.
#[derive(Debug)]
pub(super) struct Names {
    /// Sorted, none twice.
    exact: Vec<Box<str>>,
    globs: Vec<GlobMatcher>,
}

impl Names {
    /// Compiles; what is wrong is noted in `files`.
    pub(super) fn compile(patterns: &Patterns, at: &At, files: &mut Files) -> Self {
        let mut names = Self { exact: Vec::new(), globs: Vec::new() };
        for (pattern, at) in each(patterns, at, files) {
            match glob(pattern) {
                None => names.exact.push(pattern.into()),
                Some(Ok(glob)) => names.globs.push(glob),
                Some(Err(error)) => {
                    let message = format!("`{pattern}` is not a glob: {}", error.kind());
                    let hint = "put a `\\` before a character that stands for itself";
                    files.wrong(&at, message, hint);
                }
            }
        }
        names.exact.sort_unstable();
        names.exact.dedup();
        names
    }

    /// Whether any of them fits `text`.
    pub(super) fn fit(&self, text: &str) -> bool {
        self.exact.binary_search_by(|exact| (**exact).cmp(text)).is_ok()
            || self.globs.iter().any(|glob| glob.is_match(text))
    }

    /// The texts, when none of them is a glob.
    pub(super) fn only_exact(&self) -> Option<&[Box<str>]> {
        self.globs.is_empty().then_some(&*self.exact)
    }
}

/// The pattern as a glob; `None` when it stands for itself only.
pub(super) fn glob(pattern: &str) -> Option<Result<GlobMatcher, globset::Error>> {
    pattern.contains(['*', '?', '[', ']', '{', '}', '\\']).then(|| {
        GlobBuilder::new(pattern)
            .literal_separator(false)
            .case_insensitive(false)
            .backslash_escape(true)
            .build()
            .map(|glob| glob.compile_matcher())
    })
}

/// The risks that `patterns` stand for.
pub(super) fn risks(patterns: &Patterns, at: &At, files: &mut Files) -> Vec<Risk> {
    const ALL: [Risk; 4] = [Risk::Low, Risk::Medium, Risk::High, Risk::Critical];
    let mut found = Vec::new();
    for (pattern, at) in each(patterns, at, files) {
        let name = pattern.trim_start_matches(['<', '>', '=', '!']);
        let comparison = pattern.strip_suffix(name).unwrap_or_default();
        let holds: fn(&Risk, &Risk) -> bool = match comparison {
            "" | "=" | "==" => PartialEq::eq,
            ">=" => PartialOrd::ge,
            ">" => PartialOrd::gt,
            "<=" => PartialOrd::le,
            "<" => PartialOrd::lt,
            "!=" => PartialEq::ne,
            _ => {
                let message = format!("`{comparison}` is not a comparison");
                files.wrong(&at, message, "use one of >=, >, <=, <, =, !=");
                continue;
            }
        };
        let bounds = closed(name.trim(), "a risk", ALL, Risk::as_str, &at, files);
        let before = found.len();
        found.extend(ALL.into_iter().filter(|risk| bounds.iter().any(|bound| holds(risk, bound))));
        if found.len() == before && !bounds.is_empty() {
            files.wrong(
                &at,
                format!("no risk is `{pattern}`"),
                "risks are low, medium, high, critical",
            );
        }
    }
    found
}

/// The action types that `patterns` stand for; `write` covers `delete` and `admin`.
pub(super) fn action_types(patterns: &Patterns, at: &At, files: &mut Files) -> Vec<ActionType> {
    const ALL: [ActionType; 4] =
        [ActionType::Read, ActionType::Write, ActionType::Delete, ActionType::Admin];
    let mut found = Vec::new();
    for (pattern, at) in each(patterns, at, files) {
        found.extend(closed(pattern, "an action type", ALL, ActionType::as_str, &at, files));
    }
    if found.contains(&ActionType::Write) {
        found.extend([ActionType::Delete, ActionType::Admin]);
    }
    found
}

/// Those of `all` that `pattern` fits; that there are none is noted.
fn closed<T: Copy>(
    pattern: &str,
    what: &str,
    all: [T; 4],
    name: fn(T) -> &'static str,
    at: &At,
    files: &mut Files,
) -> Vec<T> {
    let names = all.map(name);
    let fits = |text: &str| match glob(pattern) {
        None => text == pattern,
        Some(glob) => glob.is_ok_and(|glob| glob.is_match(text)),
    };
    let found: Vec<T> = all.into_iter().filter(|value| fits(name(*value))).collect();
    if found.is_empty() {
        let hint = match source::nearest(&pattern.to_ascii_lowercase(), names.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", names.join(", ")),
        };
        files.wrong(at, format!("`{pattern}` is not {what}"), hint);
    }
    found
}

/// The patterns that are not wrong by themselves, each with its place.
fn each<'p>(patterns: &'p Patterns, at: &At, files: &mut Files) -> Vec<(&'p str, At)> {
    if patterns.0.is_empty() {
        files.wrong(at, "an empty list matches nothing", "leave the key out to match everything");
    }
    let mut fine = Vec::new();
    for (index, pattern) in patterns.0.iter().enumerate() {
        let at = at.below(&index.to_string());
        if pattern.is_empty() {
            files.wrong(&at, "an empty text matches nothing", "leave it out, or use `\"*\"`");
        } else if pattern.len() > MAX_PATTERN_BYTES {
            let message = format!("a pattern of more than {MAX_PATTERN_BYTES} bytes");
            files.wrong(&at, message, "use several, or a `*`");
        } else {
            fine.push((pattern.as_str(), at));
        }
    }
    fine
}
