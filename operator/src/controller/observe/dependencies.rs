//! The Secrets that a spec refers to: administrator, CA bundle, pull secrets, and values of their owners.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use secrecy::SecretString;
use weir_crds::{ADMIN_SECRET_TYPE, AnalyticsStack, Reason};

use crate::controller::Context;
use crate::controller::credential::text;
use crate::controller::observed::Fault;
use crate::controller::supply::{self, Supplied};

const PULL_SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// What the referenced Secrets gave.
#[derive(Debug)]
pub(crate) struct Dependencies {
    /// ClickHouse's administrator, with the version of the Secret.
    pub(crate) admin: Result<Admin, Fault>,
    /// CA bundle of ClickHouse: of the referenced Secret, or else the copy that the pods have.
    pub(crate) ca_pem: Option<String>,
    /// The copy that the pods have.
    pub(crate) ca_copy: Option<String>,
    /// Contents of the pull secrets.
    pub(crate) pull: Vec<Vec<u8>>,
    /// What is missing or cannot be used.
    pub(crate) faults: Vec<Fault>,
}

/// ClickHouse's administrator.
#[derive(Debug)]
pub(crate) struct Admin {
    /// User name.
    pub(crate) user: String,
    /// Password.
    pub(crate) password: SecretString,
    /// UID and version of the Secret.
    pub(crate) version: String,
}

/// Reads the referenced Secrets.
pub(super) async fn fetch(
    ctx: &Context,
    stack: &AnalyticsStack,
    own: &BTreeMap<String, Secret>,
) -> Dependencies {
    let namespace = stack.namespace().unwrap_or_default();
    let spec = &stack.spec;
    let mut faults = Vec::new();
    let admin = match ctx.secret(&namespace, &spec.clickhouse.admin_secret_ref.name).await {
        Ok(secret) => admin(&spec.clickhouse.admin_secret_ref.name, secret.as_deref()),
        Err(fault) => Err(fault),
    };
    faults.extend(admin.as_ref().err().cloned());
    let ca_copy =
        own.get(&format!("{}-ingest-ca", stack.name_any())).and_then(|secret| text(secret, "ca.crt"));
    let mut ca_pem = None;
    if let Some(reference) = &spec.clickhouse.ca {
        let found = match ctx.secret(&namespace, &reference.secret_name).await {
            Ok(secret) => ca_bundle(reference, secret.as_deref()),
            Err(fault) => Err(fault),
        };
        faults.extend(found.as_ref().err().cloned());
        ca_pem = found.ok().or_else(|| ca_copy.clone());
    }
    let mut pull = Vec::new();
    for reference in &spec.ingest.image.pull_secrets {
        let found = match ctx.secret(&namespace, &reference.name).await {
            Ok(secret) => pull_secret(&reference.name, secret.as_deref()),
            Err(fault) => Err(fault),
        };
        match found {
            Ok(content) => pull.push(content),
            Err(fault) => faults.push(fault),
        }
    }
    Dependencies { admin, ca_pem, ca_copy, pull, faults }
}

/// Reads the values that the owners of Secrets keep.
pub(super) async fn supplied(ctx: &Context, stack: &AnalyticsStack) -> Supplied {
    let namespace = stack.namespace().unwrap_or_default();
    let mut supplied = Supplied::new();
    for wanted in supply::wanted(&stack.spec) {
        let value = match ctx.secret(&namespace, &wanted.reference.name).await {
            Ok(secret) => supply::read(&wanted, secret.as_deref()),
            Err(fault) => Err(fault),
        };
        supplied.insert(wanted.credential, value);
    }
    supplied
}

fn missing(name: &str, what: &str) -> Fault {
    Fault::dependency(
        format!("Secret/{name}"),
        Reason::SecretNotFound,
        format!("create it in the stack's namespace: {what}"),
    )
}

fn invalid(name: &str, hint: String) -> Fault {
    Fault::dependency(format!("Secret/{name}"), Reason::SecretInvalid, hint)
}

fn admin(name: &str, secret: Option<&Secret>) -> Result<Admin, Fault> {
    let what =
        format!("type {ADMIN_SECRET_TYPE}, keys username and password (spec.clickhouse.adminSecretRef)");
    let secret = secret.ok_or_else(|| missing(name, &what))?;
    if secret.type_.as_deref() != Some(ADMIN_SECRET_TYPE) {
        return Err(invalid(
            name,
            format!(
                "its type must be {ADMIN_SECRET_TYPE}, so that no other Secret can be used by naming it; delete it and create it anew"
            ),
        ));
    }
    let field = |key: &str| {
        let value = text(secret, key)
            .ok_or_else(|| invalid(name, format!("the key {key} is missing, empty or not text")))?;
        if value.chars().any(char::is_control) {
            return Err(invalid(
                name,
                format!("the key {key} holds a line break or another control character"),
            ));
        }
        Ok(value)
    };
    Ok(Admin {
        user: field("username")?,
        password: field("password")?.into(),
        version: format!("{:?}/{:?}", secret.uid(), secret.resource_version()),
    })
}

fn ca_bundle(reference: &weir_crds::CaReference, secret: Option<&Secret>) -> Result<String, Fault> {
    let name = &reference.secret_name;
    let secret = secret.ok_or_else(|| missing(name, "the CA bundle of spec.clickhouse.ca, in PEM form"))?;
    text(secret, &reference.key)
        .filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----"))
        .ok_or_else(|| invalid(name, format!("the key {} holds no certificate in PEM form", reference.key)))
}

fn pull_secret(name: &str, secret: Option<&Secret>) -> Result<Vec<u8>, Fault> {
    let what = format!("type {PULL_SECRET_TYPE} (spec.ingest.image.pullSecrets)");
    let secret = secret.ok_or_else(|| missing(name, &what))?;
    let content = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson"));
    match content {
        Some(content) if secret.type_.as_deref() == Some(PULL_SECRET_TYPE) => Ok(content.0.clone()),
        Some(_) | None => Err(invalid(name, format!("it must be of {what}"))),
    }
}
