//! Hostile files and definitions as a user meets them: the start fails soon and says where, or the tool is not
//! offered and says why; everything else goes on.

use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use countersign::catalog::Schema;
use serde_json::{Map, Value, json};

use crate::clients::{Client, Modern, refused, said};
use crate::generated::Dice;
use crate::harness::{ALLOW_ALL, Builder, Output, TestGateway, text, until};
use crate::raw_upstream::{Answer, RawUpstream};

/// How long a start may take to fail, and a call to be refused, on a machine that does other things besides.
const SOON: Duration = Duration::from_secs(10);

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

/// The manifest of one tool whose schema stands on line 6.
fn manifest(schema: &Value) -> String {
    format!(
        "backend: {{ name: hostile, command: {{ program: \"@DIR@/bin/count\" }} }}\ntools:\n  - name: hostile\n    description: d\n    attributes: {{ action_type: read }}\n    input_schema: {schema}\n    run: [\"x\"]\n"
    )
}

/// Asserts that the start fails soon, with exit code 2, and says first where and what.
#[track_caller]
fn fails(builder: Builder, place: &str, what: &str) -> Output {
    let gateway = builder.prepare();
    let begun = Instant::now();
    let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(begun.elapsed() < SOON, "{place} took {:?}", begun.elapsed());
    let first = failed.stderr.lines().next().unwrap_or_default();
    let shown: String = failed.stderr.chars().take(2_000).collect();
    assert_eq!(failed.code, 2, "{shown}");
    assert!(first.starts_with(&format!("error: {place}")), "`{place}` is not where: {shown}");
    assert!(first.contains(what), "`{what}` is not what: {shown}");
    assert!(failed.stderr.len() < 20_000, "{} bytes are no message", failed.stderr.len());
    // Nothing that a person asks of the files does better or hangs.
    let checked = gateway.cli(&["policy", "check"]);
    assert_eq!(checked.code, 2, "{checked:?}");
    failed
}

#[track_caller]
fn schema_fails(schema: &Value, what: &str) {
    fails(
        allowed().manifest("hostile.yaml", &manifest(schema)),
        "tool-manifests/hostile.yaml:6:",
        what,
    );
}

/// A server whose tools `t0`, `t1` and so on have these schemas, and `fine` has a good one; and a gateway before it.
struct Behind {
    gateway: TestGateway,
    client: Modern,
    _upstream: RawUpstream,
}

impl Behind {
    fn of(schemas: &[Value], key: &str) -> Self {
        let tool = |name: String, key: &str, schema: &Value| {
            let mut tool =
                json!({ "name": name, "description": "d", "inputSchema": { "type": "object" } });
            tool[key] = schema.clone();
            tool
        };
        let hostile = schemas.iter().enumerate().map(|(n, it)| tool(format!("t{n}"), key, it));
        let fine = tool("fine".to_owned(), "inputSchema", &json!({ "type": "object" }));
        let tools: Vec<Value> = hostile.chain([fine]).collect();
        let upstream = RawUpstream::start();
        upstream.answer("tools/list", Answer::result(&json!({ "tools": tools }).to_string()));
        let mut manifest = upstream.manifest();
        for tool in &tools {
            manifest += &format!(
                "  - {{ name: {}, attributes: {{ action_type: write }} }}\n",
                tool["name"]
            );
        }
        let begun = Instant::now();
        let gateway = allowed().manifest("raw.yaml", &manifest).start();
        let client = gateway.modern("m");
        until("the server's tools", || client.tools().contains(&"fine".to_owned()).then_some(()));
        assert!(begun.elapsed() < SOON, "learning took {:?}", begun.elapsed());
        Self { gateway, client, _upstream: upstream }
    }

    /// Asserts that no hostile tool is offered, each for `why`, and that the others serve.
    #[track_caller]
    fn only_fine(&self, why: &str) {
        let offered = self.client.tools();
        let catalog = self.gateway.cli(&["catalog", "list", "--output", "json"]).json();
        for entry in catalog.as_array().unwrap() {
            let name = text(&entry["name"]);
            if name.starts_with('t') {
                assert!(text(&entry["unavailable"]).contains(why), "{entry}");
                assert!(!offered.contains(&name), "{name} is offered");
                let params = json!({ "name": name, "arguments": {} });
                let answer = self.client.request("tools/call", params);
                assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
            }
        }
        assert_eq!(said(&self.client.call("fine", json!({}))), "raw");
        assert!(said(&self.client.call("look", json!({ "line": "ok" }))).contains("ran ok"));
        assert!(self.gateway.peak_memory() < 300, "{} MB", self.gateway.peak_memory());
    }
}

/// A schema whose checks double with each of `levels`.
fn bomb(levels: usize, key: &str) -> Value {
    let mut definitions = Map::from_iter([("a0".to_owned(), json!({ "type": "string" }))]);
    for level in 1..=levels {
        let below = json!({ "$ref": format!("#/$defs/a{}", level - 1) });
        definitions.insert(format!("a{level}"), json!({ key: [below, below] }));
    }
    let top = json!({ "$ref": format!("#/$defs/a{levels}") });
    json!({ "type": "object", "properties": { "a": top }, "$defs": definitions })
}

#[test]
fn d1_a_bomb_of_compositions_is_no_start_and_no_tool() {
    let mut bombs = Vec::new();
    for levels in [24, 28, 32] {
        for key in ["allOf", "anyOf", "oneOf"] {
            bombs.push(bomb(levels, key));
        }
        schema_fails(&bomb(levels, "allOf"), "more than 10000 subschemas");
    }
    Behind::of(&bombs, "inputSchema").only_fine("more than 10000 subschemas");
    Behind::of(&bombs, "outputSchema").only_fine("more than 10000 subschemas");
}

#[test]
fn d2_no_pattern_takes_longer_with_what_it_reads() {
    let of = |pattern: &str| json!({ "type": "object", "properties": { "line": { "type": "string", "pattern": pattern } } });
    let refused_ones = ["^(?=a)b", "(?<!a)b", r"(a)\1", "^(a{0,1000}){0,1000}$", "(("];
    for pattern in refused_ones {
        schema_fails(&of(pattern), "not a usable JSON Schema");
    }
    Behind::of(&refused_ones.map(of), "inputSchema").only_fine("not a usable JSON Schema");
    // Those that others run in exponential time are only patterns here.
    let slow_elsewhere = ["(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^([a-zA-Z0-9]+)*$"];
    let behind = Behind::of(&slow_elsewhere.map(of), "inputSchema");
    let line = format!("{}!", "a".repeat(1 << 20));
    for number in 0..slow_elsewhere.len() {
        let begun = Instant::now();
        let told = refused(&behind.client.call(&format!("t{number}"), json!({ "line": line })));
        assert!(begun.elapsed() < SOON, "t{number} took {:?}", begun.elapsed());
        assert!(told.contains("must match the pattern") && told.len() < 2_000, "{told}");
    }
    assert_eq!(said(&behind.client.call("fine", json!({}))), "raw");
}

#[test]
fn d3_no_reference_is_followed_out_of_a_schema() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"type":"string"}"#).unwrap();
    let file = format!("file://{}", file.path().display());
    let outside = [
        format!("http://{address}/x.json"),
        format!("https://{address}/x.json#/a"),
        format!("//{address}/x.json"),
        file,
        "other.json".to_owned(),
    ];
    let of = |key: &str, target: &str| json!({ "type": "object", "properties": { "a": { key: target } } });
    let mut schemas = Vec::new();
    for target in &outside {
        schema_fails(&of("$ref", target), "is outside the schema");
        schemas.extend([of("$ref", target), of("$dynamicRef", target)]);
    }
    Behind::of(&schemas, "inputSchema").only_fine("is outside the schema");
    Behind::of(&schemas, "outputSchema").only_fine("is outside the schema");
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "something was fetched");
}

#[test]
fn d4_a_value_that_would_take_too_long_is_refused_unchecked() {
    let twice = json!({ "properties": { "c": { "$ref": "#" } } });
    let many: Vec<String> = (0..20_000).map(|it| it.to_string()).collect();
    let schemas = [
        json!({ "type": "object", "allOf": [twice, twice] }),
        json!({ "type": "object", "properties": { "l": { "items": { "enum": many } } } }),
        json!({ "type": "object", "properties": { "l": { "uniqueItems": true, "contains": {}, "minContains": 1_000_000_000 } } }),
        json!({ "type": "object", "properties": { "n": { "multipleOf": 1e-9 } } }),
        json!({ "type": "object", "$ref": "#" }),
    ];
    let behind = Behind::of(&schemas, "inputSchema");
    let nested = (0..50).fold(json!({}), |inner, _| json!({ "c": inner }));
    let long = json!({ "l": vec!["absent"; 50_000] });
    let numbers: Vec<u32> = (0..100_000).collect();
    let told = |tool: &str, arguments: Value| {
        let begun = Instant::now();
        let response =
            behind.client.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(begun.elapsed() < SOON, "{tool} took {:?}", begun.elapsed());
        response.to_string()
    };
    assert!(told("t0", nested).contains("takes too long"));
    assert!(told("t1", long).contains("takes too long"));
    assert!(told("t2", json!({ "l": numbers })).contains("\"isError\":true"));
    told("t3", json!({ "n": 1e300 }));
    let round = told("t4", json!({}));
    assert!(round.contains("takes too long") || round.contains("-32602"), "{round}");
    assert_eq!(said(&behind.client.call("fine", json!({}))), "raw");
    assert!(behind.gateway.peak_memory() < 400, "{} MB", behind.gateway.peak_memory());
}

/// A schema of any keywords that look into values, or at them again; it may refer to itself.
fn schema(dice: &mut Dice, depth: usize) -> Value {
    let mut made = Map::new();
    for _ in 0..=dice.below(3) {
        let mut below = || if depth == 0 { json!({}) } else { schema(dice, depth - 1) };
        let (first, second) = (below(), below());
        let target = dice.pick(&["#", "#/$defs/a", "#/$defs/b"]);
        let (key, value) = match dice.below(22) {
            0 | 1 => ("$ref", json!(target)),
            2 => ("$dynamicRef", json!(target)),
            3 => ("allOf", json!([first, second])),
            4 => ("anyOf", json!([first, second])),
            5 => ("oneOf", json!([first, second])),
            6 => ("not", first),
            7 => ("if", first),
            8 => ("then", first),
            9 => ("else", second),
            10 => ("properties", json!({ "a": first, "b": second })),
            11 => ("patternProperties", json!({ "(a+)+$": first, "^.*b": second })),
            12 => ("additionalProperties", first),
            13 => ("propertyNames", first),
            14 => ("items", first),
            15 => ("prefixItems", json!([first, second])),
            16 => ("contains", first),
            17 => ("unevaluatedProperties", first),
            18 => ("unevaluatedItems", first),
            19 => ("dependentSchemas", json!({ "a": first })),
            20 => ("uniqueItems", json!(true)),
            _ => ("pattern", json!(dice.pick(&["(a+)+$", "^(a|aa)+$", "b{1,100}"]))),
        };
        made.insert(key.to_owned(), value);
    }
    Value::Object(made)
}

/// A value that is deep, wide or long.
fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 3 } else { 8 }) {
        0 => json!("a".repeat(dice.below(3_000))),
        1 => json!(dice.below(1_000)),
        2 => json!((0..dice.below(3_000)).collect::<Vec<_>>()),
        3 | 4 => json!([value(dice, depth - 1), value(dice, depth - 1)]),
        _ => json!({ "a": value(dice, depth - 1), "b": value(dice, depth - 1), "aab": 1 }),
    }
}

#[test]
fn d4_whatever_a_schema_and_a_value_are_the_check_ends_soon() {
    const SCHEMAS: usize = 100;
    const BUDGET: Duration = Duration::from_secs(20);
    let mut dice = Dice::new(7441);
    let (mut taken, mut checked, mut too_long) = (0, 0, 0);
    let mut longest = Duration::ZERO;
    for _ in 0..SCHEMAS {
        let mut text = schema(&mut dice, 4);
        text["$defs"] = json!({ "a": schema(&mut dice, 2), "b": schema(&mut dice, 2) });
        let Value::Object(object) = text.clone() else { unreachable!() };
        let begun = Instant::now();
        let compiled = Schema::compile(object);
        assert!(begun.elapsed() < BUDGET, "compiling took {:?}: {text}", begun.elapsed());
        let Ok(compiled) = compiled else { continue };
        taken += 1;
        for _ in 0..3 {
            let value = value(&mut dice, 6);
            let begun = Instant::now();
            let result = compiled.check(&value);
            longest = longest.max(begun.elapsed());
            assert!(longest < BUDGET, "{longest:?}: {text}\n{value}");
            let long = result.is_err_and(|it| it[0].message.contains("takes too long"));
            (checked, too_long) = (checked + 1, too_long + usize::from(long));
        }
    }
    println!(
        "{taken} of {SCHEMAS} taken, {too_long} of {checked} checks too long, {longest:?} at most"
    );
    assert!(taken > SCHEMAS / 4 && too_long > 0 && too_long < checked, "nothing was shown");
}

/// What makes much of little, or another thing of it: the file, and the line and message by which it is refused.
fn yaml() -> Vec<(String, u32, &'static str)> {
    let mut laughs = "x:\n  a0: &a0 [ha, ha]\n".to_owned();
    for level in 1..30 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("  a{level}: &a{level} [{below}]\n");
    }
    vec![
        (laughs, 2, "anchors and aliases"),
        ("x:\n  base: &base { a: 1 }\n  k: { <<: *base }\n".to_owned(), 2, "anchors and aliases"),
        ("x:\n  k: { <<: { a: 1 } }\n".to_owned(), 2, "merge keys"),
        ("x:\n  k: 1\n  \"\\u006b\": 2\n".to_owned(), 3, "duplicate key `k`"),
        ("x:\n  k: !!python/object/apply:os.system [id]\n".to_owned(), 2, "tags"),
        ("x:\n  k: !include /etc/passwd\n".to_owned(), 2, "tags"),
        ("x:\n  k: .nan\n".to_owned(), 2, "a number must be finite"),
        (format!("x:\n  k: {}\n", "[".repeat(100_000)), 2, ""),
        ("x: 1\n---\nrules: []\n".to_owned(), 2, "one file holds one document"),
    ]
}

#[test]
fn d6_what_yaml_multiplies_or_hides_is_no_start_in_any_file() {
    for (text, line, what) in yaml() {
        // A policy, a manifest and the configuration are read by the same reader.
        for (name, builder) in [
            ("policies/hostile.yaml", allowed().policy("hostile.yaml", &text)),
            ("tool-manifests/hostile.yaml", allowed().manifest("hostile.yaml", &text)),
            ("countersign.yaml", allowed().config(&text)),
        ] {
            fails(builder, &format!("{name}:{line}:"), what);
        }
    }
    // What YAML 1.1 takes for a boolean or a time is a text, and so no name of a tool.
    for word in ["no", "on", "y", "1:30"] {
        let rules =
            format!("rules: [{{ name: {word}, match: {{ tool: {word} }}, decision: DENY }}]\n");
        let gateway = allowed().policy("words.yaml", &rules).prepare();
        let checked = gateway.cli(&["policy", "check", "--output", "json"]).json();
        let names: Vec<String> =
            checked["rules"].as_array().unwrap().iter().map(|rule| text(&rule["name"])).collect();
        assert!(names.contains(&word.to_owned()), "{word}: {names:?}");
    }
    // And what YAML 1.2 takes for a number is no text.
    for word in ["0o17", "0x1f", "1e3"] {
        let rules = format!("rules: [{{ name: a, match: {{ tool: {word} }}, decision: DENY }}]\n");
        fails(allowed().policy("words.yaml", &rules), "policies/words.yaml:1:", "is not a text");
    }
}

#[test]
fn d6_d7_a_file_larger_than_the_memory_is_not_read() {
    for name in ["policies/huge.yaml", "tool-manifests/huge.yaml", "countersign.yaml"] {
        let gateway = allowed().prepare();
        let file = File::create(gateway.dir().join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
        let begun = Instant::now();
        let failed = gateway.cli(&["serve", "--listen", "127.0.0.1:0"]);
        assert!(begun.elapsed() < SOON, "{name} took {:?}", begun.elapsed());
        assert_eq!(failed.code, 2, "{failed:?}");
        assert!(
            failed.stderr.contains(name) && failed.stderr.contains("larger than"),
            "{failed:?}"
        );
    }
}

#[test]
fn d8_a_secret_in_a_definition_reaches_nobody() {
    const SECRET: &str = "s3cr3t-c4n4ry-of-the-server";
    let with = |key: &str, value: Value| json!({ "type": "object", "properties": { "a": { "type": "string", key: value } } });
    let schemas = [
        with("default", json!(SECRET)),
        with("examples", json!([format!("use {SECRET}")])),
        with("enum", json!([SECRET])),
        with("const", json!(SECRET)),
        with("description", json!(format!("like {SECRET}"))),
    ];
    let tools: Vec<Value> = schemas
        .iter()
        .chain([&json!({ "type": "object" })])
        .enumerate()
        .map(|(n, schema)| json!({ "name": format!("t{n}"), "description": "d", "inputSchema": schema }))
        .collect();
    let upstream = RawUpstream::start();
    upstream.answer("tools/list", Answer::result(&json!({ "tools": tools }).to_string()));
    let mut manifest =
        upstream.manifest().replacen("timeout:", "secrets: { KEY: { env: KEY } }, timeout:", 1);
    for tool in &tools {
        manifest +=
            &format!("  - {{ name: {}, attributes: {{ action_type: write }} }}\n", tool["name"]);
    }
    let gateway = allowed().manifest("raw.yaml", &manifest).env("KEY", SECRET).start();
    let client = gateway.modern("m");
    // The last of them says nothing.
    let fine = format!("t{}", schemas.len());
    until("the server's tools", || client.tools().contains(&fine).then_some(()));
    let listed = client.result("tools/list", json!({})).to_string();
    assert!(!listed.contains("\"t0\"") && !listed.contains(SECRET), "{listed}");
    assert_eq!(said(&client.call(&fine, json!({}))), "raw");
    let catalog = gateway.api_get("/api/v1/catalog").body;
    assert!(catalog.contains("\"t0\"") && !catalog.contains(SECRET), "{catalog}");
    assert!(gateway.log().contains("holds a secret of its backend"), "{}", gateway.log());
    assert!(!gateway.log().contains(SECRET), "{}", gateway.log());
}
