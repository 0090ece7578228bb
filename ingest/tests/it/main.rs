//! The service in process against a real ClickHouse.
//!
//! `WEIR_TEST_CLICKHOUSE_URL` (and `_USER`, `_PASSWORD`) must name one: `cargo verify` starts it. Each test has a
//! database of its own.
//!
//! The modules say `cfg(test)` so that the lints know them as tests.

#[cfg(test)]
mod admission_cost;
#[cfg(test)]
mod admission_keys;
#[cfg(test)]
mod admission_policy;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod cable;
#[cfg(test)]
mod dead_letter;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod failure_storage;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod migrate;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod operations_check;
#[cfg(test)]
mod operations_connections;
#[cfg(test)]
mod operations_log;
mod posthog_analytics;
#[cfg(test)]
mod posthog_browser;
#[cfg(test)]
mod posthog_capture;
#[cfg(test)]
mod posthog_hostile;
#[cfg(test)]
mod service;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod spool;
#[cfg(test)]
mod tidy;
