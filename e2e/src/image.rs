//! Builds the two images from static binaries, the same bytes every time, and pushes them.
//!
//! [`build_binaries`] needs the crate registry and runs outside of the sandbox; [`build()`] and [`build_and_push`] run inside.

mod binary;
mod build;

pub use self::{
    binary::{Binaries, build_binaries, build_ingest, built_binaries, built_ingest},
    build::{Built, Image, Pushed, build, build_and_push, push_built},
};
