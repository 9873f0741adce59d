//! `active`: the window of time in which a rule is in force.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

use super::super::reading::{At, Files};
use super::spec::ActiveSpec;

/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// When a rule is in force.
#[derive(Debug)]
pub(super) struct Active {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Any day where none is named.
    weekdays: Vec<Weekday>,
    /// Minutes of the day, the second not included; past midnight where it is the smaller.
    hours: Option<(u16, u16)>,
    zone: TimeZone,
    /// As the rule says it.
    text: String,
}

impl Active {
    /// Reads a window; what is wrong is noted in `files`.
    pub(super) fn compile(spec: &ActiveSpec, at: &At, files: &mut Files) -> Self {
        let zone = zone(spec.time_zone.as_deref(), &at.below("time_zone"), files);
        let mut moment = |key: &str, text: Option<&String>| {
            let text = text?;
            let read = moment(text, &zone);
            if read.is_none() {
                let hint =
                    "write it like `2026-03-01`, `2026-03-01T08:00` or `2026-03-01T08:00:00Z`";
                files.wrong(&at.below(key), format!("`{text}` is not a moment"), hint);
            }
            read
        };
        let from = moment("from", spec.from.as_ref());
        let until = moment("until", spec.until.as_ref());
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            let hint = "give an `until` after `from`";
            files.wrong(&at.below("until"), "the window ends before it begins", hint);
        }
        if spec.weekdays.as_ref().is_some_and(Vec::is_empty) {
            let hint = "leave it out if every day is meant";
            files.wrong(&at.below("weekdays"), "an empty list: the rule is never in force", hint);
        }
        let hours = spec.hours.as_ref().and_then(|text| {
            let read = hours(text);
            if read.is_none() {
                let hint = "write it like `09:00-17:00`; `22:00-06:00` goes past midnight";
                files.wrong(&at.below("hours"), format!("`{text}` are not hours of a day"), hint);
            }
            read
        });
        if [&spec.from, &spec.until, &spec.hours].iter().all(|it| it.is_none())
            && spec.weekdays.is_none()
        {
            let hint = "give `from`, `until`, `weekdays` or `hours`, or leave `active` out";
            files.wrong_key(at, "`active` that limits nothing", hint);
        }
        let weekdays = spec.weekdays.iter().flatten().map(|day| day.weekday()).collect();
        Self { from, until, weekdays, hours, zone, text: written(spec) }
    }

    /// Whether the rule is in force at this moment. Days and hours are read from a clock on the wall of the time
    /// zone: an hour that a change of clocks leaves out is not there, one that it repeats counts twice.
    pub(super) fn covers(&self, now: Timestamp) -> bool {
        if self.from.is_some_and(|from| now < from) || self.until.is_some_and(|until| now >= until)
        {
            return false;
        }
        let local = now.to_zoned(self.zone.clone());
        let minute = minutes(local.hour(), local.minute());
        let today = local.weekday();
        let begun = match self.hours {
            None => today,
            Some((begin, end)) if begin < end => {
                if minute < begin || minute >= end {
                    return false;
                }
                today
            }
            Some((begin, _)) if minute >= begin => today,
            Some((_, end)) if minute < end => today.previous(),
            Some(_) => return false,
        };
        self.weekdays.is_empty() || self.weekdays.contains(&begun)
    }

    /// The window in one line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What the clock of the window reads.
    pub(super) fn reading(&self, now: Timestamp) -> String {
        now.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Q").to_string()
    }
}

fn zone(name: Option<&str>, at: &At, files: &mut Files) -> TimeZone {
    let Some(name) = name else { return TimeZone::UTC };
    TimeZone::get(name).unwrap_or_else(|_| {
        let names: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
        let hint = match crate::source::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "use a name of the IANA database, like `Europe/Berlin`".to_owned(),
        };
        files.wrong(at, format!("`{name}` is not a time zone"), hint);
        TimeZone::UTC
    })
}

fn moment(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    // A moment with a place in another zone would be read without it.
    if text.contains(['[', 'Z', 'z', '+']) {
        return None;
    }
    let local: DateTime = text.parse().ok()?;
    zone.to_timestamp(local).ok()
}

/// Minutes of the day from `HH:MM-HH:MM`.
fn hours(text: &str) -> Option<(u16, u16)> {
    let (begin, end) = text.split_once('-')?;
    let (begin, end) = (time(begin.trim())?, time(end.trim())?);
    (begin != end && begin < DAY).then_some((begin, end))
}

fn time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|it| it.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY).then_some(of_day)
}

fn minutes(hour: i8, minute: i8) -> u16 {
    let [hour, minute] = [hour, minute].map(|it| u16::try_from(it).unwrap_or(0));
    hour * 60 + minute
}

fn written(spec: &ActiveSpec) -> String {
    let days = spec.weekdays.as_ref().map(|days| {
        let names: Vec<&str> = days.iter().map(|day| day.as_str()).collect();
        names.join(", ")
    });
    let parts = [
        spec.from.as_ref().map(|it| format!("from {it}")),
        spec.until.as_ref().map(|it| format!("until {it}")),
        days,
        spec.hours.clone(),
        Some(format!("({})", spec.time_zone.as_deref().unwrap_or("UTC"))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
