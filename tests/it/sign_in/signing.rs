//! Verdicts signed with passkeys, by an authenticator in software that also does what no honest one does.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use super::authenticator::{Authenticator, Flaw};
use super::browser::{Browser, Page};
use super::passkeys::{sign_in, with_passkey};
use crate::harness::{RUNTIME, TestGateway, text};
use crate::signatures::{changed_verdict, verdict_entry};
use crate::verdicts::{asking, entries, held};

/// What the gateway asks a person to sign.
fn statement(browser: &mut Browser, id: &str, given: &Value) -> Page {
    change(browser, id, "statement", given)
}

fn change(browser: &mut Browser, id: &str, what: &str, body: &Value) -> Page {
    let csrf = browser.get("/account").csrf();
    let origin = browser.origin.clone();
    let headers = [("origin", origin.as_str()), ("x-csrf-token", &csrf)];
    browser.api(Method::POST, &format!("/api/v1/approvals/{id}/{what}"), &headers, body)
}

/// The signature of a statement, as a browser at the address of `browser` brings it.
fn signature(browser: &Browser, key: &mut Authenticator, made: &Value, flaw: &Flaw) -> Value {
    let challenge = digest(&SHA256, made["message"].as_str().unwrap().as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    let asked = json!({ "challenge": challenge, "domain": made["domain"] });
    let answer = key.sign(&asked, &browser.origin, flaw);
    json!({
        "kind": "webauthn",
        "credential": answer["id"],
        "authenticator_data": answer["authenticator_data"],
        "client_data": answer["client_data"],
        "signature": answer["signature"],
    })
}

fn with(given: &Value, more: &[(&str, Value)]) -> Value {
    let mut whole = given.clone();
    for (name, value) in more {
        whole[*name] = value.clone();
    }
    whole
}

fn approval(gateway: &TestGateway, id: &str) -> Value {
    json!({ "decision": "approve", "digest": gateway.hold(id)["digest"] })
}

/// Signs `given` and gives the verdict.
fn approve(browser: &mut Browser, key: &mut Authenticator, id: &str, given: &Value) -> Page {
    let made = statement(browser, id, given).json();
    let signature = signature(browser, key, &made, &Flaw::default());
    change(browser, id, "verdict", &with(given, &[("signature", signature)]))
}

#[test]
fn a_passkey_signs_an_approval_and_the_edit_of_a_call() {
    let gateway = asking("signature: required, allow_edit: true");
    let client = gateway.modern_with_tasks("a");
    let ready = || gateway.api_get("/readyz").body;
    assert!(ready().contains("not so many people may decide"), "{}", ready());
    let (mut ada, mut key) = with_passkey(&gateway, "ada", 1);
    assert_eq!(ready(), "ok\n", "who has a passkey can sign");
    let id = held(&client, "one");
    let given = with(&approval(&gateway, &id), &[("reason", json!("looked"))]);
    change(&mut ada, &id, "verdict", &given).says(403, "must be signed");
    let made = statement(&mut ada, &id, &given).json();
    assert_eq!(made["passkeys"][0]["name"], "A test's", "{made}");
    let said: Value = serde_json::from_str(made["message"].as_str().unwrap()).unwrap();
    assert_eq!((&said["hold"], &said["person"]), (&json!(id), &json!("ada")), "{said}");
    assert_eq!(approve(&mut ada, &mut key, &id, &given).status, 200);
    let hold = gateway.hold_when(&id, "finished");
    assert_eq!(hold["verdicts"][0]["signature"]["name"], "A test's", "{hold}");
    let shown = gateway.cli(&["approvals", "show", &id]).done();
    assert!(shown.contains("signed with the passkey `A test's`: looked"), "{shown}");

    // The signature over an edit is over the call that runs, and over no other.
    let id = held(&client, "two");
    let edit = json!({ "line": "three" });
    let given = approval(&gateway, &id);
    let unedited = statement(&mut ada, &id, &given).json();
    let edited = with(&given, &[("edit", edit)]);
    let made = statement(&mut ada, &id, &edited).json();
    assert_ne!(made["message"], unedited["message"]);
    for (made, body) in [(&unedited, &edited), (&made, &given)] {
        let signature = signature(&ada, &mut key, made, &Flaw::default());
        let refused = change(&mut ada, &id, "verdict", &with(body, &[("signature", signature)]));
        refused.says(403, "is not over this verdict");
    }
    let unfit = with(&given, &[("edit", json!({ "line": 3 }))]);
    statement(&mut ada, &id, &unfit).says(400, "/line");
    assert_eq!(approve(&mut ada, &mut key, &id, &edited).status, 200);
    gateway.hold_when(&id, "finished");
    assert_eq!(gateway.ran(), ["one", "three"]);

    // To reject takes no signature.
    let id = held(&client, "four");
    let no = with(&approval(&gateway, &id), &[("decision", json!("reject"))]);
    assert_eq!(change(&mut ada, &id, "verdict", &no).status, 200);
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn a19_a_passkeys_signature_counts_once_for_its_own_person_and_call() {
    let gateway = asking("signature: required, quorum: 2");
    let client = gateway.modern_with_tasks("a");
    let (mut ada, mut key) = with_passkey(&gateway, "ada", 1);
    let (mut bob, mut bobs) = with_passkey(&gateway, "bob", 2);
    let (id, other) = (held(&client, "one"), held(&client, "two"));
    let given = approval(&gateway, &id);
    let made = statement(&mut ada, &id, &given).json();
    let refused = |browser: &mut Browser, id: &str, signature: Value, words: &str| {
        let given = with(&approval(&gateway, id), &[("signature", signature)]);
        change(browser, id, "verdict", &given).says(403, words);
    };
    let none = Flaw::default();
    let evil = || Some("http://evil.example".to_owned());
    let flaws = [
        (Flaw { origin: evil(), ..none.clone() }, "asked for by http://evil.example"),
        (Flaw { origin: Some("http://localhost:1".to_owned()), ..none.clone() }, "localhost:1;"),
        (Flaw { domain: Some("evil.example".to_owned()), ..none.clone() }, "another domain"),
        (Flaw { unverified: true, ..none.clone() }, "without verifying who was there"),
        (Flaw { kind: Some("webauthn.create"), ..none.clone() }, "is not over this verdict"),
        (Flaw { cross_origin: true, ..none.clone() }, "is not over this verdict"),
        (Flaw { signature: true, ..none.clone() }, "the signature is not of the passkey"),
    ];
    let count = flaws.len();
    for (flaw, words) in flaws {
        let signature = signature(&ada, &mut key, &made, &flaw);
        refused(&mut ada, &id, signature, words);
    }
    // Another person's passkey, over this person's statement; and one that nobody registered.
    for key in [&mut bobs, &mut Authenticator::new(9)] {
        let signature = signature(&ada, key, &made, &none);
        refused(&mut ada, &id, signature, "not registered for this person");
    }
    // The signature of one verdict given with another: of another person, on another call, with another reason.
    let good = signature(&ada, &mut key, &made, &none);
    refused(&mut bob, &id, good.clone(), "not registered for this person");
    refused(&mut ada, &other, good.clone(), "is not over this verdict");
    let reason = with(&given, &[("reason", json!("other")), ("signature", good.clone())]);
    change(&mut ada, &id, "verdict", &reason).says(403, "is not over this verdict");
    // What was not signed at all, and what is no signature.
    let mut own = statement(&mut ada, &id, &given).json();
    own["message"] = json!(text(&own["message"]).replace("ada", "bob"));
    let forged = signature(&ada, &mut key, &own, &none);
    refused(&mut ada, &id, forged, "is not over this verdict");
    for signature in [json!([]), json!({}), json!({ "kind": "webauthn" }), json!(7)] {
        let given = with(&given, &[("signature", signature)]);
        change(&mut ada, &id, "verdict", &given).says(422, "does not fit");
    }
    let long = with(&good, &[("client_data", json!("A".repeat(4097)))]);
    let long = with(&given, &[("signature", long)]);
    change(&mut ada, &id, "verdict", &long).says(400, "at most 4096");
    assert_eq!(entries(&gateway, "verdict_refused").len(), count + 2 + 4);
    assert_eq!(gateway.hold(&id)["verdicts"], json!([]));

    // Each counts once: the same again is the same person.
    let body = with(&given, &[("signature", good)]);
    assert_eq!(change(&mut ada, &id, "verdict", &body).status, 200);
    change(&mut ada, &id, "verdict", &body).says(409, "has approved already");
    assert_eq!(gateway.hold(&id)["state"], "pending");
    assert_eq!(approve(&mut bob, &mut bobs, &id, &given).status, 200);
    gateway.hold_when(&id, "finished");
    gateway.cli(&["audit", "verify"]).done();
}

#[test]
fn a_removed_passkey_signs_nothing_and_one_of_an_address_is_not_offered() {
    let gateway = asking("signature: required");
    let (mut ada, mut key) = with_passkey(&gateway, "ada", 1);
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let given = approval(&gateway, &id);
    let made = statement(&mut ada, &id, &given).json();
    let good = signature(&ada, &mut key, &made, &Flaw::default());
    let body = with(&given, &[("signature", good)]);
    // The same over another connection: no page of that address asked for it.
    let socket = gateway.data().join("countersign.sock");
    let http = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let url = format!("http://localhost/api/v1/approvals/{id}/verdict");
    let local = RUNTIME.block_on(http.post(url).json(&body).send()).unwrap();
    assert_eq!(local.status(), 403);
    let passkey = made["passkeys"][0]["id"].as_str().unwrap().to_owned();
    let gone = ada.submit("/account", "/account/passkeys/remove", &[("id", &passkey)]);
    assert_eq!(gone.status, 303);
    change(&mut ada, &id, "verdict", &body).says(403, "not registered for this person");
    let made = statement(&mut ada, &id, &given).json();
    assert_eq!((&made["passkeys"], &made["unfit"]), (&json!([]), &json!(0)), "{made}");
    // Under a bare address there is no domain for a passkey.
    let mut bare = Browser { origin: gateway.url().to_owned(), ..Browser::new(&gateway) };
    let link = gateway.cli(&["reviewers", "sign-in-link"]).done();
    let link = link.split_whitespace().find(|it| it.starts_with("http")).unwrap();
    let link = super::browser::path(link);
    let code = link.split_once("code=").unwrap().1;
    bare.submit(&link, "/sign-in/link", &[("code", code)]).let_in();
    let made = statement(&mut bare, &id, &given).json();
    assert_eq!((&made["domain"], &made["passkeys"]), (&Value::Null, &json!([])), "{made}");
}

#[test]
fn a_passkey_from_before_verdicts_could_be_signed_only_signs_in() {
    let mut gateway = asking("signature: required");
    let (_, mut key) = with_passkey(&gateway, "ada", 1);
    let id = held(&gateway.modern_with_tasks("a"), "one");
    gateway.kill();
    let database = rusqlite::Connection::open(gateway.data().join("countersign.db")).unwrap();
    let sql = "UPDATE passkeys SET body = json_remove(body, '$.signs')";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    drop(database);
    gateway.launch();
    let mut ada = Browser::new(&gateway);
    assert_eq!(sign_in(&mut ada, &mut key, &Flaw::default()).status, 200);
    ada.get("/account").says(200, "add it anew to sign");
    let given = approval(&gateway, &id);
    let made = statement(&mut ada, &id, &given).json();
    assert_eq!((&made["passkeys"], &made["unfit"]), (&json!([]), &json!(1)), "{made}");
    let signature = signature(&ada, &mut key, &made, &Flaw::default());
    let refused = change(&mut ada, &id, "verdict", &with(&given, &[("signature", signature)]));
    refused.says(403, "cannot sign verdicts; add one under `/account`");
}

/// A gateway of which only the tests verify the record, ada with a passkey, and bob's.
fn recording() -> (TestGateway, Browser, Authenticator, Authenticator) {
    let rule = "rules:\n  - name: held\n    match: {}\n    decision: REQUIRE_APPROVAL\n    approval: { signature: required }\n";
    let builder = TestGateway::builder().counting().policy("held.yaml", rule);
    let gateway = builder.unverified().start();
    let (ada, key) = with_passkey(&gateway, "ada", 1);
    let (_bob, bobs) = with_passkey(&gateway, "bob", 2);
    (gateway, ada, key, bobs)
}

#[test]
fn a_passkeys_signature_that_was_tampered_with_is_found_in_the_record() {
    let (mut gateway, mut ada, mut key, mut bobs) = recording();
    let client = gateway.modern_with_tasks("a");
    let other = held(&client, "other");
    let given = approval(&gateway, &other);
    let made = statement(&mut ada, &other, &given).json();
    let none = Flaw::default();
    let replayed = signature(&ada, &mut key, &made, &none);
    let id = held(&client, "one");
    let given = approval(&gateway, &id);
    let made = statement(&mut ada, &id, &given).json();
    let flawed: Vec<(&str, Value)> = [
        ("asked for by", Flaw { origin: Some("https://evil.example".into()), ..none.clone() }),
        ("another domain", Flaw { domain: Some("evil.example".into()), ..none.clone() }),
        ("without verifying", Flaw { unverified: true, ..none.clone() }),
        ("is not of the passkey", Flaw { signature: true, ..none.clone() }),
        ("is not over this verdict", Flaw { kind: Some("webauthn.create"), ..none.clone() }),
    ]
    .into_iter()
    .map(|(words, flaw)| (words, signature(&ada, &mut key, &made, &flaw)))
    .chain([
        ("is not over this verdict", replayed),
        ("not registered", signature(&ada, &mut bobs, &made, &none)),
    ])
    .collect();
    assert_eq!(approve(&mut ada, &mut key, &id, &given).status, 200);
    gateway.hold_when(&id, "finished");
    gateway.stop();
    let index = verdict_entry(&gateway);
    changed_verdict(&gateway, index, &|_| {}).done();
    for (words, signature) in flawed {
        let said = changed_verdict(&gateway, index, &|entry| {
            entry["verdict"]["signature"] = signature.clone();
        });
        assert_eq!(said.code, 1, "{words}: {said:?}");
        assert!(said.stdout.contains(words), "{words}: {said:?}");
    }
    for (what, value) in [("reason", json!("never looked")), ("person", json!("bob"))] {
        let said = changed_verdict(&gateway, index, &|entry| match what {
            "person" => entry["verdict"]["person"]["name"] = value.clone(),
            what => entry["verdict"][what] = value.clone(),
        });
        assert!(said.code == 1 && said.stdout.contains("signature"), "{what}: {said:?}");
    }
    let said = changed_verdict(&gateway, index, &|entry| {
        entry["verdict"]["signature"]["name"] = json!("Another's");
    });
    assert!(said.code == 1 && said.stdout.contains("is called `A test's`"), "{said:?}");
    let said = changed_verdict(&gateway, index, &|entry| {
        drop(entry["verdict"].as_object_mut().unwrap().remove("signature"));
    });
    assert!(said.code == 1 && said.stdout.contains("without the signature"), "{said:?}");
}

#[test]
fn a_registration_that_was_tampered_with_vouches_for_no_signature() {
    let (mut gateway, mut ada, mut key, _) = recording();
    let id = held(&gateway.modern_with_tasks("a"), "one");
    let given = approval(&gateway, &id);
    assert_eq!(approve(&mut ada, &mut key, &id, &given).status, 200);
    gateway.hold_when(&id, "finished");
    gateway.stop();
    // The registration is in the record too, and nothing else vouches for the key.
    let registered = {
        let all = gateway.entries();
        let found = all.iter().find(|it| it["entry"]["access"] == "passkey_added").unwrap();
        assert_eq!(found["entry"]["person"]["name"], "ada");
        found["index"].as_i64().unwrap()
    };
    let others = gateway.entries().iter().rev().find_map(|it| {
        (it["entry"]["access"] == "passkey_added").then(|| it["entry"]["key"].clone())
    });
    for (member, value, words) in [
        ("domain", json!("evil.example"), "asked for by"),
        ("domain", Value::Null, "not registered"),
        ("passkey", json!("AQ"), "not registered"),
        ("key", others.unwrap(), "is not of the passkey"),
        ("person", json!({ "name": "bob", "local": false }), "not registered"),
    ] {
        let said = changed_verdict(&gateway, registered, &|entry| {
            entry[member] = value.clone();
            entry.as_object_mut().unwrap().retain(|_, it| !it.is_null());
        });
        assert_eq!(said.code, 1, "{member}: {said:?}");
        assert!(said.stdout.contains(words), "{member}: {said:?}");
    }
}
