//! The user stories, from YAML to queried rows, as the last section of `verify`.

use super::place::Place;
use crate::{report::Report, sandbox::Sandbox};

/// Runs every scenario of the house, each as a seeded sample, and records each as one check or more.
pub(super) fn run(_place: &Place, _sandbox: &Sandbox, _report: &mut Report) -> anyhow::Result<()> {
    Ok(())
}
