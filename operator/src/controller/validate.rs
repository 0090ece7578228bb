//! From the raw spec to a checked stack. Pure; what the schema of the CRD cannot say is said here.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use url::{Host, Url};
use weir_crds::{
    AnalyticsStack, AnalyticsStackSpec, QuotaInterval, Reason, SettingChange, UpdatePolicy, UserProfile,
    UserSetting, UserSpec,
};

use super::rotation::{Policy, Requests, duration};
use super::stack::{Clickhouse, Endpoint, Image, Key, Reader, Stack};
use super::supply;
use crate::access;
use crate::dialer::Barred;
use crate::names::ClickhouseNames;
use crate::tls;

/// What the operator's own configuration says about specs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Whether a stack may name a ClickHouse of its own.
    pub(crate) allow_inline_clickhouse: bool,
    /// Hosts of the API server, which no stack may name as its ClickHouse.
    pub(crate) api_server_hosts: Vec<String>,
    /// What they led to when the operator started, which no name of a stack may lead to.
    pub(crate) api_server_addresses: Barred,
}

/// A spec that cannot be served, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// Field of the spec.
    pub(crate) field: &'static str,
    /// What is wrong and what to do.
    pub(crate) hint: String,
}

impl Invalid {
    /// Reason in conditions.
    pub(crate) const REASON: Reason = Reason::InvalidSpec;

    fn new(field: &'static str, hint: impl Into<String>) -> Self {
        Self { field, hint: hint.into() }
    }
}

/// What was observed that the stack carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// CA bundle, when the spec names one and it could be read.
    pub(crate) ca_pem: Option<String>,
    /// Image, once known.
    pub(crate) image: Option<Image>,
}

/// Checks a spec; every problem is listed, the most important first.
pub(crate) fn validate(stack: &AnalyticsStack, rules: &Rules, found: Found) -> Result<Stack, Vec<Invalid>> {
    let mut problems = Vec::new();
    if !rules.allow_inline_clickhouse {
        problems.push(Invalid::new(
            "spec.clickhouse",
            "this operator serves all namespaces and does not let a stack name a ClickHouse; ask the platform team to \
             set allowInlineClickhouse, or to install an operator for this namespace",
        ));
    }
    let endpoints = endpoints(stack, rules, &mut problems);
    if stack.spec.ingest.image.update_policy == UpdatePolicy::Never
        && !stack.spec.ingest.image.reference.contains("@sha256:")
    {
        problems.push(Invalid::new(
            "spec.ingest.image.reference",
            "updatePolicy Never demands a digest; write host/repository@sha256:…, or choose IfNotPresent",
        ));
    }
    let is_loopback = |network: &String| network.starts_with("127.") || network.starts_with("::1/");
    if stack.spec.users.iter().flat_map(|user| &user.hosts).any(is_loopback) {
        let hint = "a loopback network lets in nobody but ClickHouse's own machine; name the networks of the readers";
        problems.push(Invalid::new("spec.users[].hosts", hint));
    }
    let checked = build(stack, endpoints, found);
    problems.extend(secret_names(&checked));
    problems.extend(sources(&checked, &stack.spec));
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

fn build(stack: &AnalyticsStack, endpoints: Vec<Endpoint>, found: Found) -> Stack {
    let (namespace, name) = (stack.namespace().unwrap_or_default(), stack.name_any());
    let spec = &stack.spec;
    let key = |key: &weir_crds::KeySpec| Key {
        secret_name: key.secret_name.clone().unwrap_or_else(|| format!("{name}-key-{}", key.name)),
        rotation: Policy::new(&key.rotation.clone().unwrap_or_default()),
        spec: key.clone(),
    };
    let reader = |user: &weir_crds::UserSpec| Reader {
        name: user.name.clone(),
        access: reader_access(user),
        value_from: user.value_from.clone(),
        secret_name: user.secret_name.clone().unwrap_or_else(|| format!("{name}-user-{}", user.name)),
        rotation: Policy::new(&user.rotation.clone().unwrap_or_default()),
    };
    Stack {
        clickhouse: Clickhouse {
            endpoints,
            names: ClickhouseNames::new(&namespace, &name, spec.clickhouse.database.as_deref()),
            names_ca: spec.clickhouse.ca.is_some(),
            ca_pem: found.ca_pem,
        },
        uid: stack.uid().unwrap_or_default(),
        ingest: spec.ingest.clone(),
        image: found.image,
        keys: spec.keys.iter().map(key).collect(),
        readers: spec.users.iter().map(reader).collect(),
        drift: spec.policy.drift,
        rotation: Policy::new(&spec.policy.rotation),
        requests: Requests::new(stack.annotations()),
        namespace,
        name,
    }
}

fn reader_access(user: &UserSpec) -> access::Reader {
    let setting = |setting: &UserSetting| access::Setting {
        name: setting.name.clone(),
        value: setting.value.clone(),
        min: setting.min.clone(),
        max: setting.max.clone(),
        change: match setting.change {
            SettingChange::Writable => access::Change::Writable,
            SettingChange::Const => access::Change::Const,
            SettingChange::ChangeableInReadonly => access::Change::ChangeableInReadonly,
        },
    };
    let tables = || user.tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect();
    let (reads, settings) = match user.profile {
        UserProfile::ReadOnly => (access::Reads::Everything, Vec::new()),
        UserProfile::HyperDX => (access::Reads::Everything, access::hyperdx_settings()),
        UserProfile::Custom => (access::Reads::Tables(tables()), user.settings.iter().map(setting).collect()),
    };
    let is_everywhere = user.hosts.iter().any(|network| network.ends_with("/0"));
    let hosts = if user.hosts.is_empty() || is_everywhere {
        access::Hosts::Any
    } else {
        access::Hosts::Networks(user.hosts.iter().cloned().collect())
    };
    let rows =
        user.tables.iter().filter_map(|table| Some((table.name.clone(), table.rows.clone()?))).collect();
    access::Reader { name: user.name.clone(), reads, hosts, settings, rows, quota: quota(user) }
}

/// Limits by seconds, each by ClickHouse's name.
fn quota(user: &UserSpec) -> BTreeMap<u64, access::Limits> {
    let limits = |interval: &QuotaInterval| {
        let QuotaInterval {
            interval: _,
            queries,
            query_selects,
            errors,
            result_rows,
            result_bytes,
            read_rows,
            read_bytes,
            execution_time,
        } = interval;
        let seconds = execution_time.as_ref().map(|time| duration(time).as_secs());
        let limits = [
            ("queries", *queries),
            ("query_selects", *query_selects),
            ("errors", *errors),
            ("result_rows", *result_rows),
            ("result_bytes", *result_bytes),
            ("read_rows", *read_rows),
            ("read_bytes", *read_bytes),
            ("execution_time", seconds),
        ];
        limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.to_string()))).collect()
    };
    let seconds = |interval: &QuotaInterval| duration(&interval.interval).as_secs().unsigned_abs();
    user.quota.iter().map(|interval| (seconds(interval), limits(interval))).collect()
}

fn endpoints(stack: &AnalyticsStack, rules: &Rules, problems: &mut Vec<Invalid>) -> Vec<Endpoint> {
    const FIELD: &str = "spec.clickhouse.endpoints";
    let mut endpoints = Vec::new();
    for text in &stack.spec.clickhouse.endpoints {
        match parse_endpoint(text) {
            None => problems.push(Invalid::new(FIELD, format!("{text} is not http(s)://host:port"))),
            Some(endpoint) if is_forbidden(&endpoint, rules) => problems.push(Invalid::new(
                FIELD,
                format!("{text} is a link-local address or the Kubernetes API server; name a ClickHouse"),
            )),
            Some(endpoint) => endpoints.push(endpoint),
        }
    }
    endpoints
}

/// The endpoints of a spec that has passed, each with its port.
pub(crate) fn addresses(stack: &AnalyticsStack) -> Vec<String> {
    let endpoints = stack.spec.clickhouse.endpoints.iter().filter_map(|text| parse_endpoint(text));
    endpoints.map(|endpoint| endpoint.to_string()).collect()
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    // ClickHouse's own ports, not those of the web.
    let default = if url.scheme() == "https" { 8443 } else { 8123 };
    let given = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Some(Endpoint {
        scheme: url.scheme().into(),
        host: url.host_str()?.into(),
        port: given.or(url.port()).unwrap_or(default),
    })
}

fn is_forbidden(endpoint: &Endpoint, rules: &Rules) -> bool {
    let host = endpoint.host.trim_end_matches('.');
    let kubernetes = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    if kubernetes.contains(&host)
        || host.starts_with("kubernetes.default.svc.")
        || rules.api_server_hosts.iter().any(|own| own == host)
    {
        return true;
    }
    Host::parse(host).is_ok_and(|host| tls::is_refused_host(&host))
}

/// Secrets that the stack uses itself.
fn own_secrets(stack: &Stack) -> impl Iterator<Item = String> {
    ["ingest-clickhouse", "ingest-keys", "ingest-ca"].into_iter().map(|suffix| stack.child_name(suffix))
}

/// A value must not come from a Secret that the stack makes itself: it would be the value of another credential, or its own.
fn sources(stack: &Stack, spec: &AnalyticsStackSpec) -> Vec<Invalid> {
    let published = stack.keys.iter().map(|key| &key.secret_name);
    let published = published.chain(stack.readers.iter().map(|reader| &reader.secret_name));
    let made: BTreeSet<String> = own_secrets(stack).chain(published.cloned()).collect();
    let problem = |wanted: supply::Wanted<'_>| {
        let secret = &wanted.reference.name;
        let field = if wanted.is_key { "spec.keys[].valueFrom" } else { "spec.users[].valueFrom" };
        let hint = format!(
            "{} names Secret {secret}, which the stack makes itself; name a Secret of your own",
            wanted.field
        );
        made.contains(secret).then(|| Invalid::new(field, hint))
    };
    supply::wanted(spec).filter_map(problem).collect()
}

/// Two credentials must not share a Secret, and none may take a name that the stack uses itself.
fn secret_names(stack: &Stack) -> Vec<Invalid> {
    let mut taken: BTreeMap<String, String> =
        own_secrets(stack).map(|name| (name, "the stack itself".to_owned())).collect();
    let keys = stack.keys.iter().map(|key| ("key", &key.spec.name, &key.secret_name));
    let users = stack.readers.iter().map(|reader| ("user", &reader.name, &reader.secret_name));
    let wanted: Vec<_> = keys.chain(users).collect();
    let mut written_ahead = vec![stack.child_name("ingest-g")];
    written_ahead.extend(wanted.iter().map(|(kind, name, _)| stack.child_name(&format!("{kind}-{name}-g"))));
    let is_generation = |secret: &str| {
        let number = written_ahead.iter().find_map(|prefix| secret.strip_prefix(prefix));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut problems = Vec::new();
    for (kind, name, secret) in wanted {
        if is_generation(secret) {
            taken.insert(secret.clone(), "the stack itself".to_owned());
        }
        if let Some(other) = taken.insert(secret.clone(), format!("{kind} {name}")) {
            let field = if kind == "key" { "spec.keys[].secretName" } else { "spec.users[].secretName" };
            let hint = format!(
                "Secret {secret} is wanted by {kind} {name} and by {other}; choose another secretName"
            );
            problems.push(Invalid::new(field, hint));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture;

    fn rules() -> Rules {
        Rules {
            allow_inline_clickhouse: true,
            api_server_hosts: vec!["10.96.0.1".into()],
            ..Rules::default()
        }
    }

    fn check(change: impl FnOnce(&mut AnalyticsStack)) -> Vec<&'static str> {
        let mut stack = fixture::stack();
        change(&mut stack);
        let problems = validate(&stack, &rules(), Found::default()).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn the_fixture_is_valid() {
        assert!(check(|_| {}).is_empty());
    }

    #[test]
    fn inline_clickhouse_needs_leave() {
        let closed = Rules { allow_inline_clickhouse: false, ..rules() };
        let problems = validate(&fixture::stack(), &closed, Found::default()).unwrap_err();
        assert_eq!(problems[0].field, "spec.clickhouse");
    }

    #[test]
    fn link_local_and_api_server_addresses_are_refused() {
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "10.96.0.1",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ] {
            let fields =
                check(|stack| stack.spec.clickhouse.endpoints = vec![format!("https://{host}:8443")]);
            assert_eq!(fields, ["spec.clickhouse.endpoints"], "{host}");
        }
    }

    #[test]
    fn never_demands_a_digest() {
        let fields = check(|stack| stack.spec.ingest.image.update_policy = UpdatePolicy::Never);
        assert_eq!(fields, ["spec.ingest.image.reference"]);
    }

    #[test]
    fn a_secret_serves_one_credential_only() {
        let fields = check(|stack| stack.spec.keys[0].secret_name = Some("store-user-grafana".into()));
        assert_eq!(fields, ["spec.users[].secretName"]);
        for own in ["store-ingest-keys", "store-ingest-g12", "store-user-grafana-g1"] {
            let fields = check(|stack| stack.spec.keys[0].secret_name = Some(own.into()));
            assert_eq!(fields, ["spec.keys[].secretName"], "{own}");
        }
    }

    #[test]
    fn a_value_never_comes_from_a_secret_that_the_stack_makes() {
        for own in ["store-ingest-keys", "store-user-grafana", "store-key-web"] {
            let from = serde_json::json!({ "secretKeyRef": { "name": own, "key": "key" } });
            let fields = check(|stack| stack.spec.keys[0].value_from = serde_json::from_value(from).unwrap());
            assert_eq!(fields, ["spec.keys[].valueFrom"], "{own}");
        }
    }

    #[test]
    fn ports_default_to_those_of_clickhouse() {
        let port = |text| parse_endpoint(text).unwrap().port;
        assert_eq!(
            [port("http://db"), port("https://db"), port("https://db:443"), port("http://[fd00::1]:80")],
            [8123, 8443, 443, 80]
        );
    }
}
