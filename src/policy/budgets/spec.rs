//! The form of a budget in a policy file (design §6).

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::catalog::Usd;
use crate::catalog::manifest::Span;
use crate::evidence::Amounts;
use crate::policy::rules::{Dimensions, MatchSpec, Ruling};

/// The largest number of calls or tokens: what every program reads exactly.
const MAX_COUNT: u64 = 1 << 53;
/// The longest compute time, in milliseconds: ten years.
const MAX_COMPUTE_MS: u128 = 10 * 366 * 86_400_000;
/// The shortest and the longest time after which a budget renews, in seconds.
const EVERY: std::ops::RangeInclusive<u64> = 60..=366 * 86_400;
/// How many shares one budget tells of.
const MAX_SHARES: usize = 10;

/// How much may be spent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// Its name, unique over all files, also of limits.
    pub name: String,
    /// Which calls spend; `{}` is every call.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// Which of these do not.
    #[serde(default)]
    pub except: Option<MatchSpec>,
    /// What is counted apart: one dimension or several.
    pub per: Dimensions,
    /// How much of what.
    pub spend: SpendSpec,
    /// After what time it renews, at multiples of that time since 1970 in UTC, like `1h` or `1d`; never when
    /// absent.
    #[serde(default)]
    pub every: Option<Every>,
    /// What becomes of calls when it is spent; `DENY` when absent.
    #[serde(default)]
    pub then: Option<Then>,
    /// At what shares of it people are told, like `50%`.
    #[serde(default)]
    pub alert_at: Option<Shares>,
}

/// How much may be spent of what; one of them at the least.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendSpec {
    /// Calls.
    #[serde(default)]
    pub calls: Option<Count>,
    /// Tokens of arguments and results.
    #[serde(default)]
    pub tokens: Option<Count>,
    /// What manifests declare as cost, in US dollars.
    #[serde(default)]
    pub cost_usd: Option<Usd>,
    /// What backends take.
    #[serde(default)]
    pub compute: Option<Span>,
}

impl SpendSpec {
    /// The amounts, of which nothing is no limit.
    pub(super) fn amounts(&self) -> Result<Amounts, &'static str> {
        let compute_ms = self.compute.map_or(0, |span| span.0.as_millis());
        if self.cost_usd == Some(Usd::default()) {
            return Err("a budget of no dollars");
        }
        if (self.compute.is_some() && compute_ms == 0) || compute_ms > MAX_COMPUTE_MS {
            return Err("`compute` is from 1 ms to ten years");
        }
        let amounts = Amounts {
            calls: self.calls.map_or(0, |count| count.0),
            tokens: self.tokens.map_or(0, |count| count.0),
            micro_usd: self.cost_usd.map_or(0, Usd::micros),
            compute_ms: u64::try_from(compute_ms).unwrap_or(u64::MAX),
        };
        if amounts.is_nothing() { Err("a budget of nothing") } else { Ok(amounts) }
    }
}

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let count = value.as_u64().filter(|count| (1..=MAX_COUNT).contains(count));
        count.map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{value}` is not a whole number from 1 to {MAX_COUNT}"))
        })
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_COUNT })
    }
}

/// A time after which a budget renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Duration);

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            D::Error::custom(format!(
                "`{text}` is not a time after which a budget renews; write whole minutes, hours, days or weeks, \
                 like `30m`, `1h`, `1d` or `1w`, up to 366 days"
            ))
        };
        let unit = match text.chars().last() {
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            Some(_) | None => return Err(wrong()),
        };
        let count: u64 = text
            .get(..text.len().saturating_sub(1))
            .and_then(|count| count.parse().ok())
            .ok_or_else(wrong)?;
        let seconds = count.checked_mul(unit).filter(|it| EVERY.contains(it)).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl JsonSchema for Every {
    fn schema_name() -> Cow<'static, str> {
        "Every".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[mhdw]$" })
    }
}

/// What becomes of calls when a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Then {
    /// They are refused.
    Deny,
    /// They wait for people.
    RequireApproval,
}

impl From<Then> for Ruling {
    fn from(then: Then) -> Self {
        match then {
            Then::Deny => Self::Deny,
            Then::RequireApproval => Self::RequireApproval,
        }
    }
}

impl<'de> Deserialize<'de> for Then {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Ruling::deserialize(deserializer)? {
            Ruling::Deny => Ok(Self::Deny),
            Ruling::RequireApproval => Ok(Self::RequireApproval),
            other @ (Ruling::Allow | Ruling::AllowWithConstraints) => {
                Err(D::Error::custom(format!(
                    "a budget that is spent cannot `{}`; use DENY or REQUIRE_APPROVAL",
                    other.as_str()
                )))
            }
        }
    }
}

/// Shares of a budget, in hundredths, rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares(pub Vec<u8>);

impl<'de> Deserialize<'de> for Shares {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<Value>::deserialize(deserializer)?;
        if texts.len() > MAX_SHARES {
            return Err(D::Error::custom(format!("more than {MAX_SHARES} shares")));
        }
        let read = |value: &Value| {
            let share = value.as_str().and_then(|text| text.strip_suffix('%'));
            let share = share.and_then(|share| share.parse::<u8>().ok());
            share.filter(|share| (1..=100).contains(share)).ok_or_else(|| {
                D::Error::custom(format!("`{value}` is not a share; write it like `50%`"))
            })
        };
        let mut shares = texts.iter().map(read).collect::<Result<Vec<u8>, _>>()?;
        shares.sort_unstable();
        shares.dedup();
        Ok(Self(shares))
    }
}

impl JsonSchema for Shares {
    fn schema_name() -> Cow<'static, str> {
        "Shares".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "maxItems": MAX_SHARES,
            "items": { "type": "string", "pattern": "^(100|[1-9][0-9]?)%$" }
        })
    }
}
