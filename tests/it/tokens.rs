//! What lets an agent in over HTTP, and everything that does not: gateway tokens, and those of an issuer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::clients::{CAPABILITIES, Client, Legacy, MODERN, Modern, http, next_id, secret_of};
use crate::harness::{ALLOW_ALL, HOLD_ALL, RUNTIME, TestGateway, text, until};
use crate::issuer::{Issuer, Signer};

fn gateway(issuer: &Issuer, more: &str) -> TestGateway {
    let config = issuer.config(more);
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).config(&config).start()
}

/// Status, challenge and body of an answer.
fn answer(request: RequestBuilder) -> (u16, Option<String>, String) {
    RUNTIME.block_on(async {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.map(|it| it.to_str().unwrap().to_owned());
        (status, challenge, response.text().await.unwrap())
    })
}

/// A `tools/call` of `count` as a client of 2026-07-28 makes it, but for its credential.
fn call(url: &str) -> RequestBuilder {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": MODERN, CAPABILITIES: {},
                       "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" } });
    let params = json!({ "name": "count", "arguments": { "line": "forged" }, "_meta": meta });
    let message =
        json!({ "jsonrpc": "2.0", "id": next_id(), "method": "tools/call", "params": params });
    http()
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "count")
        .body(message.to_string())
}

/// The same as clients of earlier protocols begin.
fn initialize(url: &str) -> RequestBuilder {
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello });
    http()
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(message.to_string())
}

/// A token whose parts are these, unsigned or signed with anything.
fn by_hand(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|it| URL_SAFE_NO_PAD.encode(it.to_string()));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn with(mut claims: Value, change: &[(&str, Value)]) -> Value {
    for (key, value) in change {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*key);
        } else {
            claims[*key] = value.clone();
        }
    }
    claims
}

/// Tokens of `issuer` that are wrong in one thing each.
fn forged(issuer: &Issuer, url: &str) -> Vec<(String, String)> {
    let good = issuer.claims("bot", url);
    let now = jiff::Timestamp::now().as_second();
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    let claims: [(&str, &[(&str, Value)]); 16] = [
        ("expired", &[("exp", json!(now - 61))]),
        ("without an end", &[("exp", Value::Null)]),
        ("with an end that is a text", &[("exp", json!((now + 600).to_string()))]),
        ("not yet", &[("nbf", json!(now + 120))]),
        ("issued in the future", &[("iat", json!(now + 120))]),
        ("without an audience", &[("aud", Value::Null)]),
        ("for another", &[("aud", json!("https://gate.example.com/mcp"))]),
        ("for the whole host", &[("aud", json!(url))]),
        ("for nobody", &[("aud", json!([]))]),
        ("of another issuer", &[("iss", json!("https://login.example.com"))]),
        ("of an issuer with a slash", &[("iss", json!(format!("{}/", issuer.name())))]),
        ("of several issuers", &[("iss", json!([issuer.name()]))]),
        ("without an issuer", &[("iss", Value::Null)]),
        ("without a subject", &[("sub", Value::Null)]),
        ("with an empty subject", &[("sub", json!(""))]),
        ("with a subject that is no name", &[("sub", json!("auth0|7 or '1'='1"))]),
    ];
    for (name, change) in claims {
        add(name, issuer.key.sign(&with(good.clone(), change)));
    }
    add("unknown key", issuer.key.sign_with(&good, |header| header.kid = Some("k2".into())));
    add("no key named", issuer.key.sign_with(&good, |header| header.kid = None));
    add("no kind", issuer.key.sign_with(&good, |header| header.typ = None));
    add("another kind", issuer.key.sign_with(&good, |header| header.typ = Some("dpop+jwt".into())));
    add("another's signature", Signer::p256("k1").sign(&good));
    add("another algorithm", Signer::ed25519("k1").sign(&good));
    let header = |alg: &str| json!({ "alg": alg, "typ": "at+jwt", "kid": "k1" });
    for none in ["none", "None", "NONE", "nOnE", ""] {
        add(&format!("alg `{none}`"), by_hand(&header(none), &good, b""));
    }
    // A public key is no secret: whoever has it must not be able to sign.
    let public = issuer.key.public.to_string();
    let compressed = &issuer.key.point[1..33];
    for secret in [&issuer.key.point[..], compressed, public.as_bytes(), b""] {
        let mut shared = Header::new(Algorithm::HS256);
        (shared.typ, shared.kid) = (Some("at+jwt".into()), Some("k1".into()));
        let key = EncodingKey::from_secret(secret);
        add("HS256 with the public key", jsonwebtoken::encode(&shared, &good, &key).unwrap());
    }
    let real = issuer.key.sign(&good);
    let (signed, signature) = real.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(with(good.clone(), &[("sub", json!("root"))]).to_string());
    add("other claims", format!("{head}.{other}.{signature}"));
    add("no signature", format!("{signed}."));
    add("a signature of zeros", by_hand(&header("ES256"), &good, &[0; 64]));
    add("two parts", signed.to_owned());
    add("four parts", format!("{real}.{signature}"));
    add("padded", format!("{real}=="));
    add("a claim twice", {
        let twice = format!("{{\"sub\":\"root\",{}", &good.to_string()[1..]);
        format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(twice))
    });
    add("critical", by_hand(&with(header("ES256"), &[("crit", json!(["x"]))]), &good, &[1; 64]));
    add("with its own key", {
        let stranger = Signer::p256("k1");
        stranger.sign_with(&good, |header| header.jku = Some("http://127.0.0.1:9/keys".into()))
    });
    add("not a token", "x".to_owned());
    add("dots", "..".to_owned());
    add("long", format!("{head}.{}.{signature}", "A".repeat(20 << 10)));
    add("body alone", body.to_owned());
    all
}

/// An agent's credential is nothing to people's routes, on either way in.
fn no_person(gateway: &TestGateway, tokens: &[&String]) {
    let url = gateway.url();
    for token in tokens {
        for (method, path) in crate::golden::routes() {
            let path = format!("{url}{}", crate::golden::concrete(&path));
            let (status, _, body) =
                answer(http().request(method.clone(), path).bearer_auth(token).json(&json!({})));
            assert_eq!(status, 401, "{method}: {body}");
        }
        let socket = gateway.data().join("countersign.sock");
        let local = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
        let request = local.request(Method::GET, "http://localhost/api/v1/whoami");
        assert_eq!(answer(request.bearer_auth(token)).0, 401);
    }
}

/// Nothing was recorded as a call, and nothing ran.
fn no_call(gateway: &TestGateway) {
    let entries = gateway.cli(&["audit", "list", "--limit", "1000", "--output", "json"]).json();
    for entry in entries.as_array().unwrap() {
        let kind =
            text(entry.pointer("/entry/event/kind").or(entry.pointer("/entry/kind")).unwrap());
        assert!(!["intent", "outcome", "refused", "hold"].contains(&kind.as_str()), "{entry}");
    }
    assert!(gateway.ran().is_empty());
}

#[test]
fn cve_2026_59822_a_credential_that_fails_is_nobodys() {
    let issuer = Issuer::start();
    let gateway = gateway(&issuer, "");
    let (url, mcp) = (gateway.url(), format!("{}/mcp", gateway.url()));
    let agent = gateway.agent("a");
    let person = gateway.cli(&["reviewers", "add", "ada"]).done().trim().to_owned();
    let revoked = gateway.agent("revoked");
    gateway.cli(&["agents", "revoke", "revoked"]).done();
    let mut bad = forged(&issuer, url);
    bad.push(("a person's".into(), person.clone()));
    bad.push(("a revoked agent's".into(), revoked));
    bad.push(("an agent's with a letter more".into(), format!("{agent}0")));
    bad.push(("an agent's in capitals".into(), agent.to_uppercase()));
    bad.push(("the digest of an agent's".into(), {
        format!("cs_{}", &countersign::digest::Digest::of(agent.as_bytes()).to_string()[7..])
    }));
    let mut refused = 0;
    for (name, token) in &bad {
        for request in [call(&mcp), initialize(&mcp), http().get(&mcp), http().delete(&mcp)] {
            let (status, challenge, body) = answer(request.bearer_auth(token));
            assert_eq!(status, 401, "{name}: {body}");
            let challenge = challenge.unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{name}: {challenge}");
            assert!(!body.contains(token.as_str()), "{name}: {body}");
            refused += 1;
        }
    }
    // The other ways of bringing a good one, or none.
    let good = issuer.token("bot", url);
    for token in [&good, &agent] {
        let two = call(&mcp).header(AUTHORIZATION, format!("Bearer {token}"));
        let two = two.header(AUTHORIZATION, format!("Bearer {token}"));
        // Turned away by the edge, before anybody asks whose they are.
        let (status, challenge, _) = answer(two);
        assert!(status == 401 && challenge.is_some(), "two headers: {status}, {challenge:?}");
        let basic = call(&mcp).basic_auth(token, Some(token));
        let bare = call(&mcp).header(AUTHORIZATION, token);
        let empty = call(&mcp).header(AUTHORIZATION, "Bearer ");
        for (name, request) in [("basic", basic), ("bare", bare), ("empty", empty)] {
            let (status, challenge, _) = answer(request);
            assert_eq!(status, 401, "{name}");
            assert!(challenge.unwrap().contains("error=\"invalid_token\""), "{name}");
            refused += 1;
        }
        let in_query = format!("{mcp}?access_token={token}&token={token}");
        let cookie = call(&mcp).header("cookie", format!("token={token}; access_token={token}"));
        let named = call(&mcp).header("countersign-agent", "a").header("x-agent", token);
        for request in [call(&mcp), call(&in_query), cookie, named] {
            let (status, challenge, _) = answer(request);
            assert_eq!(status, 401);
            // RFC 6750, section 3.1: who brought nothing is told of no error.
            assert!(!challenge.unwrap().contains("error="), "an error without a token");
            refused += 1;
        }
    }
    no_person(&gateway, &[&agent, &good]);
    no_call(&gateway);
    let counted: f64 = gateway
        .metrics()
        .lines()
        .filter(|line| line.starts_with("countersign_agents_turned_away_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, f64::from(refused));
    assert_eq!(gateway.metric("countersign_tool_calls_total"), None);
    // What is right in all things still gets in.
    assert_eq!(answer(call(&mcp).bearer_auth(&good)).0, 200);
    assert_eq!(gateway.ran(), ["forged"]);
}

#[test]
fn a_token_of_an_issuer_is_an_agent_with_groups_and_owner() {
    let issuer = Issuer::start();
    let config = issuer.config(
        ", prefix: 'corp.', algorithms: [EdDSA, ES256], scopes: ['tools:call'], claims: { agent: client_id, \
         groups: /realm/roles, owner: owner }",
    );
    let policy = "rules:\n  - { name: bots, match: { group: bots, tool: look }, decision: ALLOW }\n  - { name: two, match: { tool: count }, decision: REQUIRE_APPROVAL, approval: { four_eyes: true } }\n";
    let gateway =
        TestGateway::builder().counting().policy("p.yaml", policy).config(&config).start();
    let claims = |groups: Value| {
        let claims = issuer.claims("service-7", gateway.url());
        with(
            claims,
            &[
                ("client_id", json!("Bot-7")),
                ("scope", json!("openid tools:call")),
                ("realm", json!({ "roles": groups })),
                ("owner", json!("ada")),
            ],
        )
    };
    let client = |groups: Value| Modern::new(gateway.url(), &issuer.key.sign(&claims(groups)));
    let bot = client(json!(["bots"]));
    assert_eq!(bot.tools(), ["count", "look"]);
    bot.call("look", json!({ "line": "1" }));
    // Other groups, other rules.
    assert_eq!(client(json!([])).tools(), ["count"]);
    // The scope is demanded, and the client is told which.
    let little = issuer.key.sign(&with(claims(json!([])), &[("scope", json!("openid"))]));
    let (status, challenge, _) =
        answer(call(&format!("{}/mcp", gateway.url())).bearer_auth(little));
    let challenge = challenge.unwrap();
    assert_eq!(status, 403);
    assert!(
        challenge.contains("error=\"insufficient_scope\", scope=\"tools:call\""),
        "{challenge}"
    );
    // With four eyes the owner that the issuer vouches for does not count.
    let tasks = Modern { tasks: true, ..bot };
    tasks.call("count", json!({ "line": "2" }));
    let id = gateway.pending();
    let hold = gateway.hold(&id);
    assert_eq!((text(&hold["agent"]), text(&hold["owner"])), ("corp.Bot-7".into(), "ada".into()));
    for name in ["ada", "bea"] {
        let token = gateway.cli(&["reviewers", "add", name]).done();
        gateway.put(&format!("{name}.token"), &token);
        let file = gateway.dir().join(format!("{name}.token"));
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let approve = ["approvals", "approve", &id, "--url", gateway.url(), "--token-file", &file];
        let decided = gateway.cli(&approve);
        assert_eq!(decided.code, if name == "ada" { 4 } else { 0 }, "{decided:?}");
    }
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["1", "2"]);
}

#[test]
fn a_registered_name_is_no_issuers_to_give() {
    let issuer = Issuer::start();
    let gateway = gateway(&issuer, "");
    let mcp = format!("{}/mcp", gateway.url());
    let status = |name: &str| answer(call(&mcp).bearer_auth(issuer.token(name, gateway.url()))).0;
    assert_eq!(status("nightly"), 200);
    gateway.agent("nightly");
    for name in ["nightly", "Nightly", "NIGHTLY"] {
        assert_eq!(status(name), 401, "{name}");
    }
    gateway.cli(&["agents", "revoke", "nightly"]).done();
    assert_eq!(status("nightly"), 401, "a revoked name came back");
    assert_eq!(status("nightly2"), 200);
}

#[test]
fn what_the_gateway_is_and_who_issues_its_tokens_is_public() {
    let issuer = Issuer::start();
    let config =
        format!("public_url: https://gate.example.com/\n{}", issuer.config(", scopes: [call]"));
    let gateway =
        TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).config(&config).start();
    for path in ["", "/mcp"] {
        let path = format!("{}/.well-known/oauth-protected-resource{path}", gateway.url());
        let (status, _, body) = answer(http().get(path));
        assert_eq!(status, 200, "{body}");
        let metadata: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            metadata,
            json!({ "resource": "https://gate.example.com/mcp", "authorization_servers": [issuer.name()],
                    "bearer_methods_supported": ["header"], "scopes_supported": ["call"],
                    "resource_name": "Countersign" })
        );
    }
    let (_, challenge, _) = answer(call(&format!("{}/mcp", gateway.url())));
    assert_eq!(
        challenge.unwrap(),
        "Bearer realm=\"countersign\", scope=\"call\", \
         resource_metadata=\"https://gate.example.com/.well-known/oauth-protected-resource/mcp\""
    );
    // A token is for that address, and the gateway may be reached under it.
    let claims =
        with(issuer.claims("bot", "https://gate.example.com"), &[("scope", json!("call"))]);
    let request = call(&format!("{}/mcp", gateway.url())).bearer_auth(issuer.key.sign(&claims));
    assert_eq!(answer(request.header("host", "gate.example.com")).0, 200);
    // Without issuers there is nothing to tell.
    let plain = TestGateway::builder().policy("all.yaml", ALLOW_ALL).start();
    let path = format!("{}/.well-known/oauth-protected-resource", plain.url());
    assert_eq!(answer(http().get(path)).0, 404);
    let (_, challenge, _) = answer(call(&format!("{}/mcp", plain.url())));
    assert_eq!(challenge.unwrap(), "Bearer realm=\"countersign\"");
}

#[test]
fn keys_are_fetched_when_needed_and_no_oftener() {
    let issuer = Issuer::start();
    let config = issuer.config(", algorithms: [ES256, EdDSA]");
    let mut gateway = TestGateway::builder()
        .counting()
        .policy("all.yaml", ALLOW_ALL)
        .config(&config)
        .manual_clock()
        .prepare();
    gateway.launch();
    let mcp = format!("{}/mcp", gateway.url());
    let status = |token: &str| answer(call(&mcp).bearer_auth(token)).0;
    let claims = with(issuer.claims("bot", gateway.url()), &[("exp", json!(4_000_000_000_i64))]);
    let old = issuer.key.sign(&claims);
    assert_eq!(status(&old), 200);
    let (first, next) = (issuer.fetched(), Signer::ed25519("k2"));
    assert_eq!(first, 1, "not once at the start");
    // However many unknown keys are named: one fetch, and then none for 30 s.
    for name in 0..50 {
        let name = format!("guess-{name}");
        assert_eq!(status(&issuer.key.sign_with(&claims, |it| it.kid = Some(name))), 401);
    }
    assert_eq!(issuer.fetched(), first + 1);
    // A new key is taken up by then.
    issuer.publish(&[&issuer.key, &next]);
    let new = next.sign(&claims);
    assert_eq!(status(&new), 401);
    gateway.advance(Duration::from_secs(31));
    let before = issuer.fetched();
    assert_eq!((status(&new), status(&old)), (200, 200));
    assert_eq!(issuer.fetched(), before + 1);
    // One that is gone is forgotten with the next refresh.
    issuer.publish(&[&next]);
    gateway.advance(Duration::from_secs(300));
    until("the refresh", || (status(&old) == 401).then_some(()));
    assert_eq!(status(&new), 200);
    // While the issuer is away, or leads elsewhere, the last good set is used, for an hour.
    for wrong in [500, 302, 307] {
        issuer.go_wrong(Some(wrong));
        let before = issuer.asked();
        gateway.advance(Duration::from_secs(301));
        until("a failed refresh", || (issuer.asked() > before).then_some(()));
        assert_eq!(status(&new), 200, "{wrong}");
    }
    let strayed = issuer.strayed();
    let doctor = gateway.cli(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("and no newer ones"), "{doctor:?}");
    gateway.advance(Duration::from_secs(3600));
    until("the keys to be too old", || (status(&new) == 401).then_some(()));
    assert_eq!(issuer.strayed(), strayed, "a redirect was followed");
    issuer.go_wrong(None);
    gateway.advance(Duration::from_secs(31));
    until("the keys to be back", || (status(&new) == 200).then_some(()));
    assert!(gateway.cli(&["doctor"]).stdout.contains("1 keys"));
}

#[test]
fn metadata_of_another_issuer_gives_no_keys() {
    let issuer = Issuer::start();
    let other = Issuer::start();
    other.publish(&[&other.key]);
    for metadata in [
        json!({ "issuer": other.name(), "jwks_uri": format!("{}/keys", issuer.name()) }),
        json!({ "issuer": issuer.name(), "jwks_uri": format!("{}/keys", other.name()) }),
        json!({ "issuer": issuer.name(), "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": issuer.name() }),
    ] {
        issuer.describe(metadata.clone());
        let gateway = gateway(&issuer, "");
        let mcp = format!("{}/mcp", gateway.url());
        for key in [&issuer.key, &other.key] {
            let token = key.sign(&issuer.claims("bot", gateway.url()));
            assert_eq!(answer(call(&mcp).bearer_auth(token)).0, 401, "{metadata}");
        }
        assert_eq!((issuer.fetched(), other.fetched()), (0, 0), "{metadata}");
    }
}

#[test]
fn issuers_that_could_forge_one_another_are_refused_with_the_place() {
    for (config, said) in [
        ("- { issuer: https://a.example.com }\n    - { issuer: https://b.example.com }", "prefix"),
        (
            "- { issuer: https://a.example.com, prefix: a }\n    - { issuer: https://b.example.com, prefix: AB }",
            "prefix",
        ),
        (
            "- { issuer: https://a.example.com }\n    - { issuer: https://a.example.com, prefix: x }",
            "second issuer",
        ),
        ("- { issuer: http://a.example.com }", "loopback"),
        ("- { issuer: 'file:///x' }", "https"),
        ("- { issuer: https://a.example.com, algorithms: [] }", "no algorithm"),
        ("- { issuer: https://a.example.com, algorithms: [none] }", "none"),
        ("- { issuer: https://a.example.com, algorithms: [HS256] }", "HS256"),
        ("- { issuer: https://a.example.com, jwks_url: 'javascript:1' }", "https"),
        ("- { issuer: https://a.example.com, leeway: 10m }", "300 s"),
        ("- { issuer: https://a.example.com, audience: '' }", "empty audience"),
        ("- { issuer: https://a.example.com, scopes: ['a b'] }", "scopes"),
        ("- { issuer: https://a.example.com, claims: { agent: '' } }", "without a name"),
        ("- { issuer: https://a.example.com, prefix: 'a b' }", "begins no agent"),
    ] {
        let config = format!("authentication:\n  jwt:\n    {config}\n");
        let failed = TestGateway::builder().config(&config).expect_start_failure();
        assert_eq!(failed.code, 2, "{config}: {failed:?}");
        assert!(failed.stderr.contains(said), "{config}: {}", failed.stderr);
        assert!(failed.stderr.contains("countersign.yaml:"), "{}", failed.stderr);
    }
}

/// Whether a file below `path` contains `secret`.
fn contains(path: &Path, secret: &str) -> bool {
    if path.is_dir() {
        let mut files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
        return files.any(|file| contains(&file, secret));
    }
    let Ok(bytes) = fs::read(path) else { return false };
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn no_token_is_in_any_log_metric_error_or_file() {
    let issuer = Issuer::start();
    let config = format!("holds: {{ window: 50ms }}\n{}", issuer.config(""));
    let mut gateway = TestGateway::builder()
        .counting()
        .policy("held.yaml", HOLD_ALL)
        .config(&config)
        .env("COUNTERSIGN_LOG", "trace")
        .start();
    let mcp = format!("{}/mcp", gateway.url());
    let good = issuer.token("bot", gateway.url());
    let person = gateway.cli(&["reviewers", "add", "ada"]).done().trim().to_owned();
    let agent = gateway.agent("a");
    let foreign = issuer.key.sign_with(&issuer.claims("bot", gateway.url()), |it| it.kid = None);
    let mut answers = String::new();
    for token in [&good, &agent, &person, &foreign] {
        answers += &answer(call(&mcp).bearer_auth(token)).2;
        answers += &answer(call(&format!("{mcp}?access_token={token}"))).2;
        let (_, challenge, body) =
            answer(http().get(format!("{}/api/v1/agents", gateway.url())).bearer_auth(token));
        answers += &format!("{challenge:?}{body}");
    }
    let legacy = Legacy::open(gateway.url(), &good, "2025-11-25");
    answers += &legacy.request("tools/list", json!({})).to_string();
    let metrics = gateway.metrics();
    let entries = gateway.cli(&["audit", "list", "--limit", "1000", "--output", "json"]).done();
    let listed = gateway.cli(&["agents", "list", "--output", "json"]).done();
    let doctor = gateway.cli(&["doctor"]).stdout;
    gateway.stop();
    let log = gateway.log();
    assert!(log.contains("not let in") && log.contains("TRACE"), "the log says nothing");
    assert!(contains(&gateway.data(), "bot"), "the search finds nothing at all");
    for token in [&good, &agent, &person, &foreign] {
        let canary = secret_of(token);
        for (name, place) in [
            ("log", &log),
            ("metrics", &metrics),
            ("entries", &entries),
            ("list", &listed),
            ("doctor", &doctor),
            ("answers", &answers),
        ] {
            assert!(!place.contains(canary), "a token is in the {name}");
        }
        assert!(!contains(&gateway.data(), canary), "a token is in the data directory");
    }
}

#[test]
fn a_token_that_ends_soon_is_told_of_and_its_last_use_is_kept() {
    let mut gateway =
        TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL).manual_clock().prepare();
    gateway.launch();
    let token = gateway.cli(&["agents", "add", "nightly", "--expires", "90d"]).done();
    gateway.cli(&["agents", "add", "hourly", "--expires", "1h"]).done();
    let last_used = |gateway: &TestGateway| {
        let listed = gateway.cli(&["agents", "list", "--output", "json"]).json();
        listed[1]["last_used"].as_str().map(|at| at.parse::<jiff::Timestamp>().unwrap())
    };
    assert_eq!(last_used(&gateway), None);
    let listed = gateway.cli(&["agents", "list"]).done();
    assert!(listed.contains("LAST USED") && listed.contains("never"), "{listed}");
    Modern::new(gateway.url(), token.trim()).call("look", json!({ "line": "1" }));
    let used = last_used(&gateway).expect("a last use");
    // It survives, once a minute has passed, also a crash.
    gateway.advance(Duration::from_secs(61));
    let states = |gateway: &TestGateway| {
        ["valid", "ending", "ended", "revoked"]
            .map(|state| gateway.metric(&format!("countersign_agent_tokens{{state=\"{state}\"}}")))
    };
    until("the tokens to be counted", || (states(&gateway)[0] == Some(2.0)).then_some(()));
    gateway.restart();
    assert_eq!(last_used(&gateway), Some(used));
    assert_eq!(gateway.cli(&["doctor", "--output", "json"]).stdout.matches("end soon").count(), 0);
    gateway.advance(Duration::from_secs(84 * 24 * 3600));
    until("the tokens to be counted again", || {
        (states(&gateway) == [0.0, 1.0, 1.0, 0.0].map(Some)).then_some(())
    });
    let doctor = gateway.cli(&["doctor"]);
    assert!(
        doctor.stdout.contains("nightly (") && !doctor.stdout.contains("hourly ("),
        "{doctor:?}"
    );
    let expires = ["agents", "rotate", "nightly", "--overlap", "1d", "--expires", "90d"];
    gateway.cli(&expires).done();
    assert_eq!(last_used(&gateway), Some(used));
    assert!(!gateway.cli(&["doctor"]).stdout.contains("nightly ("));
    gateway.cli(&["agents", "revoke", "hourly"]).done();
}
