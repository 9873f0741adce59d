//! What a `rollback` may say, and what it is filled with.

use serde_json::{Value, json};

use super::Compensation;
use crate::catalog::{Catalog, Environment, Manifests};
use crate::source::SourceFile;

fn built(arguments: &str) -> Result<Catalog, String> {
    let text = format!(
        r#"
backend: {{ name: x, command: {{ program: x }} }}
attributes: {{ action_type: write }}
tools:
  - name: do
    description: Do.
    input_schema:
      type: object
      required: [name, list]
      properties:
        name: {{ type: string }}
        list: {{ type: array, items: {{ type: string }} }}
        count: {{ type: integer }}
        size: {{ type: integer, default: 7 }}
    run: [do]
    rollback: {{ tool: undo, arguments: {arguments} }}
  - name: undo
    description: Undo.
    input_schema:
      type: object
      required: [name]
      properties:
        name: {{ type: string }}
        list: {{ type: array, items: {{ type: string }} }}
        count: {{ type: integer, maximum: 5 }}
        inner: {{ type: object, properties: {{ deep: {{ type: boolean }} }} }}
    run: [undo]
"#
    );
    let source = SourceFile { name: "x.yaml".into(), text: text.into() };
    let manifests = Manifests::read(vec![source]).map_err(|it| it.to_string())?;
    let environment = Environment {
        find_program: &|_| None,
        missing_secret: &|_| None,
        unconfinable: &|_, _| None,
        learned: &std::collections::HashMap::new(),
    };
    manifests.catalog(&environment).map_err(|it| it.to_string())
}

#[track_caller]
fn filled(arguments: &str, from: Value) -> Value {
    let catalog = built(arguments).unwrap_or_else(|told| panic!("{told}"));
    let compensation: &Compensation = catalog.compensation("do").unwrap();
    assert_eq!(compensation.tool(), "undo");
    let Value::Object(from) = from else { panic!("no object") };
    Value::Object(compensation.arguments(&from).unwrap())
}

#[test]
fn values_of_the_call_are_put_in() {
    let call = json!({ "name": "a", "list": ["x"], "count": 3 });
    let whole =
        r#"{ name: "${arguments.name}", list: "${arguments.list}", count: "${arguments.count}" }"#;
    assert_eq!(filled(whole, call.clone()), call);
    // What the call left out is left out, unless it has a default.
    let without = json!({ "name": "a", "list": [] });
    assert_eq!(filled(whole, without.clone()), without);
    let inside =
        r#"{ name: "-${arguments.name}-${arguments.size}-$${x}", list: ["${arguments.name}", b] }"#;
    assert_eq!(filled(inside, without), json!({ "name": "-a-7-${x}", "list": ["a", "b"] }));
    assert_eq!(filled("{ name: fixed }", call), json!({ "name": "fixed" }));
}

#[test]
fn what_can_never_work_is_an_error_with_its_place() {
    for (arguments, told) in [
        (r#"{ name: "${arguments.nam}" }"#, "`do` has no argument `nam`"),
        (r#"{ name: "${result.id}" }"#, "results are not kept"),
        (r#"{ name: "${name}" }"#, "write `${arguments.x}`"),
        (r#"{ name: "${arguments.list...}" }"#, "stands in `run` only"),
        (r#"{ name: "${arguments.name" }"#, "without `}`"),
        (r#"{ name: "x-${arguments.count}" }"#, "`count` may be absent"),
        (r#"{ name: "${arguments.list}" }"#, "never has the type"),
        (r#"{ nam: "${arguments.name}", name: x }"#, "`undo` has no argument `nam`"),
        ("{ list: [] }", "`/name` is required"),
        ("{ name: 7 }", "`/name`"),
        ("{ name: x, count: 6 }", "`/count`"),
        (r#"{ name: "${arguments.name}", inner: { deep: 7 } }"#, "`/inner/deep`"),
    ] {
        let found = built(arguments).map(drop).unwrap_err();
        assert!(found.contains(told) && found.contains("x.yaml:16:"), "{arguments}: {found}");
    }
}
