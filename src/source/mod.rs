//! YAML files of ours: read strictly, with the place of every value, so that each error can point at it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde::de::DeserializeOwned;

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// How deep a file may nest, in levels.
const MAX_DEPTH: usize = 32;
/// The longest excerpt that is shown with a problem, in bytes; with longer lines only the place is told.
const MAX_EXCERPT: usize = 4 << 10;
/// How many problems one report shows.
const MAX_SHOWN: usize = 20;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path, as the reader should see it.
    pub name: String,
    /// Its text; every problem of the file holds on to it.
    pub text: Arc<str>,
}

/// One thing wrong with a file: where, what, and what to do about it.
#[derive(Clone, Debug)]
pub struct Problem {
    file: SourceFile,
    place: Place,
    message: String,
    hint: Option<String>,
}

/// A place in a file: byte offset and length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Offset of the first byte.
    pub offset: usize,
    /// Length, in bytes.
    pub length: usize,
}

impl Problem {
    /// A problem at `place` of `file`.
    #[must_use]
    pub fn new(file: &SourceFile, place: Place, message: impl Into<String>) -> Self {
        Self { file: file.clone(), place, message: message.into(), hint: None }
    }

    /// The same with a hint how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `file:line:column`, both counted from 1.
    #[must_use]
    pub fn location(&self) -> String {
        let (line, column) = line_and_column(&self.file.text, self.place.offset);
        format!("{}:{line}:{column}", self.file.name)
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the lines at the place, one before and one after are short enough to be shown.
    fn has_excerpt(&self) -> bool {
        let Place { offset, length } = self.place;
        let text = &*self.file.text;
        let before = text.get(..offset).unwrap_or_default().rsplit('\n').take(2);
        let after =
            text.get(offset.saturating_add(length)..).unwrap_or_default().split('\n').take(2);
        let around = before.chain(after).map(str::len).fold(0, usize::saturating_add);
        around.saturating_add(length) <= MAX_EXCERPT
    }
}

/// Line and column of a byte offset, both counted from 1, columns in characters.
#[must_use]
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before.get(line_start..).map_or(0, |part| part.chars().count()) + 1)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.location(), self.message)?;
        let report = miette::MietteDiagnostic {
            message: self.message.clone(),
            code: None,
            severity: None,
            help: self.hint.clone(),
            url: None,
            labels: self.has_excerpt().then(|| {
                let span = SourceSpan::new(self.place.offset.into(), self.place.length);
                vec![LabeledSpan::new_primary_with_span(None, span)]
            }),
        };
        let source = NamedSource::new(&self.file.name, self.file.text.to_string());
        let report = miette::Report::new(report).with_source_code(source);
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .render_report(f, report.as_ref())
    }
}

/// Everything wrong with a set of files; never empty.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Err` with all problems, or `Ok` when there are none.
    ///
    /// # Errors
    /// When `problems` is not empty.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order they were found.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// All of them, to be joined with others.
    #[must_use]
    pub fn into_all(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(MAX_SHOWN) {
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// Where each key and value of a file stands, by JSON pointer.
#[derive(Clone, Debug, Default)]
pub struct Places {
    keys: HashMap<String, Place>,
    values: HashMap<String, Place>,
    /// Where each line begins, as byte offsets.
    lines: Vec<usize>,
}

impl Places {
    /// The place of the value at `pointer`, or of the nearest value around it.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Place {
        self.nearest(&self.values, pointer)
    }

    /// The place of the key that `pointer` ends in, or of the nearest value around it.
    #[must_use]
    pub fn key(&self, pointer: &str) -> Place {
        self.keys.get(pointer).copied().unwrap_or_else(|| self.value(pointer))
    }

    /// `file:line:column` of a place, both counted from 1, without reading the file again.
    #[must_use]
    pub fn location(&self, file: &SourceFile, place: Place) -> String {
        let line = self.lines.partition_point(|begin| *begin <= place.offset);
        let begin = line.checked_sub(1).and_then(|before| self.lines.get(before)).copied();
        let before = file.text.get(begin.unwrap_or_default()..place.offset);
        let column = before.map_or(0, |part| part.chars().count()) + 1;
        format!("{}:{line}:{column}", file.name)
    }

    fn nearest(&self, places: &HashMap<String, Place>, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = places.get(pointer) {
                return *place;
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = pointer.get(..cut).unwrap_or_default(),
                None => return Place::default(),
            }
        }
    }
}

/// Reads one file as `T`, strictly: one document, no duplicate key, no tag, anchor, alias or merge key,
/// no number that is not finite, nesting of at most 32 levels, and whatever `T` itself demands.
///
/// # Errors
/// With the place and a hint.
pub fn read<T: DeserializeOwned>(file: &SourceFile) -> Result<(T, Places), Problems> {
    if file.text.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(Problem::new(file, Place::default(), message).into());
    }
    let places = Scan::run(file)?;
    serde_yaml::from_str(&file.text)
        .map(|value| (value, places))
        .map_err(|error| typed_problem(file, &error).into())
}

fn typed_problem(file: &SourceFile, error: &serde_yaml::Error) -> Problem {
    let offset = error.location().map_or(0, |location| location.index());
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let rest = file.text.get(offset..).unwrap_or_default();
    let length = rest.find(['\n', ':', ' ']).unwrap_or(rest.len());
    let problem = Problem::new(file, Place { offset, length }, message);
    match nearest_expected(message) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// The expected name nearest to the unknown one, from serde's "unknown field `x`, expected one of `a`, `b`".
fn nearest_expected(message: &str) -> Option<&str> {
    let (head, tail) = message.split_once(", expected ")?;
    let unknown = head.split('`').nth(1)?;
    nearest(unknown, tail.split('`').skip(1).step_by(2))
}

/// The candidate that looks most like `word`, if any is near enough to be a slip of the pen.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// One level of the document that is open while scanning.
enum Level {
    Mapping { pointer: String, key: Option<String> },
    Sequence { pointer: String, next: usize },
}

/// The pass over the parser's events that finds places and refuses what YAML has and our files may not.
struct Scan<'a> {
    file: &'a SourceFile,
    places: Places,
    levels: Vec<Level>,
    documents: usize,
}

impl<'a> Scan<'a> {
    fn run(file: &'a SourceFile) -> Result<Places, Problems> {
        let mut scan = Scan { file, places: Places::default(), levels: Vec::new(), documents: 0 };
        for next in Parser::new_from_str(&file.text) {
            match next {
                Ok((event, span)) => scan.event(&event, span)?,
                Err(error) => {
                    let offset = error.marker().byte_offset().unwrap_or_default();
                    let message = format!("not YAML: {}", error.info());
                    return Err(Problem::new(file, Place { offset, length: 1 }, message).into());
                }
            }
        }
        let ends = file.text.match_indices('\n').map(|(end, _)| end + 1);
        scan.places.lines = std::iter::once(0).chain(ends).collect();
        Ok(scan.places)
    }

    fn event(&mut self, event: &Event<'_>, span: Span) -> Result<(), Problem> {
        let place = place_of(span);
        if event.tag().is_some() {
            return Err(self.refuse(place, "tags (`!…`) are not accepted"));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.refuse(place, "one file holds one document"));
                }
            }
            Event::Alias(_) | Event::Anchor(..) | Event::UnresolvedAlias(_) => {
                return Err(self.refuse(place, "anchors and aliases are not accepted"));
            }
            Event::Scalar(text, style, anchor, _) => {
                self.no_anchor(*anchor, place)?;
                self.scalar(text, *style, place)?;
            }
            Event::MappingStart(_, anchor, _) => {
                self.no_anchor(*anchor, place)?;
                let pointer = self.begin_value(place)?;
                self.levels.push(Level::Mapping { pointer, key: None });
            }
            Event::SequenceStart(_, anchor, _) => {
                self.no_anchor(*anchor, place)?;
                let pointer = self.begin_value(place)?;
                self.levels.push(Level::Sequence { pointer, next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.levels.pop();
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Comment(..) => {}
            _ => return Err(self.refuse(place, "a kind of YAML that is not accepted")),
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> Result<(), Problem> {
        if let Some(Level::Mapping { pointer, key: key @ None }) = self.levels.last_mut() {
            let inner = format!("{pointer}/{}", text.replace('~', "~0").replace('/', "~1"));
            if text == "<<" {
                return Err(self.refuse(place, "merge keys (`<<`) are not accepted"));
            }
            *key = Some(inner.clone());
            if self.places.keys.insert(inner, place).is_some() {
                let message = format!("duplicate key `{text}`");
                return Err(self.refuse(place, message).hint("keep one of the two"));
            }
            return Ok(());
        }
        let infinite = matches!(
            text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str(),
            ".nan" | ".inf"
        );
        if style == ScalarStyle::Plain && infinite {
            return Err(self.refuse(place, "a number must be finite"));
        }
        self.begin_value(place).map(drop)
    }

    /// Notes where the value that begins here stands, and gives its pointer.
    fn begin_value(&mut self, place: Place) -> Result<String, Problem> {
        let pointer = match self.levels.last_mut() {
            None => String::new(),
            Some(Level::Mapping { key, .. }) => match key.take() {
                Some(pointer) => pointer,
                None => return Err(self.refuse(place, "a key must be a plain text")),
            },
            Some(Level::Sequence { pointer, next }) => {
                let inner = format!("{pointer}/{next}");
                *next += 1;
                inner
            }
        };
        if self.levels.len() >= MAX_DEPTH {
            return Err(self.refuse(place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.places.values.insert(pointer.clone(), place);
        Ok(pointer)
    }

    fn no_anchor(&self, anchor: usize, place: Place) -> Result<(), Problem> {
        if anchor == 0 {
            return Ok(());
        }
        Err(self.refuse(place, "anchors and aliases are not accepted"))
    }

    fn refuse(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::new(self.file, place, message)
    }
}

fn place_of(span: Span) -> Place {
    let offset = span.start.byte_offset().unwrap_or_default();
    let end = span.end.byte_offset().unwrap_or(offset);
    Place { offset, length: end.saturating_sub(offset) }
}

#[cfg(test)]
mod tests;
