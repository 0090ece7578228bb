//! The ClickHouse development server: the real engine as a child process, and a proxy in front of it that keeps users.
//!
//! ```text
//! client ─http/https─► listen ─► proxy ─gate─► engine (child process, restarted by the supervisor)
//!                                  │ 514/495 = "I have nowhere to keep this"          ▲
//!                                  └──────────► access ─► book ─► users.xml ──────────┘
//! ```
//! The engine judges syntax, rights, logins, grants, settings, rows and quotas. Only the storage of access is ours: a change
//! is recorded, and becomes true with a restart that no client notices. Statements that cannot be kept are refused
//! (code 48), never accepted silently. Where the result differs from ClickHouse is listed in `tests/clickhouse_access.rs`.

mod access;
mod body;
mod book;
mod child;
mod command;
mod config;
mod control;
mod core;
mod credential;
mod engine;
mod fault;
mod gate;
mod limits;
mod listen;
mod log_tables;
mod options;
mod proxy;
mod reply;
mod server;
mod statement;
mod store;
mod supervisor;
mod tls;
mod upstream;

pub use command::{Args, run};
pub use fault::{Effect, Fault};
pub use options::{Certificate, Https, Options};
pub use server::Server;

/// Says something on standard error, where the person who runs the server looks.
fn say(text: std::fmt::Arguments<'_>) {
    eprintln!("clickhouse: {text}");
}
