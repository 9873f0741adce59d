//! Results of cases in the form of JUnit, which systems that run tests read.

use std::fmt::Write as _;

use super::test::told;
use crate::cli::output::is_hidden;
use crate::policy::cases::{CaseResult, Results};

/// The whole report.
pub(super) fn report(results: &Results) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, failed) = (results.cases.len(), results.failed);
    // Writing into a text cannot fail.
    let _ = writeln!(xml, "<testsuites tests=\"{tests}\" failures=\"{failed}\">");
    let mut rest = results.cases.as_slice();
    while let Some(first) = rest.first() {
        let file = file(first);
        let end = rest.iter().position(|case| self::file(case) != file).unwrap_or(rest.len());
        let (suite, after) = rest.split_at(end);
        let failed = suite.iter().filter(|case| !case.passed).count();
        let name = escaped(file);
        let tests = suite.len();
        let _ =
            writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\">");
        suite.iter().for_each(|case| one(&mut xml, case));
        xml.push_str("  </testsuite>\n");
        rest = after;
    }
    xml.push_str("</testsuites>");
    xml
}

fn one(xml: &mut String, case: &CaseResult) {
    let (name, file) = (escaped(&case.name), escaped(file(case)));
    let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\"");
    if case.passed {
        xml.push_str("/>\n");
        return;
    }
    let message = escaped(case.failures.first().map_or("", String::as_str));
    let told = escaped(&format!("{}: {}", case.location, told(case).join("; ")));
    let _ =
        writeln!(xml, ">\n      <failure message=\"{message}\">{told}</failure>\n    </testcase>");
}

/// The file of a case, without line and column.
fn file(case: &CaseResult) -> &str {
    let mut parts = case.location.rsplitn(3, ':');
    parts.nth(2).unwrap_or(&case.location)
}

/// Text as it may stand in XML, also between quotes. What XML cannot hold, and what hides, is shown.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => safe.extend(c.escape_unicode()),
            c if is_hidden(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}
