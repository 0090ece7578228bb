//! Content codings of the v1 endpoint, each against a cap on its output and on what it needs beside it.
//!
//! Decoders in Rust alone: they are read-only, come without a C build, and no client sends enough of either to matter.

use flate2::bufread::DeflateDecoder;
use flate2::bufread::ZlibDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::Refused;
use super::expand::Grant;
use super::expand::expand;
use super::gzip;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Largest window of zstd: what its specification asks every decoder for.
const ZSTD_WINDOW: usize = 8 << 20;
/// Tables and input of a decoder, beside its window.
const TABLES: usize = 512 * 1024;
const BROTLI_INPUT: usize = 16 * 1024;

impl Codec {
    /// The coding of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        Some(match &*name {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// Expands `body` into at most `max_bytes`. `grant` is asked for memory before it is used, windows included.
    pub(crate) fn expand(
        self,
        body: Vec<u8>,
        max_bytes: usize,
        grant: &mut Grant<'_>,
    ) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => gzip::inflate(&body, max_bytes, grant),
            Self::Deflate if is_zlib(&body) => {
                expand(ZlibDecoder::new(&*body), expected(&body), max_bytes, "deflate", grant)
            }
            Self::Deflate => {
                expand(DeflateDecoder::new(&*body), expected(&body), max_bytes, "deflate", grant)
            }
            Self::Brotli => {
                let window = brotli_window(&body).ok_or(Refused::Invalid("brotli"))?;
                grant(window + TABLES).map_err(Refused::Memory)?;
                let decoder = brotli_decompressor::Decompressor::new(&*body, BROTLI_INPUT);
                expand(decoder, expected(&body), max_bytes, "brotli", grant)
            }
            Self::Zstd => {
                grant(ZSTD_WINDOW + TABLES).map_err(Refused::Memory)?;
                let decoder = StreamingDecoder::new_with_max_window_size(&*body, ZSTD_WINDOW as u64)
                    .map_err(|_| Refused::Invalid("zstd"))?;
                expand(decoder, expected(&body), max_bytes, "zstd", grant)
            }
        }
    }
}

/// Address space for the output: text packs ten times at most, and more grows.
fn expected(body: &[u8]) -> usize {
    body.len().saturating_mul(10)
}

/// Whether the two bytes in front are those of zlib; clients call bare deflate by the same name.
fn is_zlib(body: &[u8]) -> bool {
    body.first_chunk().is_some_and(|head| head[0] & 0x0f == 8 && u16::from_be_bytes(*head) % 31 == 0)
}

/// Bytes of the window that a brotli stream asks for; the extension to large windows is refused.
fn brotli_window(body: &[u8]) -> Option<usize> {
    let head = *body.first()?;
    let bits = match (head & 1, head >> 1 & 7, head >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, 1) => return None,
        (_, 0, less) => 8 + less,
        (_, more, _) => 17 + more,
    };
    Some(1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::io::Write as _;

    const TEXT: &str = "weir weir weir weir";
    // Made with node 20's zlib and the zstd program.
    const BROTLI: &str = "1b1200f88d946edeb40429bbab34b950270ae004";
    const ZSTD: &str = "28b52ffd24135d00002877656972200100908b16c3d04f10";

    fn zlib() -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn bare() -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[rstest]
    #[case("identity", TEXT.into())]
    #[case("deflate", zlib())]
    #[case("DEFLATE", bare())]
    #[case("br", hex::decode(BROTLI).unwrap())]
    #[case("zstd", hex::decode(ZSTD).unwrap())]
    fn each_coding_is_read_and_capped(#[case] name: &str, #[case] body: Vec<u8>) {
        let codec = Codec::named(name).unwrap();
        assert_eq!(codec.expand(body.clone(), 100, &mut |_| Ok(())).unwrap(), TEXT.as_bytes());
        if codec != Codec::Identity {
            assert_eq!(codec.expand(body.clone(), 10, &mut |_| Ok(())), Err(Refused::TooLarge));
            let cut = body[..body.len() - 6].to_vec();
            assert!(codec.expand(cut, 100, &mut |_| Ok(())).is_err());
        }
    }

    #[rstest]
    #[case("br", "9bffff3ff82540e2b14020f7fe07")]
    #[case(
        "zstd",
        "28b52ffd00585400001020200100fbff39c00202001020020010200200102002001020020010200200102003001020"
    )]
    fn a_bomb_stops_at_the_cap(#[case] name: &str, #[case] bomb: &str) {
        let mut granted = 0;
        let outcome = Codec::named(name).unwrap().expand(hex::decode(bomb).unwrap(), 100_000, &mut |bytes| {
            granted += bytes;
            Ok(())
        });
        assert_eq!(outcome, Err(Refused::TooLarge));
        assert!(granted <= 100_001 + (16 << 20) + TABLES, "{granted}");
    }

    #[test]
    fn unknown_codings_and_large_windows_are_refused() {
        assert_eq!(Codec::named("gzip, gzip"), None);
        assert_eq!(Codec::named("compress"), None);
        assert_eq!(brotli_window(&[0x11, 0, 0]), None);
        assert_eq!(brotli_window(&[0x0b]), Some(1 << 22));
    }

    proptest! {
        #[test]
        fn no_body_panics_or_passes_the_cap(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for codec in [Codec::Gzip, Codec::Deflate, Codec::Brotli, Codec::Zstd] {
                if let Ok(output) = codec.expand(body.clone(), 1000, &mut |_| Ok(())) {
                    prop_assert!(output.len() <= 1000);
                }
            }
        }

        #[test]
        fn no_damaged_body_panics(at in 0_usize..20, byte: u8) {
            for (codec, hexed) in [(Codec::Brotli, BROTLI), (Codec::Zstd, ZSTD)] {
                let mut body = hex::decode(hexed).unwrap();
                let at = at % body.len();
                body[at] = byte;
                drop(codec.expand(body, 1000, &mut |_| Ok(())));
            }
        }
    }
}
