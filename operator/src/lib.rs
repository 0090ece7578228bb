//! Skeleton of the operator: the modules in reading order.

pub mod args;
pub mod run;

mod access;
mod admin;
mod clickhouse;
mod controller;
mod image;
mod kubernetes;
mod lease;
mod metrics;
mod names;
mod quote;
mod telemetry;
