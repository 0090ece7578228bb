//! Each fault has its condition, its reason and a message that names the fix; old pods keep serving.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use weir_crds::{AnalyticsStack, ConditionType, Reason};

use super::Plan;
use crate::{
    kstatus::Judgement,
    stack::{Stack, judgement, summary},
    stage::{Stage, TEAM},
};

/// What a fault has to look like.
struct Expected {
    name: &'static str,
    condition: ConditionType,
    reason: Reason,
    /// Words of the message, which name the object and the fix.
    words: &'static [&'static str],
    judgement: Judgement,
}

const UNKNOWN_TAG: Expected = Expected {
    name: "unknown tag",
    condition: ConditionType::ImageResolved,
    reason: Reason::ImageNotFound,
    words: &["no-such-tag", "spec.ingest.image.reference"],
    judgement: Judgement::Failed,
};

const UNREACHABLE: Expected = Expected {
    name: "ClickHouse unreachable",
    condition: ConditionType::DependenciesReady,
    reason: Reason::ClickhouseUnreachable,
    words: &["clickhouse.test:9", "spec.clickhouse.endpoints"],
    judgement: Judgement::InProgress,
};

const LINK_LOCAL: Expected = Expected {
    name: "invalid spec (link-local endpoint)",
    condition: ConditionType::SpecValid,
    reason: Reason::InvalidSpec,
    words: &["169.254.169.254", "spec.clickhouse.endpoints"],
    judgement: Judgement::Failed,
};

const WRONG_PASSWORD: Expected = Expected {
    name: "wrong admin password",
    condition: ConditionType::DependenciesReady,
    reason: Reason::ClickhouseAuthenticationFailed,
    words: &["clickhouse-admin", "password"],
    judgement: Judgement::Failed,
};

const MISSING_SECRET: Expected = Expected {
    name: "missing Secret",
    condition: ConditionType::DependenciesReady,
    reason: Reason::SecretNotFound,
    words: &["clickhouse-admin"],
    judgement: Judgement::InProgress,
};

const FAILING_MIGRATION: Expected = Expected {
    name: "failing migration",
    condition: ConditionType::SchemaReady,
    reason: Reason::MigrationFailed,
    words: &["applied history must not be edited", "use the image that applied it"],
    judgement: Judgement::Failed,
};

const SEEN: Duration = Duration::from_secs(40);

pub(super) async fn run(stage: &Stage, _plan: Plan) -> anyhow::Result<String> {
    let stack = stage.make_stack("faulty")?;
    let good = stack.wait_current(Duration::from_mins(1)).await?;
    let mut seen = String::new();
    seen += &invalid_at_the_door(stage)?;
    let tag = json!({ "ingest": { "image": { "reference": "registry.test:5000/weir-ingest:no-such-tag" } } });
    seen += &by_patch(&stack, &good, tag, UNKNOWN_TAG).await?;
    let endpoint = |url: &str| json!({ "clickhouse": { "endpoints": [url] } });
    seen += &by_patch(&stack, &good, endpoint("https://clickhouse.test:9"), UNREACHABLE).await?;
    seen += &by_patch(&stack, &good, endpoint("http://169.254.169.254:8123"), LINK_LOCAL).await?;
    let wrong = || stage.write_admin_secret("not the password");
    seen += &by_secret(stage, &stack, WRONG_PASSWORD, wrong).await?;
    let delete = || stage.kubectl(&["delete", "secret", "clickhouse-admin", "-n", TEAM]).map(drop);
    seen += &by_secret(stage, &stack, MISSING_SECRET, delete).await?;
    seen += &failing_migration(stage, &stack, &good).await?;
    stack.delete(Duration::from_mins(1)).await?;
    Ok(format!("each seen, served through, and recovered from:\n{seen}"))
}

/// The API server itself refuses what the schema can know.
fn invalid_at_the_door(stage: &Stage) -> anyhow::Result<String> {
    let patch = r#"{"spec":{"clickhouse":{"endpoints":["clickhouse:8123"]}}}"#;
    let refused = stage.kubectl(&["patch", "astack", "faulty", "-n", TEAM, "--type=merge", "-p", patch]);
    let error = match refused {
        Ok(_) => anyhow::bail!("the API server took an endpoint without a scheme"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        error.contains("spec.clickhouse.endpoints: each must be http:// or https://"),
        "refused otherwise: {error}"
    );
    Ok("      invalid spec (schema): refused by the API server with the field and the form it needs\n".into())
}

/// Breaks the spec, expects the fault to be seen and served through, mends the spec and expects recovery.
async fn by_patch(
    stack: &Stack,
    good: &AnalyticsStack,
    spec: Value,
    expected: Expected,
) -> anyhow::Result<String> {
    stack.patch(json!({ "spec": spec })).await?;
    let line = see(stack, &expected).await;
    stack.patch(json!({ "spec": good.spec })).await?;
    let line = line?;
    stack.wait_current(Duration::from_secs(90)).await.with_context(|| format!("after {}", expected.name))?;
    Ok(line)
}

async fn see(stack: &Stack, expected: &Expected) -> anyhow::Result<String> {
    let seen = stack
        .wait_condition((expected.condition, "False", expected.reason), SEEN)
        .await
        .with_context(|| expected.name.to_owned())?;
    let status = seen.status.clone().unwrap_or_default();
    let find = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let message =
        find(expected.condition.as_str()).map(|condition| condition.message.clone()).unwrap_or_default();
    let hints: Vec<String> =
        status.blocked_by.iter().map(|wait| format!("{}: {}", wait.object, wait.hint)).collect();
    let text = format!("{message} {}", hints.join(" "));
    for word in expected.words {
        ensure!(text.contains(word), "{}: the message does not name `{word}`: {text}", expected.name);
    }
    ensure!(!status.blocked_by.is_empty(), "{}: status.blockedBy is empty", expected.name);
    ensure!(
        judgement(&seen) == expected.judgement,
        "{}: judged {:?}: {}",
        expected.name,
        judgement(&seen),
        summary(&seen)
    );
    super::sdk::send_one(stack, "through-fault")
        .await
        .with_context(|| format!("{}: old pods do not serve", expected.name))?;
    Ok(format!(
        "      {}: {}=False {}: {message}\n",
        expected.name,
        expected.condition.as_str(),
        expected.reason.as_str()
    ))
}

/// Breaks the administrator's Secret, expects the fault to be seen and served through, and mends the Secret.
async fn by_secret(
    stage: &Stage,
    stack: &Stack,
    expected: Expected,
    spoil: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    spoil()?;
    let line = see(stack, &expected).await;
    stage.write_admin_secret(stage.admin_password())?;
    let line = line?;
    stack.wait_current(Duration::from_mins(1)).await.with_context(|| format!("after {}", expected.name))?;
    Ok(line)
}

/// Edits the recorded history, so that the migrations of the next image refuse to run.
async fn failing_migration(stage: &Stage, stack: &Stack, good: &AnalyticsStack) -> anyhow::Result<String> {
    let ledger = format!("weir_{TEAM}__{}.schema_migrations", stack.name);
    stage.query(&format!("CREATE TABLE {ledger}_saved AS {ledger}")).await?;
    stage.query(&format!("INSERT INTO {ledger}_saved SELECT * FROM {ledger}")).await?;
    stage
        .query(&format!(
            "ALTER TABLE {ledger} UPDATE checksum = 'edited' WHERE 1 SETTINGS mutations_sync = 2"
        ))
        .await?;
    let next = format!("{}@{}", stage.images.next.repository, stage.images.next.digest);
    stack.patch(json!({ "spec": { "ingest": { "image": { "reference": next } } } })).await?;
    let line = see(stack, &FAILING_MIGRATION).await;
    stage.query(&format!("TRUNCATE TABLE {ledger}")).await?;
    stage.query(&format!("INSERT INTO {ledger} SELECT * FROM {ledger}_saved")).await?;
    stage.query(&format!("DROP TABLE {ledger}_saved")).await?;
    stack.patch(json!({ "spec": good.spec })).await?;
    let line = line?;
    stack.wait_current(Duration::from_secs(90)).await.context("after the first image was asked for again")?;
    Ok(line)
}
