//! What a call costs, as its manifest declares it. Money is counted in millionths of a US dollar, exactly.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// How many decimal places an amount of dollars has.
const PLACES: i32 = 6;
/// The largest exponent that an amount is read with.
const MAX_EXPONENT: i32 = 20;
/// How many digits of an amount are read.
const MAX_DIGITS: usize = 24;

/// What one call of a tool costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In US dollars.
    pub usd: Usd,
}

/// An amount of US dollars, in millionths; at most a million dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(u64);

impl Usd {
    /// The largest amount, in millionths.
    pub const MAX_MICROS: u64 = 1_000_000_000_000;

    /// An amount in millionths; the largest where it would be more.
    #[must_use]
    pub const fn of_micros(micros: u64) -> Self {
        Self(if micros > Self::MAX_MICROS { Self::MAX_MICROS } else { micros })
    }

    /// The amount in millionths.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Reads a decimal number; none where it has more than six decimal places, a sign, or is too large.
    fn read(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !whole.is_empty();
        if !plain || digits.len() > MAX_DIGITS || exponent.abs() > MAX_EXPONENT {
            return None;
        }
        let digits: u128 = digits.parse().ok()?;
        let shift = exponent + PLACES - i32::try_from(fraction.len()).ok()?;
        let power = 10_u128.checked_pow(shift.unsigned_abs())?;
        let micros = if shift >= 0 {
            digits.checked_mul(power)?
        } else if digits.is_multiple_of(power) {
            digits / power
        } else {
            return None;
        };
        u64::try_from(micros).ok().filter(|micros| *micros <= Self::MAX_MICROS).map(Self)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:06}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read =
            if let Value::Number(number) = &value { Self::read(&number.to_string()) } else { None };
        read.ok_or_else(|| {
            D::Error::custom(format!(
                "`{value}` is not an amount of dollars; write a number like `0.002`, from 0 to 1000000, \
                 with at most six decimal places"
            ))
        })
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: Number = self.to_string().parse().map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

impl JsonSchema for Usd {
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number",
            "minimum": 0,
            "maximum": 1_000_000,
            "description": "US dollars, with at most six decimal places."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_bounded() {
        for (text, micros, shown) in [
            ("0", 0, "0"),
            ("0.002", 2_000, "0.002"),
            ("5", 5_000_000, "5"),
            ("5.0", 5_000_000, "5"),
            ("1e-6", 1, "0.000001"),
            ("1.5E1", 15_000_000, "15"),
            ("0.1000000", 100_000, "0.1"),
            ("1000000", Usd::MAX_MICROS, "1000000"),
        ] {
            let read: Usd = serde_json::from_str(text).unwrap();
            assert_eq!(read.micros(), micros, "{text}");
            assert_eq!(read.to_string(), shown);
            assert_eq!(serde_json::to_string(&read).unwrap(), shown);
        }
        for text in ["-1", "0.0000001", "1000000.000001", "1e7", "1e99", "\"5\"", "true", "1e-400"]
        {
            assert!(serde_json::from_str::<Usd>(text).is_err(), "{text}");
        }
    }
}
