//! Expands a packed body against a hard cap, with every piece of memory granted before it is used.

use std::io::Read;

use crate::budget::Denied;

/// Why a body was not unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bytes are broken, cut short or followed by something else.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    /// The output would be longer than the cap.
    #[error("the unpacked body is too large")]
    TooLarge,
    /// There is no memory for more output.
    #[error("no memory for the unpacked body")]
    Memory(Denied),
}

/// Says whether this many more bytes may be used.
pub(crate) type Grant<'g> = dyn FnMut(usize) -> Result<(), Denied> + 'g;

/// The first piece of output; later ones double it.
const FIRST_STEP: usize = 64 * 1024;

/// Reads all of `reader`, at most `max_bytes`. `expected` is how long it may be: address space, not memory, depends on
/// it. Growing step by step would hold old and new copies at once.
pub(super) fn expand(
    mut reader: impl Read,
    expected: usize,
    max_bytes: usize,
    packing: &'static str,
    grant: &mut Grant<'_>,
) -> Result<Vec<u8>, Refused> {
    // One byte more, so that the end of the stream is found without growing.
    let mut output = Vec::with_capacity(expected.min(max_bytes).saturating_add(1));
    let mut filled = 0;
    loop {
        if filled == output.len() {
            if filled > max_bytes {
                return Err(Refused::TooLarge);
            }
            // One byte more than the cap, so that a body of exactly the cap is told from a longer one.
            let step = filled.max(FIRST_STEP).min(max_bytes + 1 - filled);
            grant(step).map_err(Refused::Memory)?;
            if output.capacity() < filled + step {
                // More than was expected: once and for all, since only what is filled is memory.
                output.reserve_exact(max_bytes + 1 - filled);
            }
            output.resize(filled + step, 0);
        }
        match reader.read(&mut output[filled..]) {
            Ok(0) => {
                output.truncate(filled);
                output.shrink_to_fit();
                return Ok(output);
            }
            Ok(read) => filled += read,
            Err(_) => return Err(Refused::Invalid(packing)),
        }
    }
}
