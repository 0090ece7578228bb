//! What clients send with good and with wrong keys and passwords, and what they are answered.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use super::{outputs::Output, secrets::Secrets};
use crate::{stack::Stack, stage::Stage};

/// Sends an event with the key and asks ClickHouse with the login that are published under these names.
pub(super) async fn succeed(stage: &Stage, stack: &Stack, (key, user): (&str, &str)) -> anyhow::Result<()> {
    let key = stack.secret(&format!("canary-key-{key}")).await?;
    let login = stack.secret(&format!("canary-user-{user}")).await?;
    let (sent, _) = post(stack, "/batch/", None, &event(&key["key"])).await?;
    ensure!(sent == 200, "a new key is answered with {sent}");
    stage.query_as(&login["username"], &login["password"], "SELECT 1").await.map(drop)
}

/// Uses wrong keys and passwords wherever they fit; returns the answers.
pub(super) async fn misuse(stage: &Stage, stack: &Stack, secrets: &Secrets) -> anyhow::Result<Vec<Output>> {
    let mut answers = send_wrong_keys(stack, secrets).await?;
    let user = stack.secret("canary-user-r0").await?["username"].clone();
    for number in 1..=3 {
        let password = secrets.invent("wrong password");
        let answer = stage.query_as(&user, &password, "SELECT 1").await;
        let error = answer.err().context("a wrong password is let in")?;
        answers.push(Output { name: format!("answer {number} of ClickHouse"), text: format!("{error:#}") });
    }
    Ok(answers)
}

async fn send_wrong_keys(stack: &Stack, secrets: &Secrets) -> anyhow::Result<Vec<Output>> {
    let wrong = || secrets.invent("wrong key");
    let bearer = format!("Bearer {}", wrong());
    let mut answers = vec![
        post(stack, "/batch/", None, &event(&wrong())).await?,
        post(stack, "/batch/", Some(("authorization", &bearer)), &event(&wrong())).await?,
        post(stack, "/batch/", Some(("x-api-key", &wrong())), &json!({ "batch": [] })).await?,
        post(stack, "/capture/", None, &event(&wrong())).await?,
    ];
    for path in ["/batch/", "/e/", "/decide/", "/flags/"] {
        let url = format!("{path}?token={key}&api_key={key}", key = wrong());
        answers.push(post(stack, &url, None, &json!({ "batch": [] })).await?);
    }
    let url = format!("/array/{}/config.js", wrong());
    answers.push(post(stack, &url, None, &Value::Null).await?);
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    ensure!(statuses.iter().all(|status| *status < 500), "answered {statuses:?}");
    // Not named after the paths: some hold a key.
    let numbered = (1..).zip(answers);
    Ok(numbered
        .map(|(number, (_, text))| Output { name: format!("answer {number} of ingest"), text })
        .collect())
}

/// An event as PostHog's SDKs send it, the key among its properties as well.
fn event(key: &str) -> Value {
    json!({ "api_key": key, "batch": [{
        "event": "canary",
        "distinct_id": "somebody",
        "properties": { "token": key, "$lib": "canary" },
    }] })
}

/// Posts a body and returns the status of the answer, and the answer as text: status, headers and body.
async fn post(
    stack: &Stack,
    path: &str,
    header: Option<(&str, &str)>,
    body: &Value,
) -> anyhow::Result<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::post(format!("{}{path}", stack.service_url().await?))
        .header("content-type", "application/json");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let response = client.request(request.body(Full::new(Bytes::from(body.to_string())))?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("an answer was cut")?.to_bytes();
    let text = format!("{} {:?} {}", head.status, head.headers, String::from_utf8_lossy(&body));
    Ok((head.status.as_u16(), text))
}
