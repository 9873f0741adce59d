//! Which item a URI stands for, and what can be had of it.

use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::catalog::{Catalog, Environment, Manifests, Offered};
use crate::source::SourceFile;

const MANIFEST: &str = r#"
backend: { name: library, mcp: { program: library } }
attributes: { action_type: write }
resources:
  - { uri: "doc://a/b", attributes: { action_type: admin } }
  - { uri: "doc://own", title: Ours }
  - uri_template: "doc://{shelf}/{book}"
    variables: { shelf: { enum: [a, b] } }
    attributes: { environment: { argument: shelf, values: { a: staging, b: production } } }
  - { uri_template: "doc://a/{book}", attributes: { action_type: read } }
prompts:
  - { name: ask, from: ask-it }
"#;

fn catalog(offered: Option<Offered>) -> Catalog {
    let file = SourceFile { name: "library.yaml".into(), text: MANIFEST.into() };
    let learned = offered.map(|offered| ("library".to_owned(), Ok(offered)));
    let environment = Environment {
        find_program: &|_| None,
        missing_secret: &|_| None,
        unconfinable: &|_, _| None,
        learned: &learned.into_iter().collect::<HashMap<_, _>>(),
    };
    Manifests::read(vec![file]).unwrap().catalog(&environment).unwrap()
}

fn described(key: &str, entry: Value) -> Described {
    let Value::Object(entry) = entry else { panic!() };
    Described::read(key, entry).unwrap()
}

fn offered() -> Offered {
    let arguments = json!([{ "name": "about", "required": true }]);
    Offered {
        resources: Ok(vec![described(
            "uri",
            json!({ "uri": "doc://own", "title": "Theirs", "x": 1 }),
        )]),
        templates: Ok(vec![
            described("uriTemplate", json!({ "uriTemplate": "doc://{shelf}/{book}" })),
            described("uriTemplate", json!({ "uriTemplate": "doc://b/{book}" })),
        ]),
        prompts: Ok(vec![described("name", json!({ "name": "ask-it", "arguments": arguments }))]),
        ..Offered::from(Vec::new())
    }
}

#[test]
fn a_uri_stands_for_what_is_said_of_it_most_exactly() {
    let catalog = catalog(None);
    for (uri, name, arguments) in [
        ("doc://a/b", "resources/read:doc://a/b", json!({})),
        ("doc://a/c", "resources/read:doc://a/{book}", json!({ "book": "c" })),
        ("doc://b/c", "resources/read:doc://{shelf}/{book}", json!({ "shelf": "b", "book": "c" })),
    ] {
        let found = catalog.resource(uri).unwrap();
        assert_eq!((found.0.as_str(), Value::Object(found.1)), (name, arguments), "{uri}");
        // Not because another could be had.
        assert!(catalog.available(&found.0).is_none());
    }
    for uri in ["doc://{shelf}/{book}", "doc://a", "doc://a/b/c", "resources/read:doc://a/b"] {
        assert!(catalog.resource(uri).is_none(), "{uri}");
    }
}

#[test]
fn what_is_listed_and_offered_is_available() {
    let catalog = catalog(Some(offered()));
    let unavailable = |name: &str| catalog.tool(name).unwrap().unavailable().map(str::to_owned);
    // A resource need not be in its server's list when a template of the server covers it.
    for name in ["resources/read:doc://a/b", "resources/read:doc://own", "prompts/get:ask"] {
        assert_eq!(unavailable(name), None);
    }
    let why = unavailable("resources/read:doc://a/{book}").unwrap();
    assert!(why.contains("offers no resource template"), "{why}");
    let own = catalog.tool("resources/read:doc://own").unwrap();
    let Offer::Resource(entry) = own.offer() else { panic!("{own:?}") };
    assert_eq!(
        *entry,
        *json!({ "uri": "doc://own", "title": "Ours", "name": "doc://own" }).as_object().unwrap()
    );
    let prompt = catalog.tool("prompts/get:ask").unwrap();
    assert!(prompt.check(Object::new()).is_err());
    let template = catalog.tool("resources/read:doc://{shelf}/{book}").unwrap();
    // An argument chooses an attribute, which nobody knows while it is typed.
    assert!(template.completion().is_none() && prompt.completion().is_some());
    assert!(catalog.available("completion/complete:prompts/get:ask").is_some());
    assert!(catalog.tools().all(|tool| tool.kind() != Kind::Completion));
}

#[test]
fn another_definition_is_another_fingerprint() {
    let fingerprint =
        |offered: Offered, name: &str| *catalog(Some(offered)).tool(name).unwrap().fingerprint();
    let mut other = offered();
    let arguments = json!([{ "name": "about" }]);
    other.prompts =
        Ok(vec![described("name", json!({ "name": "ask-it", "arguments": arguments }))]);
    let name = "prompts/get:ask";
    assert_ne!(fingerprint(offered(), name), fingerprint(other.clone(), name));
    let name = "resources/read:doc://own";
    assert_eq!(fingerprint(offered(), name), fingerprint(other, name));
}
