//! Small bodies that inflate to what no service may hold.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};

use super::lz_string;

/// What a bomb inflates to.
const BYTES: usize = 256 << 20;
const STEP: usize = 1 << 20;
/// 256 MiB of spaces by Brotli, for which this program needs no encoder.
const BROTLI: &str = "z///fwAkQOKxQHLv//n//w+ABEAcFoDu/T////8BkACIwwLQvf/n//8/ABIAcVgAuvf//P//B0ACIA4LQPf+n////w\
    BIAMRhAeje//P//x8ACYA4LADd+3/+//8DIAEQhwWge//P//9/ACQA4rAAdO//+f//D4AEQBwWgO79P////wGQAIjDAtC9/+f//z\
    8AEgBxWAC69//8//8HQAIgDgtA9/6f////AEgAxGEB6N7/8///HwAJgDgsAN37//z//wcgARCHBaB7/w8=";
/// Longest block of a Zstandard frame.
const ZSTD_BLOCK: usize = 128 << 10;

pub(super) fn gzip(bytes: usize) -> anyhow::Result<Vec<u8>> {
    gzip_of(&vec![b' '; bytes])
}

pub(super) fn largest_gzip() -> anyhow::Result<Bytes> {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    // Nobody who keeps a cap comes as far as the checksum.
    let trailer = [[0; 4], u32::try_from(BYTES)?.to_le_bytes()].concat();
    Ok([&header[..], &spaces()?, &trailer].concat().into())
}

/// A deflate stream, which takes its first MiB again and again: compressing all of it would take long.
fn spaces() -> anyhow::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(64 << 10);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![b' '; STEP], &mut block, FlushCompress::Full)?;
    let mut stream = block.repeat(BYTES / STEP);
    // An empty last block.
    stream.extend_from_slice(&[3, 0]);
    Ok(stream)
}

/// Many gzip files one after another, each harmless.
pub(super) fn gzip_members() -> anyhow::Result<Vec<u8>> {
    Ok(gzip(2 << 20)?.repeat(64))
}

pub(super) fn deflate() -> anyhow::Result<Vec<u8>> {
    Ok([&[0x78, 0xda][..], &spaces()?, &[0; 4]].concat())
}

pub(super) fn brotli() -> anyhow::Result<Vec<u8>> {
    Ok(STANDARD.decode(BROTLI)?)
}

/// A frame of blocks that each stand for one byte repeated.
pub(super) fn zstd() -> Vec<u8> {
    // Magic; no checksum, no dictionary, no content size; a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    let blocks = BYTES / ZSTD_BLOCK;
    for block in 1..=blocks {
        let is_last = usize::from(block == blocks);
        let header = (ZSTD_BLOCK << 3) | (1 << 1) | is_last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

/// A run of one character, which LZ-String packs by the square root of its length.
pub(super) fn lz64() -> String {
    lz_string::compress_run_to_base64(u16::from(b'a'), BYTES)
}

pub(super) fn gzip_of(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?)
}
