//! The metrics of a running service, read as a scraper reads them.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// Answers of the public port by status.
pub(super) async fn answers(admin_url: &str) -> anyhow::Result<BTreeMap<u16, u64>> {
    let text = metrics(admin_url).await?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("weir_ingest_requests_total{"));
    lines.map(|line| parse(line).with_context(|| format!("no count by status: {line}"))).collect()
}

fn parse(line: &str) -> Option<(u16, u64)> {
    let (labels, count) = line.split_once("} ")?;
    let status = labels.split(',').find_map(|label| label.strip_prefix("status=\""))?;
    Some((status.trim_end_matches('"').parse().ok()?, count.trim().parse().ok()?))
}

/// Everything that the service tells.
pub(super) async fn metrics(admin_url: &str) -> anyhow::Result<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(format!("{admin_url}/metrics").parse()?).await.context("no metrics")?;
    ensure!(response.status().is_success(), "metrics are answered with {}", response.status());
    Ok(String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_by_status_is_read_whatever_other_labels_it_has() {
        assert_eq!(parse("status=\"200\"} 7"), Some((200, 7)));
        assert_eq!(parse("path=\"/e/\",status=\"503\"} 1"), Some((503, 1)));
    }
}
