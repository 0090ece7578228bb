//! `GET /health`: whether the process answers. It never touches ClickHouse; `/readyz` on the admin port knows more.

use axum::Json;
use serde::Serialize;

/// The body, as the contract has it.
#[derive(Serialize)]
pub(crate) struct Health {
    ok: bool,
}

/// Answers.
pub(crate) async fn health() -> Json<Health> {
    Json(Health { ok: true })
}
