//! Inflates a gzip body against a hard cap on its output.
//!
//! All members are read (a body may be several gzip files one after another), and anything after them is an error.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;

/// Why a body was not inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is broken, cut short or followed by something else.
    #[error("the body is not valid gzip")]
    Invalid,
    /// The output would be longer than the cap.
    #[error("the inflated body is too large")]
    TooLarge,
    /// The caller has no memory for more output now.
    #[error("no memory for the inflated body")]
    NoMemory,
}

/// The first piece of output; later ones double it.
const FIRST_STEP: usize = 64 * 1024;

/// Deflate cannot pack better than this.
const LARGEST_RATIO: usize = 1032;

/// Inflates `body` into at most `max_bytes`. `grant` is asked for each further piece of memory before it is used.
pub fn inflate(
    body: &[u8],
    max_bytes: usize,
    mut grant: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, Refused> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut output = Vec::with_capacity(expected(body, max_bytes));
    let mut filled = 0;
    loop {
        if filled == output.len() {
            if filled > max_bytes {
                return Err(Refused::TooLarge);
            }
            // One byte more than the cap, so that a body of exactly the cap is told from a longer one.
            let step = filled.max(FIRST_STEP).min(max_bytes + 1 - filled);
            let room = output.capacity() - filled;
            let step = if room > 0 { step.min(room) } else { step };
            if !grant(step) {
                return Err(Refused::NoMemory);
            }
            output.reserve_exact(step);
            output.resize(filled + step, 0);
        }
        match decoder.read(&mut output[filled..]) {
            Ok(0) => {
                output.truncate(filled);
                return Ok(output);
            }
            Ok(read) => filled += read,
            Err(_) => return Err(Refused::Invalid),
        }
    }
}

/// Length of the output by the last member's own account, which may be false: only address space depends on it, since
/// memory is taken as it is filled. Growing step by step would hold old and new copies at once.
fn expected(body: &[u8], max_bytes: usize) -> usize {
    let Some(trailer) = body.last_chunk::<4>() else { return 0 };
    let claimed = usize::try_from(u32::from_le_bytes(*trailer)).unwrap_or(usize::MAX);
    // One byte more, so that the end of the stream is found without growing.
    claimed.saturating_add(1).min(max_bytes + 1).min(body.len().saturating_mul(LARGEST_RATIO))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        inflate(body, max_bytes, |_| true)
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
        let outcome = inflate(&bomb, 1 << 20, |bytes| {
            granted += bytes;
            true
        });
        assert_eq!(outcome, Err(Refused::TooLarge));
        assert!(granted <= (1 << 20) + 1, "{granted}");
    }

    #[test]
    fn junk_truncation_and_plain_bytes_are_invalid() {
        let good = gzip(b"payload");
        assert_eq!(inflated(&[&good[..], b"junk"].concat(), 100), Err(Refused::Invalid));
        assert_eq!(inflated(&good[..good.len() - 3], 100), Err(Refused::Invalid));
        assert_eq!(inflated(b"{}", 100), Err(Refused::Invalid));
    }

    #[test]
    fn a_refused_grant_ends_it() {
        assert_eq!(inflate(&gzip(b"x"), 100, |_| false), Err(Refused::NoMemory));
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
