//! The public endpoints: one handler per file, and what they share.

pub(crate) mod analytics;
pub(crate) mod batch;
pub(crate) mod capture;
pub(crate) mod config;
pub(crate) mod cors;
pub(crate) mod extract;
pub(crate) mod flags;
pub(crate) mod health;
pub(crate) mod limited;
mod prepare;
pub(crate) mod quiet;
mod receive;
pub(crate) mod rejection;
mod screen;
pub(crate) mod store;
