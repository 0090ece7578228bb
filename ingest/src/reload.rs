//! What has become of the looks at one mounted file or folder: for the generation report. Pure.

use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Serialize;

/// Shared by the one who looks and those who report.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<Reload>);

/// What has become of the looks so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// Times that changed content was taken since the start.
    pub count: u64,
    /// Class of the fault for which the newest content is not used; `null` when it is.
    pub error: Option<&'static str>,
}

impl Reloads {
    /// Changed content is in use.
    pub fn taken(&self) {
        self.change(|reload| *reload = Reload { count: reload.count + 1, error: None });
    }

    /// The content is what it was.
    pub fn unchanged(&self) {
        self.change(|reload| reload.error = None);
    }

    /// The content cannot be used.
    pub fn failed(&self, class: &'static str) {
        self.change(|reload| reload.error = Some(class));
    }

    /// What has become of the looks so far.
    pub fn report(&self) -> Reload {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Reload)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_reported_until_the_content_can_be_used_again() {
        let reloads = Reloads::default();
        reloads.taken();
        reloads.failed("shape");
        assert_eq!(reloads.report(), Reload { count: 1, error: Some("shape") });
        reloads.unchanged();
        assert_eq!(reloads.report(), Reload { count: 1, error: None });
    }
}
