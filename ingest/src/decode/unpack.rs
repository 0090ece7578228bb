//! A body of PostHog's wire to JSON text, whatever it was wrapped in.
//!
//! Types and encodings that a client declares are hints at best: today's posthog-js sends gzip as `text/plain` with
//! nothing else, older ones say gzip and send JSON, proxies inflate and keep the header. So each layer is known by its
//! bytes; only LZ-string, which looks like any base64, needs to be named.

use super::Refused;
use super::base64;
use super::form;
use super::gzip;
use super::lz;
use crate::budget::Reservation;

/// Layers that are taken off. The most that was ever sent is a form with base64 of gzip.
const MAX_LAYERS: usize = 4;

/// What is said about a body outside of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hints {
    /// The parameter `compression` names LZ-string.
    pub(crate) is_lz: bool,
    /// The body is declared as a form.
    pub(crate) is_form: bool,
}

impl Hints {
    /// Whether this value of `compression` names LZ-string; other values tell nothing that the bytes do not.
    pub(crate) fn names_lz(compression: &str) -> bool {
        compression.eq_ignore_ascii_case("lz64") || compression.eq_ignore_ascii_case("lz-string")
    }
}

/// Whether a body is JSON as it is, so that unpacking it costs nothing.
pub(crate) fn is_json(body: &[u8]) -> bool {
    let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
    text.starts_with(b"{") || text.starts_with(b"[")
}

/// Takes every layer off. Each result holds at most `max_bytes`; afterwards the reservation counts the result alone.
pub(crate) fn unpack(
    mut body: Vec<u8>,
    mut hints: Hints,
    max_bytes: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Refused> {
    for _ in 0..MAX_LAYERS {
        if is_json(&body) {
            return Ok(body);
        }
        let mut grant = |bytes| reservation.grow(bytes);
        if gzip::is_gzip(&body) {
            body = gzip::inflate(&body, max_bytes, &mut grant)?;
        } else if hints.is_form || form::is_likely(&body) {
            grant(body.len()).map_err(Refused::Memory)?;
            let form = form::parse(&body);
            hints.is_form = false;
            hints.is_lz |= form.compression.as_deref().is_some_and(Hints::names_lz);
            body = form
                .data
                .ok_or(Refused::Invalid("form: it has no field named data"))?
                .into_owned()
                .into_bytes();
        } else if hints.is_lz {
            hints.is_lz = false;
            body = lz::expand(&body, max_bytes, &mut grant)?;
        } else if base64::is_likely(&body) {
            base64::decode(&mut body)?;
        } else {
            // The parser says what is wrong with it.
            return Ok(body);
        }
        reservation.shrink_to(body.capacity());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::budget::Denied;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::io::Write as _;

    const JSON: &str = r#"{"event":"a","distinct_id":"u"}"#;
    const BASE64: &str = "eyJldmVudCI6ImEiLCJkaXN0aW5jdF9pZCI6InUifQ==";
    const LZ: &str = "N4IgpgbmB2AuIC4QEMQBoQBMCWBnW20AxrAPraaIgCuIAvkA";
    const LZ_HINT: Hints = Hints { is_lz: true, is_form: false };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(body: Vec<u8>, hints: Hints) -> Result<Vec<u8>, Refused> {
        unpack(body, hints, 10_000, &mut Budget::new(1 << 20).open())
    }

    #[rstest]
    #[case::plain(JSON.into(), Hints::default())]
    #[case::wrongly_named(JSON.into(), Hints { is_lz: true, is_form: true })]
    #[case::gzip(gzip(JSON.as_bytes()), Hints::default())]
    #[case::gzip_twice(gzip(&gzip(JSON.as_bytes())), Hints::default())]
    #[case::base64(BASE64.into(), Hints::default())]
    #[case::form(format!("data={}", BASE64.replace('=', "%3D")).into(), Hints::default())]
    #[case::named_form(format!("ip=1&data={BASE64}").into(), Hints { is_lz: false, is_form: true })]
    #[case::lz(LZ.into(), LZ_HINT)]
    #[case::lz_in_a_form(format!("data={LZ}&compression=lz64").into(), Hints::default())]
    #[case::plain_in_a_form(b"data=%7B%22event%22%3A%22a%22%2C%22distinct_id%22%3A%22u%22%7D".to_vec(), Hints::default())]
    fn every_wrapping_is_taken_off(#[case] body: Vec<u8>, #[case] hints: Hints) {
        assert_eq!(String::from_utf8(unpacked(body, hints).unwrap()).unwrap(), JSON);
    }

    #[test]
    fn the_cap_holds_for_each_layer_and_within_the_budget() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(unpacked(bomb.clone(), Hints::default()), Err(Refused::TooLarge));
        let budget = Budget::new(50_000);
        let refused = unpack(bomb, Hints::default(), 1 << 20, &mut budget.open());
        assert_eq!(refused, Err(Refused::Memory(Denied::Never)));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_form_without_data_and_cut_gzip_are_invalid() {
        let form = Hints { is_form: true, is_lz: false };
        assert!(matches!(unpacked(b"a=1".to_vec(), form), Err(Refused::Invalid(_))));
        let cut = gzip(JSON.as_bytes())[..20].to_vec();
        assert_eq!(unpacked(cut, Hints::default()), Err(Refused::Invalid("gzip")));
    }

    proptest! {
        #[test]
        fn no_body_panics_and_the_result_is_what_is_counted(
            body in proptest::collection::vec(any::<u8>(), 0..300), is_lz: bool, is_form: bool,
        ) {
            let budget = Budget::new(1 << 20);
            let mut reservation = budget.open();
            reservation.grow(body.len()).unwrap();
            if let Ok(unpacked) = unpack(body, Hints { is_lz, is_form }, 5000, &mut reservation) {
                prop_assert!(unpacked.len() <= 5000 && reservation.held() >= unpacked.len());
            }
        }
    }
}
