//! What verified claims say: for whom the token is, when, and which agent of whom it makes its bearer.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::settings::{Claims, IssuerSettings};
use crate::authentication::denied::{Denied, Reason};
use crate::ids::AgentName;
use crate::json::Object;

/// How many groups a token may name; one that names more is refused, not cut.
const MAX_GROUPS: usize = 64;
/// The longest name of a group or an owner, in characters.
const MAX_NAME: usize = 128;

/// Who a token makes its bearer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) agent: AgentName,
    pub(super) groups: Vec<String>,
    pub(super) owner: Option<String>,
}

/// Checks audience, time and scopes, and maps the rest. Every claim that is demanded must be there and have its
/// form: what an issuer leaves out is never taken for nothing.
pub(super) fn bearer(
    claims: &Object,
    issuer: &IssuerSettings,
    audience: &str,
    now: Timestamp,
) -> Result<Bearer, Denied> {
    let is_for = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => {
            all.iter().all(Value::is_string) && all.iter().any(|it| it == audience)
        }
        _ => false,
    };
    if !is_for {
        return Err(Reason::Audience.into());
    }
    check_time(claims, issuer.leeway.0, now)?;
    if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Reason::Subject.into());
    }
    let granted = scopes(claims);
    if !issuer.scopes.iter().all(|needed| granted.contains(&needed.as_str())) {
        return Err(Denied::Scope(issuer.scopes.clone()));
    }
    Ok(mapped(claims, &issuer.claims, &issuer.prefix)?)
}

fn check_time(claims: &Object, leeway: Duration, now: Timestamp) -> Result<(), Reason> {
    let (now, leeway) = (now.as_duration().as_secs_f64(), leeway.as_secs_f64());
    let moment =
        |name: &str| claims.get(name).map(|value| value.as_f64().filter(|it| it.is_finite()));
    match moment("exp") {
        Some(Some(end)) if now < end + leeway => {}
        _ => return Err(Reason::Ended),
    }
    for name in ["nbf", "iat"] {
        match moment(name) {
            None => {}
            Some(Some(begin)) if begin <= now + leeway => {}
            Some(_) => return Err(Reason::NotYet),
        }
    }
    Ok(())
}

/// The scopes that were granted: `scope` as RFC 9068 writes it, or `scp` as some issuers do.
fn scopes(claims: &Object) -> Vec<&str> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn mapped(claims: &Object, names: &Claims, prefix: &str) -> Result<Bearer, Reason> {
    let agent = named(claims, &names.agent).and_then(Value::as_str).filter(|it| !it.is_empty());
    let agent = format!("{prefix}{}", agent.ok_or(Reason::Agent)?);
    let agent = agent.parse().map_err(|_| Reason::Agent)?;
    let groups = match &names.groups {
        None => Vec::new(),
        Some(name) => named(claims, name).and_then(groups).ok_or(Reason::Groups)?,
    };
    let owner = match &names.owner {
        None => None,
        Some(name) => {
            let owner = named(claims, name).and_then(Value::as_str).filter(|it| fits(it));
            Some(owner.ok_or(Reason::Owner)?.to_owned())
        }
    };
    Ok(Bearer { agent, groups, owner })
}

/// A claim by name, or by JSON Pointer where it begins with a slash.
fn named<'a>(claims: &'a Object, name: &str) -> Option<&'a Value> {
    let Some(path) = name.strip_prefix('/') else { return claims.get(name) };
    let (first, rest) = path.split_once('/').map_or((path, None), |(it, rest)| (it, Some(rest)));
    let value = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    match rest {
        Some(rest) => value.pointer(&format!("/{rest}")),
        None => Some(value),
    }
}

fn groups(value: &Value) -> Option<Vec<String>> {
    let all = value.as_array().filter(|all| all.len() <= MAX_GROUPS)?;
    let group = |it: &Value| it.as_str().filter(|it| fits(it)).map(str::to_owned);
    all.iter().map(group).collect()
}

fn fits(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 2_000_000_000;

    fn issuer(more: &Value) -> IssuerSettings {
        let mut written = json!({ "issuer": "https://login.example.com", "scopes": ["call"] });
        for (key, value) in more.as_object().unwrap() {
            written[key] = value.clone();
        }
        serde_json::from_value(written).unwrap()
    }

    fn read(issuer: &IssuerSettings, change: &[(&str, Value)]) -> Result<Bearer, Denied> {
        let mut claims = json!({
            "aud": "https://gate.example.com/mcp", "exp": NOW + 60, "sub": "bot-7", "scope": "a call",
            "realm": { "a/b": ["x", "y"] }, "who": "ada"
        });
        for (key, value) in change {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(*key);
            } else {
                claims[*key] = value.clone();
            }
        }
        let now = Timestamp::from_second(NOW).unwrap();
        bearer(claims.as_object().unwrap(), issuer, "https://gate.example.com/mcp", now)
    }

    #[track_caller]
    fn is(issuer: &IssuerSettings, change: &[(&str, Value)], reason: Reason) {
        assert_eq!(read(issuer, change), Err(Denied::Invalid(reason)), "{change:?}");
    }

    #[test]
    fn cve_2026_59822_every_demanded_claim_must_be_there_and_right() {
        let plain = issuer(&json!({}));
        assert_eq!(read(&plain, &[]).unwrap().agent.as_str(), "bot-7");
        let both = json!(["https://other", "https://gate.example.com/mcp"]);
        assert!(read(&plain, &[("aud", both)]).is_ok());
        let audiences = [
            Value::Null,
            json!("https://gate.example.com/mcp/"),
            json!("https://gate.example.com"),
            json!([]),
            json!(["https://gate.example.com/mcp", 7]),
            json!({ "0": "https://gate.example.com/mcp" }),
            json!(""),
        ];
        for aud in audiences {
            is(&plain, &[("aud", aud)], Reason::Audience);
        }
        for exp in [Value::Null, json!(NOW - 60), json!("soon"), json!([NOW + 9]), json!(0)] {
            is(&plain, &[("exp", exp)], Reason::Ended);
        }
        assert!(read(&plain, &[("exp", json!(NOW - 59))]).is_ok(), "within the leeway");
        assert!(read(&plain, &[("exp", json!(f64::from(i32::MAX) + 0.5))]).is_ok());
        for nbf in [json!(NOW + 61), json!("now"), json!({})] {
            is(&plain, &[("nbf", nbf.clone())], Reason::NotYet);
            is(&plain, &[("iat", nbf)], Reason::NotYet);
        }
        for sub in [Value::Null, json!(""), json!(7)] {
            is(&plain, &[("sub", sub)], Reason::Subject);
        }
        let denied = Err(Denied::Scope(vec!["call".to_owned()]));
        for scope in [Value::Null, json!("callx"), json!("CALL"), json!(["other"]), json!(1)] {
            assert_eq!(read(&plain, &[("scope", scope)]), denied);
        }
        assert!(read(&plain, &[("scope", Value::Null), ("scp", json!(["call"]))]).is_ok());
    }

    #[test]
    fn cve_2026_59822_no_claim_gives_an_empty_or_unusable_name() {
        let plain = issuer(&json!({ "prefix": "corp." }));
        assert_eq!(read(&plain, &[]).unwrap().agent.as_str(), "corp.bot-7");
        for sub in ["a b", "auth0|7", "a/b", "ä", "a\u{0}b", &"x".repeat(60)] {
            is(&plain, &[("sub", json!(sub))], Reason::Agent);
        }
        let by_claim = issuer(&json!({ "claims": { "agent": "client_id" } }));
        for id in [Value::Null, json!(""), json!(7), json!(["bot"]), json!({})] {
            is(&by_claim, &[("client_id", id)], Reason::Agent);
        }
    }

    #[test]
    fn groups_and_owner_are_demanded_where_they_are_mapped() {
        let mapped = json!({ "claims": { "groups": "/realm/a~1b", "owner": "who" } });
        let mapped = issuer(&mapped);
        let bearer = read(&mapped, &[]).unwrap();
        assert_eq!(
            (bearer.groups, bearer.owner),
            (vec!["x".into(), "y".into()], Some("ada".into()))
        );
        let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
        for groups in [json!("x"), json!(["x", 7]), json!([""]), json!(many), Value::Null] {
            is(&mapped, &[("realm", json!({ "a/b": groups }))], Reason::Groups);
        }
        is(&mapped, &[("realm", Value::Null)], Reason::Groups);
        for owner in [Value::Null, json!(""), json!(["ada"]), json!("x".repeat(129)), json!("a\nb")]
        {
            is(&mapped, &[("who", owner)], Reason::Owner);
        }
    }
}
