//! Bytes in pieces: gathered without copying what is large, and cut out by range. Pure.
//!
//! The rows of a request become a piece of a block as they are; only small ones are copied together, so that a block of
//! ten thousand tiny requests is not ten thousand writes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// From this size on, bytes stay a piece of their own.
const OWN_PIECE: usize = 16 * 1024;

/// Small ones are copied together up to this size.
const JOINED_PIECE: usize = 64 * 1024;

/// Bytes that are being gathered.
#[derive(Debug, Default)]
pub struct Rope {
    pieces: Vec<Bytes>,
    joined: Vec<u8>,
    len: usize,
}

/// Bytes that are complete; clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    pieces: Arc<[Bytes]>,
    len: usize,
}

impl Rope {
    /// Appends bytes.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.len += bytes.len();
        let is_large = bytes.len() >= OWN_PIECE;
        if is_large || self.joined.len() + bytes.len() > JOINED_PIECE {
            self.seal();
        }
        if is_large {
            self.pieces.push(Bytes::from(bytes));
        } else {
            self.joined.extend_from_slice(&bytes);
        }
    }

    /// Bytes gathered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the gathering.
    pub fn finish(mut self) -> Pieces {
        self.seal();
        Pieces { pieces: self.pieces.into(), len: self.len }
    }

    /// Makes a piece of the small ones, without the memory that was kept for more of them.
    fn seal(&mut self) {
        if !self.joined.is_empty() {
            let mut joined = std::mem::take(&mut self.joined);
            joined.shrink_to_fit();
            self.pieces.push(Bytes::from(joined));
        }
    }
}

impl Pieces {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order; none is empty.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// The piece at a position.
    pub fn piece(&self, index: usize) -> Option<&Bytes> {
        self.pieces.get(index)
    }

    /// A part of the bytes; shares their memory.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        if range == (0..self.len) {
            return self.clone();
        }
        let mut start = 0;
        let mut pieces = Vec::new();
        for piece in self.pieces.iter() {
            let from = range.start.clamp(start, start + piece.len()) - start;
            let to = range.end.clamp(start, start + piece.len()) - start;
            if from < to {
                pieces.push(piece.slice(from..to));
            }
            start += piece.len();
        }
        Self { pieces: pieces.into(), len: range.len() }
    }

    /// All bytes in one.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        all
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len();
        let pieces: Arc<[Bytes]> = if len == 0 { Arc::default() } else { Arc::new([bytes]) };
        Self { pieces, len }
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_large_is_not_copied_and_what_is_small_is_joined() {
        let large = vec![1; OWN_PIECE];
        let address = large.as_ptr();
        let mut rope = Rope::default();
        for bytes in [vec![2; 10], vec![3; 10], large, vec![4; 10]] {
            rope.push(bytes);
        }
        let pieces = rope.finish();
        let lengths: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [20, OWN_PIECE, 10]);
        assert_eq!(pieces.piece(1).unwrap().as_ptr(), address);
    }

    proptest! {
        #[test]
        fn a_part_of_the_pieces_is_that_part_of_the_bytes(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, OWN_PIECE - 1..OWN_PIECE + 2], 0..12),
            cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let mut rope = Rope::default();
            let mut whole = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let bytes: Vec<u8> = (0..*size).map(|at| (at + number).to_le_bytes()[0]).collect();
                whole.extend_from_slice(&bytes);
                rope.push(bytes);
            }
            prop_assert_eq!(rope.len(), whole.len());
            let pieces = rope.finish();
            prop_assert_eq!(pieces.to_vec(), whole.clone());
            let (one, other) = (cut.0.index(whole.len() + 1), cut.1.index(whole.len() + 1));
            let range = one.min(other)..one.max(other);
            let part = pieces.slice(range.clone());
            prop_assert_eq!(part.len(), range.len());
            prop_assert!(part.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(part.to_vec(), &whole[range]);
        }
    }
}
