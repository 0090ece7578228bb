//! Inflates a gzip body against a hard cap on its output.
//!
//! All members are read (a body may be several gzip files one after another), and anything after them is an error.

use flate2::bufread::MultiGzDecoder;

use super::Refused;
use super::expand::Grant;
use super::expand::expand;

/// Deflate cannot pack better than this.
pub(super) const LARGEST_RATIO: usize = 1032;

/// Inflates `body` into at most `max_bytes`. `grant` is asked for each further piece of memory before it is used.
pub fn inflate(body: &[u8], max_bytes: usize, grant: &mut Grant<'_>) -> Result<Vec<u8>, Refused> {
    expand(MultiGzDecoder::new(body), expected(body), max_bytes, "gzip", grant)
}

/// Whether this is gzip, as its first bytes say.
pub(crate) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b])
}

/// Length of the output by the last member's own account, which may be false.
fn expected(body: &[u8]) -> usize {
    let Some(trailer) = body.last_chunk::<4>() else { return 0 };
    let claimed = usize::try_from(u32::from_le_bytes(*trailer)).unwrap_or(usize::MAX);
    claimed.min(body.len().saturating_mul(LARGEST_RATIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Denied;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(body: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refused> {
        inflate(body, max_bytes, &mut |_| Ok(()))
    }

    #[test]
    fn all_members_are_read() {
        let body = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflated(&body, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = gzip(&vec![0; 8 << 20]);
        let mut granted = 0;
        let outcome = inflate(&bomb, 1 << 20, &mut |bytes| {
            granted += bytes;
            Ok(())
        });
        assert_eq!(outcome, Err(Refused::TooLarge));
        assert!(granted <= (1 << 20) + 1, "{granted}");
    }

    #[test]
    fn junk_truncation_and_plain_bytes_are_invalid() {
        let good = gzip(b"payload");
        assert_eq!(inflated(&[&good[..], b"junk"].concat(), 100), Err(Refused::Invalid("gzip")));
        assert_eq!(inflated(&good[..good.len() - 3], 100), Err(Refused::Invalid("gzip")));
        assert_eq!(inflated(b"{}", 100), Err(Refused::Invalid("gzip")));
    }

    #[test]
    fn a_refused_grant_ends_it() {
        let denied = inflate(&gzip(b"x"), 100, &mut |_| Err(Denied::Full));
        assert_eq!(denied, Err(Refused::Memory(Denied::Full)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_length_survives(length in 0_usize..200_000) {
            let bytes: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
            prop_assert_eq!(inflated(&gzip(&bytes), 200_000).unwrap(), bytes);
        }
    }
}
