//! Schemas as attackers write them: refused when they are loaded, or bounded in what checking a value takes.

use serde_json::{Map, Value, json};

use super::schema::{Schema, SchemaError};

fn compile(value: Value) -> Result<Schema, SchemaError> {
    let Value::Object(text) = value else { panic!("{value}") };
    Schema::compile(text)
}

#[track_caller]
fn refused(value: Value, because: &str) {
    let error = compile(value).unwrap_err();
    assert!(error.why.contains(because), "{error}");
}

/// `levels` definitions, each made of two of the one below it.
fn doubling(levels: usize, of: impl Fn(Value, Value) -> Value) -> Map<String, Value> {
    let mut definitions = Map::new();
    definitions.insert("a0".into(), json!({"type": "string"}));
    for level in 1..=levels {
        let below = json!({"$ref": format!("#/$defs/a{}", level - 1)});
        definitions.insert(format!("a{level}"), of(below.clone(), below));
    }
    definitions
}

fn chain(links: usize) -> Value {
    let links =
        (0..links).map(|link| (link.to_string(), json!({"$ref": format!("#/$defs/{}", link + 1)})));
    let mut definitions: Map<String, Value> = links.collect();
    definitions.insert(definitions.len().to_string(), json!({"type": "string"}));
    json!({"$ref": "#/$defs/0", "$defs": definitions})
}

fn nested(levels: usize, inner: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(inner, |inner, _| wrap(inner))
}

#[track_caller]
fn takes_too_long(schema: &Schema, value: &Value) {
    let faults = schema.check(value).unwrap_err();
    assert!(faults[0].message.contains("takes too long"), "{faults:?}");
}

#[test]
fn d1_compositions_that_double_are_refused_at_load() {
    for levels in [16, 24, 28, 32, 60] {
        for key in ["allOf", "anyOf", "oneOf"] {
            let definitions = doubling(levels, |a, b| json!({key: [a, b]}));
            let top = format!("#/$defs/a{levels}");
            refused(json!({"$ref": top, "$defs": definitions}), "more than 10000 subschemas");
        }
        let halves: [fn(Value, Value) -> Value; 4] = [
            |a, b| json!({"if": a, "then": b}),
            |a, b| json!({"not": a, "items": b}),
            |a, b| json!({"properties": {"a": a}, "dependentSchemas": {"b": b}}),
            |a, b| json!({"$ref": a["$ref"], "dependencies": {"x": b}}),
        ];
        for half in halves {
            let top = format!("#/$defs/a{levels}");
            let bomb = json!({"$ref": top, "$defs": doubling(levels, half)});
            refused(bomb, "more than 10000 subschemas");
        }
    }
    // What draft 7 calls `dependencies` is a composition too.
    let draft = "http://json-schema.org/draft-07/schema#";
    let definitions = doubling(30, |a, b| json!({"dependencies": {"a": a, "b": b}}));
    let bomb = json!({"$schema": draft, "allOf": [{"$ref": "#/$defs/a30"}], "$defs": definitions});
    refused(bomb, "more than 10000 subschemas");
    refused(chain(5_000), "within one another");
    assert!(compile(chain(100)).is_ok());
}

#[test]
fn d1_no_other_base_hides_what_a_reference_costs() {
    let bomb = doubling(30, |a, b| json!({"allOf": [a, b]}));
    let cheap = json!({"a30": true});
    let inner = json!({"$id": "http://example.com/inner", "$ref": "#/$defs/a30", "$defs": bomb});
    refused(json!({"allOf": [inner], "$defs": cheap}), "`$id` of its own");
    refused(json!({"$ref": "#/x/y", "x": {"$id": "http://example.com/x", "y": {}}}), "`$id`");
    refused(json!({"allOf": [{"$schema": "http://json-schema.org/draft-04/schema#"}]}), "draft");
    let escaped = json!({"a%62": true, "ab": {"$ref": "#/$defs/a30"}, "a30": true});
    refused(json!({"$ref": "#/$defs/a%62", "$defs": escaped}), "without `%`");
    refused(json!({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}), "names nothing");
    assert!(compile(json!({"$id": "http://example.com/root", "properties": {"$id": {}}})).is_ok());
}

#[test]
fn d1_the_largest_schema_that_is_taken_checks_a_value_in_bounded_steps() {
    let definitions = doubling(10, |a, b| json!({"anyOf": [a, b]}));
    let schema = compile(json!({"items": {"$ref": "#/$defs/a10"}, "$defs": definitions})).unwrap();
    schema.check(&json!(["x", "y"])).unwrap();
    assert!(!schema.check(&json!([1])).unwrap_err().is_empty());
    takes_too_long(&schema, &json!(vec![1; 100_000]));
}

#[test]
fn d2_patterns_run_in_linear_time_or_are_refused() {
    let long = json!(format!("{}!", "a".repeat(100_000)));
    for pattern in ["(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){20}b", "^([a-zA-Z0-9]+)*$"] {
        let schema = compile(json!({"type": "string", "pattern": pattern})).unwrap();
        assert!(
            schema.check(&json!("aaa!\n")).is_ok() || schema.check(&long).is_err(),
            "{pattern}"
        );
        let _ = schema.check(&long);
    }
    for pattern in
        ["^(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", "^(a{0,1000}){0,1000}$", "(("]
    {
        let error = compile(json!({"properties": {"p": {"pattern": pattern}}})).unwrap_err();
        assert!(!error.why.is_empty() && error.why.len() < 1_000, "{pattern}: {error}");
        let error = compile(json!({"patternProperties": {pattern: true}}));
        assert!(error.is_err(), "{pattern}");
    }
}

#[test]
fn d3_references_outside_are_refused_without_a_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let outside = [
        format!("http://{address}/x.json"),
        format!("https://{address}/x.json"),
        format!("//{address}/x.json"),
        "file:///etc/passwd".into(),
        "urn:x".into(),
        "other.json#/a".into(),
    ];
    for target in outside {
        refused(json!({"$ref": target}), "outside the schema");
        refused(json!({"properties": {"a": {"$dynamicRef": target}}}), "outside the schema");
        let _ = compile(json!({"$id": target, "type": "object"}));
        assert!(compile(json!({"$schema": target})).is_err());
    }
    assert!(listener.accept().is_err());
}

#[test]
fn d4_recursion_is_as_deep_as_the_value_and_no_wider() {
    let tree = compile(json!({"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}})).unwrap();
    tree.check(&nested(60, json!({}), |inner| json!({"l": inner, "r": {}}))).unwrap();

    // The same member twice: each level of a value doubles the work.
    let twice = json!({"properties": {"c": {"$ref": "#"}}});
    let wide = compile(json!({"allOf": [twice, twice]})).unwrap();
    wide.check(&nested(5, json!({}), |inner| json!({"c": inner}))).unwrap();
    takes_too_long(&wide, &nested(60, json!({}), |inner| json!({"c": inner})));
    let contains = compile(json!({"items": {"$ref": "#"}, "contains": {"$ref": "#"}})).unwrap();
    takes_too_long(&contains, &nested(60, json!([]), |inner| json!([inner])));

    // Going round without going into the value never ends.
    for round in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
    ] {
        if let Ok(schema) = compile(round) {
            takes_too_long(&schema, &json!({}));
        }
    }
}

#[test]
fn d4_keywords_that_ask_again_are_counted_again() {
    let closed = |inner: Value| json!({"allOf": [inner], "unevaluatedProperties": false});
    let shallow = compile(nested(4, json!({"properties": {"a": {}}}), closed)).unwrap();
    shallow.check(&json!({"a": 1})).unwrap();
    assert!(shallow.check(&json!({"b": 1})).is_err());
    refused(nested(30, json!({"properties": {"a": {}}}), closed), "more than 10000 subschemas");
}

#[test]
fn d4_large_numbers_and_lists_are_counted_or_refused() {
    let check = |schema: Value, value: &Value| compile(schema).map(|it| it.check(value).is_ok());
    let many: Vec<u32> = (0..100_000).collect();
    assert!(check(json!({"uniqueItems": true}), &json!(many)).unwrap());
    assert!(!check(json!({"contains": {}, "minContains": 1_000_000_000}), &json!(many)).unwrap());
    assert!(!check(json!({"minItems": 1_000_000_000}), &json!(many)).unwrap());
    let _ = check(json!({"multipleOf": 1e-9}), &json!(1e300)).unwrap();
    let _ = check(json!({"multipleOf": 1e-300}), &json!(9_007_199_254_740_991_u64));
    let names: Vec<String> = (0..20_000).map(|it| it.to_string()).collect();
    let listed = compile(json!({"items": {"enum": names}})).unwrap();
    takes_too_long(&listed, &json!(vec!["absent"; 50_000]));
}
