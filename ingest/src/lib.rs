//! Ingest service for product analytics on ClickHouse.
//!
//! The path of an event:
//!
//! ```text
//! request ─limits─► bytes ─decode─► RawEvent ─authenticate─► Project ─normalize─► Row | Dropped
//! response ◄─ack─ per-event outcome ◄─resolve─ Sink::insert(Batch) ◄─full | due | draining─ buffer ◄─push (Ack)─┘
//! ```
//!
//! Invariants:
//! - A request is answered 200 only after ClickHouse has confirmed the insert of its rows.
//! - A storage fault is never answered with 4xx, and its text never reaches a client.
//! - Nothing here knows of Kubernetes; the contract with the operator is the environment and mounted files.
//! - Every byte held for an unanswered request is counted against one budget.

#![forbid(unsafe_code)]

pub mod args;
pub mod settings;

pub mod decode;
pub mod event;
pub mod identity;
pub mod normalize;
pub mod policy;

pub mod batch;
pub mod budget;
pub mod encode;
pub mod pieces;
pub mod retry;
pub mod table;

pub mod ack;
pub mod admission;
pub mod authenticate;
pub mod buffer;
pub mod dead_letter;
pub mod keys;
pub mod reload;
pub mod sink;
pub mod spool;

pub mod clickhouse;
pub mod migrate;
pub mod schema;

mod api;
mod router;
mod state;

mod admin;
pub mod check;
pub mod metrics;
pub mod readiness;
pub mod run;
mod server;
pub mod service;
pub mod telemetry;
