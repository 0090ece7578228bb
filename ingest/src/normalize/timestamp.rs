//! Times as JavaScript's `Date` reads them, to microseconds since 1970, and the clamp.
//!
//! Read are: ISO 8601 from a lone year to fractions of a second, with `T` or a space, with an offset or without one
//! (then UTC); RFC 2822; and what `Date.prototype.toString` prints. Text of digits only is a year or nothing, so that
//! epoch numbers are refused rather than guessed at.

use jiff::civil::Date;
use jiff::civil::DateTime;
use jiff::civil::Time;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;

/// A time that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid timestamp")]
pub struct BadTimestamp;

/// First instant of the year 2300, beyond which `DateTime64(6)` ends.
const YEAR_2300: i64 = 10_413_792_000_000_000;

/// How far ahead of the service a client's clock may be.
pub(super) const SEED_TOLERANCE: i64 = 24 * 3600 * 1_000_000;
/// The same in PostHog's dialect.
pub(super) const POSTHOG_TOLERANCE: i64 = 23 * 3600 * 1_000_000;

/// Keeps a time within what ClickHouse can hold and what can be true.
///
/// Before 1970 becomes 1970. More than the tolerance ahead of `received_at` becomes `received_at`: times order `$set`,
/// and one wrong clock must not own a property until its date comes.
pub(super) fn clamp(timestamp: i64, received_at: i64, tolerance: i64) -> i64 {
    let possible = timestamp.clamp(0, YEAR_2300 - 1);
    if possible > received_at.saturating_add(tolerance) { received_at } else { possible }
}

/// Reads a time, in microseconds since 1970.
pub(super) fn parse(text: &str) -> Result<i64, BadTimestamp> {
    let text = text.trim();
    iso(text).or_else(|| mail(text)).or_else(|| printed(text)).ok_or(BadTimestamp)
}

/// Reads a time as [`parse`] does, and also what PostHog's clients were seen to send: epoch numbers, whose unit shows in
/// their size, a lone `+03` as an offset, and a space or `UTC` before or instead of it.
pub(super) fn parse_loosely(text: &str) -> Result<i64, BadTimestamp> {
    let text = text.trim();
    parse(text).ok().or_else(|| epoch(text)).or_else(|| zoned(text)).ok_or(BadTimestamp)
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970; a fraction of seconds counts.
fn epoch(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    Some(match whole.unsigned_abs() {
        0..100_000_000_000 => {
            let fraction = if fraction.is_empty() { 0 } else { Cursor(fraction.as_bytes()).fraction()? };
            whole * 1_000_000 + fraction
        }
        100_000_000_000..100_000_000_000_000 => whole * 1000,
        100_000_000_000_000..100_000_000_000_000_000 => whole,
        _ => whole / 1000,
    })
}

/// `2026-05-06 09:30:00 +03`, `2026-05-06T09:30:00+03`, `2026-05-06 09:30:00 UTC`.
fn zoned(text: &str) -> Option<i64> {
    if let Some(local) = text.strip_suffix("UTC") {
        return iso(local.trim_end());
    }
    let (local, zone) = text.split_at_checked(text.rfind(['+', '-', 'Z', 'z'])?)?;
    let zone = if zone.len() == 3 { format!("{zone}:00") } else { zone.to_owned() };
    iso(&format!("{}{zone}", local.trim_end()))
}

/// `2026`, `2026-05`, `2026-05-06`, `2026-05-06T09:30[:00[.123]][Z|+02:00|+0200]`, and years of six digits with a sign.
fn iso(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let year = match cursor.sign() {
        Some(sign) => sign * cursor.digits(6)?,
        None => cursor.digits(4)?,
    };
    let mut month = 1;
    let mut day = 1;
    if cursor.eat(b'-') {
        month = cursor.digits(2)?;
        if cursor.eat(b'-') {
            day = cursor.digits(2)?;
        }
    }
    if cursor.0.is_empty() {
        return microseconds(year, month, day, Clock::default());
    }
    if !(cursor.eat(b'T') || cursor.eat(b't') || cursor.eat(b' ')) {
        return None;
    }
    let clock = cursor.clock()?;
    cursor.0.is_empty().then_some(())?;
    microseconds(year, month, day, clock)
}

#[derive(Default, Clone, Copy)]
struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
    offset_seconds: i64,
}

/// Years that no calendar of the library holds are still times to JavaScript: they are clamped later.
fn microseconds(year: i64, month: i64, day: i64, clock: Clock) -> Option<i64> {
    let stand_in = if (-9000..=9000).contains(&year) { year } else { 2000 };
    let date = Date::new(small(stand_in)?, small(month)?, small(day)?).ok()?;
    // 24:00 is the end of the day to ISO 8601 and JavaScript.
    let is_end_of_day = clock.hour == 24 && clock.minute + clock.second + clock.microsecond == 0;
    let hour = if is_end_of_day { 0 } else { clock.hour };
    let nanosecond = small(clock.microsecond * 1000)?;
    let time = Time::new(small(hour)?, small(clock.minute)?, small(clock.second)?, nanosecond).ok()?;
    if stand_in != year {
        return Some(if year > 0 { i64::MAX } else { i64::MIN });
    }
    let instant = Offset::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()?;
    let carried = if is_end_of_day { 24 * 3600 } else { 0 } - clock.offset_seconds;
    Some(instant.as_microsecond() + carried * 1_000_000)
}

fn small<T: TryFrom<i64>>(value: i64) -> Option<T> {
    T::try_from(value).ok()
}

/// `Wed, 06 May 2026 09:30:00 GMT`.
fn mail(text: &str) -> Option<i64> {
    rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

/// `Wed May 06 2026 11:30:00 GMT+0200 (Central European Summer Time)`, and `May 6, 2026 09:30`.
fn printed(text: &str) -> Option<i64> {
    let words = text.split(" (").next()?.replace(',', " ");
    let mut words = words.split_whitespace();
    let first = words.next()?;
    // The day of the week may stand before the month.
    let month = match month(first) {
        Some(month) => month,
        None => month(words.next()?)?,
    };
    let day = digits(words.next()?)?;
    let year = digits(words.next()?)?;
    let mut clock = Clock::default();
    if let Some(time) = words.next() {
        let mut cursor = Cursor(time.as_bytes());
        clock = cursor.clock()?;
        cursor.0.is_empty().then_some(())?;
    }
    if let Some(zone) = words.next() {
        let offset = zone.strip_prefix("GMT").or_else(|| zone.strip_prefix("UTC")).unwrap_or(zone);
        let mut cursor = Cursor(offset.as_bytes());
        clock.offset_seconds = if offset.is_empty() { 0 } else { cursor.offset()? };
        cursor.0.is_empty().then_some(())?;
    }
    words.next().is_none().then_some(())?;
    microseconds(year, month, day, clock)
}

fn month(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = word.get(..3)?;
    let index = MONTHS.iter().position(|month| start.eq_ignore_ascii_case(month))?;
    i64::try_from(index + 1).ok()
}

fn digits(word: &str) -> Option<i64> {
    let all_digits = !word.is_empty() && word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| word.parse().ok())?
}

/// The rest of a text that is being read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn sign(&mut self) -> Option<i64> {
        if self.eat(b'+') {
            Some(1)
        } else if self.eat(b'-') {
            Some(-1)
        } else {
            None
        }
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        taken
            .iter()
            .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    }

    /// `09:30[:00[.123]]` and an optional offset.
    fn clock(&mut self) -> Option<Clock> {
        let mut clock = Clock { hour: self.digits(2)?, ..Clock::default() };
        self.eat(b':').then_some(())?;
        clock.minute = self.digits(2)?;
        if self.eat(b':') {
            clock.second = self.digits(2)?;
            if self.eat(b'.') || self.eat(b',') {
                clock.microsecond = self.fraction()?;
            }
        }
        if !self.0.is_empty() {
            clock.offset_seconds = self.offset()?;
        }
        Some(clock)
    }

    /// Any number of digits of a fraction, of which six count.
    fn fraction(&mut self) -> Option<i64> {
        let mut scale = 100_000;
        let mut microsecond = 0;
        let mut read = 0;
        while let Some(digit) = self.0.first().filter(|byte| byte.is_ascii_digit()) {
            microsecond += i64::from(digit - b'0') * scale;
            scale /= 10;
            read += 1;
            self.0 = &self.0[1..];
        }
        (read > 0).then_some(microsecond)
    }

    /// `Z`, `+02:00` or `+0200`, in seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let sign = self.sign()?;
        let hours = self.digits(2)?;
        self.eat(b':');
        let minutes = self.digits(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const NINE_THIRTY: i64 = 1_778_059_800_000_000;

    #[rstest]
    #[case("2026-05-06T09:30:00.000Z", NINE_THIRTY)]
    #[case("2026-05-06T09:30:00Z", NINE_THIRTY)]
    #[case("2026-05-06T09:30", NINE_THIRTY)]
    #[case("2026-05-06 09:30:00", NINE_THIRTY)]
    #[case("2026-05-06T11:30:00+02:00", NINE_THIRTY)]
    #[case("2026-05-06T11:30:00+0200", NINE_THIRTY)]
    #[case("+002026-05-06T09:30:00Z", NINE_THIRTY)]
    #[case("2026-05-06T09:30:00.1234567Z", NINE_THIRTY + 123_456)]
    #[case("Wed, 06 May 2026 09:30:00 GMT", NINE_THIRTY)]
    #[case("Wed, 06 May 2026 05:30:00 -0400", NINE_THIRTY)]
    #[case("Wed May 06 2026 11:30:00 GMT+0200 (Central European Summer Time)", NINE_THIRTY)]
    #[case("May 6, 2026 09:30:00", NINE_THIRTY)]
    #[case("2026-05-05T24:00:00Z", NINE_THIRTY - 34_200_000_000)]
    #[case("2026-05-06", NINE_THIRTY - 34_200_000_000)]
    #[case("1970", 0)]
    #[case("1970-02", 31 * 86_400_000_000)]
    #[case("0001-01-01T00:00:00Z", -62_135_596_800_000_000)]
    #[case("+275760-09-13T00:00:00Z", i64::MAX)]
    fn these_are_times(#[case] text: &str, #[case] expected: i64) {
        assert_eq!(parse(text), Ok(expected));
    }

    #[rstest]
    #[case("1778059800", NINE_THIRTY)]
    #[case("1778059800.25", NINE_THIRTY + 250_000)]
    #[case("1778059800000", NINE_THIRTY)]
    #[case("1778059800000000", NINE_THIRTY)]
    #[case("1778059800000000000", NINE_THIRTY)]
    #[case("2026-05-06T12:30:00+03", NINE_THIRTY)]
    #[case("2026-05-06 12:30:00 +0300", NINE_THIRTY)]
    #[case("2026-05-06 09:30:00 UTC", NINE_THIRTY)]
    #[case("2026-05-06 09:30:00 Z", NINE_THIRTY)]
    #[case("2026-05-06T09:30:00Z", NINE_THIRTY)]
    fn these_are_times_to_posthog(#[case] text: &str, #[case] expected: i64) {
        assert_eq!(parse_loosely(text), Ok(expected));
    }

    #[rstest]
    #[case("soon")]
    #[case("")]
    #[case("2026-13-01T00:00:00+03")]
    #[case("99999999999999999999")]
    #[case("1e9")]
    #[case("é+03")]
    fn these_are_none_to_posthog(#[case] text: &str) {
        assert_eq!(parse_loosely(text), Err(BadTimestamp));
    }

    #[rstest]
    #[case("nonsense")]
    #[case("1700000000000")]
    #[case("1700000000")]
    #[case("20260506")]
    #[case("2026-13-01")]
    #[case("2026-02-30T00:00:00Z")]
    #[case("2026-05-06T25:00:00Z")]
    #[case("2026-05-06T09:30:00+")]
    #[case("2026-05-06T09")]
    #[case("2026-05-06T09:30:00Zx")]
    #[case("May 2026")]
    #[case("é2026")]
    fn these_are_none(#[case] text: &str) {
        assert_eq!(parse(text), Err(BadTimestamp));
    }

    #[test]
    fn impossible_times_are_clamped() {
        let day = 86_400_000_000;
        let clamp = |timestamp| clamp(timestamp, NINE_THIRTY, SEED_TOLERANCE);
        assert_eq!(clamp(-5), 0);
        assert_eq!(clamp(NINE_THIRTY + day), NINE_THIRTY + day);
        assert_eq!(clamp(NINE_THIRTY + day + 1), NINE_THIRTY);
        assert_eq!(clamp(i64::MAX), NINE_THIRTY);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            prop_assert!(parse(&text).is_err() || parse(&text) == parse_loosely(&text));
        }

        #[test]
        fn iso_text_round_trips(microsecond in 0_i64..YEAR_2300) {
            let text = jiff::Timestamp::from_microsecond(microsecond).unwrap().to_string();
            prop_assert_eq!(parse(&text), Ok(microsecond));
        }

        #[test]
        fn a_clamped_time_fits_the_column(timestamp in any::<i64>(), received_at in 0_i64..YEAR_2300) {
            prop_assert!((0..YEAR_2300).contains(&clamp(timestamp, received_at, SEED_TOLERANCE)));
        }
    }
}
