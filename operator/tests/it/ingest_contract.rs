//! The environment that the operator gives the ingest container is one that the ingest binary takes.

use clap::{CommandFactory as _, Parser as _};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use weir_crds::AnalyticsStack;
use weir_ingest::args::{Args, Command, SpoolAction};
use weir_ingest::settings::Settings;
use weir_operator::render::{Pods, pods};

const CA: &str = "-----BEGIN CERTIFICATE-----\n";

fn stack() -> AnalyticsStack {
    let manifest = include_str!("../../../examples/02-readers-and-limits.yaml");
    let mut stack: AnalyticsStack = serde_saphyr::from_str(manifest).expect("the example is a stack");
    stack.metadata.uid = Some("6f1c1f4e-0000-4000-8000-000000000001".into());
    stack
}

fn pinned() -> String {
    format!("registry.example.com/weir-ingest@sha256:{}", "0".repeat(64))
}

fn rendered(ca_pem: Option<&str>) -> Pods {
    pods(&stack(), &pinned(), ca_pem).expect("the example is valid")
}

/// Parses a container's arguments and environment as the binary would; an unknown variable fails.
fn parse(container: &Container) -> Args {
    let command = Args::command();
    let mut line = vec!["weir-ingest".to_owned()];
    for variable in container.env.iter().flatten() {
        let known = command.get_arguments().find(|argument| {
            argument.get_env().is_some_and(|name| name.to_str() == Some(variable.name.as_str()))
        });
        let argument = known.unwrap_or_else(|| panic!("the ingest binary knows no {}", variable.name));
        let flag = argument.get_long().expect("every setting has a flag");
        line.push(format!("--{flag}={}", variable.value.clone().unwrap_or_default()));
    }
    line.extend(container.args.clone().unwrap_or_default());
    Args::try_parse_from(line).expect("the ingest binary takes its arguments")
}

fn container(pod: &PodSpec) -> &Container {
    assert_eq!(pod.containers.len(), 1);
    &pod.containers[0]
}

#[test]
fn ingest_takes_the_environment_of_the_deployment() {
    let pod = rendered(Some(CA)).ingest;
    let args = parse(container(&pod));
    assert!(matches!(args.command, Some(Command::Serve)));
    let settings = Settings::from_args(&args.settings).unwrap();
    assert_eq!(settings.clickhouse.database, "store_analytics");
    assert_eq!(settings.clickhouse.endpoints[0].as_str(), "https://clickhouse.test:8443/");
    assert_eq!(settings.origins, ["https://store.example.com"]);
    assert_eq!(settings.limits.max_batch_bytes, 4_194_304);
    assert_eq!(settings.buffer.flush_max_age.as_millis(), 50);
    let grace = u64::try_from(pod.termination_grace_period_seconds.unwrap()).unwrap();
    assert!(settings.drain.as_secs() < grace, "the kubelet would end the process before its drain is over");
}

#[test]
fn ingest_takes_what_is_said_about_its_doors() {
    let mut stack = stack();
    let ingest = &mut stack.spec.ingest;
    ingest.limits.max_event_bytes = Some(4096);
    ingest.limits.address_rate_limit = Some(50);
    ingest.limits.key_rate_limit = Some(500);
    ingest.posthog.enabled = false;
    ingest.path_prefix = Some("/ingest".into());
    ingest.privacy.ip = weir_crds::IpPolicy::Truncate;
    ingest.privacy.property_denylist = vec!["email".into(), "phone".into()];
    let pod = pods(&stack, &pinned(), None).expect("the stack is valid").ingest;
    let settings = Settings::from_args(&parse(container(&pod)).settings).unwrap();
    assert_eq!(settings.policy.max_event_bytes, 4096);
    assert_eq!(settings.policy.ip, weir_ingest::settings::IpPolicy::Truncate);
    assert_eq!(settings.policy.denied_properties, ["email", "phone"]);
    assert_eq!(settings.admission.address_rate.unwrap().events_per_second.get(), 50);
    assert_eq!(settings.keys.rate.unwrap().events_per_second.get(), 500);
    assert!(!settings.paths.posthog);
    assert_eq!(settings.paths.prefix.as_deref(), Some("/ingest"));
}

#[test]
fn ingest_and_its_drain_take_the_spool_of_their_pods() {
    let mut stack = stack();
    stack.spec.ingest.spool = Some(weir_crds::SpoolSpec { size: "10Gi".into(), storage_class_name: None });
    let Pods { ingest, drain, .. } = pods(&stack, &pinned(), None).expect("the stack is valid");
    let serving = Settings::from_args(&parse(container(&ingest)).settings).unwrap().spool.unwrap();
    assert!(serving.max_bytes < 10 << 30, "the spool would fill its volume");
    let args = parse(container(&drain));
    assert!(matches!(args.command, Some(Command::Spool(SpoolAction::Drain { .. }))));
    let draining = Settings::from_args(&args.settings).unwrap().spool.unwrap();
    for (pod, dir) in [(&ingest, serving.dir), (&drain, draining.dir)] {
        let mounts = container(pod).volume_mounts.iter().flatten();
        assert!(mounts.into_iter().any(|mount| dir.starts_with(&mount.mount_path)), "{}", dir.display());
    }
}

#[test]
fn ingest_finds_its_files_where_the_deployment_mounts_them() {
    let pod = rendered(Some(CA)).ingest;
    let settings = Settings::from_args(&parse(container(&pod)).settings).unwrap();
    let mounts: Vec<_> =
        container(&pod).volume_mounts.iter().flatten().map(|mount| mount.mount_path.clone()).collect();
    let is_mounted = |path: Option<std::path::PathBuf>| {
        let path = path.expect("the path is set");
        assert!(mounts.iter().any(|mount| path.starts_with(mount)), "{} is not mounted", path.display());
    };
    is_mounted(settings.keys.file);
    is_mounted(settings.clickhouse.credentials_dir);
    is_mounted(settings.clickhouse.ca_file);
}

#[test]
fn migrate_takes_the_environment_of_the_job() {
    let pod = rendered(None).migration;
    let args = parse(container(&pod));
    assert!(matches!(args.command, Some(Command::Migrate(_))));
    let settings = Settings::from_args(&args.settings).unwrap();
    assert_eq!(settings.migration.definer.as_deref(), Some("store_analytics_definer"));
    assert!(settings.clickhouse.credentials_dir.is_some() && settings.clickhouse.ca_file.is_none());
}

#[test]
fn pods_meet_the_restricted_standard_and_carry_no_token() {
    let Pods { ingest, migration, drain } = rendered(Some(CA));
    for pod in [ingest, migration, drain] {
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.security_context.as_ref().unwrap().run_as_non_root, Some(true));
        let security = container(&pod).security_context.clone().unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert!(container(&pod).image.as_ref().unwrap().contains("@sha256:"));
        assert!(container(&pod).env.iter().flatten().all(|variable| variable.value_from.is_none()));
    }
}
