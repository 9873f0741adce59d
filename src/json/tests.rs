//! What is read, kept and refused.

use super::*;

fn fault(text: &str) -> Option<Fault> {
    let parsed = parse(text.as_bytes());
    let checked = check(text.as_bytes());
    if !matches!(checked, Err(Malformed { fault: Fault::Nul, .. })) && !text.contains("u0000") {
        assert_eq!(parsed.as_ref().err(), checked.as_ref().err(), "{text}");
    }
    parsed.err().map(|error| error.fault)
}

#[test]
fn reads_numbers_and_order_as_written() {
    for text in [
        r#"{"z":123456789012345678901234567890,"a":[1.0,-0,0.10],"m":{"k":null}}"#,
        r#"[1e+400,-1e-400,0e+1,1.50,true,false,null,"",{},[]]"#,
        r#"{"__proto__":{"constructor":1},"toString":2}"#,
        r#""plain""#,
    ] {
        let value = parse(text.as_bytes()).unwrap();
        let spelt = serde_json::to_string(&value).unwrap();
        assert_eq!(spelt, text);
    }
    // The spelling of an exponent is the only thing of a number that is not kept.
    assert_eq!(parse(b"[1E400,2.50e7]").unwrap().to_string(), "[1e+400,2.50e+7]");
    assert_eq!(parse(br#" "\ud83d\ude00\u0041\/" "#).unwrap(), "\u{1F600}A/");
}

#[test]
fn refuses_what_readers_may_take_for_different_things() {
    let table: [(&str, Fault); 34] = [
        ("", Fault::Unfinished),
        ("  ", Fault::Unfinished),
        ("{", Fault::Unfinished),
        ("[1", Fault::Unfinished),
        ("\"a", Fault::Unfinished),
        ("tru", Fault::Unfinished),
        ("-", Fault::Unfinished),
        ("1.", Fault::Unfinished),
        ("{} {}", Fault::Trailing),
        ("01", Fault::Trailing),
        ("1 // one", Fault::Trailing),
        ("[1,]", Fault::Syntax),
        ("[,1]", Fault::Syntax),
        (r#"{"a":1,}"#, Fault::Syntax),
        ("{a:1}", Fault::Syntax),
        ("{'a':1}", Fault::Syntax),
        ("{1:1}", Fault::Syntax),
        ("NaN", Fault::Syntax),
        ("-Infinity", Fault::Syntax),
        ("+1", Fault::Syntax),
        (".5", Fault::Syntax),
        ("1e", Fault::Unfinished),
        ("\u{feff}{}", Fault::Syntax),
        ("\u{a0}1", Fault::Syntax),
        ("\"a\nb\"", Fault::Control),
        ("\"\u{0}\"", Fault::Control),
        (r#""\x41""#, Fault::Syntax),
        (r#""\u12G4""#, Fault::Syntax),
        (r#""\ud800""#, Fault::Surrogate),
        (r#""\udc00\ud800""#, Fault::Surrogate),
        (r#""\ud800\u0041""#, Fault::Surrogate),
        (r#"{"a":1,"a":2}"#, Fault::Duplicate),
        (r#"{"a":{"b":1,"\u0062":2}}"#, Fault::Duplicate),
        (r#"{"\ud83d\ude00":1,"😀":2}"#, Fault::Duplicate),
    ];
    for (text, expected) in table {
        assert_eq!(fault(text), Some(expected), "{text}");
    }
    for bytes in [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\xff\xfe{\0}\0"] {
        let found = parse(bytes).unwrap_err().fault;
        assert_eq!(found, Fault::Encoding);
    }
}

#[test]
fn many_keys_are_told_apart_as_few_are() {
    let keys: Vec<String> = (0..1000).map(|n| format!(r#""k{n}":{n}"#)).collect();
    assert_eq!(fault(&format!("{{{}}}", keys.join(","))), None);
    for twice in ["k3", "k500", "\\u006b999"] {
        let text = format!(r#"{{{},"{twice}":0}}"#, keys.join(","));
        assert_eq!(fault(&text), Some(Fault::Duplicate), "{twice}");
    }
}

#[test]
fn nul_in_a_key_is_refused_where_something_acts_on_it() {
    let text = r#"{"meth\u0000od":"tools/call"}"#;
    assert_eq!(fault(text), Some(Fault::Nul));
    assert_eq!(check(text.as_bytes()), Ok(text));
    assert_eq!(fault(r#"{"a":"\u0000"}"#), None);
}

#[test]
fn no_object_is_taken_for_a_number_however_its_key_is_spelt() {
    for key in [
        "$serde_json::private::Number",
        r"\u0024serde_json::private::Number",
        r"$serde_json::private\u003a:RawValue",
        "$serde_json::private::",
    ] {
        let text = format!(r#"{{"a":{{"{key}":"5"}}}}"#);
        assert_eq!(fault(&text), Some(Fault::Reserved), "{key}");
    }
}

#[test]
fn c5_depth_is_bounded_without_a_deep_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(&nested(64)), None);
    for depth in [65, 129, 10_000, 1_000_000] {
        assert_eq!(fault(&nested(depth)), Some(Fault::Depth));
        assert_eq!(fault(&r#"{"a":"#.repeat(depth)), Some(Fault::Depth));
        assert_eq!(fault(&"[".repeat(depth)), Some(Fault::Depth));
    }
}

#[test]
fn says_where() {
    let error = parse(b"{\"a\":1,\n  \"b\":2,\n  \"a\":3}").unwrap_err();
    assert_eq!(error.to_string(), "a key that stands twice in one object at line 3 column 3");
}

#[test]
fn c3_names_the_number_that_no_digest_can_bind() {
    let check = |text: &str| {
        let Value::Object(object) = parse(text.as_bytes()).unwrap() else { panic!() };
        check_i_json(&object).map_err(|error| error.pointer)
    };
    assert_eq!(check(r#"{"a":9007199254740991,"b":0.1,"c":1e300}"#), Ok(()));
    assert_eq!(check(r#"{"a":[0,9007199254740993]}"#), Err("/a/1".to_owned()));
    assert_eq!(check(r#"{"a/b":{"~":1e400}}"#), Err("/a~1b/~0".to_owned()));
    assert_eq!(check(r#"{"x":1.000000000000000000001}"#), Err("/x".to_owned()));
    assert_eq!(check(r#"{"x":123456789012345678901234567890}"#), Err("/x".to_owned()));
}
