//! The durations of a rotation, read from the spec.

use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};
use weir_crds::{RotationSpec, RotationWindow};

/// The part of an interval by which it may be shortened, so that credentials made together do not turn together.
const JITTER: f64 = 0.1;

/// When a credential turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Time between generations; none without a schedule.
    pub(crate) interval: Option<SignedDuration>,
    /// Time for which an old generation stays in any case.
    pub(crate) overlap: SignedDuration,
    /// Time without use after which it ends.
    pub(crate) quiet: SignedDuration,
    /// Time after which it ends in any case.
    pub(crate) cap: SignedDuration,
    /// Minutes of the UTC day in which a scheduled rotation may start.
    pub(crate) window: Option<(u16, u16)>,
}

impl Policy {
    /// Reads a section of the spec; its schema has checked the texts.
    pub(crate) fn new(spec: &RotationSpec) -> Self {
        Self {
            interval: spec.interval.as_deref().map(duration),
            overlap: duration(&spec.overlap),
            quiet: duration(&spec.quiet_period),
            cap: duration(&spec.cap),
            window: spec.window.as_ref().map(|RotationWindow { from, to }| (minute(from), minute(to))),
        }
    }

    /// When the schedule asks for the generation after one that was published at a moment; the same for the same identity.
    pub(crate) fn next(&self, published_at: Timestamp, identity: &str) -> Option<Timestamp> {
        let interval = self.interval?;
        let hash = Sha256::digest(identity);
        let fraction = f64::from(u16::from_le_bytes([hash[0], hash[1]])) / f64::from(u16::MAX);
        let shortened = interval.as_secs_f64() * JITTER.mul_add(-fraction, 1.0);
        Some(super::after(published_at, SignedDuration::try_from_secs_f64(shortened).unwrap_or(interval)))
    }

    /// Whether a scheduled rotation may start now.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        let Some((from, to)) = self.window else { return true };
        let time = now.to_zoned(TimeZone::UTC).time();
        let minute = u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }
}

/// A duration such as `1h30m`; the schema lets no other text in.
pub(crate) fn duration(text: &str) -> SignedDuration {
    text.parse().unwrap_or_default()
}

/// Minute of the day of a time such as `02:30`.
fn minute(text: &str) -> u16 {
    let (hours, minutes) = text.split_once(':').unwrap_or_default();
    let number = |text: &str| text.parse::<u16>().unwrap_or(0);
    number(hours) * 60 + number(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [("90s", 90), ("1h30m", 5400), ("720h", 2_592_000), ("0s", 0)] {
            assert_eq!(duration(text).as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn a_window_may_go_over_midnight() {
        let policy = |from: &str, to: &str| {
            let window = Some(RotationWindow { from: from.into(), to: to.into() });
            Policy::new(&RotationSpec { window, ..RotationSpec::default() })
        };
        let at = |time: &str| format!("2026-03-29T{time}:00Z").parse::<Timestamp>().unwrap();
        let night = policy("22:00", "04:30");
        let open: Vec<_> = ["21:59", "22:00", "00:00", "04:29", "04:30", "12:00"]
            .map(|time| night.is_open(at(time)))
            .into_iter()
            .collect();
        assert_eq!(open, [false, true, true, true, false, false]);
        assert!(
            policy("02:00", "03:00").is_open(at("02:30")) && !policy("02:00", "03:00").is_open(at("03:00"))
        );
    }

    #[test]
    fn intervals_are_shortened_by_up_to_a_tenth_and_spread() {
        let spec = RotationSpec { interval: Some("1000s".into()), ..RotationSpec::default() };
        let policy = Policy::new(&spec);
        let next = |name: usize| policy.next(Timestamp::UNIX_EPOCH, &name.to_string()).unwrap().as_second();
        let moments: Vec<_> = (0..200).map(next).collect();
        assert!(moments.iter().all(|second| (900..=1000).contains(second)));
        let early = moments.iter().filter(|second| **second < 950).count();
        assert!((60..140).contains(&early), "{early}");
        assert_eq!(next(7), next(7));
    }
}
