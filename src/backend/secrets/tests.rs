use secrecy::ExposeSecret;
use serde_json::json;

use super::*;

fn none(_: &str) -> Option<String> {
    None
}

fn secrets(sources: serde_json::Value) -> Secrets {
    Secrets::new(serde_json::from_value(sources).unwrap()).unwrap()
}

fn named(pairs: &[(&str, &str)]) -> Vec<Named> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
}

#[test]
fn sources_are_read_as_written() {
    for (text, expected) in [
        ("env: TOKEN", SecretSource::Env("TOKEN".into())),
        ("{ file: /run/token }", SecretSource::File("/run/token".into())),
    ] {
        assert_eq!(serde_yaml::from_str::<SecretSource>(text).unwrap(), expected);
        let again = serde_json::to_value(&expected).unwrap();
        assert_eq!(serde_json::from_value::<SecretSource>(again).unwrap(), expected);
    }
    for wrong in ["{}", "{ env: A, file: /b }", "{ exec: a }", "TOKEN"] {
        assert!(serde_yaml::from_str::<SecretSource>(wrong).is_err(), "{wrong}");
    }
    let schema = serde_json::to_value(schemars::schema_for!(SecretSource)).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&json!({ "env": "A" })) && schema.is_valid(&json!({ "file": "/a" })));
    assert!(!schema.is_valid(&json!({})) && !schema.is_valid(&json!({ "env": "A", "file": "/a" })));
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let secrets = secrets(json!({ "TOKEN": { "file": path } }));
    let value =
        || secrets.resolve(&none).map(|all| all.first().unwrap().1.expose_secret().to_owned());
    assert!(value().unwrap_err().to_string().starts_with("secret `TOKEN`: cannot read"));
    for (content, expected) in
        [("first\n", "first"), ("second", "second"), ("third\r\n", "third"), ("a\n\n", "a\n")]
    {
        let next = directory.path().join("next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(value().unwrap(), expected);
        assert_eq!(value().unwrap(), expected);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(value().is_err());
}

#[test]
fn what_cannot_be_a_secret_is_refused_without_its_value() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    for (content, why) in [
        (b"\n".to_vec(), "is empty"),
        (b"hunter2\0x".to_vec(), "holds a NUL byte"),
        (b"hunter2\xff".to_vec(), "is not UTF-8"),
        (vec![b'x'; MAX_SECRET_BYTES + 1], "is larger than 65536 bytes"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error =
            secrets(json!({ "T": { "file": path } })).resolve(&none).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    let directory = secrets(json!({ "T": { "file": directory.path() } }));
    assert!(directory.resolve(&none).unwrap_err().to_string().contains("not a regular file"));
    let bad_name = serde_json::from_value(json!({ "A=B": { "env": "A" } })).unwrap();
    assert!(Secrets::new(bad_name).is_err());
}

#[test]
fn a_variable_comes_from_the_lookup_and_never_into_debug() {
    let secrets = secrets(json!({ "TOKEN": { "env": "MY_TOKEN" } }));
    let found =
        secrets.resolve(&|name| (name == "MY_TOKEN").then(|| "hunter2".to_owned())).unwrap();
    assert_eq!(found.first().unwrap().1.expose_secret(), "hunter2");
    let redactor = Redactor::new(&found).unwrap();
    let debug = format!("{found:?} {secrets:?} {redactor:?}");
    assert!(!debug.contains("hunter2"), "{debug}");
    let missing = secrets.resolve(&none).unwrap_err().to_string();
    assert_eq!(missing, "secret `TOKEN`: the variable `MY_TOKEN` is not set");
}

#[test]
fn a_secret_is_taken_out_in_every_form() {
    let value = "p\"w/ é\n+~x7";
    let redactor = Redactor::new(&named(&[("KEY", value)])).unwrap();
    for form in [
        value,
        r#"p\"w/ é\n+~x7"#,
        r#"p\"w\/ é\n+~x7"#,
        "p%22w%2F%20%C3%A9%0A%2B~x7",
        "p%22w%2f%20%c3%a9%0a%2b~x7",
        "p%22w%2F+%C3%A9%0A%2B~x7",
    ] {
        assert_eq!(redactor.redact(&format!("a{form}b{form}")), "a[redacted:KEY]b[redacted:KEY]");
    }
}

#[test]
fn base64_is_found_at_every_offset() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let value = "s3cr??t>>~~value";
    let redactor = Redactor::new(&named(&[("KEY", value)])).unwrap();
    assert_eq!(redactor.redact(&STANDARD.encode(value)), "[redacted:KEY]");
    for before in ["", "u", "us", "user:"] {
        for after in ["", "\n", "ab", "abc"] {
            let text = format!("{before}{value}{after}");
            for encoded in [
                STANDARD.encode(&text),
                STANDARD_NO_PAD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
            ] {
                let shown = redactor.redact(&encoded);
                assert!(shown.contains("[redacted:KEY]"), "{text:?}: {shown}");
                // What is left of the encoding is the neighbours and the few bits they share.
                assert!(
                    shown.len() <= "[redacted:KEY]".len() + before.len() * 2 + after.len() * 2 + 6
                );
            }
        }
    }
}

#[test]
fn the_longest_secret_wins_and_short_ones_are_left_alone() {
    let redactor =
        Redactor::new(&named(&[("A", "abcd"), ("B", "abcdefgh"), ("C", "xyz")])).unwrap();
    assert_eq!(redactor.redact("abcdefgh abcd xyz"), "[redacted:B] [redacted:A] xyz");
    let nothing = Redactor::new(&[]).unwrap();
    assert_eq!(nothing.redact("abcd"), "abcd");
}

#[test]
fn json_is_redacted_by_value() {
    let redactor = Redactor::new(&named(&[("N", "nabc"), ("D", "123456")])).unwrap();
    let mut value = json!({ "a": ["\nabc", "xnabc"], "nabc": 91234567, "b": true, "c": null });
    assert!(redactor.redact_json(&mut value));
    assert_eq!(
        value,
        json!({ "a": ["\nabc", "x[redacted:N]"], "b": true, "c": null, "[redacted:N]": "9[redacted:D]7" })
    );
    assert!(!redactor.redact_json(&mut json!({ "a": [1, "x"] })));
}

#[test]
fn only_text_without_escapes_is_judged_unread() {
    let redactor = Redactor::new(&named(&[("N", "hunter2"), ("D", "123456")])).unwrap();
    for clean in [r#"{"a":["x",12345,"é"]}"#, "{}"] {
        assert!(redactor.finds_nothing(clean), "{clean}");
    }
    let held =
        [r#"{"a":"hunter2"}"#, r#"{"hunter2":1}"#, r#"{"a":91234567}"#, r#"{"a":"\u0068unter2"}"#];
    for held in held {
        assert!(!redactor.finds_nothing(held), "{held}");
        let mut value: serde_json::Value = serde_json::from_str(held).unwrap();
        assert!(redactor.redact_json(&mut value), "{held}");
    }
    assert!(Redactor::new(&[]).unwrap().finds_nothing(r#"{"a":"\u0068unter2"}"#));
}

#[test]
fn what_rules_take_out_is_taken_out_beside_secrets_wherever_it_stands() {
    let secrets = Redactor::new(&named(&[("KEY", "a-key-of-some-length")])).unwrap();
    let redaction = crate::policy::Redaction {
        rule: "numbers".to_owned(),
        patterns: crate::policy::Patterns::of(&["[0-9]{3}-[0-9]{4}", "4[0-9]{15}"]),
    };
    let redactor = Redactor::with(Some(&secrets), &[redaction]);
    assert_eq!(
        redactor.redact("call 555-1234 with a-key-of-some-length"),
        "call [redacted:numbers] with [redacted:KEY]"
    );
    assert!(!redactor.finds_nothing("{}"), "a pattern may be about what is escaped");
    let mut value = serde_json::json!({ "555-0000": ["x", 4_000_000_000_000_000_u64, 7], "\u{35}55-0001": null });
    assert!(redactor.redact_json(&mut value));
    let text = value.to_string();
    assert!(!text.contains("555-") && !text.contains("4000000000000000"), "{text}");
    assert!(text.contains("[redacted:numbers] (2)"), "{text}");
    assert!(text.contains("7]") && text.contains("\"[redacted:numbers]\""), "{text}");
}
