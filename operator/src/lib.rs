//! The operator of Weir: it keeps every `AnalyticsStack` true.
//!
//! One reconcile is six steps, each in a file of its own:
//!
//! ```text
//! AnalyticsStack ─observe─► Observed ─validate─► Stack ─desired─► Desired ─plan─► Plan ─apply─► Applied ─┐
//!       └──────────────── what any step could not do ───────► status ◄───────────────────────────────────┘
//!                                                                └─report─► status patch, events, requeue
//! ```
//!
//! Invariants:
//! - After `observe` nobody reads the cluster, ClickHouse or the registry; before `apply` nobody writes.
//! - `validate`, `desired`, `plan` and `status` are pure: time is an argument, and randomness is an action.
//! - A wait is a step of the plan with an object, a reason and a hint, never a sleep and never an error.
//! - A value that somebody could log in with is written ahead into a Secret before anything accepts it.
//! - A settled stack causes no write, neither to Kubernetes nor to ClickHouse.
//! - What a serving pod still needs is taken only after the pods that replace it are proven.

#![forbid(unsafe_code)]

pub mod args;
pub mod render;
pub mod run;

mod access;
mod admin;
mod clickhouse;
mod controller;
mod dialer;
mod image;
mod kubernetes;
mod lease;
mod metrics;
mod names;
mod quote;
mod telemetry;
mod tls;
