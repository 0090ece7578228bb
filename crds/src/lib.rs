//! The API of Weir as Rust types: group `weir.dev`, version `v1alpha1`.
//!
//! Types only, no client. The CRD manifests beside this crate's `Cargo.toml` are generated from
//! them by the `crdgen` binary, and a test fails when they are stale.
//!
//! Stability: `v1alpha1` may still change between minor versions; the chart's changelog names
//! each change. A field is never given a second meaning.

#![expect(unreachable_pub, reason = "the KubeSchema derive repeats each type inside a private block")]

mod manifest;
pub mod v1alpha1;

pub use manifest::{analytics_stack_crd, manifests};
pub use v1alpha1::*;
