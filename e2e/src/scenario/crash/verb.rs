//! What is asked of the operator while it is killed, and when it is done.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use weir_crds::{AnalyticsStack, CredentialStatus, CredentialStep};

use crate::{
    kstatus::Judgement,
    stack::{Stack, judgement},
};

/// How long the operator may take, a restart included.
const DEADLINE: Duration = Duration::from_mins(3);

/// Something that a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Delete,
    /// More keys, readers, rights and rows, and a quota.
    Extend,
    /// Back to fewer.
    Reduce,
    Rotate,
    Revoke,
}

/// Published credentials that somebody relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeps {
    Nothing,
    Logins,
    Everything,
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Extend => "extend",
            Self::Reduce => "reduce",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
        })
    }
}

impl Verb {
    /// What must let its holder in at every moment of it.
    pub(super) fn keeps(self) -> Keeps {
        match self {
            Self::Delete | Self::Revoke => Keeps::Nothing,
            // A key is published before there are pods that could refuse it.
            Self::Create => Keeps::Logins,
            Self::Extend | Self::Reduce | Self::Rotate => Keeps::Everything,
        }
    }

    /// Asks for it; `turn` tells one request from the next.
    pub(super) async fn ask(self, stack: &Stack, turn: usize) -> anyhow::Result<()> {
        match self {
            // Applied by whoever knows the whole manifest.
            Self::Create => Ok(()),
            Self::Delete => {
                stack.api().delete(&stack.name, &DeleteParams::default()).await?;
                Ok(())
            }
            Self::Extend => stack.patch(json!({ "spec": extended() })).await,
            Self::Reduce => stack.patch(json!({ "spec": reduced() })).await,
            Self::Rotate => annotate(stack, "weir.dev/rotate", &request(turn)).await,
            Self::Revoke => annotate(stack, "weir.dev/revoke", &request(turn)).await,
        }
    }

    /// Waits until the operator says that it is done.
    pub(super) async fn wait(self, stack: &Stack, turn: usize) -> anyhow::Result<()> {
        match self {
            Self::Delete => wait_gone(stack).await,
            Self::Create | Self::Extend | Self::Reduce => stack.wait_current(DEADLINE).await.map(drop),
            Self::Rotate | Self::Revoke => {
                let request = request(turn);
                stack
                    .wait("through with it", DEADLINE, |stack| self.has_turned(stack, &request))
                    .await
                    .map(drop)
            }
        }
    }

    fn has_turned(self, stack: &AnalyticsStack, request: &str) -> bool {
        let Some(status) = &stack.status else { return false };
        let handled = match self {
            Self::Revoke => &status.last_handled_revoke,
            _ => &status.last_handled_rotate,
        };
        let is_done = |credential: &CredentialStatus| credential.step == Some(CredentialStep::Current);
        handled.as_deref() == Some(request)
            && judgement(stack) == Judgement::Current
            && status.keys.iter().chain(&status.users).all(is_done)
            && status.blocked_by.is_empty()
    }
}

/// Keys and readers of a stack with fewer of them.
pub(super) fn reduced() -> Value {
    let tables = json!([{ "name": "events", "columns": ["uuid", "event"], "rows": "event = 'purchase'" }]);
    json!({ "keys": [key("web")], "users": [reader("bi", &tables)] })
}

fn extended() -> Value {
    let tables = json!([{ "name": "events", "columns": ["uuid", "event", "timestamp"], "rows": "event != 'internal'" }, { "name": "persons" }]);
    let mut audit = reader("audit", &json!([{ "name": "sessions", "rows": "duration_seconds > 0" }]));
    audit["quota"] = json!([{ "interval": "1h", "queries": 1_000_000 }]);
    json!({ "keys": [key("web"), key("mobile")], "users": [reader("bi", &tables), audit] })
}

fn key(name: &str) -> Value {
    json!({ "name": name, "rotation": rotation() })
}

fn reader(name: &str, tables: &Value) -> Value {
    json!({ "name": name, "profile": "Custom", "tables": tables, "rotation": rotation() })
}

/// An overlap of seconds, so that a rotation ends while somebody waits.
pub(super) fn rotation() -> Value {
    json!({ "overlap": "2s", "quietPeriod": "1s", "cap": "120s" })
}

fn request(turn: usize) -> String {
    format!("key/web,user/bi=turn-{turn}")
}

async fn annotate(stack: &Stack, key: &str, value: &str) -> anyhow::Result<()> {
    stack.patch(json!({ "metadata": { "annotations": { key: value } } })).await
}

async fn wait_gone(stack: &Stack) -> anyhow::Result<()> {
    let gone = async {
        while stack.api().get_opt(&stack.name).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(DEADLINE, gone).await.with_context(|| format!("{} still exists", stack.name))?
}
