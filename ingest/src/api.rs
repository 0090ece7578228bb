//! The public endpoints: one handler per file, and what they share.

pub(crate) mod batch;
pub(crate) mod cors;
pub(crate) mod extract;
pub(crate) mod health;
pub(crate) mod limited;
mod prepare;
pub(crate) mod rejection;
mod screen;
