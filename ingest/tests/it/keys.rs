//! Key files and the admin port.

use std::path::PathBuf;

use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use crate::service::eventually;
use crate::service::settings;
use crate::service::start_with;

const ONE: &str = r#"{"api_key":"rotated-key","batch":[{"event":"a","distinct_id":"u1"}]}"#;

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("weir-it-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    Folder(path)
}

/// A key as the keys file names it.
pub(crate) fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn keys(generation: u64, key: &str) -> String {
    let sha256 = hash(key);
    let key = json!({"name": "web", "generation": generation, "sha256": sha256, "scopes": ["capture"], "origins": []});
    json!({"generation": generation, "keys": [key]}).to_string()
}

#[tokio::test]
async fn a_changed_keys_file_counts_without_a_restart_and_a_broken_one_changes_nothing() {
    let folder = folder("keys");
    let file = folder.0.join("keys.json");
    std::fs::write(&file, keys(1, "old-key")).unwrap();
    let mut args = settings();
    args.keys_file = Some(file.display().to_string());
    let service = start_with(args).await;
    assert_eq!(service.post(ONE, &[]).await.status, 401);
    std::fs::write(&file, keys(2, "rotated-key")).unwrap();
    eventually(async || service.post(ONE, &[]).await.status == 200).await;
    assert_eq!(service.admin("/generation").await.body["keys"], 2);
    assert_eq!(service.value("SELECT any(api_key) FROM events").await, "web");
    std::fs::write(&file, "{ broken").unwrap();
    eventually(async || {
        let metrics = service.admin("/metrics").await.body.to_string();
        metrics.contains("weir_ingest_keys_file_bad 1")
    })
    .await;
    assert_eq!(service.post(ONE, &[]).await.status, 200);
    service.clean().await;
}

#[tokio::test]
async fn the_admin_port_reports_life_readiness_and_generations() {
    let service = start_with(settings()).await;
    assert_eq!(service.admin("/livez").await.status, 200);
    service.ready().await;
    let generation = service.admin("/generation").await.body;
    assert_eq!(generation["keys"], 0);
    assert!(generation["clickhouseUser"].is_string());
    assert!(generation["schema"]["minimum"].as_u64() <= generation["schema"]["maximum"].as_u64());
    service.clean().await;
}
