//! What a rule may ask beside `match` and `except`, as files write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a rule decides or is only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is compared with calls and recorded where it matches, and decides nothing.
    Shadow,
}

impl Mode {
    /// The mode as rules write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }

    /// Whether the rule decides.
    #[must_use]
    pub const fn is_enforced(&self) -> bool {
        matches!(self, Self::Enforce)
    }
}

/// When a rule is in force: at moments for which all that is given holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActiveSpec {
    /// From when: a moment like `2026-03-01T08:00:00Z`, or a date with or without a time in the time zone.
    #[serde(default)]
    pub from: Option<String>,
    /// Until when, that moment itself not included; written like `from`.
    #[serde(default)]
    pub until: Option<String>,
    /// On which days of the week.
    #[serde(default)]
    pub weekdays: Option<Vec<Day>>,
    /// Between which times of the day, like `09:00-17:00`; the end is not included. `22:00-06:00` goes past midnight
    /// and belongs to the day it begins on.
    #[serde(default)]
    pub hours: Option<String>,
    /// In which time zone of the IANA database, like `Europe/Berlin`; UTC when absent.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    pub(super) const fn weekday(self) -> jiff::civil::Weekday {
        use jiff::civil::Weekday;
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}
