use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Object {
    let Value::Object(object) = value else { panic!("not an object: {value}") };
    object
}

fn schema() -> Object {
    object(json!({
        "type": "object",
        "required": ["name", "count", "files", "anything"],
        "properties": {
            "name": { "type": "string" },
            "count": { "type": "number" },
            "files": { "type": "array", "items": { "type": "string" } },
            "nested": { "type": "array", "items": { "type": "object" } },
            "limit": { "type": "integer", "default": 10 },
            "all": { "type": "boolean" },
            "since": { "type": "string" },
            "spec": { "type": "object" },
            "anything": {},
        },
    }))
}

fn parts(run: Value) -> Vec<Part> {
    serde_json::from_value(run).unwrap()
}

fn render(run: Value, arguments: Value) -> Result<Vec<String>, String> {
    Template::compile(&parts(run), None, &schema())
        .unwrap()
        .render(&object(arguments))
        .map(|rendered| rendered.argv)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn check(run: Value, arguments: Value, expected: &[&str]) {
    assert_eq!(render(run, arguments).unwrap(), expected);
}

#[test]
fn an_argument_is_one_element_whatever_it_holds() {
    for hostile in [
        "a b",
        "$(id)",
        "`id`",
        "; rm -rf /",
        "*",
        "\n",
        "",
        "'\"\\",
        "${name}",
        "$${x}",
        "é\u{202e}",
    ] {
        check(json!(["get", "${name}"]), json!({ "name": hostile }), &["get", hostile]);
        let joined = format!("x={hostile}/y");
        check(json!(["x=${name}/y"]), json!({ "name": hostile }), &[joined.as_str()]);
    }
}

#[test]
fn go_2026_5604_text_that_would_be_an_option_is_refused_where_it_stands_first() {
    let dash = Err("`name` must not start with `-`".to_owned());
    for run in [json!(["${name}"]), json!(["${name}.txt"]), json!(["${anything}${name}"])] {
        assert_eq!(render(run, json!({ "name": "--upload", "anything": "" })), dash);
    }
    let spread = render(json!(["${files...}"]), json!({ "files": ["a", "-b"] }));
    assert_eq!(spread, Err("`files` must not start with `-`".to_owned()));
    check(json!(["--", "${name}"]), json!({ "name": "-x" }), &["--", "-x"]);
    check(json!(["--", "${files...}"]), json!({ "files": ["-x"] }), &["--", "-x"]);
    check(json!(["--name=${name}"]), json!({ "name": "-x" }), &["--name=-x"]);
    check(json!(["-n", "${count}"]), json!({ "count": -5 }), &["-n", "-5"]);
}

#[test]
fn an_end_of_options_that_a_caller_wrote_does_not_count() {
    let run = json!(["${anything}", "${name}"]);
    let refused = render(run, json!({ "anything": "--", "name": "-x" }));
    assert_eq!(refused, Err("`anything` must not start with `-`".to_owned()));
}

#[test]
fn numbers_keep_their_digits() {
    let digits = r#"{"count": 1.10, "anything": 12345678901234567890123}"#;
    let arguments: Object = serde_json::from_str(digits).unwrap();
    let template =
        Template::compile(&parts(json!(["${count}", "${anything}"])), None, &schema()).unwrap();
    assert_eq!(template.render(&arguments).unwrap().argv, ["1.10", "12345678901234567890123"]);
}

#[test]
fn optional_parts_and_defaults() {
    let run = json!(["log", "-n${limit}", { "when": "since", "args": ["--since=${since}"] },
        { "when": "all", "args": ["--all"] }]);
    check(run.clone(), json!({}), &["log", "-n10"]);
    check(run.clone(), json!({ "since": null, "all": false }), &["log", "-n10"]);
    check(
        run,
        json!({ "limit": 3, "since": "x", "all": true }),
        &["log", "-n3", "--since=x", "--all"],
    );
}

#[test]
fn escapes_and_lone_dollars_are_literal() {
    check(
        json!(["$${name}", "a$b", "$", "cost: $$5"]),
        json!({}),
        &["${name}", "a$b", "$", "cost: $$5"],
    );
    check(json!([""]), json!({}), &[""]);
}

#[test]
fn what_cannot_be_passed_on_is_refused() {
    for (run, arguments, error) in [
        (json!(["${name}"]), json!({ "name": "a\0b" }), "`name` must not contain a NUL byte"),
        (json!(["${files...}"]), json!({ "files": ["\0"] }), "`files` must not contain a NUL byte"),
        (json!(["${name}"]), json!({}), "`name` is missing"),
        (json!(["${name}"]), json!({ "name": null }), "`name` is missing"),
        (
            json!(["${anything}"]),
            json!({ "anything": [1] }),
            "`anything` must be a string, a number or a boolean",
        ),
        (
            json!(["${anything...}"]),
            json!({ "anything": "ab" }),
            "`anything` must be an array of strings, numbers or booleans",
        ),
        (
            json!(["${anything...}"]),
            json!({ "anything": [{}] }),
            "`anything` must be an array of strings, numbers or booleans",
        ),
        (
            json!(["${name}"]),
            json!({ "name": "x".repeat(MAX_ARGV_BYTES) }),
            "the arguments take more than 131072 bytes together; send less",
        ),
    ] {
        assert_eq!(render(run, arguments), Err(error.to_owned()));
    }
    let fits = "x".repeat(MAX_ARGV_BYTES - 1);
    check(json!(["${name}"]), json!({ "name": fits }), &[fits.as_str()]);
    let many = json!({ "files": vec![""; MAX_ARGV_BYTES + 1] });
    assert!(render(json!(["${files...}"]), many).is_err());
}

#[test]
fn a_template_that_cannot_work_is_an_error_with_its_place() {
    for (run, error) in [
        (json!(["a", "${nmae}"]), "`run[1]`: unknown argument `nmae`; did you mean `name`?"),
        (json!(["${zzz}"]), "`run[0]`: unknown argument `zzz`"),
        (
            json!([{ "when": "al", "args": [] }]),
            "`run[0]`: unknown argument `al`; did you mean `all`?",
        ),
        (json!(["x${name"]), "`run[0]`: `${` without `}`; write `$${` for a literal `${`"),
        (json!(["${}"]), "`run[0]`: `${}` names no argument"),
        (json!(["${...}"]), "`run[0]`: `${}` names no argument"),
        (json!(["a${files...}"]), "`run[0]`: `${files...}` must stand alone in its element"),
        (
            json!(["${name...}"]),
            "`run[0]`: `name` cannot be spread: it is not an array of strings, numbers or booleans",
        ),
        (
            json!(["${nested...}"]),
            "`run[0]`: `nested` cannot be spread: it is not an array of strings, numbers or booleans",
        ),
        (
            json!(["${files}"]),
            "`run[0]`: `files` is an array or object and cannot stand in an element; spread an array with `${files...}`",
        ),
        (
            json!([{ "when": "all", "args": ["-x", "${since}"] }]),
            "`run[0].args[1]`: `since` may be absent: make it required, give it a default, or put it in `{ when: since, args: [...] }`",
        ),
        (json!(["a\0"]), "`run[0]`: holds a NUL byte"),
    ] {
        let refused = Template::compile(&parts(run), None, &schema()).unwrap_err();
        assert_eq!(refused.to_string(), error);
    }
}

#[test]
fn stdin_is_one_argument_or_all_of_them() {
    let stdin = |text: &str, arguments: Value| {
        Template::compile(&[], Some(text), &schema())
            .map_err(|error| error.to_string())?
            .render(&object(arguments))
            .map(|rendered| String::from_utf8(rendered.stdin.unwrap()).unwrap())
            .map_err(|error| error.to_string())
    };
    assert_eq!(stdin("${name}", json!({ "name": "-a\nb" })), Ok("-a\nb".to_owned()));
    assert_eq!(stdin("${anything}", json!({ "anything": [1, "a"] })), Ok(r#"[1,"a"]"#.to_owned()));
    assert_eq!(
        stdin("json", json!({ "count": 1.5, "name": "x" })),
        Ok(r#"{"count":1.5,"name":"x"}"#.to_owned())
    );
    for wrong in ["JSON", "x${name}", "${files...}", "text"] {
        let refused = stdin(wrong, json!({}));
        assert_eq!(refused, Err("`stdin`: must be `json` or `${argument}`".to_owned()));
    }
    assert!(stdin("${since}", json!({})).unwrap_err().contains("may be absent"));
}

#[test]
fn an_entry_of_another_shape_is_refused_in_words() {
    for wrong in
        [json!([5]), json!([{ "when": "all" }]), json!([{ "when": "a", "args": [], "x": 1 }])]
    {
        let refused = serde_json::from_value::<Vec<Part>>(wrong).unwrap_err().to_string();
        assert!(refused.contains("`{ when: argument, args: [...] }`"), "{refused}");
    }
}
