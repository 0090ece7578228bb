//! A namespace with an operator of its own that can be killed without anybody else.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{
    call::{Call, Cut},
    gate::Gate,
    verb::{self, Keeps, Verb},
};
use crate::{
    load::Load,
    scenario::normal_form,
    stack::Stack,
    stage::{OperatorProcess, Stage},
    target::{RELEASE, SYSTEM},
};

/// Where ClickHouse listens without TLS, for the gate.
const CLICKHOUSE: &str = "http://192.168.77.1:8123";
/// Name of the stack that is extended, reduced, rotated and revoked.
const STANDING: &str = "standing";
/// How long the last traces of a change may take, after the operator called the stack Current.
const TRACES: Duration = Duration::from_mins(1);
/// How long the operator may take to the call at which it is to die, once all that a user waits for is done.
const LATE: Duration = Duration::from_secs(10);
/// How long a published credential may take to be known everywhere: the node learns of new endpoints after the operator.
const KNOWN: Duration = Duration::from_secs(10);

pub(super) struct Lane<'a> {
    stage: &'a Stage,
    namespace: String,
    gate: Gate,
    operator: OperatorProcess,
    /// Whether the stack that stays was made.
    is_standing: bool,
    /// Requests so far, for names that nobody had before.
    turn: usize,
}

impl<'a> Lane<'a> {
    /// Prepares the namespace and starts its operator.
    pub(super) async fn start(stage: &'a Stage, number: u16) -> anyhow::Result<Self> {
        let namespace = format!("crash-{number}");
        stage.target.prepare_namespace(&namespace)?;
        allow_lease(stage, &namespace)?;
        let ca_pem = stage.cluster.pki().ca_pem();
        let gate = Gate::open(&stage.cluster.server(), &ca_pem, CLICKHOUSE).await?;
        let port = (18_100 + number).to_string();
        let variables = [
            ("WEIR_WATCH_NAMESPACES", namespace.as_str()),
            ("WEIR_LEASE_NAMESPACE", namespace.as_str()),
            ("WEIR_ADMIN_PORT", port.as_str()),
        ];
        let operator = OperatorProcess::through(stage, &gate.kubernetes, &variables).await?;
        Ok(Self { stage, namespace, gate, operator, is_standing: false, turn: 0 })
    }

    /// Makes the standing stack where a verb needs it and it is not there: its tables lengthen every restart of the engine.
    pub(super) async fn prepare(&mut self, verb: Verb) -> anyhow::Result<()> {
        if verb != Verb::Create && !self.is_standing {
            self.gate.arm(None);
            let standing = self.apply(STANDING)?;
            Verb::Create.wait(&standing, 0).await.context("the standing stack")?;
            self.is_standing = true;
        }
        Ok(())
    }

    /// Lets the operator do it in peace; returns its calls that changed something, and the end state.
    pub(super) async fn undisturbed(&mut self, verb: Verb) -> anyhow::Result<(Vec<Call>, String)> {
        let stack = self.ask(verb, None).await?;
        verb.wait(&stack, self.turn).await?;
        // What comes last is not waited for by status.
        let end = settled(|| self.end(verb, &stack)).await?;
        self.drop_data(verb, &stack).await?;
        Ok((self.gate.calls(), end))
    }

    /// Kills the operator at a call of it, if it comes to that, and expects the same end state; returns whether it died.
    pub(super) async fn disturbed(
        &mut self,
        verb: Verb,
        cut: Option<&Cut>,
        expected: &str,
    ) -> anyhow::Result<bool> {
        let stack = self.ask(verb, cut).await?;
        let has_died = tokio::select! {
            () = self.gate.died() => true,
            done = verb.wait(&stack, self.turn) => {
                done?;
                // The last calls come behind what is waited for.
                cut.is_some() && tokio::time::timeout(LATE, self.gate.died()).await.is_ok()
            }
        };
        if has_died {
            self.operator.kill()?;
            self.check_published(&stack, verb.keeps()).await.context("while the operator is dead")?;
            self.gate.arm(None);
            self.operator.start_again(self.stage)?;
            verb.wait(&stack, self.turn).await?;
        }
        self.expect(verb, &stack, expected).await?;
        if verb != Verb::Delete {
            self.check_published(&stack, Keeps::Everything).await.context("at the end")?;
        }
        self.drop_data(verb, &stack).await?;
        Ok(has_died)
    }

    /// Takes away what a deletion keeps: the more tables there are, the longer every restart of the engine takes.
    async fn drop_data(&self, verb: Verb, stack: &Stack) -> anyhow::Result<()> {
        if verb == Verb::Delete {
            self.stage.query(&format!("DROP DATABASE {} SYNC", normal_form::database(stack))).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, verb: Verb, cut: Option<&Cut>) -> anyhow::Result<Stack> {
        if verb != Verb::Delete {
            self.turn += 1;
        }
        let name = match verb {
            Verb::Create | Verb::Delete => format!("made-{}", self.turn),
            _ => STANDING.to_owned(),
        };
        let stack = self.stack(&name);
        self.gate.arm(cut.cloned());
        if verb == Verb::Create {
            self.apply(&name)?;
        }
        verb.ask(&stack, self.turn).await?;
        Ok(stack)
    }

    fn stack(&self, name: &str) -> Stack {
        Stack::new(&self.stage.client, &self.namespace, name)
    }

    /// Applies the minimal example with one pod, through the gate.
    fn apply(&self, name: &str) -> anyhow::Result<Stack> {
        self.stage.make_stack_in(&self.namespace, name, |object| {
            let spec = &mut object["spec"];
            spec["clickhouse"] =
                json!({ "endpoints": [self.gate.clickhouse], "adminSecretRef": { "name": "clickhouse-admin" } });
            spec["ingest"]["replicas"] = json!(1);
            spec["policy"] = json!({ "rotation": verb::rotation() });
            let Value::Object(reduced) = verb::reduced() else { unreachable!("the manifest is an object") };
            for (section, value) in reduced {
                spec[section] = value;
            }
        })
    }

    async fn end(&self, verb: Verb, stack: &Stack) -> anyhow::Result<String> {
        let end = match verb {
            Verb::Delete => normal_form::render_deleted(self.stage, stack).await?,
            _ => normal_form::render(self.stage, stack).await?,
        };
        // Each lane has a port of its own.
        let port = self.gate.clickhouse.rsplit_once(':').map_or("", |(_, port)| port);
        Ok(end.replace(port, "PORT"))
    }

    async fn expect(&self, verb: Verb, stack: &Stack, expected: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let found = self.end(verb, stack).await?;
            if found == expected {
                return Ok(());
            }
            if started.elapsed() > TRACES {
                return normal_form::compare(expected, &found);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Whatever is published lets its holder in.
    async fn check_published(&self, stack: &Stack, keeps: Keeps) -> anyhow::Result<()> {
        let started = Instant::now();
        while let Err(error) = self.use_published(stack, keeps).await {
            ensure!(started.elapsed() < KNOWN, "a published credential is refused: {error:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn use_published(&self, stack: &Stack, keeps: Keeps) -> anyhow::Result<()> {
        let published = async |name: &str| {
            let secret = stack.secret(&format!("{}-{name}", stack.name)).await;
            // Missing while it is created: then there is nobody to lock out.
            if keeps == Keeps::Everything { secret.map(Some) } else { Ok(secret.ok()) }
        };
        if keeps >= Keeps::Logins
            && let Some(login) = published("user-bi").await?
        {
            self.stage.query_as(&login["username"], &login["password"], "SELECT 1").await?;
        }
        if keeps == Keeps::Everything
            && let Some(key) = published("key-web").await?
        {
            let load = Load {
                urls: vec![stack.service_url().await?],
                key: key["key"].clone(),
                event: "crash".into(),
                connections: 1,
                events_per_request: 1,
                pause: Duration::ZERO,
                attempts: 1,
            };
            load.sender().once().await?;
        }
        Ok(())
    }
}

/// Reads until two readings agree.
async fn settled<F>(mut read: impl FnMut() -> F) -> anyhow::Result<String>
where
    F: Future<Output = anyhow::Result<String>>,
{
    let mut last = read().await?;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let next = read().await?;
        if next == last {
            return Ok(last);
        }
        last = next;
    }
    anyhow::bail!("the stack never settles")
}

/// Lets the operator of a lane keep its Lease in the lane's namespace.
fn allow_lease(stage: &Stage, namespace: &str) -> anyhow::Result<()> {
    let metadata = json!({ "name": "lease", "namespace": namespace });
    let rules = json!([{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"] }]);
    stage.target.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules
    }))?;
    stage.target.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease" },
        "subjects": [{ "kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM }],
    }))
}
