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
    globs: Vec<Glob>,
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
}

/// A pattern that stands for more than itself.
#[derive(Debug)]
pub(super) enum Glob {
    /// Of texts, `*` and `?` only.
    Plain(Plain),
    /// Any other.
    Other(GlobMatcher),
}

impl Glob {
    /// Whether it fits `text`, in time bounded by the product of their lengths.
    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => plain.is_match(text),
            Self::Other(other) => other.is_match(text),
        }
    }
}

/// A glob of texts, `*` and `?` only, no two `*` in a row. Of these there may be very many, and compiling one
/// takes a thousand times the memory of its text.
#[derive(Debug)]
pub(super) struct Plain(Box<str>);

impl Plain {
    /// What every text that fits begins with.
    pub(super) fn begins(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }

    /// The longest text that every text that fits contains.
    pub(super) fn longest(&self) -> &str {
        self.0.split(['*', '?']).max_by_key(|part| part.len()).unwrap_or_default()
    }

    fn is_match(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.0.as_bytes(), text.as_bytes());
        // Behind the last `*`: the pattern, and the text from where it was tried last.
        let mut again: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern.split_first(), text.split_first()) {
                (Some((b'*', rest)), _) => {
                    again = Some((rest, text));
                    pattern = rest;
                }
                (Some((first, rest)), Some((byte, behind))) if *first == b'?' || first == byte => {
                    (pattern, text) = (rest, behind);
                }
                (None, None) => return true,
                (Some(_) | None, _) => {
                    let Some((rest, [_, behind @ ..])) = again else { return false };
                    again = Some((rest, behind));
                    (pattern, text) = (rest, behind);
                }
            }
        }
    }
}

/// The pattern as a glob; `None` when it stands for itself only.
pub(super) fn glob(pattern: &str) -> Option<Result<Glob, globset::Error>> {
    if !pattern.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return None;
    }
    if !pattern.contains(['[', ']', '{', '}', '\\']) && !pattern.contains("**") {
        return Some(Ok(Glob::Plain(Plain(pattern.into()))));
    }
    let built = GlobBuilder::new(pattern)
        .literal_separator(false)
        .case_insensitive(false)
        .backslash_escape(true)
        .build();
    Some(built.map(|glob| Glob::Other(glob.compile_matcher())))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Plain globs mean what all others mean.
        #[test]
        fn plain_globs_fit_what_globs_fit(pattern in "[ab*?é/]{1,8}", text in "[abé/\n]{0,10}") {
            let Some(Ok(Glob::Plain(plain))) = glob(&pattern) else { return Ok(()) };
            let builder = || GlobBuilder::new(&pattern).literal_separator(false).build();
            let same = builder().unwrap().compile_matcher().is_match(&text);
            prop_assert_eq!(plain.is_match(&text), same);
            prop_assert!(!same || text.starts_with(plain.begins()));
            prop_assert!(!same || text.contains(plain.longest()));
        }
    }
}
