//! One budget of bytes for everything that is held for unanswered requests: bodies, inflated bodies, encoded rows.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// A number of bytes that reservations share.
#[derive(Debug)]
pub struct Budget {
    capacity: usize,
    used: AtomicUsize,
}

/// Why bytes were not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Others hold them; later they will be free.
    #[error("the buffer is full")]
    Full,
    /// One request asks for more than there is at all.
    #[error("the request needs more memory than the buffer has")]
    Never,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, used: AtomicUsize::new(0) })
    }

    /// Bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether nothing is left.
    pub fn is_exhausted(&self) -> bool {
        self.used() >= self.capacity
    }

    /// Starts an empty reservation.
    pub fn open(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), held: 0 }
    }
}

/// Bytes that one request holds; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    held: usize,
}

impl Reservation {
    /// Asks for more bytes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Denied> {
        if self.held.saturating_add(bytes) > self.budget.capacity {
            return Err(Denied::Never);
        }
        let capacity = self.budget.capacity;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= capacity);
        self.budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Denied::Full)?;
        self.held += bytes;
        Ok(())
    }

    /// Gives bytes back until this many are held.
    pub fn shrink_to(&mut self, bytes: usize) {
        if let Some(surplus) = self.held.checked_sub(bytes) {
            self.budget.used.fetch_sub(surplus, Ordering::Relaxed);
            self.held = bytes;
        }
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_the_capacity_and_give_it_back() {
        let budget = Budget::new(10);
        let mut one = budget.open();
        let mut other = budget.open();
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(other.grow(5), Err(Denied::Full));
        assert_eq!(other.grow(11), Err(Denied::Never));
        one.shrink_to(2);
        assert_eq!(other.grow(8), Ok(()));
        assert!(budget.is_exhausted());
        drop(one);
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
