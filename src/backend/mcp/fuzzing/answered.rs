//! One message of an upstream server, and all that is read out of its result.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::definitions::Listing;
use super::super::ledger::Incoming;
use super::super::pages::Pages;
use super::super::wire::{self, Envelope};
use super::super::{Asking, rounds};
use super::Link;
use crate::backend::BackendError;
use crate::catalog::{
    Ability, Catalog, CheckedResult, Definition, Described, Environment, Kind, Manifests, Offered,
};
use crate::json::{self, Object};
use crate::source::SourceFile;

/// The largest result, in bytes, for the tool with a schema.
const MAX_RESULT_BYTES: usize = 4096;
/// How many entries one list may have.
const MAX_ENTRIES: usize = 100;
/// An MCP server whose tools, resources and prompts an operator lists, without any schema of his own.
const MANIFEST: &str = "
backend: { name: upstream, mcp: { url: 'http://127.0.0.1:1/mcp' } }
tools:
  - { name: a, attributes: { action_type: read } }
  - { name: b, from: B, attributes: { action_type: write } }
resources:
  - { uri: 'file:///a', attributes: {} }
  - { uri_template: 'file:///{name}', attributes: {} }
prompts:
  - { name: p, attributes: {} }
";
/// A tool whose result has a schema.
const WITH_OUTPUT: &str = "
backend: { name: program, command: { program: 'true' } }
tools:
  - name: structured
    description: d
    attributes: { action_type: read }
    run: []
    output: json
    input_schema: { type: object }
    output_schema: { type: object, required: [n], properties: { n: { type: integer } } }
";

/// A message answers the request whose number stands in it and no other, also where it is cut; its result reaches
/// who waits as it was written. As the result of a call it is kept byte for byte or refused in words; as a page of a
/// list it is bounded, and whatever is in it the catalog can be built, whose tools take arguments or refuse them.
pub fn upstream_answer(data: &[u8]) {
    if data.len() > crate::fuzzing::MAX_INPUT_BYTES {
        return;
    }
    let number =
        Envelope::of(data).ok().filter(|it| it.method.is_none()).and_then(|it| it.number());
    if number.is_some() {
        assert_eq!(wire::id_of(data), number, "the number of a whole message");
        for end in [data.len() / 2, data.len().saturating_sub(2), data.len().saturating_sub(1)] {
            let cut = wire::id_of(&data[..end]);
            assert!(cut.is_none() || cut == number, "cut at {end}, it is {cut:?}");
        }
    }
    let Link { ledger, answers } = Link::new(data.len().is_multiple_of(2));
    match ledger.incoming(data, None) {
        Incoming::Replace(message) => {
            let text = serde_json::to_string(&message).expect("a message is JSON");
            assert!(json::check(text.as_bytes()).is_ok(), "not as we take it: {text}");
        }
        Incoming::Pass | Incoming::Done => {}
    }
    for (place, mut answer) in answers.into_iter().enumerate() {
        let Ok(answer) = answer.try_recv() else { continue };
        if number.is_some() {
            assert_eq!(i64::try_from(place + 1).ok(), number, "the answer to another request");
        }
        match answer {
            Ok(result) => read(&result),
            Err(error) => in_words(&error),
        }
    }
}

fn in_words(error: &BackendError) {
    assert!(!error.to_string().is_empty(), "no words for {error:?}");
}

fn read(result: &RawValue) {
    assert!(json::check(result.get().as_bytes()).is_ok(), "not as we take it: {result}");
    match wire::kind_of(result) {
        Ok(wire::Kind::Complete) => {}
        Ok(wire::Kind::InputRequired) => wanted(result),
        Err(error) => in_words(&error),
    }
    for kind in [Kind::Tool, Kind::Resource, Kind::Prompt, Kind::Completion] {
        match CheckedResult::stored(result.to_owned(), kind) {
            Ok(checked) => kept(result, checked),
            Err(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
    let tool = structured().available("structured").expect("the tool");
    if let Ok(checked) = CheckedResult::check(tool, result.to_owned(), MAX_RESULT_BYTES) {
        assert!(checked.bytes() <= MAX_RESULT_BYTES, "{} bytes", checked.bytes());
        let value: Value = serde_json::from_str(result.get()).expect("a result is JSON");
        let fits = value.pointer("/structuredContent/n").is_some();
        assert!(fits || checked.is_error(), "does not fit its schema: {value}");
        kept(result, checked);
    }
    listed(result);
}

fn wanted(result: &RawValue) {
    for allow in [Ability::ALL.into(), [Ability::Roots].into()] {
        let may = Asking { allow, ..Asking::default() };
        match rounds::wanted(result, &may) {
            Ok((questions, _)) => {
                assert!(questions.iter().all(|question| may.allow.contains(&question.ability)));
            }
            Err(error) => in_words(&error),
        }
    }
}

/// Asserts that each member goes out as it came, but for what is added to `_meta`.
fn kept(result: &RawValue, checked: CheckedResult) {
    assert_eq!(checked.text().get(), result.get());
    let came: HashMap<String, Box<RawValue>> = serde_json::from_str(result.get()).expect("members");
    let ours = Object::from_iter([("ours".to_owned(), Value::Null)]);
    let goes = checked.into_members(ours);
    for (name, value) in came.iter().filter(|(name, _)| *name != "_meta") {
        assert_eq!(goes.get(name).map(|it| it.get()), Some(value.get()), "`{name}`");
    }
    assert!(goes.get("_meta").is_some_and(|meta| meta.get().contains("ours")));
}

fn listed(result: &RawValue) {
    let mut listing = Listing::new(MAX_ENTRIES);
    let tools = match listing.add(result) {
        Ok(_) => listing.tools,
        Err(error) => return in_words(&error),
    };
    assert!(tools.len() <= MAX_ENTRIES);
    offered(tools, result);
}

fn offered(tools: Vec<Definition>, result: &RawValue) {
    let list = |member: &'static str, key: &str| {
        let page = Pages::new(member, MAX_ENTRIES).add(result).map_err(|it| it.to_string())?;
        let entries = page.entries.iter().filter_map(Value::as_object);
        let entries = entries.filter_map(|entry| Described::read(key, entry.clone()));
        Ok(entries.collect())
    };
    let offered = Offered {
        tools,
        resources: list("resources", "uri"),
        templates: list("resourceTemplates", "uriTemplate"),
        prompts: list("prompts", "name"),
        quarantined: Vec::new(),
    };
    let catalog = built(MANIFEST, HashMap::from([("upstream".to_owned(), Ok(offered))]));
    for arguments in [r#"{"name":"n","path":"p"}"#, "{}"] {
        let arguments = serde_json::from_str(arguments).expect("an object");
        crate::fuzzing::called(&catalog, &arguments);
    }
}

fn structured() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| built(WITH_OUTPUT, HashMap::new()))
}

/// The catalog of a manifest that is right: whatever its server says, it can be built.
fn built(manifest: &str, learned: HashMap<String, Result<Offered, String>>) -> Catalog {
    let file = SourceFile { name: "manifest.yaml".to_owned(), text: manifest.into() };
    let manifests = Manifests::read(vec![file]).unwrap_or_else(|problems| panic!("{problems}"));
    let environment = Environment {
        find_program: &|name| Some(name.into()),
        missing_secret: &|_| None,
        unconfinable: &|_, _| None,
        learned: &learned,
    };
    manifests.catalog(&environment).unwrap_or_else(|problems| panic!("{problems}"))
}
