//! When an event happened by PostHog's rules, and the day that never changes with a repetition.
//!
//! A client's clock may be wrong by any amount, but it is wrong by the same amount for the event and for the request
//! that brings it, so their distance is what counts. A repetition of the request has another `sent_at` and travels for
//! another time, so its corrected time differs by some milliseconds: nothing that tells events apart may depend on it.
//!
//! A clock that is less than a minute off is taken at its word, other than by PostHog's rules: the time that a request
//! travels would otherwise be added to its events, and of two requests sent one after the other the slower one would be
//! the later one. What a client says about a person would then not count in the order in which it was said.

use uuid::Uuid;

use super::timestamp;

const MILLISECOND: i64 = 1000;
const DAY: i64 = 24 * 3600 * 1_000_000;

/// First instant of 2021. No SDK that sends `sent_at` is older, so an earlier one is a clock that was never set.
const YEAR_2021: i64 = 1_609_459_200_000_000;

/// What a client's clock may be off before it is corrected: longer than a request travels.
const TRUSTED: u64 = 60 * 1_000_000;

/// What an event and its request say about time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Said<'a> {
    /// `timestamp`, unless it is empty.
    pub(super) timestamp: Option<&'a str>,
    /// Milliseconds before the sending.
    pub(super) offset: Option<i64>,
    /// When the request was sent by the client's clock; none when the event asks to ignore it.
    pub(super) sent_at: Option<i64>,
    /// When it was received by ours.
    pub(super) received_at: i64,
}

/// The time of an event, clamped, in microseconds since 1970, and the time as it was sent.
pub(super) fn resolve(said: Said<'_>) -> (i64, Option<i64>) {
    let sent = said.timestamp.and_then(|text| timestamp::parse_loosely(text).ok());
    let happened = match (said.offset, sent, said.sent_at) {
        (Some(offset), ..) => said.received_at.saturating_sub(offset.saturating_mul(MILLISECOND)),
        (None, None, _) => said.received_at,
        (None, Some(sent), Some(sent_at)) if said.received_at.abs_diff(sent_at) > TRUSTED => {
            said.received_at.saturating_sub(sent_at.saturating_sub(sent))
        }
        (None, Some(sent), _) => sent,
    };
    (timestamp::clamp(happened, said.received_at, timestamp::POSTHOG_TOLERANCE), sent)
}

/// The moment of sending, as text or as milliseconds since 1970, when it is credible.
pub fn sent_at(text: &str) -> Option<i64> {
    let sent_at = timestamp::parse_loosely(text).ok()?;
    (sent_at >= YEAR_2021).then_some(sent_at)
}

/// The same as a query has it: milliseconds only, so that seconds are no credible time.
pub fn sent_at_milliseconds(text: &str) -> Option<i64> {
    let sent_at = text.parse::<i64>().ok()?.checked_mul(MILLISECOND)?;
    (sent_at >= YEAR_2021).then_some(sent_at)
}

/// Days from 1970 to the time as it was sent, else to that of a version 7 id, else to the arrival.
///
/// A time more than a year ahead becomes the last day there is, so that wrong clocks share one day instead of opening
/// a partition each.
pub(super) fn client_day(sent: Option<i64>, uuid: Uuid, received_at: i64) -> u16 {
    let day = sent.or_else(|| minted_at(uuid)).unwrap_or(received_at).div_euclid(DAY);
    if day > received_at.div_euclid(DAY) + 366 {
        u16::MAX
    } else {
        u16::try_from(day.max(0)).unwrap_or(u16::MAX)
    }
}

/// The time within a version 7 id.
fn minted_at(uuid: Uuid) -> Option<i64> {
    if uuid.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = uuid.get_timestamp()?.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    Some(seconds.saturating_mul(1_000_000).saturating_add(i64::from(nanoseconds / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const NOW: i64 = 1_780_000_000_000_000;
    const HOUR: i64 = 3600 * 1_000_000;

    fn text(timestamp: i64) -> String {
        jiff::Timestamp::from_microsecond(timestamp).unwrap().to_string()
    }

    #[rstest]
    #[case::fast_clock(5 * HOUR)]
    #[case::slow_clock(-300 * HOUR)]
    #[case::right_clock(0)]
    fn the_clock_of_the_client_cancels_out(#[case] error: i64) {
        let timestamp = text(NOW - HOUR + error);
        let said =
            Said { timestamp: Some(&timestamp), sent_at: Some(NOW + error), received_at: NOW, offset: None };
        assert_eq!(resolve(said), (NOW - HOUR, Some(NOW - HOUR + error)));
    }

    #[test]
    fn the_time_that_a_request_travels_does_not_move_its_events() {
        let timestamp = text(NOW - HOUR);
        let at = |travelled| {
            let received_at = NOW + travelled;
            resolve(Said { timestamp: Some(&timestamp), sent_at: Some(NOW), received_at, offset: None }).0
        };
        assert_eq!(at(0), NOW - HOUR);
        assert_eq!(at(59_000_000), NOW - HOUR);
        assert_eq!(at(61_000_000), NOW - HOUR + 61_000_000);
    }

    #[rstest]
    #[case::nothing(None, None, NOW)]
    #[case::unreadable(Some("soon"), None, NOW)]
    #[case::offset_wins(Some("2026-05-06T00:00:00Z"), Some(1500), NOW - 1_500_000)]
    #[case::epoch(Some("1779999999"), None, NOW - 1_000_000)]
    #[case::far_future(Some("9999-01-01T00:00:00Z"), None, NOW)]
    #[case::far_past(Some("0001-01-01T00:00:00Z"), None, 0)]
    #[case::endless_offset(None, Some(i64::MAX), 0)]
    #[case::negative_offset(None, Some(i64::MIN), NOW)]
    fn other_times_are_resolved(
        #[case] timestamp: Option<&str>,
        #[case] offset: Option<i64>,
        #[case] expected: i64,
    ) {
        let said = Said { timestamp, offset, received_at: NOW, sent_at: None };
        assert_eq!(resolve(said).0, expected);
    }

    #[test]
    fn the_future_begins_after_23_hours() {
        for (ahead, expected) in [(23 * HOUR, NOW + 23 * HOUR), (23 * HOUR + 1, NOW)] {
            let timestamp = text(NOW + ahead);
            let said = Said { timestamp: Some(&timestamp), received_at: NOW, ..Said::default() };
            assert_eq!(resolve(said).0, expected);
        }
    }

    #[rstest]
    #[case("1780000000000", Some(NOW))]
    #[case("2026-05-28T20:26:40.000Z", Some(NOW))]
    #[case("1780000000", Some(NOW))]
    #[case("0", None)]
    #[case("2020-12-31T23:59:59Z", None)]
    #[case("", None)]
    fn a_sent_at_before_2021_is_no_clock(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(sent_at(text), expected);
    }

    #[test]
    fn a_query_counts_milliseconds() {
        assert_eq!(sent_at_milliseconds("1780000000000"), Some(NOW));
        assert_eq!(sent_at_milliseconds("1780000000"), None);
        assert_eq!(sent_at_milliseconds("2026-05-28T20:26:40Z"), None);
    }

    #[test]
    fn the_day_comes_from_the_text_then_the_id_then_the_arrival() {
        let v7: Uuid = "019a0f2e-7c10-7b3a-9d41-5f0c2a77e001".parse().unwrap();
        let minted = i64::from(client_day(None, v7, NOW));
        assert_eq!(minted, 0x019a_0f2e_7c10_i64 * 1000 / DAY);
        assert_eq!(client_day(Some(3 * DAY + 5), v7, NOW), 3);
        assert_eq!(i64::from(client_day(None, Uuid::nil(), NOW)), NOW / DAY);
        assert_eq!(client_day(Some(-1), v7, NOW), 0);
        assert_eq!(client_day(Some(NOW + 367 * DAY), v7, NOW), u16::MAX);
    }

    proptest! {
        #[test]
        fn nothing_overflows(offset in any::<Option<i64>>(), sent_at in any::<Option<i64>>(), text in ".{0,30}", uuid in any::<u128>()) {
            let said = Said { timestamp: Some(&text), offset, sent_at, received_at: NOW };
            let (timestamp, sent) = resolve(said);
            prop_assert!((0..=NOW + 23 * HOUR).contains(&timestamp));
            client_day(sent, Uuid::from_u128(uuid), NOW);
        }
    }
}
